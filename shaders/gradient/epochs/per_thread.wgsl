// A thread a fit, without a barrier: rows are so few and so short that one thread is not long about them.
// Composed behind epochs.wgsl.

override WORKGROUP: u32 = 64u;

// Up to eight vec4 of weights and one of intercepts, and up to four planes of state.
const HELD = 9u;

var<private> params_held: array<vec4f, 9>;
var<private> state_held: array<vec4f, 36>;
var<private> sums: array<vec4f, 9>;

fn load_grad(i: u32) -> vec4f {
    return sums[i];
}

fn store_grad(i: u32, value: vec4f) {
    sums[i] = value;
}

fn load_param(i: u32) -> vec4f {
    return params_held[i];
}

fn store_param(i: u32, value: vec4f) {
    params_held[i] = value;
}

fn load_state(plane: u32, i: u32) -> vec4f {
    return state_held[plane * HELD + i];
}

fn store_state(plane: u32, i: u32, value: vec4f) {
    state_held[plane * HELD + i] = value;
}

// A vec4 of a row. The padding of the last one is 0 and need not be loaded.
fn held_x(row: u32, c: u32) -> vec4f {
    let feature = vec4u(0u, 1u, 2u, 3u) + 4u * c;
    return select(vec4f(0.0), x_at(row, c), feature < vec4u(FEATURES));
}

// Adds up the batch in the order of its rows: the gradient, and the loss and weight that it returns.
fn add_up(batch: Batch) -> vec2f {
    sums = array<vec4f, 9>();
    var totals = vec2f(0.0);
    for (var i = 0u; i < batch.rows; i += 1u) {
        let row = row_of(batch, i);
        var values: array<vec4f, 8>;
        var dot = vec4f(0.0);
        for (var c = 0u; c < VECTORS; c += 1u) {
            values[c] = held_x(row, c);
            dot += values[c] * params_held[c];
        }
        var score = score_of(dot);
        if INTERCEPTS > 0u {
            score += params_held[VECTORS].x;
        }
        let one = differentiated(row, score);
        for (var c = 0u; c < VECTORS; c += 1u) {
            sums[c] += values[c] * one.x;
        }
        if INTERCEPTS > 0u {
            sums[VECTORS].x += one.x;
        }
        totals += one.yz;
    }
    return totals;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let setting = id.x;
    let order = group.y;
    if setting >= SETTINGS {
        return;
    }
    let fit = order * SETTINGS + setting;
    for (var i = 0u; i < vectors(); i += 1u) {
        params_held[i] = unpack_param(fitted[fitted_at(fit, i)]);
        for (var plane = 0u; plane < PLANES; plane += 1u) {
            state_held[plane * HELD + i] = unpack_state(state[state_at(plane, fit, i)]);
        }
    }
    let rule = settings[setting];
    for (var update = part.first; update < part.end; update += 1u) {
        let batch = batch_of(order, update);
        let totals = add_up(batch);
        keep_loss(fit, update, mean_factor(batch.loss_scale, totals.y) * totals.x);
        let scale = mean_factor(batch.gradient_scale, totals.y);
        let step = step_of(rule, setting, update);
        for (var i = 0u; i < vectors(); i += 1u) {
            sums[i] *= scale;
            update_vector(i, step);
            keep_trace(fit, update, i, params_held[i]);
        }
    }
    for (var i = 0u; i < vectors(); i += 1u) {
        fitted[fitted_at(fit, i)] = pack_param(params_held[i]);
        keep_gradient(fit, i, sums[i]);
        for (var plane = 0u; plane < PLANES; plane += 1u) {
            state[state_at(plane, fit, i)] = pack_state(state_held[plane * HELD + i]);
        }
    }
}
