// Adamax (Kingma & Ba 2015, Algorithm 2): the second moment in the infinity norm.
// step_size is lr / (1 − beta1ᵗ). One of eps_inside and eps is zero.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    eps_inside: f32,
    unused: vec4f,
}

const EXP_AVG = 0u;
const EXP_INF = 1u;

fn update(i: u32, step: Step, gradient: vec4f) -> vec4f {
    let exp_avg = blend(step.hyper.beta1, load_state(EXP_AVG, i), step.hyper.one_minus_beta1, gradient);
    let exp_inf =
        max(scale(step.hyper.beta2, load_state(EXP_INF, i)), add(abs(gradient), vec4f(step.hyper.eps_inside)));
    store_state(EXP_AVG, i, exp_avg);
    store_state(EXP_INF, i, exp_inf);
    denominator = add(exp_inf, vec4f(step.eps));
    return div(scale(step.step_size, exp_avg), denominator);
}
