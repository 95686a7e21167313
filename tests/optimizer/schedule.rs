//! The schedules against PyTorch's in `golden/schedules.json`, at their seams, and at any step.

use proptest::prelude::*;
use serde::Deserialize;
use wgpu_optim::schedule::{
    AnnealStrategy, CosineAnnealing, CosineAnnealingWarmRestarts, Exponential, Linear, MultiStep,
    OneCycle, Polynomial, Step,
};
use wgpu_optim::{Error, Schedule};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    lr: f64,
    schedules: Vec<Part>,
    lrs: Vec<f64>,
}

#[derive(Deserialize)]
struct Part {
    until: Option<u64>,
    #[serde(flatten)]
    options: Options,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Options {
    Constant {
        factor: f64,
        total_iters: u64,
    },
    Linear {
        start_factor: f64,
        end_factor: f64,
        total_iters: u64,
    },
    Step {
        step_size: u64,
        gamma: f64,
    },
    MultiStep {
        milestones: Vec<u64>,
        gamma: f64,
    },
    Exponential {
        gamma: f64,
    },
    Polynomial {
        total_iters: u64,
        power: f64,
    },
    CosineAnnealing {
        t_max: u64,
        eta_min: f64,
    },
    CosineAnnealingWarmRestarts {
        t_0: u64,
        t_mult: u64,
        eta_min: f64,
    },
    OneCycle {
        total_steps: u64,
        pct_start: f64,
        anneal_strategy: String,
        div_factor: f64,
        final_div_factor: f64,
        three_phase: bool,
    },
}

impl Options {
    fn schedule(self, lr: f64) -> Result<Schedule, Error> {
        match self {
            Options::Constant { factor, total_iters } => {
                Ok(Schedule::constant(factor * lr)?.then(total_iters, Schedule::constant(lr)?))
            }
            Options::Linear { start_factor, end_factor, total_iters } => {
                Linear { start_factor, end_factor, total_iters }.schedule(lr)
            }
            Options::Step { step_size, gamma } => Step { step_size, gamma }.schedule(lr),
            Options::MultiStep { milestones, gamma } => MultiStep { milestones, gamma }.schedule(lr),
            Options::Exponential { gamma } => Exponential { gamma }.schedule(lr),
            Options::Polynomial { total_iters, power } => Polynomial { total_iters, power }.schedule(lr),
            Options::CosineAnnealing { t_max, eta_min } => {
                CosineAnnealing { t_max, eta_min }.schedule(lr)
            }
            Options::CosineAnnealingWarmRestarts { t_0, t_mult, eta_min } => {
                CosineAnnealingWarmRestarts { t_0, t_mult, eta_min }.schedule(lr)
            }
            Options::OneCycle {
                total_steps,
                pct_start,
                anneal_strategy,
                div_factor,
                final_div_factor,
                three_phase,
            } => {
                let anneal_strategy = match anneal_strategy.as_str() {
                    "cos" => AnnealStrategy::Cos,
                    _ => AnnealStrategy::Linear,
                };
                let cycle = OneCycle {
                    total_steps,
                    pct_start,
                    anneal_strategy,
                    div_factor,
                    final_div_factor,
                    three_phase,
                };
                cycle.schedule(lr)
            }
        }
    }
}

fn golden() -> Vec<Case> {
    let golden: Golden = serde_json::from_str(include_str!("../golden/schedules.json")).unwrap();
    assert_eq!(golden.cases.len(), 34);
    golden.cases
}

#[test]
fn every_learning_rate_is_pytorchs() {
    for case in golden() {
        let mut parts = case.schedules.into_iter();
        let first = parts.next().unwrap();
        let mut schedule = first.options.schedule(case.lr).unwrap();
        let mut until = first.until;
        for part in parts {
            schedule = schedule.then(until.unwrap(), part.options.schedule(case.lr).unwrap());
            until = part.until;
        }
        for (step, &expected) in case.lrs.iter().enumerate() {
            let actual = schedule.at(step as u64);
            let near = (actual - expected).abs() <= 1e-12 * expected;
            assert!(near, "{}, step {step}: {actual:e} for {expected:e}", case.name);
        }
    }
}

#[test]
fn a_warm_up_reaches_the_schedule_at_its_first_step() {
    let cosine = CosineAnnealing { t_max: 50, eta_min: 1e-4 }.schedule(0.1).unwrap();
    let warm = cosine.clone().warm_up(10, 0.2).unwrap();
    assert_eq!(warm.at(0), 0.2 * 0.1);
    assert_eq!(warm.at(5), 0.1 * (0.2 * 0.5 + 0.5));
    assert!(warm.at(9) < 0.1);
    for step in 0..100 {
        assert_eq!(warm.at(10 + step), cosine.at(step));
    }
}

#[test]
fn a_warm_up_is_pytorchs_linear_and_then_the_schedule() {
    let step = Step { step_size: 3, gamma: 0.5 }.schedule(0.7).unwrap();
    let linear =
        Linear { start_factor: 0.3, total_iters: 7, ..Linear::default() }.schedule(0.7).unwrap();
    let (warm, row) = (step.clone().warm_up(7, 0.3).unwrap(), linear.then(7, step));
    for step in 0..30 {
        assert_eq!(warm.at(step), row.at(step), "step {step}");
    }
}

#[test]
fn a_warm_up_goes_to_what_the_schedule_starts_from() {
    let cycle = OneCycle { total_steps: 100, ..OneCycle::default() }.schedule(0.5).unwrap();
    let warm = cycle.clone().warm_up(4, 0.0).unwrap();
    assert_eq!((warm.at(0), warm.at(2), warm.at(4)), (0.0, 0.01, 0.02));
    let none = cycle.clone().warm_up(0, 0.3).unwrap();
    assert_eq!(none.sample(100), cycle.sample(100));
}

#[test]
fn each_schedule_in_a_row_starts_from_its_own_step_0() {
    let exponential = Exponential { gamma: 0.5 }.schedule(8.0).unwrap();
    let linear = Linear { start_factor: 0.5, end_factor: 1.0, total_iters: 2 }.schedule(4.0).unwrap();
    let row = exponential.clone().then(2, linear.clone()).then(5, Schedule::constant(1.0).unwrap());
    assert_eq!(row.sample(7).unwrap(), [8.0, 4.0, 2.0, 3.0, 4.0, 1.0, 1.0]);
    // The same sequence, composed from its end.
    let tail = linear.then(3, Schedule::constant(1.0).unwrap());
    assert_eq!(exponential.clone().then(2, tail.clone()).sample(7), row.sample(7));
    assert_eq!(exponential.then(0, tail.clone()).sample(7), tail.sample(7));
}

#[test]
fn what_has_an_end_stays_there_and_what_has_periods_keeps_them() {
    let far = 1_000_000_000;
    let at = |schedule: Result<Schedule, Error>, step| schedule.unwrap().at(step);
    for step in [far, u64::MAX] {
        let linear = Linear { end_factor: 0.3, ..Linear::default() };
        assert_eq!(at(linear.schedule(0.1), step), 0.1 * 0.3);
        assert_eq!(at(Polynomial::default().schedule(0.1), step), 0.0);
        assert_eq!(at(Exponential { gamma: 0.9 }.schedule(0.1), step), 0.0);
        let three_phase = OneCycle { total_steps: 30, three_phase: true, ..OneCycle::default() };
        assert_eq!(at(three_phase.schedule(0.1), step), 0.1 / 25.0 / 1e4);
        let only_up = OneCycle { total_steps: 30, pct_start: 1.0, ..OneCycle::default() };
        assert_eq!(at(only_up.schedule(0.1), step), 0.1);
    }
    let cosine = CosineAnnealing { t_max: 1_000, eta_min: 0.01 };
    let restarts = CosineAnnealingWarmRestarts { t_0: 1_000, t_mult: 1, eta_min: 0.01 };
    for step in 0..1_000 {
        let down = at(cosine.schedule(0.1), step);
        assert_eq!(at(cosine.schedule(0.1), far + step), down);
        assert_eq!(at(cosine.schedule(0.1), far + 2_000 - step), down);
        assert_eq!(at(restarts.schedule(0.1), far + step), down);
    }
    // Periods of 1, 2, 4, …: the 64th starts at step 2⁶³ − 1, the 65th at the last step there is.
    let doubled = CosineAnnealingWarmRestarts { t_0: 1, t_mult: 2, eta_min: 0.0 };
    assert_eq!(at(doubled.schedule(0.1), (1 << 63) - 1), 0.1);
    assert_eq!(at(doubled.schedule(0.1), (1 << 63) - 1 + (1 << 62)), 0.05);
    assert_eq!(at(doubled.schedule(0.1), u64::MAX), 0.1);
    let long = CosineAnnealingWarmRestarts { t_0: 3, t_mult: u64::MAX, eta_min: 0.0 };
    assert_eq!(at(long.schedule(1.0), u64::MAX) as f32, 0.75);
}

/// PyTorch divides by the length of the first phase, which is 0 here.
#[test]
fn a_one_cycle_may_have_its_peak_at_step_0() {
    let cycle = OneCycle { total_steps: 10, pct_start: 0.1, ..OneCycle::default() };
    let schedule = cycle.schedule(0.1).unwrap();
    assert_eq!(schedule.at(0), 0.1);
    assert!(schedule.at(1) < 0.1);
    assert_eq!(schedule.at(9), 0.1 / 25.0 / 1e4);
}

#[test]
fn a_sample_is_every_learning_rate_rounded_once() {
    let schedule = CosineAnnealing { t_max: 30, eta_min: 1e-6 }.schedule(0.1).unwrap();
    let schedule = schedule.warm_up(10, 1e-3).unwrap();
    let table = schedule.sample(50).unwrap();
    assert_eq!(table, (0..50).map(|step| schedule.at(step) as f32).collect::<Vec<f32>>());
}

#[test]
fn any_function_is_a_schedule() {
    let halved = 0.5;
    let schedule = Schedule::from_fn(move |step| halved / (1 + step) as f64);
    assert_eq!(schedule.sample(4).unwrap(), [0.5, 0.25, 0.5 / 3.0, 0.125]);
    let warm = schedule.warm_up(2, 0.0).unwrap();
    assert_eq!(warm.sample(4).unwrap(), [0.0, 0.25, 0.5, 0.25]);
    let elsewhere = std::thread::spawn({
        let warm = warm.clone();
        move || warm.at(3)
    });
    assert_eq!(elsewhere.join().unwrap(), warm.at(3));
}

#[test]
fn a_sample_refuses_what_an_optimizer_would() {
    for bad in [f64::NAN, f64::INFINITY, -1e-3, 1e39] {
        let schedule = Schedule::from_fn(move |step| if step == 3 { bad } else { 0.1 });
        schedule.sample(3).unwrap();
        let Err(Error::LearningRates { index: 3, length: 5, value: Some(value) }) = schedule.sample(5)
        else {
            panic!("{bad} is taken");
        };
        assert_eq!(value.to_bits(), (bad as f32).to_bits());
    }
    let constant = Schedule::constant(0.1).unwrap();
    assert_eq!(constant.sample(0), Err(Error::LearningRates { index: 0, length: 0, value: None }));
    assert!(matches!(constant.sample(usize::MAX), Err(Error::OutOfMemory { .. })));
}

#[test]
fn an_error_names_schedule_field_value_and_range() {
    #[track_caller]
    fn refused(schedule: Result<Schedule, Error>, text: &str) {
        let message = schedule.unwrap_err().to_string();
        assert!(message.starts_with(&format!("{text}, which is outside its range: ")), "{message}");
    }
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    refused(Schedule::constant(-0.1), "constant: lr is -0.1");
    refused(Schedule::constant(1e39), "constant: lr is 1e39");
    refused(Schedule::constant(0.1).unwrap().warm_up(3, 1.5), "warm_up: start_factor is 1.5");

    let linear = Linear::default();
    refused(linear.schedule(nan), "linear: lr is NaN");
    refused(Linear { start_factor: -0.5, ..linear }.schedule(0.1), "linear: start_factor is -0.5");
    refused(Linear { end_factor: nan, ..linear }.schedule(0.1), "linear: end_factor is NaN");
    refused(Linear { total_iters: 0, ..linear }.schedule(0.1), "linear: total_iters is 0.0");

    let step = Step { step_size: 5, ..Step::default() };
    refused(step.schedule(inf), "step: lr is inf");
    refused(Step::default().schedule(0.1), "step: step_size is 0.0");
    refused(Step { gamma: 1.1, ..step }.schedule(0.1), "step: gamma is 1.1");

    refused(MultiStep::default().schedule(nan), "multi_step: lr is NaN");
    let multi_step = MultiStep { gamma: nan, ..MultiStep::default() };
    refused(multi_step.schedule(0.1), "multi_step: gamma is NaN");

    refused(Exponential { gamma: 0.9 }.schedule(-1.0), "exponential: lr is -1.0");
    refused(Exponential { gamma: -0.9 }.schedule(0.1), "exponential: gamma is -0.9");

    let polynomial = Polynomial::default();
    refused(polynomial.schedule(nan), "polynomial: lr is NaN");
    refused(Polynomial { total_iters: 0, ..polynomial }.schedule(0.1), "polynomial: total_iters is 0.0");
    refused(Polynomial { power: inf, ..polynomial }.schedule(0.1), "polynomial: power is inf");

    let cosine = CosineAnnealing { t_max: 5, ..CosineAnnealing::default() };
    refused(cosine.schedule(nan), "cosine_annealing: lr is NaN");
    refused(CosineAnnealing::default().schedule(0.1), "cosine_annealing: t_max is 0.0");
    refused(
        CosineAnnealing { eta_min: -1.0, ..cosine }.schedule(0.1),
        "cosine_annealing: eta_min is -1.0",
    );

    let name = "cosine_annealing_warm_restarts";
    let restarts = CosineAnnealingWarmRestarts { t_0: 5, ..CosineAnnealingWarmRestarts::default() };
    let none = CosineAnnealingWarmRestarts::default();
    refused(restarts.schedule(nan), &format!("{name}: lr is NaN"));
    refused(none.schedule(0.1), &format!("{name}: t_0 is 0.0"));
    let with = |t_mult, eta_min| CosineAnnealingWarmRestarts { t_mult, eta_min, ..restarts };
    refused(with(0, 0.0).schedule(0.1), &format!("{name}: t_mult is 0.0"));
    refused(with(1, inf).schedule(0.1), &format!("{name}: eta_min is inf"));

    let cycle = OneCycle { total_steps: 5, ..OneCycle::default() };
    refused(cycle.schedule(nan), "one_cycle: max_lr is NaN");
    refused(OneCycle::default().schedule(0.1), "one_cycle: total_steps is 0.0");
    refused(OneCycle { pct_start: 30.0, ..cycle }.schedule(0.1), "one_cycle: pct_start is 30.0");
    refused(OneCycle { div_factor: 0.0, ..cycle }.schedule(0.1), "one_cycle: div_factor is 0.0");
    refused(OneCycle { div_factor: 1e-40, ..cycle }.schedule(0.1), "one_cycle: div_factor is 1e-40");
    let to = |final_div_factor| OneCycle { final_div_factor, ..cycle }.schedule(0.1);
    refused(to(nan), "one_cycle: final_div_factor is NaN");
    refused(to(inf), "one_cycle: final_div_factor is inf");
    refused(to(1e-41), "one_cycle: final_div_factor is 1e-41");
}

#[test]
fn a_schedule_is_shown_as_what_made_it() {
    let schedule = Exponential { gamma: 0.5 }.schedule(0.1).unwrap();
    let row = schedule.warm_up(3, 0.0).unwrap().then(9, Schedule::from_fn(|_| 0.2));
    let text = "Exponential { gamma: 0.5 }.schedule(0.1).warm_up(3, 0.0).then(9, Schedule::from_fn(..))";
    assert_eq!(format!("{row:?}"), text);
}

/// Mostly valid, and anything else.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![20 => 0.0..=1.0, 2 => 0.0..=f64::from(f32::MAX), 1 => Just(0.0), 1 => any::<f64>()]
}

