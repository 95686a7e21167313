// RAdam (Liu et al. 2020) as PyTorch has it. step_size is lr · r / (1 − beta1ᵗ) with the rectification r, and
// lr / (1 − beta1ᵗ) before rectification; inv_bias_correction2 is 1 / (1 − beta2ᵗ).

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps_inside: f32,
}

const EXP_AVG = 0u;
const EXP_AVG_SQ = 1u;

fn update(i: u32, step: Step, gradient: vec4f) -> vec4f {
    let exp_avg = blend(step.hyper.beta1, load_state(EXP_AVG, i), step.hyper.one_minus_beta1, gradient);
    let exp_avg_sq = blend(
        step.hyper.beta2, load_state(EXP_AVG_SQ, i), step.hyper.one_minus_beta2, mul(gradient, gradient));
    store_state(EXP_AVG, i, exp_avg);
    store_state(EXP_AVG_SQ, i, exp_avg_sq);
    if (step.flags & UNRECTIFIED) != 0u {
        denominator = vec4f(1.0);
        return scale(step.step_size, exp_avg);
    }
    denominator = add(root(scale(step.inv_bias_correction2, exp_avg_sq)), vec4f(step.eps));
    return div(scale(step.step_size, exp_avg), denominator);
}
