// Many updates in one dispatch, of problems so small that a dispatch costs more than an update: what both
// ways of sharing them out among threads have in common. Settings of one rule train side by side on the
// same rows, each of them once for every order of the rows, which is the y of a workgroup; that is called a
// fit.
//
// Composed with batch.wgsl, order.wgsl and model.wgsl (whose segment and partial sums are not used), rows in memory,
// a loss, arithmetic.wgsl, step.wgsl, accumulation.wgsl, update.wgsl, a rule, storage/f32.wgsl, and
// per_thread.wgsl, or storage/one_gradient.wgsl and per_workgroup.wgsl.

override SETTINGS: u32 = 1u;
override ORDERS: u32 = 1u;
override MAX_UPDATES: u32 = 1u;
override TRACED: bool = false;
override PLANES: u32 = 1u; // of moments and what else is kept for every parameter

// The updates that a dispatch makes of those that are prepared.
struct Part {
    first: u32,
    end: u32,
    prepared: u32,
    zero: f32,
}

// The words of a setting's Step that change from step to step, which the host computes, bit for
// bit as step_state.wgsl does.
struct Counted {
    lr: f32,
    step_size: f32,
    gradient_size: f32,
    inv_bias_correction2: f32,
    eps: f32,
    decay: f32,
    grad_factor: f32,
    flags: u32,
}

// The words that stay as they are.
struct Setting {
    weight_decay: f32,
    group: u32,
    zero: u32,
    reserved: u32,
    hyper: Hyper,
    unused: vec4u,
}

struct Batch {
    first: u32, // row, or where its rows are listed
    rows: u32,
    gradient_scale: f32, // over its rows, or its weight
    loss_scale: f32,
}

@group(1) @binding(0) var<uniform> part: Part;
@group(1) @binding(1) var<storage, read_write> fitted: array<ParamVector>;
@group(1) @binding(2) var<storage, read_write> state: array<StateVector>;
@group(1) @binding(3) var<storage, read> steps: array<Counted>;
@group(1) @binding(4) var<storage, read> settings: array<Setting>;
// The batches of every order in turn, four words each; then the rows of those that are listed.
@group(1) @binding(5) var<storage, read> batches: array<u32>;
// The last gradients, the loss of each update, and the parameters behind each, where they are traced.
@group(1) @binding(6) var<storage, read_write> results: array<f32>;

fn batch_of(order: u32, update: u32) -> Batch {
    let at = 4u * (order * part.prepared + update);
    return Batch(
        batches[at], batches[at + 1u], bitcast<f32>(batches[at + 2u]), bitcast<f32>(batches[at + 3u]));
}

fn row_of(batch: Batch, i: u32) -> u32 {
    if SHUFFLED {
        return batches[batch.first + i];
    }
    return batch.first + i;
}

fn step_of(rule: Setting, setting: u32, update: u32) -> Step {
    let own = steps[update * SETTINGS + setting];
    return Step(
        own.lr, own.step_size, own.gradient_size, own.inv_bias_correction2, own.eps, own.decay,
        own.grad_factor, own.flags, rule.weight_decay, rule.group, rule.zero, rule.reserved, rule.hyper,
        array<vec4u, 11>());
}

// vec4 of a model, and where one of them lies among all.
fn vectors() -> u32 {
    return VECTORS + INTERCEPTS;
}

fn fitted_at(fit: u32, i: u32) -> u32 {
    return fit * vectors() + i;
}

fn state_at(plane: u32, fit: u32, i: u32) -> u32 {
    return plane * (ORDERS * SETTINGS * vectors()) + fitted_at(fit, i);
}

// See sum_of in model.wgsl.
fn score_of(products: vec4f) -> f32 {
    let four = products + vec4f(part.zero);
    return (four.x + four.y) + (four.z + four.w);
}

// Of a row with that score: its weight times derivative and loss, and its weight.
fn differentiated(row: u32, score: f32) -> vec3f {
    var z = score;
    if OFFSET {
        z += aux_at(0u, row, OFFSET_AT);
    }
    let point = point(z, aux_at(0u, row, 0u));
    if !WEIGHTED {
        return vec3f(point.gradient, point.loss, 1.0);
    }
    let weight = aux_at(0u, row, WEIGHT_AT);
    return vec3f(weight * point.gradient, weight * point.loss, weight);
}

// The factor from the sum of a batch to its mean.
fn mean_factor(scale: f32, weight: f32) -> f32 {
    if WEIGHTED {
        return select(0.0, scale / weight, weight > 0.0);
    }
    return scale;
}

fn keep_loss(fit: u32, update: u32, loss: f32) {
    results[4u * vectors() * (ORDERS * SETTINGS) + update * (ORDERS * SETTINGS) + fit] = loss;
}

fn keep_gradient(fit: u32, i: u32, gradient: vec4f) {
    keep_vector(4u * fitted_at(fit, i), gradient);
}

fn keep_trace(fit: u32, update: u32, i: u32, param: vec4f) {
    if TRACED {
        let before = (4u * vectors() + MAX_UPDATES) * (ORDERS * SETTINGS);
        keep_vector(before + 4u * fitted_at(update * (ORDERS * SETTINGS) + fit, i), param);
    }
}

fn keep_vector(at: u32, vector: vec4f) {
    results[at] = vector.x;
    results[at + 1u] = vector.y;
    results[at + 2u] = vector.z;
    results[at + 3u] = vector.w;
}
