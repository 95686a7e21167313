//! The update of every rule: every variant, storage and size, from state of every kind.

use super::conditioning::Options;
use super::twin::OptimizerTwin;
use super::values::TensorValues;
use super::variants::plain;
use super::{Check, Compared, Group, Rig, SuiteError};
use crate::cpu::{self, Bounded, RuleConstants, Step, StepState, exact_step};
use crate::gpu::span::Limits;
use crate::gpu::{Arena, Tensor};
use crate::regression::verification::exactly;
use crate::{Error, Optimizer, Rule, Sgd, Span};
use wgpu::BufferUsages;

pub const GROUP: Group = Group { name: "updates", run: |rig, checks| Box::pin(run(rig, checks)) };

/// Tails and vectors.
const SIZES: [usize; 4] = [1, 3, 4, 5];
const MORE_SIZES: [usize; 8] = [2, 6, 7, 63, 64, 65, 1027, 16_389];
/// With pieces of a few hundred vectors and grids of three workgroups a side.
const SEAMS: usize = 3077;
/// The steps that are checked: the first ones and, with other moments, late ones. Past 2²⁴ an f32 cannot count
/// steps, past 2³² a u32 cannot.
const STEPS: [u64; 6] = [1, 2, 3, 1000, (1 << 24) + 1, (1 << 32) + 1];
/// The step with a learning rate of 0, as at the start of a warm-up: the parameters stay, the moments change.
const AT_RATE_0: usize = 2;
/// Sizes of inputs are within 2^±30.
const OCTAVES: u32 = 30;

async fn run(rig: &Rig<'_>, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    let more: &[usize] = if rig.full() { &MORE_SIZES } else { &[] };
    // A workgroup and its neighbours.
    let group = 4 * rig.workgroup();
    let sizes = [&SIZES, more, &[group - 4, group - 1, group, group + 1, group + 4]].concat();
    let with_none = [&[0], &sizes[..]].concat();
    for (name, rule) in rig.of_rules(Rule::variants()) {
        checks.extend(Subject::spans(rig, name, rule, &with_none, None)?.checks().await?);
        checks.extend(Subject::arena(rig, name, rule, &sizes)?.checks().await?);
        let limits = Limits::of(&rig.gpu.device);
        let pieces = limits.capped(4 * limits.alignment.max(1024));
        let seams = Subject::spans(rig, name, rule, &[SEAMS], Some((pieces, "in pieces")))?;
        checks.extend(seams.checks().await?);
        let grid = Limits { max_groups: 3, ..limits };
        let grid = Subject::spans(rig, name, rule, &[SEAMS], Some((grid, "in a 2-D grid")))?;
        checks.extend(grid.checks().await?);
    }
    for (name, rule) in rig.of_rules(plain()) {
        checks.push(one_submission(rig, name, rule).await?);
    }
    let sgd = Sgd { lr: 0.125, ..Sgd::default() };
    let momentum = Sgd { momentum: 0.5, ..sgd };
    for rule in [sgd, momentum, Sgd { nesterov: true, ..momentum }] {
        checks.push(exact(rig, rule, 65_537 + 3).await?);
    }
    if rig.full() {
        checks.push(exact(rig, momentum, past_one_dispatch(rig)).await?);
    }
    Ok(())
}

/// More elements than one dimension of a grid has threads for.
fn past_one_dispatch(rig: &Rig) -> usize {
    let limits = rig.gpu.device.limits();
    let most = limits.max_buffer_size / 4 - 2 * super::rig::GUARD as u64;
    let groups = limits.max_compute_workgroups_per_dimension as usize;
    (groups * 4 * rig.workgroup() + 7).min(most as usize)
}

/// An optimizer on the device, and the checks of its tensors.
struct Subject<'a> {
    rig: &'a Rig<'a>,
    name: &'static str,
    rule: Rule,
    optimizer: Optimizer,
    cases: Vec<String>,
    /// Whether poison surrounds parameters and gradients.
    guarded: bool,
}

impl<'a> Subject<'a> {
    /// A tensor of each size in a buffer of its own.
    fn spans(
        rig: &'a Rig,
        name: &'static str,
        rule: Rule,
        sizes: &[usize],
        limits: Option<(Limits, &str)>,
    ) -> Result<Self, Error> {
        let mut builder = Optimizer::new(&rig.gpu.device, rule)
            .learning_rates(rates(&rule))
            .arithmetic(rig.arithmetic);
        let mut cases = Vec::new();
        for &len in sizes {
            let case =
                format!("span of {len}{}", limits.map_or(String::new(), |(_, how)| format!(" {how}")));
            let mut random = rig.random(&format!("{name}, {case}"));
            let params = rig.guarded(&random.wides(len, OCTAVES));
            builder = builder.tensor(params, rig.guarded(&vec![0.0; len]));
            cases.push(case);
        }
        if let Some((limits, _)) = limits {
            builder = builder.limits(limits);
        }
        Ok(Subject { rig, name, rule, optimizer: builder.build()?, cases, guarded: true })
    }

