// RMSprop (Hinton's lecture 6e), optionally centered and with momentum, in PyTorch's order of terms.

struct Hyper {
    alpha: f32,
    one_minus_alpha: f32,
    eps_inside: f32,
    momentum: f32,
    initial_accumulator: f32,
}

const SQUARE_AVG = 0u;
const GRAD_AVG = 1u;
override MOMENTUM_BUFFER: u32 = 1u;

override CENTERED: bool = false;
override CLAMP_VARIANCE: bool = true;
override MOMENTUM: bool = false;
override LR_IN_MOMENTUM: bool = false;
override BIAS_CORRECTION: bool = false;
override EPS_INSIDE: bool = false;
override INITIAL_ACCUMULATOR: bool = false;

fn corrected(average: vec4f, step: Step) -> vec4f {
    return select(average, scale(step.inv_bias_correction2, average), BIAS_CORRECTION);
}

fn update(i: u32, step: Step, gradient: vec4f) -> vec4f {
    var square_avg = load_state(SQUARE_AVG, i);
    if INITIAL_ACCUMULATOR && (step.flags & FIRST) != 0u {
        square_avg = vec4f(step.hyper.initial_accumulator);
    }
    square_avg = blend(step.hyper.alpha, square_avg, step.hyper.one_minus_alpha, mul(gradient, gradient));
    store_state(SQUARE_AVG, i, square_avg);

    var variance = corrected(square_avg, step);
    if CENTERED {
        let grad_avg = blend(step.hyper.alpha, load_state(GRAD_AVG, i), step.hyper.one_minus_alpha, gradient);
        store_state(GRAD_AVG, i, grad_avg);
        let mean = corrected(grad_avg, step);
        variance = sub(variance, mul(mean, mean));
        if CLAMP_VARIANCE {
            variance = max(variance, vec4f());
        }
    }
    if EPS_INSIDE {
        variance = add(variance, vec4f(step.hyper.eps_inside));
    }
    denominator = add(root(variance), vec4f(step.eps));
    if !MOMENTUM {
        return div(scale(step.lr, gradient), denominator);
    }
    let direction = div(select(gradient, scale(step.lr, gradient), LR_IN_MOMENTUM), denominator);
    let momentum_buffer = add(scale(step.hyper.momentum, load_state(MOMENTUM_BUFFER, i)), direction);
    store_state(MOMENTUM_BUFFER, i, momentum_buffer);
    return select(scale(step.lr, momentum_buffer), momentum_buffer, LR_IN_MOMENTUM);
}
