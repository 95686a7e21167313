// SGD without momentum: no state, twelve bytes a parameter.

struct Hyper {
    unused: array<vec4f, 2>,
}

fn update(i: u32, step: Step, gradient: vec4f) -> vec4f {
    return scale(step.lr, gradient);
}