    /// The same tensors in an arena.
    fn arena(rig: &'a Rig, name: &'static str, rule: Rule, sizes: &[usize]) -> Result<Self, Error> {
        let device = &rig.gpu.device;
        let cases: Vec<String> = sizes.iter().map(|len| format!("arena tensor of {len}")).collect();
        let shapes: Vec<[u64; 1]> = sizes.iter().map(|&len| [len as u64]).collect();
        let named = cases.iter().zip(&shapes).map(|(name, shape)| (&name[..], &shape[..]));
        let arena = Arena::new(device, BufferUsages::empty(), named)?;
        for (tensor, case) in arena.tensors().iter().zip(&cases) {
            let mut random = rig.random(&format!("{name}, {case}"));
            tensor.params.iter().for_each(|p| rig.write(p, &random.wides(p.len as usize, OCTAVES)));
        }
        let optimizer = Optimizer::new(device, rule)
            .learning_rates(rates(&rule))
            .arithmetic(rig.arithmetic)
            .arena(&arena)
            .build()?;
        Ok(Subject { rig, name, rule, optimizer, cases, guarded: false })
    }

    /// Checks the update of every tensor, from the device's state before it.
    async fn checks(&self) -> Result<Vec<Check>, Error> {
        let (rig, rule, tensors) = (self.rig, &self.rule, self.optimizer.tensors());
        let mut bounded: Vec<Vec<Compared<Bounded>>> = vec![Vec::new(); tensors.len()];
        let mut same: Vec<Vec<Compared<f32>>> = vec![Vec::new(); tensors.len()];
        let mut twin =
            OptimizerTwin::new(*rule, rates(rule), Options::default(), !self.guarded, tensors.len());
        for (t, lr) in STEPS.into_iter().zip(rates(rule)) {
            if t > 3 {
                self.jump(t)?;
                twin.set_step(t - 1);
            }
            let mut random = rig.random(&format!("{}, gradients at {t}", self.name));
            let grads: Vec<Vec<f32>> =
                tensors.iter().map(|tensor| random.wides(len(tensor), OCTAVES)).collect();
            for (tensor, grads) in tensors.iter().zip(&grads) {
                write(rig, &tensor.grads, grads);
            }
            let before = TensorValues::read(rig, &self.optimizer).await?;
            rig.run(|pass| self.optimizer.record(pass)).await?;
            let after = TensorValues::read(rig, &self.optimizer).await?;
            if rig.compares_bits() {
                let pairs = after.iter().zip(twin.record(&before));
                for (same, (after, expected)) in same.iter_mut().zip(pairs) {
                    same.extend(after.compared(&expected, rule.moments(), &format!(" at t = {t}")));
                }
                continue;
            }
            let step = exact_step::<Bounded>(rule, t, f64::from(lr));
            for (found, (before, after)) in bounded.iter_mut().zip(before.iter().zip(&after)) {
                found.extend(self.compared(t, &step, before, after));
            }
        }
        let mut checks = Vec::new();
        for (i, (case, tensor)) in self.cases.iter().zip(tensors).enumerate() {
            if len(tensor) > 0 {
                checks.push(match rig.compares_bits() {
                    true => Check::exact(&self.kernel(), case, &same[i]),
                    false => Check::derived(&self.kernel(), case, &bounded[i]),
                });
            }
            if self.guarded {
                let (params, grads) =
                    (rig.guards(&tensor.params[0]).await?, rig.guards(&tensor.grads[0]).await?);
                let (found, expected) = ([params.0, grads.0].concat(), [params.1, grads.1].concat());
                let case = format!("{case}, the words around it");
                checks.push(Check::words(&self.kernel(), &case, "bits", &found, &expected));
            }
        }
        Ok(checks)
    }

    /// The parameters and moments after step `t`, with their bounds.
    fn compared(
        &self,
        t: u64,
        step: &Step<Bounded>,
        before: &TensorValues,
        after: &TensorValues,
    ) -> Vec<Compared<Bounded>> {
        let rule = &self.rule;
        let mut params = exactly(&before.params);
        let mut moments: Vec<Vec<Bounded>> = before.moments.iter().map(|v| exactly(v)).collect();
        let mut slices: Vec<&mut [Bounded]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
        cpu::update(rule, step, &mut params, &exactly(&before.grads), &mut slices);
        let names = std::iter::once("params").chain(rule.moments().iter().copied());
        let actual = std::iter::once(&after.params).chain(&after.moments);
        names
            .zip(actual.zip(std::iter::once(params).chain(moments)))
            .map(|(name, (actual, expected))| {
                Compared::new(format!("{name} at t = {t}"), &actual[..], expected)
            })
            .collect()
    }

    fn kernel(&self) -> String {
        format!("update/{}", self.name)
    }

