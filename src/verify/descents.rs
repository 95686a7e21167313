//! Training with every rule, an update in two dispatches or many in one: each update within the bounds of its
//! definition, and the same bits however many are recorded at a time and whatever runs beside them.

use super::data::{Data, describe};
use super::variants::plain;
use super::{Check, Compared, Group, Rig, SuiteError};
use crate::cpu::Bounded;
use crate::regression::kernels::{
    Descent, DescentOptions, DeviceDataset, Gradient, GradientLayout, SmallBatchKernel, Sweep,
    SweepOptions,
};
use crate::regression::train::Recipe;
use crate::regression::verification::{self, Snapshot};
use crate::{Batch, Error, Loss, Model, Penalty, Rule, Span, Window};

pub const GROUP: Group = Group { name: "descents", run: |rig, checks| Box::pin(run(rig, checks)) };

/// The number of updates that are checked one by one, the last with shuffled rows, and of those that run at once.
const LOOKED_AT: usize = 4;
const AT_ONCE: usize = 9;

async fn run(rig: &Rig<'_>, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    for (i, (name, rule)) in rig.of_rules(Rule::variants()).into_iter().enumerate() {
        // One after the other, because compiling takes most of the time.
        let which = if rig.full() { i..i + 4 } else { i..i + 1 };
        for which in which {
            let case = Case::new(rig, ("descent", name), rule, (24, 30), which);
            checks.extend(case.checks(Trained::descent).await?);
        }
    }
    let some = if rig.full() { Rule::variants() } else { plain() };
    for (i, (name, rule)) in rig.of_rules(some).into_iter().enumerate() {
        for (kernel, size) in [("epochs of a thread", (6, 10)), ("epochs of a workgroup", (40, 20))] {
            let case = Case::new(rig, (kernel, name), rule, size, i + 1);
            checks.extend(case.checks(|case, _| Trained::epochs(case)).await?);
        }
    }
    for features in [6, 40] {
        checks.extend(sweep(rig, features).await?);
    }
    Ok(())
}

/// A rule on a small problem.
struct Case<'a> {
    rig: &'a Rig<'a>,
    kernel: String,
    name: String,
    options: DescentOptions,
    data: Data,
}

/// The results on the device: the parameters, each plane of the state, the gradient of the first update, and
/// the losses.
struct Outcome {
    values: Vec<Vec<f32>>,
    gradient: Vec<f32>,
    losses: Vec<f32>,
}

/// The kernel that makes the updates.
enum Trained {
    /// With a kernel that computes the gradient of a checked update again.
    Descent(Box<Descent>, Option<Box<(Gradient, Span)>>),
    SmallBatchKernel(Box<SmallBatchKernel>),
}

impl<'a> Case<'a> {
    /// The `which`-th choice of model, penalty and average.
    fn new(
        rig: &'a Rig,
        (kernel, name): (&str, &str),
        rule: Rule,
        (features, max_batch): (usize, u64),
        which: usize,
    ) -> Self {
        let of = |loss| Model::new(features, loss);
        let models = [
            of(Loss::Mse),
            Model { weighted: true, offset: true, ..of(Loss::SquaredError) },
            of(Loss::Huber { epsilon: 0.25 }),
            Model { intercept: false, ..of(Loss::Quantile { quantile: 0.75 }) },
            Model { weighted: true, ..of(Loss::Logistic) },
            Model { offset: true, ..of(Loss::SquaredHinge) },
        ];
        let model = models[which % models.len()];
        let (what, penalty, average) = match which % 4 {
            0 => ("", Penalty::default(), None),
            1 => (", elastic net, average", Penalty { alpha: 0.1, l1_ratio: 0.5 }, Some(0.9)),
            2 => (", l1", Penalty::l1(0.05), None),
            _ => (", l2, average", Penalty::l2(0.3), Some(0.99)),
        };
        let kernel = format!("{kernel}/{name}");
        let name = format!("{}, {}{what}", model.loss.name(), describe(&model));
        let mut random = rig.random(&format!("{kernel}, {name}"));
        let data = Data::random(model, 5 * max_batch as usize / 2, &mut random);
        let max_batches = AT_ONCE as u32;
        let options =
            DescentOptions { model, rule, penalty, average, max_batch, max_batches, shuffled: true };
        Case { rig, kernel, name, options, data }
    }

    fn samples(&self) -> Result<DeviceDataset, Error> {
        self.data.samples(self.rig, self.options.max_batch, None)
    }

    /// Batches in order, the last of an epoch ragged, and then one of a window.
    fn batches(&self, updates: usize) -> Vec<Batch> {
        let (rows, size) = (self.data.rows(), self.options.max_batch);
        let window = Some(Window { first: 3, rows: rows as u32 - 3, key: [5, 6] });
        let epoch = (0..rows).step_by(size as usize).map(|at| Batch::new(at, size.min(rows - at)));
        let shuffled = Batch { first: 4, rows: size, window };
        epoch.chain([shuffled]).cycle().take(updates).collect()
    }

