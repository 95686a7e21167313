//! Runs of the series' algorithms on a device.

use super::RMSPROP_AS_PUBLISHED;
use super::{Algorithm, Line, ROWS, Variant, published};
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::regression::reference::gradient::{self, Rows};
use wgpu_optim::regression::train::{
    Batches, CpuWorker, Float, GpuData, GpuWorker, HostRows, Placement, Recipe, Worker,
};
use wgpu_optim::regression::{Problem, ProblemError};
use wgpu_optim::{Loss, Model, Rule, Sgd};

/// Device of a run.
#[derive(Clone, Copy, Debug)]
pub enum Device<'a> {
    /// The f32 kernels.
    Gpu(&'a Gpu),
    /// The f32 path of the processor.
    Cpu,
    /// The f64 definition.
    F64,
}

/// (m, b) before the first and after every update.
pub type Trajectory = Vec<Line>;

/// Runs an algorithm, and returns its trajectory from the initial parameters.
///
/// # Errors
/// [`ProblemError`] if the device fails.
pub fn run(algorithm: Algorithm, variant: Variant, device: Device) -> Result<Trajectory, ProblemError> {
    let problem = Problem::blog();
    match device {
        Device::F64 => on_cpu::<f64>(&problem, algorithm, variant),
        Device::Cpu => on_cpu::<f32>(&problem, algorithm, variant),
        Device::Gpu(gpu) => on_gpu(gpu, &problem, algorithm, variant),
    }
}

fn on_cpu<R: Float>(
    problem: &Problem,
    algorithm: Algorithm,
    variant: Variant,
) -> Result<Trajectory, ProblemError> {
    let (x, y) = problem.materialize::<R>()?;
    let start = algorithm.start();
    if variant == Variant::Published {
        let lr = R::of(algorithm.rule().lr());
        match (algorithm, algorithm.rule()) {
            (Algorithm::Sgd, _) => {
                let (lr, rows) = (R::of(super::SGD_LR), R::of(ROWS as f64));
                let mut published = published::Sgd { lr, rows };
                return Ok(walk(algorithm, &x, &y, |params, g| published.update(params, g)));
            }
            (Algorithm::RmsProp | Algorithm::RmsPropArticle, Rule::RmsProp(rule)) => {
                let (alpha, eps) = (R::of(rule.alpha), R::of(rule.eps));
                let mut published = published::RmsProp { lr, alpha, eps, square_avg: [R::zero(); 2] };
                return Ok(walk(algorithm, &x, &y, |params, g| published.update(params, g)));
            }
            (Algorithm::Nesterov, Rule::Sgd(rule)) => {
                let beta = R::of(rule.momentum);
                let mut published = published::Nesterov { lr, beta, velocity: [R::zero(); 2] };
                return Ok(walk(algorithm, &x, &y, |params, g| published.update(params, g)));
            }
            _ => {}
        }
    }
    let rule = algorithm.rule();
    let rows = HostRows::Resident { x: &x, aux: &y };
    let mut worker = CpuWorker::new(rows, &recipe(rule), &[start.0, start.1])?;
    follow(&mut worker, algorithm, &rule, look_ahead(&rule))
}

/// The trajectory of an update that computes its own gradients.
fn walk<R: Float>(
    algorithm: Algorithm,
    x: &[R],
    y: &[R],
    mut update: impl FnMut(&mut [R; 2], &dyn Fn(&[R; 2]) -> [R; 2]),
) -> Trajectory {
    let start = algorithm.start();
    let mut params = [R::of(start.0), R::of(start.1)];
    let mut path = vec![start];
    let model = Model::new(1, Loss::Mse);
    for batch in algorithm.batches() {
        let rows = Rows { x, aux: y }.part(&model, batch.first as usize, batch.rows as usize);
        update(&mut params, &|params| {
            let mut grads = [R::zero(); 2];
            gradient::gradient(&model, rows, params, &mut grads);
            grads
        });
        path.push((params[0].f64(), params[1].f64()));
    }
    path
}

