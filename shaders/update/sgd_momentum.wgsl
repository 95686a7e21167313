// SGD with momentum, PyTorch's: momentum_buffer = momentum · momentum_buffer + (1 − dampening) · g,
// where the first step takes g whole. Nesterov goes one step ahead: g + momentum · momentum_buffer.

struct Hyper {
    momentum: f32,
    one_minus_dampening: f32,
    unused: vec4f,
}

const MOMENTUM_BUFFER = 0u;

override NESTEROV: bool = false;
override LR_IN_MOMENTUM: bool = false;

fn update(i: u32, step: Step, gradient: vec4f) -> vec4f {
    let taken = select(gradient, scale(step.lr, gradient), LR_IN_MOMENTUM);
    let weight = select(step.hyper.one_minus_dampening, 1.0, (step.flags & FIRST) != 0u);
    let momentum_buffer = blend(step.hyper.momentum, load_state(MOMENTUM_BUFFER, i), weight, taken);
    store_state(MOMENTUM_BUFFER, i, momentum_buffer);
    let ahead = add(taken, scale(step.hyper.momentum, momentum_buffer));
    let direction = select(momentum_buffer, ahead, NESTEROV);
    return select(scale(step.lr, direction), direction, LR_IN_MOMENTUM);
}
