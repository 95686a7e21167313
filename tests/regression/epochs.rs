//! Many updates in one dispatch: each is within the bounds of its definition, and the bits do not depend on the division
//! among dispatches or settings.

use crate::common;

use common::gpu::Gpu;
use common::step::{Expected, rules};
use common::{Random, assert_bits, assert_within, widen};
use wgpu_optim::cpu::{Bounded, Number, RuleConstants, Step, StepState, exact_step, update_penalized};
use wgpu_optim::regression::TargetKind;
use wgpu_optim::regression::kernels::{
    DescentOptions, DeviceDataset, GradientLayout, SmallBatchKernel, Sweep, SweepOptions,
};
use wgpu_optim::regression::reference::BoundedSums;
use wgpu_optim::regression::reference::gradient::{Rows, gradient};
use wgpu_optim::{Adam, Batch, Error, Loss, Model, Penalty, Rule, Sgd, Span, Window};

/// A small problem and its training.
#[derive(Clone)]
struct Problem {
    options: DescentOptions,
    x: Vec<f32>,
    aux: Vec<f32>,
    start: Vec<f32>,
}

/// The final state on the device.
#[derive(Default)]
struct Outcome {
    /// The parameters, and each plane of the state.
    values: Vec<Vec<f32>>,
    gradient: Vec<f32>,
    losses: Vec<f32>,
    trace: Vec<f32>,
}

impl Problem {
    /// Random numbers within ±1.
    fn random(model: Model, rule: Rule, rows: usize, max_batch: u64) -> Self {
        let mut random = Random(model.features as u64 + rows as u64);
        let (x, mut aux) =
            (random.units(rows * model.features), random.units(rows * model.aux_columns()));
        let scale = 2.0 / (model.features as f32).sqrt();
        let start = random.units(model.params()).iter().map(|w| scale * w).collect();
        for (i, aux_row) in aux.chunks_mut(model.aux_columns()).enumerate() {
            match model.loss.target_kind() {
                TargetKind::Binary => aux_row[0] = (i % 2) as f32,
                TargetKind::Count => aux_row[0] = (i * i % 5) as f32,
                TargetKind::Real | TargetKind::Class => {}
            }
            if let Some(at) = model.weight_at() {
                aux_row[at] = aux_row[at].abs() * 3.0;
            }
        }
        let (penalty, average, max_batches, shuffled) = (Penalty::default(), None, 4096, false);
        let options = DescentOptions { model, rule, penalty, average, max_batch, max_batches, shuffled };
        Problem { options, x, aux, start }
    }

    fn rows(&self) -> u64 {
        (self.aux.len() / self.options.model.aux_columns()) as u64
    }

    fn samples(&self, gpu: &Gpu) -> DeviceDataset {
        let shape = GradientLayout::new(&self.options.model).unwrap();
        let samples =
            DeviceDataset::new(&gpu.device, shape, self.rows(), self.options.max_batch).unwrap();
        samples.write(&gpu.queue, &self.x, &self.aux).unwrap();
        samples
    }

    fn epochs(&self, gpu: &Gpu) -> SmallBatchKernel {
        let samples = self.samples(gpu);
        let params = gpu.span(&samples.shape().pad(&self.start));
        SmallBatchKernel::new(&gpu.device, &samples, &params, self.options, true).unwrap()
    }

    /// Batches of the maximum size, in order, over several epochs; the last one of an epoch is smaller.
    fn batches(&self, updates: usize) -> Vec<Batch> {
        let (rows, size) = (self.rows(), self.options.max_batch);
        let epoch = (0..rows).step_by(size as usize);
        epoch.map(|at| Batch::new(at, size.min(rows - at))).cycle().take(updates).collect()
    }

    /// The rows of a batch, row-major.
    fn batch(&self, batch: Batch) -> (Vec<f32>, Vec<f32>) {
        let of = |values: &[f32], width: usize| {
            let row = |i| &values[batch.row(i) as usize * width..][..width];
            (0..batch.rows).flat_map(row).copied().collect()
        };
        (of(&self.x, self.options.model.features), of(&self.aux, self.options.model.aux_columns()))
    }