fn on_gpu(
    gpu: &Gpu,
    problem: &Problem,
    algorithm: Algorithm,
    variant: Variant,
) -> Result<Trajectory, ProblemError> {
    let batches = Batches::Given(algorithm.batches());
    let resident = |problem, model: &Model| {
        block_on(GpuData::new(gpu, problem, model, &batches, Placement::Resident))
    };
    let start = algorithm.start();
    let start = [start.0, start.1];
    let rule = algorithm.rule();
    match (variant, algorithm, rule) {
        (Variant::Published, Algorithm::RmsProp | Algorithm::RmsPropArticle, _) => {
            // The published kernel reads the slope for the intercept, so both are weights here: of x and of 1.
            let (x, y) = problem.materialize::<f64>()?;
            let x = x.into_iter().flat_map(|x| [x, 1.0]).collect();
            let problem = Problem::table("blog", 2, x, y);
            let model = Model { intercept: false, ..Model::new(2, Loss::Mse) };
            let data = resident(&problem, &model)?;
            let recipe = Recipe::new(model, rule);
            let mut worker = block_on(GpuWorker::with_rule_file(
                &data,
                &recipe,
                &start,
                &batches,
                Some(RMSPROP_AS_PUBLISHED),
            ))?;
            follow(&mut worker, algorithm, &rule, 0.0)
        }
        (Variant::Published, Algorithm::Nesterov, Rule::Sgd(nesterov)) => {
            let Sgd { lr, momentum, .. } = nesterov;
            let twice = Sgd { lr: lr * (1.0 + momentum), nesterov: false, ..nesterov }.into();
            let recipe = recipe(twice);
            let data = resident(problem, &recipe.model)?;
            let mut worker = block_on(GpuWorker::descent(&data, &recipe, &start, &batches))?;
            follow(&mut worker, algorithm, &twice, lr * momentum)
        }
        _ => {
            let recipe = recipe(rule);
            let data = resident(problem, &recipe.model)?;
            let mut worker = block_on(GpuWorker::descent(&data, &recipe, &start, &batches))?;
            follow(&mut worker, algorithm, &rule, look_ahead(&rule))
        }
    }
}

/// The series' model is a line, and its loss the mean squared error.
fn recipe(rule: Rule) -> Recipe {
    Recipe::new(Model::new(1, Loss::Mse), rule)
}

/// The look-ahead in units of the momentum buffer. PyTorch's Nesterov keeps the parameters at the look-ahead point,
/// where gradients are computed; the series prints the point lr · momentum · momentum_buffer before it.
fn look_ahead(rule: &Rule) -> f64 {
    match rule {
        Rule::Sgd(sgd) if sgd.nesterov => sgd.lr * sgd.momentum,
        _ => 0.0,
    }
}

/// The trajectory of a worker, with `look_ahead` times its momentum buffer subtracted.
fn follow(
    worker: &mut dyn Worker,
    algorithm: Algorithm,
    rule: &Rule,
    look_ahead: f64,
) -> Result<Trajectory, ProblemError> {
    let mut path = vec![algorithm.start()];
    for batch in algorithm.batches() {
        block_on(worker.run(&[batch], &[rule.lr()], None))?;
        let mut params = block_on(worker.params())?;
        if look_ahead != 0.0 {
            for (param, velocity) in params.iter_mut().zip(&block_on(worker.moments())?[0]) {
                *param += look_ahead * velocity;
            }
        }
        path.push((params[0], params[1]));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(algorithm: Algorithm, variant: Variant, device: Device) -> Line {
        *run(algorithm, variant, device).unwrap().last().unwrap()
    }

    fn assert_near(actual: Line, expected: Line, tolerance: f64, what: &str) {
        let error = (actual.0 - expected.0).abs().max((actual.1 - expected.1).abs());
        assert!(error <= tolerance, "{what}: {actual:?} for {expected:?}");
    }

    #[test]
    fn f64_gives_the_published_numbers_and_numpys() {
        for algorithm in Algorithm::ALL {
            for variant in [Variant::Published, Variant::Corrected] {
                let what = format!("{algorithm:?} {variant:?}");
                let expected = algorithm.expected(variant);
                assert_near(end(algorithm, variant, Device::F64), expected, 1e-12, &what);
                assert_near(end(algorithm, variant, Device::Cpu), expected, 5e-5, &what);
            }
        }
    }

    #[test]
    fn one_rows_own_average_at_the_published_rate_diverges() {
        let problem = Problem::blog();
        let (x, y) = problem.materialize::<f64>().unwrap();
        let rule = Sgd { lr: 0.85, ..Sgd::default() }.into();
        let rows = HostRows::Resident { x: &x, aux: &y };
        let mut worker = CpuWorker::new(rows, &recipe(rule), &[0.5, 0.5]).unwrap();
        let end = *follow(&mut worker, Algorithm::Sgd, &rule, 0.0).unwrap().last().unwrap();
        assert!(end.0.abs() > 1e20);
    }
}