    /// Moves to a late step, with plausible moments.
    fn jump(&self, t: u64) -> Result<(), Error> {
        let rig = self.rig;
        for (i, tensor) in self.optimizer.tensors().iter().enumerate() {
            self.optimizer.set_step(&rig.gpu.queue, i, t - 1)?;
            let mut random = rig.random(&format!("{}, {}, moments at {t}", self.name, self.cases[i]));
            let squares: Vec<f32> = random.wides(len(tensor), OCTAVES).iter().map(|x| x.abs()).collect();
            for (name, spans) in self.rule.moments().iter().zip(&tensor.moments) {
                let values: Vec<f32> = match *name {
                    "exp_avg" | "momentum_buffer" => random.wides(len(tensor), OCTAVES),
                    // An average's square is no larger than the average of squares.
                    "grad_avg" => squares.iter().map(|s| 0.9 * random.unit() * s.sqrt()).collect(),
                    _ => squares.clone(),
                };
                write(rig, spans, &values);
            }
        }
        Ok(())
    }
}

/// The learning rate of each of the steps.
fn rates(rule: &Rule) -> Vec<f32> {
    let rate = |i| if i == AT_RATE_0 { 0.0 } else { rule.lr() as f32 };
    (0..STEPS.len()).map(rate).collect()
}

/// Ten steps in one submission and in ten, twice: the same bits.
async fn one_submission(rig: &Rig<'_>, name: &'static str, rule: Rule) -> Result<Check, Error> {
    let train = async |at_once: usize| -> Result<Vec<f32>, Error> {
        let subject = Subject::spans(rig, name, rule, &[0, 5, 1027], None)?;
        let tensors = subject.optimizer.tensors();
        for tensor in tensors {
            write(rig, &tensor.grads, &rig.random("one submission").units(len(tensor)));
        }
        for _ in 0..10 / at_once {
            rig.run(|pass| (0..at_once).for_each(|_| subject.optimizer.record(pass))).await?;
        }
        Ok(read(rig, tensors).await?.concat().concat())
    };
    let (together, apart, again) = (train(10).await?, train(1).await?, train(10).await?);
    let kernel = format!("update/{name}");
    let case = "ten steps in one submission, in ten, and once more";
    let check = Check::exact(
        &kernel,
        case,
        &[Compared::new("in ten", apart, &together[..]), Compared::new("again", again, &together[..])],
    );
    Ok(check)
}

/// Runs two steps on numbers of few bits, which are exact on every device.
async fn exact(rig: &Rig<'_>, rule: Sgd, elements: usize) -> Result<Check, Error> {
    let rule: Rule = rule.into();
    let mut random = rig.random("exact");
    let mut integers = || (0..elements).map(|_| random.integer(1 << 10)).collect::<Vec<f32>>();
    let (mut params, grads) = (integers(), integers());
    let (on_device, gradients) = (rig.guarded(&params), rig.guarded(&grads));
    let optimizer = Optimizer::new(&rig.gpu.device, rule)
        .arithmetic(rig.arithmetic)
        .tensor(on_device.clone(), gradients)
        .build()?;
    rig.run(|pass| (0..2).for_each(|_| optimizer.record(pass))).await?;
    let mut state = StepState::default();
    let mut moments = vec![vec![0.0f32; elements]; rule.moments().len()];
    for _ in 0..2 {
        let step = state.advance(&RuleConstants::new(&rule), 0.125);
        let mut slices: Vec<&mut [f32]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
        cpu::update(&rule, &step, &mut params, &grads, &mut slices);
    }
    let found = read(rig, optimizer.tensors()).await?.remove(0);
    let names = std::iter::once("params").chain(rule.moments().iter().copied());
    let expected = std::iter::once(params).chain(moments);
    let compared: Vec<_> = names
        .zip(found.into_iter().zip(expected))
        .map(|(name, (found, expected))| Compared::new(name, found, expected))
        .collect();
    let kernel = format!("update/{}", rule.name());
    let check = Check::exact(&kernel, &format!("{elements} integers"), &compared);
    let (guards, expected) = rig.guards(&on_device).await?;
    Ok(check.and(Check::words("", "", "the words around it", &guards, &expected)))
}

fn len(tensor: &Tensor) -> usize {
    tensor.params.iter().map(|span| span.len as usize).sum()
}

/// Writes values over consecutive spans.
fn write(rig: &Rig, spans: &[Span], values: &[f32]) {
    let mut rest = values;
    for span in spans {
        let (now, later) = rest.split_at(span.len as usize);
        rig.write(span, now);
        rest = later;
    }
}

/// The parameters and then each moment of every tensor.
pub async fn read(rig: &Rig<'_>, tensors: &[Tensor]) -> Result<Vec<Vec<Vec<f32>>>, Error> {
    let lists: Vec<&[Span]> = tensors.iter().flat_map(planes).map(Vec::as_slice).collect();
    let mut values = rig.read_joined(&lists).await?.into_iter();
    let mut of = |tensor: &Tensor| values.by_ref().take(planes(tensor).count()).collect();
    Ok(tensors.iter().map(&mut of).collect())
}

fn planes(tensor: &Tensor) -> impl Iterator<Item = &Vec<Span>> {
    std::iter::once(&tensor.params).chain(&tensor.moments)
}
