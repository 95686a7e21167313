// A workgroup a fit: a thread takes every 64th row for scores and derivatives, and then a vec4 of columns,
// or a share of its rows, for the gradient. Composed behind epochs.wgsl.

// The threads of a workgroup: columns in parallel, and rows in parallel; powers of two, 64 in all.
override COLUMNS: u32 = 64u;
override SHARES: u32 = 1u;

var<workgroup> params_held: array<vec4f, 512>;
var<workgroup> derivatives: array<f32, 1024>;
var<workgroup> shares: array<vec4f, 64>;
var<workgroup> totals: array<vec2f, 64>;

var<private> fit: u32;

fn load_param(i: u32) -> vec4f {
    return params_held[i];
}

fn store_param(i: u32, value: vec4f) {
    params_held[i] = value;
}

fn load_state(plane: u32, i: u32) -> vec4f {
    return unpack_state(state[state_at(plane, fit, i)]);
}

fn store_state(plane: u32, i: u32, value: vec4f) {
    state[state_at(plane, fit, i)] = pack_state(value);
}

// Leaves derivatives, and every thread's loss and weight.
fn differentiate_rows(batch: Batch, local: u32) {
    var total = vec2f(0.0);
    for (var i = local; i < batch.rows; i += THREADS) {
        let row = row_of(batch, i);
        var dot = vec4f(0.0);
        for (var c = 0u; c < VECTORS; c += 1u) {
            dot += x_at(row, c) * params_held[c];
        }
        var score = score_of(dot);
        if INTERCEPTS > 0u {
            score += params_held[VECTORS].x;
        }
        let one = differentiated(row, score);
        derivatives[i] = one.x;
        total += one.yz;
    }
    totals[local] = total;
}

// A share of a column's sum.
fn add_up(batch: Batch, column: u32, share: u32) -> vec4f {
    var sum = vec4f(0.0);
    for (var i = share; i < batch.rows; i += SHARES) {
        if column < VECTORS {
            sum += x_at(row_of(batch, i), column) * derivatives[i];
        } else {
            sum.x += derivatives[i];
        }
    }
    return sum;
}

fn finish(column: u32, mean: vec4f, step: Step, update: u32) {
    store_grad(column, mean);
    update_vector(column, step);
    keep_trace(fit, update, column, params_held[column]);
    if update + 1u == part.end {
        keep_gradient(fit, column, load_grad(column));
    }
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
    let setting = group.x;
    let order = group.y;
    fit = order * SETTINGS + setting;
    let share = local / COLUMNS;
    for (var i = local; i < vectors(); i += THREADS) {
        params_held[i] = unpack_param(fitted[fitted_at(fit, i)]);
    }
    let rule = settings[setting];
    workgroupBarrier();
    for (var update = part.first; update < part.end; update += 1u) {
        let batch = batch_of(order, update);
        differentiate_rows(batch, local);
        workgroupBarrier();
        var total = vec2f(0.0);
        if WEIGHTED || local == 0u {
            for (var other = 0u; other < min(THREADS, batch.rows); other += 1u) {
                total += totals[other];
            }
        }
        if local == 0u {
            keep_loss(fit, update, mean_factor(batch.loss_scale, total.y) * total.x);
        }
        let scale = mean_factor(batch.gradient_scale, total.y);
        let step = step_of(rule, setting, update);
        for (var column = local % COLUMNS; column < vectors(); column += COLUMNS) {
            let sum = add_up(batch, column, share);
            if SHARES == 1u {
                finish(column, scale * sum, step, update);
            } else {
                shares[local] = sum;
            }
        }
        if SHARES > 1u {
            workgroupBarrier();
            if local < vectors() {
                var sum = vec4f(0.0);
                for (var other = local; other < THREADS; other += COLUMNS) {
                    sum += shares[other];
                }
                finish(local, scale * sum, step, update);
            }
        }
        workgroupBarrier();
    }
    for (var i = local; i < vectors(); i += THREADS) {
        fitted[fitted_at(fit, i)] = pack_param(params_held[i]);
    }
}
