// Adam (Kingma & Ba 2015, Algorithm 1): eps outside the root, both moments bias-corrected.
// step_size is lr / (1 − beta1ᵗ), inv_bias_correction2 is 1 / (1 − beta2ᵗ).

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
}

fn update(i: u32) {
    let gradient = load_grad(i);
    let exp_avg = keep(step.hyper.beta1 * load_moment0(i))
        + keep(step.hyper.one_minus_beta1 * gradient);
    let exp_avg_sq = keep(step.hyper.beta2 * load_moment1(i))
        + keep(step.hyper.one_minus_beta2 * (gradient * gradient));
    store_moment0(i, exp_avg);
    store_moment1(i, exp_avg_sq);
    let denominator = root(exp_avg_sq * step.inv_bias_correction2) + step.hyper.eps;
    store_param(i, load_param(i) - div(step.step_size * exp_avg, denominator));
}