    /// Trains with a number of updates per submission.
    fn train(&self, gpu: &Gpu, batches: &[Batch], at_once: usize) -> Outcome {
        let mut epochs = self.epochs(gpu);
        let mut outcome = Outcome::default();
        for batches in batches.chunks(at_once) {
            let next = update(gpu, &mut epochs, batches, self.options.rule.lr() as f32);
            outcome.losses.extend(next.losses);
            outcome.trace.extend(next.trace);
            (outcome.values, outcome.gradient) = (next.values, next.gradient);
        }
        outcome
    }
}

/// Computes some updates.
fn update(gpu: &Gpu, epochs: &mut SmallBatchKernel, batches: &[Batch], lr: f32) -> Outcome {
    epochs.prepare(&gpu.queue, batches, &vec![lr; batches.len()]).unwrap();
    gpu.run(|pass| epochs.record(pass));
    let head = |span: Span, width: u64| Span { len: batches.len() as u64 * width, ..span };
    let trace = head(epochs.trace().unwrap(), epochs.params().len);
    let mut spans = vec![head(epochs.losses(), 1), trace, epochs.gradient()];
    spans.push(epochs.params().clone());
    spans.extend(epochs.state());
    let mut read = gpu.read(&spans.iter().collect::<Vec<_>>()).into_iter();
    let mut next = || read.next().unwrap();
    let (losses, trace, gradient) = (next(), next(), next());
    Outcome { losses, trace, gradient, values: read.collect() }
}

/// The definition of an update of padded parameters and moments.
fn step<N: Number>(options: &DescentOptions, step: &Step<N>, values: &mut [Vec<N>], gradient: &[N]) {
    let shape = GradientLayout::new(&options.model).unwrap();
    let weights = 4 * shape.vectors as usize;
    let all = values[0].len();
    for (part, penalty) in [(0..weights, options.penalty), (weights..all, Penalty::default())] {
        let (params, moments) = values.split_first_mut().unwrap();
        let mut moments: Vec<&mut [N]> = moments.iter_mut().map(|m| &mut m[part.clone()]).collect();
        let (params, gradient) = (&mut params[part.clone()], &gradient[part]);
        update_penalized(&options.rule, &penalty, step, params, gradient, &mut moments);
    }
}

/// Compares every loss, gradient, parameter and moment of several updates.
#[track_caller]
fn assert_follows(gpu: &Gpu, problem: &Problem, batches: &[Batch]) -> Outcome {
    let options = &problem.options;
    let DescentOptions { model, rule, .. } = options;
    let shape = GradientLayout::new(model).unwrap();
    let mut epochs = problem.epochs(gpu);
    let mut values = vec![vec![0.0; shape.padded_len() as usize]; 1 + rule.moments().len()];
    values[0] = shape.pad(&problem.start);
    let mut state = StepState::default();
    let lr = rule.lr() as f32;
    let mut all = Outcome::default();
    for (t, &batch) in (1..).zip(batches) {
        let actual = update(gpu, &mut epochs, &[batch], lr);
        let what = format!("{model:?}, {rule:?}, update {t}, {batch:?}");
        let (depth, dot_depth) = epochs.depths(batch);
        let (x, aux) = problem.batch(batch);
        let rows = Rows { x: &x, aux: &aux };
        let sums = BoundedSums::of(model, rows, &shape.unpad(&values[0]), dot_depth);
        let (mut bounds, loss) = sums.finish(depth);
        bounds.push(loss);
        // As in `gradient`.
        if !gpu.exact {
            bounds.iter_mut().for_each(|bound| bound.error *= 2.0);
        }
        let mut found = shape.unpad(&actual.gradient);
        assert_bits("padding", &shape.pad(&found), &actual.gradient);
        found.push(actual.losses[0]);
        Expected(bounds).assert(&format!("{what}: gradient and loss"), &found);

        let counted = state.advance(&RuleConstants::new(rule), lr);
        let exact = exact_step(rule, state.t, lr.into());
        let exactly = |v: &Vec<f32>| Expected::exactly(v).0;
        let mut bounded: Vec<Vec<Bounded>> = values.iter().map(exactly).collect();
        step(options, &exact, &mut bounded, &exactly(&actual.gradient));
        for (expected, actual) in bounded.into_iter().zip(&actual.values) {
            Expected(expected).assert(&format!("{what}: bounds"), actual);
        }
        // The L2 penalty and a weight decay are summed in f32 there and in f64 here.
        if gpu.exact && options.penalty.l2_factor() == 0.0 {
            step(options, &counted, &mut values, &actual.gradient);
            for (expected, actual) in values.iter().zip(&actual.values) {
                assert_bits(&format!("{what}: bits"), actual, expected);
            }
        }
        assert_bits("trace", &actual.trace, &actual.values[0]);
        values = actual.values.clone();
        all.losses.extend(&actual.losses);
        all.trace.extend(&actual.trace);
        (all.values, all.gradient) = (actual.values, actual.gradient);
    }
    assert_eq!(epochs.step_state(), state);
    assert_ne!(shape.unpad(&all.values[0]), problem.start);
    all
}

