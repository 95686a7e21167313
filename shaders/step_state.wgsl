// The first dispatches of a step: the decision to take it, each group's learning rate, and the state and constants of
// every tensor.
//
// Powers are computed in integers, which drivers do not reorder, contract or flush: 1 − betaᵗ is a 64-bit fixed-point
// number with the same bits on every device.
// Equals src/cpu/step_state.rs. Composed with files of arithmetic/, integer.wgsl and step.wgsl.

override MEASURES: bool = false;       // gradient_norm.wgsl has left partial sums
override SKIPS: bool = false;          // skip steps with a non-finite gradient
override CLIP: u32 = 0u;               // 1: PyTorch's clip_grad_norm_, 2: optax's clip_by_global_norm
override MAX_NORM: f32 = 1.0;
override MICRO_BATCHES: u32 = 1u;      // per step
override INV_MICRO_BATCHES: f32 = 1.0;

// 64-bit words are (low, high).
struct State {
    t: vec2u,
    bias_correction1: vec2u, // 1 − beta1ᵗ, in units of 2⁻⁶⁴; in NAdam 1 − Π mu
    bias_correction2: vec2u,
    momentum_decay: vec2u,   // 0.96^(t · momentum_decay)
    frozen: u32,
    pending: u32,            // micro-batches in the accumulator
}

struct Rule {
    beta1: vec2u, // in units of 2⁻⁶⁴
    one_minus_beta1: vec2u,
    beta2: vec2u,
    one_minus_beta2: vec2u,
    momentum_decay: vec2u,
    rectified_from: vec2u, // the first step that RAdam rectifies
    form: u32,
    hat: u32,
    lr_decay: f32,
    weight_decay: f32, // if it is decoupled
    eps: f32,
    rho_infinity: f32,
    rho_offset: f32,
    half_log: f32,
    rectification: f32,
    reserved: u32,
}

// Values of a rule's form.
const NADAM = 1u;
const RADAM = 2u;

struct Group {
    rule: Rule,
    position: u32, // the entry of its table that the next step takes
    lr: f32,
}

// The optimizer's counters, and the measurements of the step.
struct Control {
    steps: vec2u,
    skipped: vec2u,
    skipped_in_a_row: u32,
    micro_batch: u32,
    nonfinite: u32,
    verdict: u32, // KEEP, STEP or 0
    norm: f32,
    grad_factor: f32,
    inv_grad_scale: f32,
    zero: u32, // unknown to compilers
}

struct Partial {
    small: f32,
    large: f32,
    nonfinite: u32,
    reserved: u32,
}

struct Hyper {
    unused: array<vec4f, 2>,
}

@group(0) @binding(0) var<storage, read_write> states: array<State>;
@group(0) @binding(1) var<storage, read_write> steps: array<Step>;
@group(0) @binding(2) var<storage, read_write> groups: array<Group>;
@group(0) @binding(3) var<storage, read_write> control: Control;
// For every group the start and length of its table, then the bits of the tables.
@group(0) @binding(4) var<storage, read> learning_rates: array<u32>;
@group(0) @binding(5) var<storage, read> partials: array<Partial>;

@group(1) @binding(0) var<storage, read> selected: array<u32>; // 1 where a tensor has a gradient

const THREADS = 64u;
const ONE = vec2u(1u, 0u);

var<workgroup> smalls: array<f32, THREADS>;
var<workgroup> larges: array<f32, THREADS>;
var<workgroup> nonfinites: array<u32, THREADS>;

fn runtime_zero() -> u32 {
    return control.zero;
}

// 1 − betaᵗ = beta · (1 − betaᵗ⁻¹) + (1 − beta). The product is truncated, never rounded up,
// so the sum stays below one.
fn next_bias_correction(previous: vec2u, beta: vec2u, one_minus_beta: vec2u) -> vec2u {
    return add64(mul64_high(previous, beta), one_minus_beta);
}

// 1 − mu = (1 − beta1) + beta1 · 0.5 · 0.96^(t · momentum_decay).
fn one_minus_mu(rule: Rule, momentum_decay: vec2u) -> vec2u {
    let twice = mul64_high(rule.beta1, momentum_decay);
    return add64(rule.one_minus_beta1, vec2u((twice.x >> 1u) | (twice.y << 31u), twice.y >> 1u));
}