fn steps() -> impl Strategy<Value = u64> {
    let edges = prop::sample::select(vec![1, 2, (1 << 53) + 1, 1 << 63, u64::MAX - 1, u64::MAX]);
    prop_oneof![10 => 1..1_000u64, 4 => any::<u64>(), 4 => edges, 1 => Just(0)]
}

fn options() -> impl Strategy<Value = Options> {
    let strategies = prop::sample::select(vec!["cos".to_string(), "linear".to_string()]);
    prop_oneof![
        (number(), steps()).prop_map(|(factor, total_iters)| Options::Constant { factor, total_iters }),
        (number(), number(), steps()).prop_map(|(start_factor, end_factor, total_iters)| {
            Options::Linear { start_factor, end_factor, total_iters }
        }),
        (steps(), number()).prop_map(|(step_size, gamma)| Options::Step { step_size, gamma }),
        (prop::collection::vec(steps(), 0..9), number())
            .prop_map(|(milestones, gamma)| Options::MultiStep { milestones, gamma }),
        number().prop_map(|gamma| Options::Exponential { gamma }),
        (steps(), number()).prop_map(|(total_iters, power)| Options::Polynomial { total_iters, power }),
        (steps(), number()).prop_map(|(t_max, eta_min)| Options::CosineAnnealing { t_max, eta_min }),
        (steps(), steps(), number()).prop_map(|(t_0, t_mult, eta_min)| {
            Options::CosineAnnealingWarmRestarts { t_0, t_mult, eta_min }
        }),
        (steps(), number(), strategies, number(), number(), any::<bool>()).prop_map(
            |(total_steps, pct_start, anneal_strategy, div_factor, final_div_factor, three_phase)| {
                Options::OneCycle {
                    total_steps,
                    pct_start,
                    anneal_strategy,
                    div_factor,
                    final_div_factor,
                    three_phase,
                }
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

    /// Compositions of them are valid too.
    #[test]
    fn what_is_not_refused_is_a_learning_rate_at_any_step(
        lr in number(),
        (first, second) in (options(), options()),
        (milestone, warm_up, start_factor) in (steps(), steps(), number()),
        at in prop::collection::vec(steps(), 1..20),
    ) {
        let schedules = [first.schedule(lr), second.schedule(lr)];
        let [Ok(first), Ok(second)] = schedules else { return Ok(()) };
        let Ok(row) = first.then(milestone, second).warm_up(warm_up, start_factor) else { return Ok(()) };
        let seams = [0, warm_up, warm_up.saturating_add(milestone)];
        let near = seams.into_iter().flat_map(|seam| [seam.saturating_sub(1), seam, seam.saturating_add(1)]);
        for step in at.into_iter().chain(near) {
            let lr = row.at(step);
            prop_assert!(lr >= 0.0 && (lr as f32).is_finite(), "{row:?} is {lr} at step {step}");
        }
    }
}
