//! Penalties: training converges to the minimum of loss and penalty with every rule.

use crate::{common, training};

use common::{Random, assert_bits, assert_within, step};
use training::{everywhere, gpu, plan};
use wgpu_optim::cpu::{self, RuleConstants, StepState};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::device::block_on;
use wgpu_optim::regression::train::{GpuData, GpuWorker, Placement, Recipe, TrainPlan, Worker};
use wgpu_optim::regression::verification::{self, Verification};
use wgpu_optim::rule::EpsPlacement;
use wgpu_optim::{
    Adagrad, Adam, Adamax, Lion, Loss, Model, NAdam, Penalty, RmsProp, Rule, Schedule, Sgd,
};

/// Orthogonal features of mean zero and variance one, so that weights are independent.
const X: [[f64; 3]; 4] = [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]];
/// The weights and the intercept of least squares.
const LEAST_SQUARES: [f64; 4] = [0.75, -0.125, 0.0625, 0.5];

/// Half the squared error of every row is zero at [`LEAST_SQUARES`]; its second derivatives are one.
fn problem() -> (Problem, Model) {
    let y = |row: &[f64; 3]| {
        let dot: f64 = row.iter().zip(LEAST_SQUARES).map(|(x, w)| x * w).sum();
        dot + LEAST_SQUARES[3]
    };
    let y = X.iter().map(y).collect();
    let mut problem = Problem::table("orthogonal", 3, X.concat(), y);
    let model = problem.model(Loss::SquaredError, true).unwrap();
    (problem, model)
}

/// Every rule that converges to a minimum, with all options that change the length of steps.
fn rules() -> Vec<Rule> {
    let sgd = Sgd { lr: 0.1, ..Sgd::default() };
    let momentum = Sgd { lr: 0.02, momentum: 0.9, ..sgd };
    let rmsprop = RmsProp { lr: 0.01, alpha: 0.9, ..RmsProp::default() };
    let adam = Adam { lr: 0.02, betas: (0.9, 0.99), ..Adam::default() };
    vec![
        sgd.into(),
        momentum.into(),
        Sgd { dampening: 0.5, ..momentum }.into(),
        Sgd { nesterov: true, ..momentum }.into(),
        Sgd { nesterov: true, lr_in_momentum: true, ..momentum }.into(),
        rmsprop.into(),
        RmsProp { momentum: 0.5, ..rmsprop }.into(),
        RmsProp { momentum: 0.5, lr_in_momentum: true, eps: 0.1, ..rmsprop }.into(),
        RmsProp { centered: true, eps: 0.1, eps_placement: EpsPlacement::Inside, ..rmsprop }.into(),
        adam.into(),
        Adam { amsgrad: true, ..adam }.into(),
        Adam { eps: 0.1, eps_placement: EpsPlacement::Inside, ..adam }.into(),
        NAdam { lr: 0.02, ..NAdam::default() }.into(),
        Adamax { lr: 0.02, ..Adamax::default() }.into(),
        Adagrad { lr: 0.3, ..Adagrad::default() }.into(),
    ]
}

/// Full batches. Rules that normalize gradients oscillate by the learning rate, so it decays; but not if the momentum
/// buffer holds steps with earlier learning rates.
fn settling(problem: &Problem, recipe: Recipe) -> TrainPlan {
    let lr = recipe.rule.lr();
    let of = |lr| Schedule::constant(lr).unwrap();
    let learning_rate = match recipe.rule {
        Rule::Sgd(_) | Rule::RmsProp(RmsProp { lr_in_momentum: true, .. }) => of(lr),
        _ => of(lr).then(1000, of(lr / 10.0)).then(2000, of(lr / 100.0)),
    };
    TrainPlan { learning_rate, ..plan(problem, recipe, problem.rows, 3000) }
}

/// The minimizer of ½ (w − v)² + l1 |w| + ½ l2 w².
fn minimum(v: f64, penalty: &Penalty) -> f64 {
    let shrunk = v.signum() * (v.abs() - penalty.l1_factor()).max(0.0);
    shrunk / (1.0 + penalty.l2_factor())
}