// RAdam's ρₜ from t, beta2ᵗ and 1 / (1 − beta2ᵗ); src/cpu/rectification.rs has the derivation.
fn rho(rule: Rule, t: f32, power: f32, inv_bias_correction2: f32) -> f32 {
    let z = mul_f32(t, rule.half_log);
    if z >= 12.0 {
        return rule.rho_infinity;
    }
    if z >= 0.5 {
        return sub_f32(rule.rho_infinity, mul_f32(mul_f32(add_f32(t, t), power), inv_bias_correction2));
    }
    let square = mul_f32(z, z);
    var fraction = 15.0;
    for (var odd = 13.0; odd >= 3.0; odd -= 2.0) {
        fraction = add_f32(odd, div_f32(square, fraction));
    }
    return add_f32(rule.rho_offset, mul_f32(t, sub_f32(1.0, div_f32(z, fraction))));
}

fn rectification(rule: Rule, rho: f32) -> f32 {
    let product = mul_f32(sub_f32(rho, 4.0), sub_f32(rho, 2.0));
    return root_f32(mul_f32(div_f32(product, rho), rule.rectification));
}

fn fixed(a: vec2u) -> f32 {
    return float_from_word64(a, -64);
}

// The norm from sums of squares of elements below one, times 2⁹², and of others, times 2⁻⁹².
fn norm_of(small: f32, large: f32) -> f32 {
    if large == 0.0 {
        return mul_f32(root_f32(small), 0x1p-46f);
    }
    // One root each: a driver that folds the scales into one factor, 2⁻¹⁸⁴, would make it zero.
    let norm = mul_f32(root_f32(large), 0x1p46f);
    let ratio = div_f32(mul_f32(root_f32(small), 0x1p-46f), norm);
    return mul_f32(norm, root_f32(add_f32(1.0, mul_f32(ratio, ratio))));
}

fn judge() {
    let last = control.micro_batch + 1u >= MICRO_BATCHES;
    control.nonfinite |= nonfinites[0];
    control.micro_batch = select(control.micro_batch + 1u, 0u, last);
    if !last {
        control.verdict = KEEP;
        return;
    }
    var factor = mul_f32(control.inv_grad_scale, INV_MICRO_BATCHES);
    if MEASURES {
        control.norm = mul_f32(norm_of(smalls[0], larges[0]), factor);
    }
    if CLIP == 1u {
        factor = mul_f32(factor, min(div_f32(MAX_NORM, add_f32(control.norm, 1e-6)), 1.0));
    }
    if CLIP == 2u && control.norm >= MAX_NORM {
        factor = mul_f32(factor, div_f32(MAX_NORM, control.norm));
    }
    control.grad_factor = factor;
    if SKIPS && control.nonfinite != 0u {
        control.skipped = add64(control.skipped, ONE);
        control.skipped_in_a_row += 1u;
        control.verdict = 0u;
    } else {
        control.steps = add64(control.steps, ONE);
        control.skipped_in_a_row = 0u;
        control.verdict = STEP;
    }
    control.nonfinite = 0u;
}

fn add_partials(local: u32) {
    var small = 0.0;
    var large = 0.0;
    var nonfinite = 0u;
    for (var i = local; i < arrayLength(&partials); i += THREADS) {
        let found = partials[i];
        small = add_f32(small, found.small);
        large = add_f32(large, found.large);
        nonfinite |= found.nonfinite;
    }
    smalls[local] = small;
    larges[local] = large;
    nonfinites[local] = nonfinite;
}

fn decide(local: u32) {
    smalls[local] = 0.0;
    larges[local] = 0.0;
    nonfinites[local] = 0u;
    if MEASURES {
        add_partials(local);
    }
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half {
            smalls[local] = add_f32(smalls[local], smalls[local + half]);
            larges[local] = add_f32(larges[local], larges[local + half]);
            nonfinites[local] |= nonfinites[local + half];
        }
    }
    if local == 0u {
        judge();
    }
    storageBarrier();
    workgroupBarrier();
    if control.verdict == STEP {
        for (var g = local; g < arrayLength(&groups); g += THREADS) {
            // Past the end of the table, the last entry applies.
            let last = learning_rates[2u * g + 1u] - 1u;
            let position = min(groups[g].position, last);
            groups[g].lr = bitcast<f32>(learning_rates[learning_rates[2u * g] + position]);
            groups[g].position = min(position + 1u, last);
        }
    }
}

fn is_rectified(state: State, rule: Rule) -> bool {
    let later = state.t.y > rule.rectified_from.y
        || (state.t.y == rule.rectified_from.y && state.t.x >= rule.rectified_from.x);
    return rule.form == RADAM && later;
}

