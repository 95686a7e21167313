// Adam (Kingma & Ba 2015, Algorithm 1), AdamW and AMSGrad, both moments bias-corrected.
// step_size is lr / (1 − beta1ᵗ), inv_bias_correction2 is 1 / (1 − beta2ᵗ).

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps_inside: f32,
}

const EXP_AVG = 0u;
const EXP_AVG_SQ = 1u;
const MAX_EXP_AVG_SQ = 2u;

override AMSGRAD: bool = false;
override AMSGRAD_OF_CORRECTED: bool = false;
override EPS_INSIDE: bool = false;

fn update(i: u32, step: Step, gradient: vec4f) -> vec4f {
    let exp_avg = blend(step.hyper.beta1, load_state(EXP_AVG, i), step.hyper.one_minus_beta1, gradient);
    let exp_avg_sq = blend(
        step.hyper.beta2, load_state(EXP_AVG_SQ, i), step.hyper.one_minus_beta2, mul(gradient, gradient));
    store_state(EXP_AVG, i, exp_avg);
    store_state(EXP_AVG_SQ, i, exp_avg_sq);

    var second = exp_avg_sq;
    if AMSGRAD {
        second = select(second, scale(step.inv_bias_correction2, second), AMSGRAD_OF_CORRECTED);
        second = max(load_state(MAX_EXP_AVG_SQ, i), second);
        store_state(MAX_EXP_AVG_SQ, i, second);
    }
    if !(AMSGRAD && AMSGRAD_OF_CORRECTED) {
        second = scale(step.inv_bias_correction2, second);
    }
    if EPS_INSIDE {
        second = add(second, vec4f(step.hyper.eps_inside));
    }
    denominator = add(root(second), vec4f(step.eps));
    return div(scale(step.step_size, exp_avg), denominator);
}