    /// Compares each update with its definition, from the device's state before it; and all updates at once.
    async fn checks(
        &self,
        train: impl Fn(&Self, bool) -> Result<(Trained, Span), Error>,
    ) -> Result<Vec<Check>, Error> {
        let Case { rig, options, .. } = self;
        let shape = GradientLayout::new(&options.model)?;
        let batches = self.batches(AT_ONCE);
        let (mut one_by_one, params) = train(self, true)?;
        let mut compared = Vec::new();
        let mut losses = Vec::new();
        let mut before = one_by_one.values(rig).await?;
        for (t, &batch) in (1..).zip(&batches) {
            let after = one_by_one.run(self, &[batch]).await?;
            losses.extend(&after.losses);
            if t <= LOOKED_AT as u64 {
                compared.extend(self.compared(t, batch, &one_by_one, &before, &after, &shape));
            }
            before = after.values;
        }
        let checked = Check::derived(&self.kernel, &self.name, &compared);

        let (mut at_once, _) = train(self, false)?;
        let all = at_once.run(self, &batches).await?;
        let what = std::iter::once("params").chain(options.rule.moments().iter().copied());
        let what = what.chain(["average"]);
        let of = |(what, (actual, expected)): (&str, (Vec<f32>, Vec<f32>))| Compared {
            what: what.into(),
            actual,
            expected,
        };
        let mut same: Vec<_> = what.zip(all.values.into_iter().zip(before)).map(of).collect();
        same.push(of(("losses", (all.losses, losses))));
        let (around, poison) = rig.guards(&params).await?;
        let floats = |words: Vec<u32>| words.into_iter().map(f32::from_bits).collect();
        same.push(of(("around the parameters", (floats(around), floats(poison)))));
        let case = format!("{}: {AT_ONCE} at once as one by one", self.name);
        Ok(vec![checked, Check::exact(&self.kernel, &case, &same)])
    }

    /// Compares one update: its gradient and its step.
    fn compared(
        &self,
        t: u64,
        batch: Batch,
        trained: &Trained,
        before: &[Vec<f32>],
        after: &Outcome,
        shape: &GradientLayout,
    ) -> Vec<Compared<Bounded>> {
        let DescentOptions { model, rule, penalty, average, .. } = self.options;
        let params = shape.unpad(&before[0]);
        let moments: Vec<Vec<f32>> =
            before[1..=rule.moments().len()].iter().map(|moment| shape.unpad(moment)).collect();
        let data = Data { params: params.clone(), ..self.data.clone() };
        let (grads, loss) = data.bounds(batch, trained.depths(batch));
        let recipe = Recipe { model, rule, penalty, average };
        let lr = f64::from(rule.lr() as f32);
        let (stepped, stepped_moments) = verification::update(
            &recipe,
            (t, lr),
            &Snapshot { params, moments },
            &shape.unpad(&after.gradient),
        );
        let of = |what: &str, actual: &[f32], expected: Vec<Bounded>| Compared {
            what: format!("{what} of update {t}"),
            actual: actual.to_vec(),
            expected,
        };
        let mut all = vec![
            of("gradient", &after.gradient, shape.pad(&grads)),
            of("loss", &after.losses, vec![loss]),
            of("params", &after.values[0], shape.pad(&stepped)),
        ];
        let named = rule.moments().iter().zip(&after.values[1..]).zip(&stepped_moments);
        // The moments of padding need not be zero.
        all.extend(
            named.map(|((name, actual), expected)| of(name, &shape.unpad(actual), expected.clone())),
        );
        if let (Some(decay), Some(actual)) = (average, after.values.get(1 + rule.moments().len())) {
            let old = &before[1 + rule.moments().len()];
            all.push(of("average", actual, verification::average(decay, t, old, &after.values[0])));
        }
        all
    }
}

impl Trained {
    fn descent(case: &Case, looked_at: bool) -> Result<(Self, Span), Error> {
        let (rig, samples) = (case.rig, case.samples()?);
        let (device, shape) = (&rig.gpu.device, samples.shape());
        let params = rig.guarded(&shape.pad(&case.data.params));
        let gradient = || {
            let grads = rig.poisoned(shape.padded_len() as usize);
            let DescentOptions { model, max_batch, .. } = case.options;
            let (spans, most) = ((&params, &grads), (max_batch, 1));
            let gradient = Gradient::new(device, &samples, &model, spans, most, true)?;
            Ok(Box::new((gradient, grads)))
        };
        let gradient = looked_at.then(gradient).transpose()?;
        let descent = Descent::new(device, &samples, &params, case.options)?;
        Ok((Trained::Descent(Box::new(descent), gradient), params))
    }

    fn epochs(case: &Case) -> Result<(Self, Span), Error> {
        let samples = case.samples()?;
        let params = case.rig.guarded(&samples.shape().pad(&case.data.params));
        let epochs = SmallBatchKernel::new(&case.rig.gpu.device, &samples, &params, case.options, true)?;
        Ok((Trained::SmallBatchKernel(Box::new(epochs)), params))
    }

