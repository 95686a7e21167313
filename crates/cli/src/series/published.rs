//! The published algorithms with a defect, which are not rules of this library.

use wgpu_optim::cpu::Real;

/// Gradient descent on one row as published: the row's gradient is divided by the number of *all* rows.
pub struct Sgd<R> {
    pub lr: R,
    pub rows: R,
}

impl<R: Real> Sgd<R> {
    pub fn update(&mut self, params: &mut [R; 2], gradient: impl Fn(&[R; 2]) -> [R; 2]) {
        let g = gradient(params);
        for (param, g) in params.iter_mut().zip(g) {
            *param -= self.lr * (g / self.rows);
        }
    }
}

/// RMSprop as published: the intercept's gradient is divided by the root of the *slope's* average.
pub struct RmsProp<R> {
    pub lr: R,
    pub alpha: R,
    pub eps: R,
    pub square_avg: [R; 2],
}

impl<R: Real> RmsProp<R> {
    pub fn update(&mut self, params: &mut [R; 2], gradient: impl Fn(&[R; 2]) -> [R; 2]) {
        let g = gradient(params);
        for (average, g) in self.square_avg.iter_mut().zip(g) {
            *average = self.alpha * *average + (R::one() - self.alpha) * g * g;
        }
        let slopes = self.square_avg[0].sqrt() + self.eps;
        params[0] -= self.lr * g[0] / slopes;
        params[1] -= self.lr * g[1] / slopes;
    }
}

/// Nesterov momentum as published: the look-ahead is written into the parameters and never reverted.
///
/// At the point of the gradient this is ordinary momentum with lr · (1 + beta), which the GPU runs.
pub struct Nesterov<R> {
    pub lr: R,
    pub beta: R,
    pub velocity: [R; 2],
}

impl<R: Real> Nesterov<R> {
    pub fn update(&mut self, params: &mut [R; 2], gradient: impl Fn(&[R; 2]) -> [R; 2]) {
        for (param, velocity) in params.iter_mut().zip(self.velocity) {
            *param -= self.beta * velocity;
        }
        let g = gradient(params);
        for ((param, velocity), g) in params.iter_mut().zip(&mut self.velocity).zip(g) {
            *velocity = self.lr * g + self.beta * *velocity;
            *param -= *velocity;
        }
    }
}
