// RMSprop as the blog series published it: the intercept's gradient is divided by the root of the
// slope's square_avg. The model is (m, b, 0, 0) in one vector, so the slope's is x.
// `reproduce` uses this file instead of update/rmsprop.wgsl.

struct Hyper {
    alpha: f32,
    one_minus_alpha: f32,
    unused: vec4f,
}

const SQUARE_AVG = 0u;

fn update(i: u32, step: Step, gradient: vec4f) -> vec4f {
    let square_avg = blend(
        step.hyper.alpha, load_state(SQUARE_AVG, i), step.hyper.one_minus_alpha, mul(gradient, gradient));
    store_state(SQUARE_AVG, i, square_avg);
    return div(scale(step.lr, gradient), add(root(vec4f(square_avg.x)), vec4f(step.eps)));
}
