// RMSprop (Hinton's lecture 6e, PyTorch's form: eps outside the root, no bias correction).

struct Hyper {
    alpha: f32,
    one_minus_alpha: f32,
    eps: f32,
}

fn update(i: u32) {
    let gradient = load_grad(i);
    let square_avg = keep(step.hyper.alpha * load_moment0(i))
        + keep(step.hyper.one_minus_alpha * (gradient * gradient));
    store_moment0(i, square_avg);
    store_param(i, load_param(i) - div(step.lr * gradient, root(square_avg) + step.hyper.eps));
}
