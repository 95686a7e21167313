// RMSprop as the blog series published it: the intercept's gradient is divided by the root of the
// slope's square_avg. The model is (m, b, 0, 0) in one vector, so the slope's is x.
// `reproduce` puts this in the place of update/rmsprop.wgsl.

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
    let slopes = root(vec4f(square_avg.x));
    store_param(i, load_param(i) - div(step.lr * gradient, slopes + step.hyper.eps));
}
