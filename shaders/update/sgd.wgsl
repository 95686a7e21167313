// SGD without momentum: no state, twelve bytes a parameter.

struct Hyper {
    unused: u32,
}

fn update(i: u32) {
    store_param(i, load_param(i) - keep(step.lr * load_grad(i)));
}
