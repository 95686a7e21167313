// SGD with momentum, PyTorch's: momentum_buffer = momentum · momentum_buffer + (1 − dampening) · g,
// where the first step takes g whole. Nesterov goes one step ahead: g + momentum · momentum_buffer.

struct Hyper {
    momentum: f32,
    one_minus_dampening: f32,
    nesterov: u32,
}

fn update(i: u32) {
    let gradient = load_grad(i);
    let weight = select(step.hyper.one_minus_dampening, 1.0, step.first == 1u);
    let momentum_buffer = keep(step.hyper.momentum * load_moment0(i)) + keep(weight * gradient);
    store_moment0(i, momentum_buffer);
    let ahead = gradient + keep(step.hyper.momentum * momentum_buffer);
    let direction = select(momentum_buffer, ahead, step.hyper.nesterov == 1u);
    store_param(i, load_param(i) - keep(step.lr * direction));
}