    fn depths(&self, batch: Batch) -> (u32, u32) {
        match self {
            Trained::Descent(_, gradient) => {
                gradient.as_ref().map_or((0, 0), |looked_at| looked_at.0.depths(batch))
            }
            Trained::SmallBatchKernel(epochs) => epochs.depths(batch),
        }
    }

    /// The parameters and each plane of the state.
    fn spans(&self) -> Vec<Span> {
        let (params, state) = match self {
            Trained::Descent(descent, _) => (descent.params(), descent.state()),
            Trained::SmallBatchKernel(epochs) => (epochs.params(), epochs.state()),
        };
        std::iter::once(params.clone()).chain(state).collect()
    }

    async fn values(&self, rig: &Rig<'_>) -> Result<Vec<Vec<f32>>, Error> {
        rig.read(&self.spans().iter().collect::<Vec<_>>()).await
    }

    /// Makes some updates in one submission.
    async fn run(&mut self, case: &Case<'_>, batches: &[Batch]) -> Result<Outcome, Error> {
        let (rig, count) = (case.rig, batches.len() as u64);
        let (queue, rates) = (&rig.gpu.queue, vec![case.options.rule.lr() as f32; batches.len()]);
        let (grads, losses) = match self {
            Trained::Descent(descent, gradient) => {
                if let Some((gradient, grads)) = gradient.as_deref_mut() {
                    rig.write(grads, &vec![f32::NAN; grads.len as usize]);
                    gradient.prepare(queue, &batches[..1])?;
                }
                descent.prepare(queue, batches, &rates)?;
                rig.run(|pass| {
                    gradient.iter().for_each(|looked_at| looked_at.0.record(pass, 0));
                    (0..batches.len()).for_each(|update| descent.record(pass, update));
                })
                .await?;
                let losses = Span::new(descent.losses(), 0, count);
                (gradient.as_ref().map_or(losses.clone(), |looked_at| looked_at.1.clone()), losses)
            }
            Trained::SmallBatchKernel(epochs) => {
                epochs.prepare(queue, batches, &rates)?;
                rig.run(|pass| epochs.record(pass)).await?;
                (epochs.gradient(), Span { len: count, ..epochs.losses() })
            }
        };
        let mut read = rig.read(&[&grads, &losses]).await?.into_iter();
        let (gradient, losses) = (read.next().unwrap_or_default(), read.next().unwrap_or_default());
        Ok(Outcome { values: self.values(rig).await?, gradient, losses })
    }
}

/// Runs all rules together, in two orders of the rows: each must have the bits of a run alone.
async fn sweep(rig: &Rig<'_>, features: usize) -> Result<Option<Check>, Error> {
    let settings: Vec<Rule> = rig
        .of_rules(if rig.full() { Rule::variants() } else { plain() })
        .into_iter()
        .flat_map(|(_, rule)| [rule, rule.with_lr(rule.lr() / 3.0)])
        .collect();
    let Some(&first) = settings.first() else { return Ok(None) };
    let mut case = Case::new(rig, ("sweep", "all"), first, (features, 10), 0);
    let in_order = case.batches(AT_ONCE);
    let window = Some(Window { first: 0, rows: case.data.rows() as u32, key: [8, 9] });
    let shuffled: Vec<Batch> = in_order
        .iter()
        .map(|batch| Batch { first: batch.first.min(case.data.rows() - batch.rows), window, ..*batch })
        .collect();
    let orders = [in_order, shuffled];
    let DescentOptions { model, penalty, max_batch, .. } = case.options;
    // There may be more settings than prepared ones.
    let max_updates = AT_ONCE as u32 + 4;
    let sweeping = SweepOptions { model, penalty, orders: 2, max_batch, max_updates, shuffled: true };
    let (device, samples) = (&rig.gpu.device, case.samples()?);
    let mut sweep = Sweep::new(device, &samples, &settings, &case.data.params, sweeping)?;
    sweep.prepare(&rig.gpu.queue, &[&orders[0], &orders[1]])?;
    rig.run(|pass| sweep.record(pass)).await?;
    let spans = sweep.params();
    let all = sweep.sort(&rig.read(&spans.iter().collect::<Vec<_>>()).await?.concat());
    let mut compared = Vec::new();
    // One order of every setting, and one setting of every rule; both orders of a single rule.
    let few = settings.len() <= 2;
    for (i, fit) in all.into_iter().enumerate().filter(|(i, _)| few || i % 4 == i / 4 % 4) {
        case.options.rule = settings[i / 2];
        let alone = Trained::epochs(&case)?.0.run(&case, &orders[i % 2]).await?;
        let what = format!("params of setting {} in order {}", i / 2, i % 2);
        let expected = sweep.shape().unpad(&alone.values[0]);
        compared.push(Compared { what, actual: fit, expected });
    }
    let case = format!("{} settings of {features} features as alone", settings.len());
    Ok(Some(Check::exact("sweep", &case, &compared)))
}