#[track_caller]
fn assert_same(what: &str, a: &Outcome, b: &Outcome) {
    a.values.iter().zip(&b.values).for_each(|(a, b)| assert_bits(what, a, b));
    assert_bits(what, &a.gradient, &b.gradient);
    assert_bits(what, &a.losses, &b.losses);
    assert_bits(what, &a.trace, &b.trace);
}

/// Models of every loss that has one output; of `features` features.
fn models(features: usize) -> Vec<Model> {
    let model = |loss| Model::new(features, loss);
    vec![
        model(Loss::Mse),
        Model { weighted: true, offset: true, ..model(Loss::SquaredError) },
        model(Loss::Huber { epsilon: 0.25 }),
        Model { intercept: false, ..model(Loss::Quantile { quantile: 0.75 }) },
        Model { weighted: true, ..model(Loss::Logistic) },
        model(Loss::SquaredHinge),
        Model { intercept: false, offset: true, ..model(Loss::Poisson) },
    ]
}

/// Features and batch sizes for one thread, and for workgroups with every division of the columns.
const SIZES: [(usize, u64); 6] = [(1, 10), (6, 33), (31, 32), (40, 20), (130, 9), (600, 5)];

/// Every rule with the model and batch size selected by `k`.
#[track_caller]
fn assert_rules_follow(k: usize) {
    let Some(gpu) = Gpu::get() else { return };
    for (i, rule) in rules().into_iter().enumerate() {
        let (features, batch) = SIZES[(i + 3 * k) % SIZES.len()];
        let model = models(features)[(i + i / 6 + k) % 6];
        let mut problem = Problem::random(model, rule, 5 * batch as usize / 2, batch);
        problem.options.penalty = Penalty { alpha: 0.01, l1_ratio: 1.0 - 0.5 * k as f64 };
        let batches = problem.batches(4);
        let one_by_one = assert_follows(gpu, &problem, &batches);
        let what = format!("{model:?}, {rule:?}");
        assert_same(&what, &problem.train(gpu, &batches, 4), &one_by_one);
    }
}

// Two tests, which run side by side.
#[test]
fn every_rule_follows_its_definition() {
    assert_rules_follow(0);
}

#[test]
fn every_rule_follows_its_definition_on_another_model() {
    assert_rules_follow(1);
}

#[test]
fn every_loss_follows_its_definition_at_every_size() {
    let Some(gpu) = Gpu::get() else { return };
    for (features, batch) in SIZES {
        for model in models(features) {
            let rule = Adam { lr: 0.02, ..Adam::default() }.into();
            let problem = Problem::random(model, rule, 3 * batch as usize - 1, batch);
            let batches = problem.batches(4);
            let one_by_one = assert_follows(gpu, &problem, &batches);
            assert_same(&format!("{model:?}"), &problem.train(gpu, &batches, 4), &one_by_one);
        }
    }
}

#[test]
fn batches_of_every_length_follow_their_definition() {
    let Some(gpu) = Gpu::get() else { return };
    for (features, most) in [(3, 70), (40, 70), (1, 1024), (3, 1024)] {
        let rule = Sgd { lr: 0.05, ..Sgd::default() }.into();
        let model = Model { weighted: true, ..Model::new(features, Loss::Mse) };
        let problem = Problem::random(model, rule, most as usize, most);
        let lengths = (1..=most).filter(|n| *n <= 9 || [31, 63, 64, 65, 127].contains(n) || *n == most);
        let batches: Vec<Batch> = lengths.map(|n| Batch::new((most - n) / 2, n)).collect();
        assert_follows(gpu, &problem, &batches);
    }
}