fn write_constants(tensor: u32, state: State, group: Group) {
    let rule = group.rule;
    var lr = group.lr;
    if rule.lr_decay != 0.0 {
        let before = float_from_word64(add64(state.t, negate64(ONE)), 0);
        lr = div_f32(lr, add_f32(1.0, mul_f32(before, rule.lr_decay)));
    }
    let inv_bias_correction2 = reciprocal(state.bias_correction2);
    steps[tensor].lr = lr;
    steps[tensor].step_size = mul_f32(lr, reciprocal(state.bias_correction1));
    steps[tensor].inv_bias_correction2 = inv_bias_correction2;
    steps[tensor].eps = select(rule.eps, mul_f32(rule.eps, root_f32(inv_bias_correction2)), rule.hat == 1u);
    steps[tensor].decay = mul_f32(lr, rule.weight_decay);
    steps[tensor].grad_factor = control.grad_factor;
    if is_rectified(state, rule) {
        let power = fixed(negate64(state.bias_correction2));
        let rho = rho(rule, float_from_word64(state.t, 0), power, inv_bias_correction2);
        steps[tensor].step_size = mul_f32(steps[tensor].step_size, rectification(rule, rho));
    }
    if rule.form == NADAM {
        let next_decay = mul64_high(state.momentum_decay, rule.momentum_decay);
        let next = one_minus_mu(rule, next_decay);
        let mu = negate64(next);
        let product = next_bias_correction(state.bias_correction1, mu, next);
        steps[tensor].step_size = mul_f32(mul_f32(lr, fixed(mu)), reciprocal(product));
        let now = one_minus_mu(rule, state.momentum_decay);
        steps[tensor].gradient_size = mul_f32(mul_f32(lr, fixed(now)), reciprocal(state.bias_correction1));
    }
}

fn counted(before: State, rule: Rule) -> State {
    var state = before;
    state.t = add64(state.t, ONE);
    state.momentum_decay = mul64_high(state.momentum_decay, rule.momentum_decay);
    var one_minus_beta1 = rule.one_minus_beta1;
    var beta1 = rule.beta1;
    if rule.form == NADAM {
        one_minus_beta1 = one_minus_mu(rule, state.momentum_decay);
        beta1 = negate64(one_minus_beta1);
    }
    state.bias_correction1 = next_bias_correction(state.bias_correction1, beta1, one_minus_beta1);
    state.bias_correction2 =
        next_bias_correction(state.bias_correction2, rule.beta2, rule.one_minus_beta2);
    return state;
}

// The tensor's gradient in this step.
fn found(tensor: u32, state: State) -> u32 {
    if state.frozen != 0u {
        return 0u;
    }
    let waits = MICRO_BATCHES > 1u && state.pending != 0u;
    return select(0u, GRADIENT, selected[tensor] != 0u) | select(0u, ACCUMULATED, waits);
}

fn advance_tensor(tensor: u32) {
    var state = states[tensor];
    var flags = found(tensor, state);
    if control.verdict == KEEP {
        let keeps = (flags & GRADIENT) != 0u;
        state.pending += select(0u, 1u, keeps);
        flags = select(0u, flags | KEEP, keeps);
    } else {
        state.pending = 0u;
        if control.verdict == STEP && flags != 0u {
            let group = groups[steps[tensor].group];
            state = counted(state, group.rule);
            flags |= STEP | select(0u, FIRST, all(state.t == ONE));
            let unrectified = group.rule.form == RADAM && !is_rectified(state, group.rule);
            flags |= select(0u, UNRECTIFIED, unrectified);
            write_constants(tensor, state, group);
        } else {
            flags = 0u;
        }
    }
    steps[tensor].flags = flags;
    states[tensor] = state;
}

fn thread(id: vec3u, groups: vec3u) -> u32 {
    return id.y * (groups.x * THREADS) + id.x;
}

// Before gradient_norm.wgsl: selects the gradients to measure. The norm is that of the accumulated sum of the last
// micro-batch; the non-finite check covers every micro-batch.
@compute @workgroup_size(THREADS)
fn find(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let tensor = thread(id, groups);
    if tensor < arrayLength(&states) {
        let needed = SKIPS || control.micro_batch + 1u >= MICRO_BATCHES;
        steps[tensor].flags = select(0u, found(tensor, states[tensor]), needed);
    }
}

@compute @workgroup_size(THREADS)
fn decide_alone(@builtin(local_invocation_index) local: u32) {
    decide(local);
}

@compute @workgroup_size(THREADS)
fn advance(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let tensor = thread(id, groups);
    if tensor < arrayLength(&states) {
        advance_tensor(tensor);
    }
}

// Both dispatches in one, if one workgroup has a thread for every tensor.
@compute @workgroup_size(THREADS)
fn decide_and_advance(@builtin(local_invocation_index) local: u32) {
    decide(local);
    storageBarrier();
    workgroupBarrier();
    if local < arrayLength(&states) {
        advance_tensor(local);
    }
}
