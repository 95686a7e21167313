// Adagrad (Duchi, Hazan & Singer 2011). lr has been divided by 1 + (t − 1) · lr_decay.

struct Hyper {
    eps_inside: f32,
    initial_accumulator: f32,
    unused: vec4f,
}

const SUM = 0u;

override EPS_INSIDE: bool = false;
override INITIAL_ACCUMULATOR: bool = false;

fn update(i: u32, step: Step, gradient: vec4f) -> vec4f {
    var sum = load_state(SUM, i);
    if INITIAL_ACCUMULATOR && (step.flags & FIRST) != 0u {
        sum = vec4f(step.hyper.initial_accumulator);
    }
    sum = add(sum, mul(gradient, gradient));
    store_state(SUM, i, sum);
    if EPS_INSIDE {
        sum = add(sum, vec4f(step.hyper.eps_inside));
    }
    denominator = add(root(sum), vec4f(step.eps));
    return div(scale(step.lr, gradient), denominator);
}