#[test]
fn shuffled_batches_are_made_of_the_rows_of_their_windows() {
    let Some(gpu) = Gpu::get() else { return };
    for (features, size) in [(2, 8), (50, 8)] {
        let rule = Adam { lr: 0.02, ..Adam::default() }.into();
        let mut problem = Problem::random(Model::new(features, Loss::Logistic), rule, 50, size);
        problem.options.shuffled = true;
        let within = |first: u64, rows: u32, key| {
            let window = Some(Window { first, rows, key });
            let of = move |at| Batch { first: first + at, rows: size.min(u64::from(rows) - at), window };
            (0..u64::from(rows)).step_by(size as usize).map(of)
        };
        let shuffled = within(0, 50, [1, 2]).chain(within(0, 50, [3, 4])).chain(within(20, 13, [5, 6]));
        let batches: Vec<Batch> = shuffled.chain([Batch::new(40, 8)]).collect();
        let one_by_one = assert_follows(gpu, &problem, &batches);
        assert_same("shuffled", &problem.train(gpu, &batches, batches.len()), &one_by_one);
    }
}

/// More updates than one dispatch can make.
#[test]
fn how_updates_are_divided_among_dispatches_changes_no_bit() {
    let Some(gpu) = Gpu::get() else { return };
    for (features, rows, size) in [(1, 100, 10), (40, 64, 32)] {
        let model = Model::new(features, Loss::Mse);
        let mut problem = Problem::random(model, Adam::default().into(), rows, size);
        problem.options.average = Some(0.9);
        let updates = 2 * problem.epochs(gpu).updates_at_once() as usize + 3;
        assert!(updates <= 4096, "{updates}");
        let batches = problem.batches(updates);
        let whole = problem.train(gpu, &batches, updates);
        assert_eq!(whole.values.len(), 4, "parameters, two moments and the average");
        for at_once in [1, 7, 500] {
            let parts = problem.train(gpu, &batches, at_once);
            assert_same(&format!("{at_once} at once"), &parts, &whole);
        }
        // Every combination occurred.
        let last = problem.batches(updates).pop().unwrap();
        let (x, aux) = problem.batch(last);
        let before = &whole.trace[(updates - 2) * whole.values[0].len()..][..whole.values[0].len()];
        let before = widen(&GradientLayout::new(&model).unwrap().unpad(before));
        let (x, aux) = (widen(&x), widen(&aux));
        let rows = Rows { x: &x, aux: &aux };
        let loss = gradient(&model, rows, &before, &mut vec![0.0; before.len()]);
        let found = f64::from(*whole.losses.last().unwrap());
        assert_within("the last loss", &[found], &[loss], &[1e-5 * loss.abs() + 1e-9]);
        assert!(whole.losses.iter().all(|loss| *loss != 0.0));
    }
}

/// Small integers, learning rates and batch sizes that are powers of two: all operations are exact.
#[test]
fn exact_data_have_the_exact_parameters() {
    let Some(gpu) = Gpu::get() else { return };
    for (features, rows, size) in
        [(1, 8, 4), (3, 8, 4), (5, 20, 2), (16, 16, 8), (33, 8, 4), (300, 8, 2)]
    {
        for intercept in [true, false] {
            let model = Model { intercept, ..Model::new(features, Loss::Mse) };
            let rule = Sgd { lr: 0.25, ..Sgd::default() }.into();
            let mut problem = Problem::random(model, rule, rows, size);
            let mut random = Random(features as u64);
            let mut small = |values: &mut [f32]| values.iter_mut().for_each(|v| *v = random.integer(1));
            [&mut problem.x, &mut problem.aux, &mut problem.start].into_iter().for_each(|v| small(v));
            let batches = problem.batches(3);
            let mut params = widen(&problem.start);
            for &batch in &batches {
                let (x, aux) = problem.batch(batch);
                let (x, aux) = (widen(&x), widen(&aux));
                let mut grads = vec![0.0; params.len()];
                gradient(&model, Rows { x: &x, aux: &aux }, &params, &mut grads);
                params.iter_mut().zip(grads).for_each(|(w, g)| *w -= 0.25 * g);
            }
            let expected: Vec<f32> = params.iter().map(|&w| w as f32).collect();
            assert_eq!(widen(&expected), params, "the data are not exact");
            let actual = problem.train(gpu, &batches, 3);
            let actual = GradientLayout::new(&model).unwrap().unpad(&actual.values[0]);
            // −0 equals 0 here.
            let plus_zero = |values: &[f32]| values.iter().map(|v| v + 0.0).collect::<Vec<f32>>();
            assert_bits(&format!("{model:?}"), &plus_zero(&actual), &plus_zero(&expected));
        }
    }
}

