// The frame around one rule: which element a thread updates, and what all rules share.
// Composed with files of arithmetic/, step.wgsl and one file of step/, files of storage/ with load_param(), store_param()
// and the like, accumulation.wgsl and one file of update/, whose update() returns the change that is subtracted from
// the parameter; main is in update_all.wgsl.
// The twin of this file is src/cpu/update.rs.

override CLIPPED: bool = false;
override CLIP_VALUE: f32 = 0.0;
override WRITE_BACK: bool = false;
override MAXIMIZE: bool = false;
override COUPLED: bool = false;
override DECOUPLED: bool = false;
override AVERAGES: bool = false;
override AVERAGE: u32 = 0u; // its plane in the state
override AVERAGE_DECAY: f32 = 0.0;
override ONE_MINUS_AVERAGE_DECAY: f32 = 1.0;

// A penalty: the number of vectors of weights; alpha · (1 − l1_ratio); alpha · l1_ratio times the factor by which momentum
// lengthens steps.
override PENALIZED: u32 = 0u;
override L2_FACTOR: f32 = 0.0;
override L1_FACTOR: f32 = 0.0;
override HAS_L1: bool = false;

// The divisor of the gradient in the rule, by which the L1 shrinkage is divided too.
var<private> denominator: vec4f = vec4f(1.0);

fn update_vector(i: u32, step: Step) {
    var gradient = found_gradient(i, step);
    if ACCUMULATES && (step.flags & KEEP) != 0u {
        store_state(ACCUMULATOR, i, gradient);
        return;
    }
    gradient = scale(step.grad_factor, gradient); // 1 without scaling
    if CLIPPED {
        gradient = clamp(gradient, vec4f(-CLIP_VALUE), vec4f(CLIP_VALUE));
    }
    if WRITE_BACK {
        store_grad(i, gradient);
    }
    if MAXIMIZE {
        gradient = negative(gradient);
    }
    let param = load_param(i);
    let penalized = i < PENALIZED;
    if COUPLED || L2_FACTOR != 0.0 {
        let factor = add_f32(step.weight_decay, select(0.0, L2_FACTOR, penalized));
        gradient = add(gradient, scale(factor, param));
    }
    // Small terms are summed first, so that the parameter is rounded once.
    var change = update(i, step, gradient);
    if DECOUPLED {
        change = add(change, scale(step.decay, param));
    }
    var updated = sub(param, change);
    if HAS_L1 && penalized {
        let most = div(vec4f(mul_f32(step.lr, L1_FACTOR)), denominator);
        updated = sub(updated, clamp(updated, negative(most), most));
    }
    store_param(i, updated);
    if AVERAGES {
        let average = blend(AVERAGE_DECAY, load_state(AVERAGE, i), ONE_MINUS_AVERAGE_DECAY, updated);
        store_state(AVERAGE, i, select(average, updated, (step.flags & FIRST) != 0u));
    }
}
