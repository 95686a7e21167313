// Lion (Chen et al. 2023, program 1): the sign of an interpolated momentum.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    unused: vec4f,
}

const EXP_AVG = 0u;

fn update(i: u32, step: Step, gradient: vec4f) -> vec4f {
    let exp_avg = load_state(EXP_AVG, i);
    let direction = sign(blend(step.hyper.beta1, exp_avg, step.hyper.one_minus_beta1, gradient));
    store_state(EXP_AVG, i, blend(step.hyper.beta2, exp_avg, step.hyper.one_minus_beta2, gradient));
    return scale(step.lr, direction);
}