#[test]
fn magnitudes_that_cost_enough_make_weights_zero() {
    let Some(gpu) = Gpu::get() else { return };
    for features in [5, 40] {
        let rule = Adam { lr: 0.05, ..Adam::default() }.into();
        let mut problem = Problem::random(Model::new(features, Loss::Mse), rule, 64, 16);
        problem.options.penalty = Penalty::l1(20.0);
        let batches = problem.batches(400);
        let outcome = problem.train(gpu, &batches, 400);
        let params = GradientLayout::new(&problem.options.model).unwrap().unpad(&outcome.values[0]);
        let (intercept, weights) = params.split_last().unwrap();
        assert_eq!(weights, vec![0.0; features], "every weight is exactly zero");
        assert_ne!(*intercept, 0.0);
    }
}

#[test]
fn settings_side_by_side_have_the_bits_that_each_has_alone() {
    let Some(gpu) = Gpu::get() else { return };
    for (features, size) in [(2, 10), (40, 10)] {
        let adam = |i: usize| {
            let lr = 0.001 * (1 + i) as f64;
            Adam { lr, betas: (0.9, 1.0 - 0.1 / (1 + i % 7) as f64), ..Adam::default() }.into()
        };
        let mut settings: Vec<Rule> = (0..70).map(adam).collect();
        settings.splice(3..3, rules());
        let mut problem = Problem::random(Model::new(features, Loss::Mse), settings[0], 30, size);
        problem.options.shuffled = true;
        let window = Some(Window { first: 0, rows: 30, key: [8, 9] });
        let in_order = problem.batches(9);
        let shuffled: Vec<Batch> = in_order.iter().map(|b| Batch { window, ..*b }).collect();
        let orders = [in_order, shuffled];
        let DescentOptions { model, penalty, max_batch, .. } = problem.options;
        let sweeping =
            SweepOptions { model, penalty, orders: 2, max_batch, max_updates: 5, shuffled: true };
        let samples = problem.samples(gpu);
        let mut sweep = Sweep::new(&gpu.device, &samples, &settings, &problem.start, sweeping).unwrap();
        for updates in [0..5, 5..9] {
            let parts: Vec<&[Batch]> = orders.iter().map(|order| &order[updates.clone()]).collect();
            sweep.prepare(&gpu.queue, &parts).unwrap();
            gpu.run(|pass| sweep.record(pass));
        }
        let spans = sweep.params();
        let read = gpu.read(&spans.iter().collect::<Vec<_>>()).concat();
        let all = sweep.sort(&read);
        assert_eq!(all.len(), settings.len() * 2);
        for (i, fit) in all.iter().enumerate().filter(|(i, _)| i % 5 < 2 || i / 2 < 40) {
            problem.options.rule = settings[i / 2];
            let alone = problem.train(gpu, &orders[i % 2], 9);
            let alone = GradientLayout::new(&model).unwrap().unpad(&alone.values[0]);
            assert_bits(&format!("{:?}, order {}", settings[i / 2], i % 2), fit, &alone);
        }
    }
}