#[test]
fn every_rule_rests_where_loss_and_penalty_are_least() {
    let (problem, model) = problem();
    let penalties = [Penalty::l2(0.25), Penalty::l1(0.1), Penalty { alpha: 0.3, l1_ratio: 0.5 }];
    for (rule, penalty) in rules().into_iter().flat_map(|rule| penalties.map(|p| (rule, p))) {
        let recipe = Recipe { penalty, ..Recipe::new(model, rule) };
        let weights = LEAST_SQUARES[..3].iter().map(|&v| minimum(v, &penalty));
        // The intercept is not penalised.
        let expected: Vec<f64> = weights.chain([LEAST_SQUARES[3]]).collect();
        for (on, report) in everywhere(&problem, &settling(&problem, recipe)) {
            let what = format!("{rule:?}, {penalty:?} on {on}");
            assert_within(&what, &report.params, &expected, &[1e-4; 4]);
            for (&actual, expected) in report.params.iter().zip(expected.iter()) {
                assert_eq!(actual == 0.0, *expected == 0.0, "{what}: {actual} for {expected}");
            }
        }
    }
}

/// Lion's step depends on the sign alone, so its shrinkage is a length too: weights reach zero and stay there.
#[test]
fn lion_shrinks_by_a_length() {
    let (problem, model) = problem();
    let rule: Rule = Lion { lr: 0.01, ..Lion::default() }.into();
    let recipe = Recipe { penalty: Penalty::l1(2.0), ..Recipe::new(model, rule) };
    for (on, report) in everywhere(&problem, &settling(&problem, recipe)) {
        assert_eq!(report.params[..3], [0.0; 3], "{on}");
        assert!((report.params[3] - LEAST_SQUARES[3]).abs() < 1e-3, "{on}: {:?}", report.params);
    }
}

/// Each step from the device's state: the bits of the processor's f32 path if the device is exact, and within the bounds
/// of the definition on every device.
#[test]
fn a_device_makes_the_steps_of_the_processor() {
    let (Some(gpu), Some(common::gpu::Gpu { exact, .. })) = (gpu(), common::gpu::Gpu::get()) else {
        return;
    };
    let mut random = Random(12);
    let x: Vec<f64> = random.units(7 * 40).iter().map(|&x| x.into()).collect();
    let y: Vec<f64> = random.units(40).iter().map(|&y| y.into()).collect();
    let start: Vec<f64> = random.units(8).iter().map(|&w| f64::from(w) / 16.0).collect();
    let mut problem = Problem::table("random", 7, x, y);
    let model = problem.model(Loss::Mse, true).unwrap();
    for rule in step::rules() {
        let penalty = Penalty { alpha: 0.4, l1_ratio: 0.5 };
        let recipe = Recipe { penalty, ..Recipe::new(model, rule) };
        let batches = plan(&problem, recipe, 10, 12).batches;
        let data = block_on(GpuData::new(gpu, &problem, &model, &batches, Placement::Resident)).unwrap();
        let mut worker = block_on(GpuWorker::descent(&data, &recipe, &start, &batches)).unwrap();
        let mut state = StepState::default();
        let mut zeros = 0;
        for t in 1..=12 {
            let lr = f64::from(rule.lr() as f32);
            let step = block_on(worker.run_observed(batches.get(t - 1), lr, None)).unwrap();
            let what = format!("{rule:?}, step {t}");
            let mut report = Verification::new();
            let (params, moments) =
                verification::update(&recipe, (t, lr), &step.before, &step.gradient.grads);
            report.compare(t, "params", &step.after.params, &params);
            for (actual, expected) in step.after.moments.iter().zip(&moments) {
                report.compare(t, "moment", actual, expected);
            }
            assert!(report.pass, "{what}: {report:?}");
            zeros += step.after.params[..7].iter().filter(|&&w| w == 0.0).count();
            if !exact {
                continue;
            }
            let constants = state.advance(&RuleConstants::new(&rule), lr as f32);
            let (mut params, mut moments) = (step.before.params, step.before.moments);
            for (part, penalty) in [(0..7, penalty), (7..8, Penalty::default())] {
                let mut moments: Vec<&mut [f32]> =
                    moments.iter_mut().map(|moment| &mut moment[part.clone()]).collect();
                let (params, grads) = (&mut params[part.clone()], &step.gradient.grads[part]);
                cpu::update_penalized(&rule, &penalty, &constants, params, grads, &mut moments);
            }
            assert_bits(&what, &step.after.params, &params);
            for (actual, expected) in step.after.moments.iter().zip(&moments) {
                assert_bits(&what, actual, expected);
            }
        }
        assert!(zeros > 0, "{rule:?}");
    }
}