#[test]
fn sweeps_that_cannot_be_are_refused() {
    let Some(gpu) = Gpu::get() else { return };
    let problem = Problem::random(Model::new(3, Loss::Mse), Adam::default().into(), 20, 5);
    let samples = problem.samples(gpu);
    let DescentOptions { model, penalty, max_batch, .. } = problem.options;
    let sweeping =
        SweepOptions { model, penalty, orders: 2, max_batch, max_updates: 4, shuffled: false };
    let new = |settings: &[Rule], start: &[f32], sweeping| {
        Sweep::new(&gpu.device, &samples, settings, start, sweeping)
    };
    let rules = [Adam::default().into(), Sgd::default().into()];
    let text = new(&rules, &[0.0; 3], sweeping).unwrap_err().to_string();
    assert_eq!(text, "the parameters to start with: 3 elements instead of 4");
    let none = SweepOptions { orders: 0, ..sweeping };
    let text = new(&rules, &[0.0; 4], none).unwrap_err().to_string();
    assert_eq!(text, "the number of orders is 0, but must be at least 1");
    let many = SweepOptions { orders: usize::MAX, ..sweeping };
    assert!(matches!(new(&rules, &[0.0; 4], many), Err(Error::Limit { .. })));
    let wrong = Adam { lr: -1.0, ..Adam::default() };
    new(&[rules[0], wrong.into()], &[0.0; 4], sweeping).unwrap_err();

    let mut sweep = new(&rules, &[0.0; 4], sweeping).unwrap();
    let batches = problem.batches(4);
    let text = sweep.prepare(&gpu.queue, &[&batches]).unwrap_err().to_string();
    assert_eq!(text, "orders: 1 elements instead of 2");
    let text = sweep.prepare(&gpu.queue, &[&batches, &batches[..3]]).unwrap_err().to_string();
    assert_eq!(text, "batches of an order: 3 elements instead of 4");
    assert_eq!(sweep.fit(2, 0).unwrap_err().to_string(), "setting 2 does not exist: there are 2");
    assert_eq!(sweep.fit(0, 2).unwrap_err().to_string(), "order 2 does not exist: there are 2");
    assert!(new(&[], &[0.0; 4], sweeping).unwrap().params().is_empty());
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = Gpu::get() else { return };
    assert!(SmallBatchKernel::fits(&Model::new(10, Loss::Mse), 32));
    assert!(!SmallBatchKernel::fits(&Model::new(10, Loss::Softmax { classes: 3 }), 32));
    let problem = Problem::random(Model::new(64, Loss::Mse), Adam::default().into(), 600, 257);
    let samples = problem.samples(gpu);
    let params = gpu.span(&vec![0.0; samples.shape().padded_len() as usize]);
    let refused = |samples: &DeviceDataset, options: DescentOptions| -> Error {
        SmallBatchKernel::new(&gpu.device, samples, &params, options, false).unwrap_err()
    };
    let text = refused(&samples, problem.options).to_string();
    assert_eq!(text, "the number of rows in a batch is 257, but must be as small as Epochs::fits says");
    let options = DescentOptions { max_batch: 8, max_batches: 3, ..problem.options };
    let two = DeviceDataset::with_max_buffer(&gpu.device, *samples.shape(), 600, 8, 300 * 256).unwrap();
    let text = refused(&two, options).to_string();
    assert!(text.starts_with("the number of chunks of the data is "), "{text}");
    let text = refused(&samples, DescentOptions { average: Some(1.5), ..options }).to_string();
    assert!(text.starts_with("average: decay is 1.5"), "{text}");

    let mut epochs = SmallBatchKernel::new(&gpu.device, &samples, &params, options, false).unwrap();
    let mut refused = |batches: &[Batch], rates: usize| {
        epochs.prepare(&gpu.queue, batches, &vec![0.1; rates]).unwrap_err().to_string()
    };
    let text = refused(&[Batch::new(0, 8); 2], 1);
    assert_eq!(text, "learning rates: 1 elements instead of 2");
    let text = refused(&[Batch::new(0, 8); 4], 4);
    assert_eq!(text, "the number of batches is 4, but must be no more than there is room for");
    let text = refused(&[Batch::new(0, 9)], 1);
    assert!(text.starts_with("the number of rows in a batch is 9"), "{text}");
    let text = refused(&[Batch::new(596, 8)], 1);
    assert_eq!(text, "the end of a batch is 604, but must be within the data");
    let window = Some(Window { first: 0, rows: 600, key: [0; 2] });
    let text = refused(&[Batch { first: 0, rows: 8, window }], 1);
    assert!(text.starts_with("the first row of a batch is 0"), "{text}");
    assert_eq!(epochs.step_state(), StepState::default(), "nothing has changed");
    assert!(epochs.trace().is_none());
}
