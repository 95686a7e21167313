//! A recorded step on the processor, in strict arithmetic: the same bits as the device's.

use super::conditioning::Options;
use super::values::TensorValues;
use crate::cpu::{self, Number, RuleConstants, Step, StepState, Strict};
use crate::gpu::{self, MEASURED, PARTIALS_ALIGNMENT};
use crate::rule::ClipNorm;
use crate::{Conditioning, Rule};

/// The twin of `THREADS` in `shaders/step_state.wgsl`.
const THREADS: usize = 64;
const LANES: usize = gpu::LANES as usize;
const VECTORS: usize = gpu::LANE_VECTORS as usize;
const BLOCK: usize = gpu::BLOCK as usize;

/// An optimizer of one parameter group, whose tensors have a gradient in every step.
pub struct OptimizerTwin {
    rule: Rule,
    rates: Vec<f32>,
    options: Options,
    /// Whether the tensors are in an arena.
    packed: bool,
    states: Vec<StepState>,
    /// Steps taken.
    steps: usize,
    micro_batch: u32,
    nonfinite: bool,
    /// The norm and the factor of the latest step.
    pub norm: f32,
    pub factor: f32,
}

impl OptimizerTwin {
    pub fn new(rule: Rule, rates: Vec<f32>, options: Options, packed: bool, tensors: usize) -> Self {
        let states = vec![StepState::default(); tensors];
        let (steps, micro_batch, nonfinite) = (0, 0, false);
        let (norm, factor) = (0.0, 0.0);
        OptimizerTwin {
            rule,
            rates,
            options,
            packed,
            states,
            steps,
            micro_batch,
            nonfinite,
            norm,
            factor,
        }
    }

    /// Continues after `t` steps of every tensor.
    pub fn set_step(&mut self, t: u64) {
        self.states.fill(StepState::after(&self.rule, t));
    }

    /// The values behind one recorded micro-batch, from those before it.
    pub fn record(&mut self, before: &[TensorValues]) -> Vec<TensorValues> {
        let Conditioning { clip_norm, skip_nonfinite, grad_scale, .. } = self.options.conditioning;
        let micro_batches = self.options.micro_batches;
        let accumulated = self.micro_batch > 0;
        let gradients: Vec<Vec<Strict>> =
            before.iter().map(|tensor| gradient(tensor, accumulated)).collect();
        let last = self.micro_batch + 1 >= micro_batches;
        let measures = self.options.conditioning.measures();
        let sums = if measures && (last || skip_nonfinite) {
            let regions = if self.packed { arena(&gradients) } else { spans(&gradients) };
            total(&regions.concat())
        } else {
            Partial::default()
        };
        self.nonfinite |= sums.nonfinite;
        self.micro_batch = if last { 0 } else { self.micro_batch + 1 };
        if !last {
            let kept = before.iter().zip(&gradients);
            return kept
                .map(|(tensor, sum)| TensorValues { accumulator: memory(sum), ..tensor.clone() })
                .collect();
        }
        let mut factor = Strict::of(1.0 / grad_scale) * Strict::of(1.0 / f64::from(micro_batches));
        let norm = if measures { sums.norm() * factor } else { Strict::new(self.norm) };
        factor = clipped(clip_norm, factor, norm);
        (self.norm, self.factor) = (norm.value(), factor.value());
        if skip_nonfinite && std::mem::take(&mut self.nonfinite) {
            return before.to_vec();
        }
        self.nonfinite = false;
        let rate = Strict::new(self.rates[self.steps.min(self.rates.len() - 1)]);
        self.steps += 1;
        let constants = RuleConstants::new(&self.rule);
        let tensors = before.iter().zip(gradients).zip(&mut self.states);
        tensors
            .map(|((tensor, gradient), state)| {
                let step = state.advance_in(&constants, rate);
                updated(&self.rule, &self.options, &step, factor, tensor, gradient)
            })
            .collect()
    }
}

fn numbers(values: &[f32]) -> Vec<Strict> {
    values.iter().map(|&x| Strict::new(x)).collect()
}

fn memory(values: &[Strict]) -> Vec<f32> {
    values.iter().map(|x| x.stored().value()).collect()
}

fn gradient(tensor: &TensorValues, accumulated: bool) -> Vec<Strict> {
    let gradient = numbers(&tensor.grads);
    if !accumulated {
        return gradient;
    }
    let waiting = numbers(&tensor.accumulator);
    gradient.into_iter().zip(waiting).map(|(gradient, waits)| gradient + waits).collect()
}

/// The update of one tensor.
fn updated(
    rule: &Rule,
    options: &Options,
    step: &Step<Strict>,
    factor: Strict,
    before: &TensorValues,
    gradient: Vec<Strict>,
) -> TensorValues {
    let limit = options.conditioning.clip_value.filter(|limit| limit.is_finite()).map(Strict::of);
    let conditioned = |&gradient: &Strict| cpu::condition(gradient, factor, limit);
    let gradient: Vec<Strict> = gradient.iter().map(conditioned).collect();
    let mut params = numbers(&before.params);
    let mut moments: Vec<Vec<Strict>> = before.moments.iter().map(|moment| numbers(moment)).collect();
    let mut slices: Vec<&mut [Strict]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
    cpu::update(rule, step, &mut params, &gradient, &mut slices);
    let average = match options.average {
        Some(_) if step.first => memory(&params),
        Some(decay) => {
            let (decay, rest) = (Strict::of(decay), Strict::of(1.0 - decay));
            let pairs = numbers(&before.average).into_iter().zip(&params);
            memory(&pairs.map(|(average, &param)| decay * average + rest * param).collect::<Vec<_>>())
        }
        None => Vec::new(),
    };
    let write_back = options.conditioning.write_back;
    TensorValues {
        params: memory(&params),
        grads: if write_back { memory(&gradient) } else { before.grads.clone() },
        moments: moments.iter().map(|moment| memory(moment)).collect(),
        accumulator: before.accumulator.clone(),
        average,
    }
}

fn clipped(clip: Option<ClipNorm>, factor: Strict, norm: Strict) -> Strict {
    match clip {
        Some(clip) if clip.max_norm() == f64::INFINITY => factor,
        Some(ClipNorm::Torch(max)) => {
            factor * (Strict::of(max) / (norm + Strict::new(1e-6))).smaller(Strict::of(1.0))
        }
        Some(ClipNorm::Optax(max)) if norm.value() >= Strict::of(max).value() => {
            factor * (Strict::of(max) / norm)
        }
        _ => factor,
    }
}

/// Sums of squares: of elements below one, times 2⁹², and of others, times 2⁻⁹².
#[derive(Clone, Copy, Default)]
struct Partial {
    small: Strict,
    large: Strict,
    nonfinite: bool,
}

impl Partial {
    fn and(self, other: Partial) -> Partial {
        Partial {
            small: self.small + other.small,
            large: self.large + other.large,
            nonfinite: self.nonfinite | other.nonfinite,
        }
    }

    /// The twin of `norm_of` in `shaders/step_state.wgsl`.
    fn norm(&self) -> Strict {
        let (down, up) = (Strict::of(2f64.powi(-46)), Strict::of(2f64.powi(46)));
        if self.large.value() == 0.0 {
            return self.small.root() * down;
        }
        let norm = self.large.root() * up;
        let ratio = self.small.root() * down / norm;
        norm * (Strict::of(1.0) + ratio * ratio).root()
    }
}

/// A lane's sum over vectors, by element.
fn lane(vectors: impl Iterator<Item = [Option<Strict>; 4]>) -> Partial {
    let mut sums = [Partial::default(); 4];
    let (down, up) = (Strict::of(2f64.powi(-46)), Strict::of(2f64.powi(46)));
    for vector in vectors {
        for (sum, element) in sums.iter_mut().zip(vector) {
            let Some(element) = element else { continue };
            let below_one = element.magnitude().value() < 1.0;
            let scaled = element * if below_one { up } else { down };
            let square = scaled * scaled;
            let (small, large) =
                if below_one { (square, Strict::default()) } else { (Strict::default(), square) };
            let nonfinite = !element.value().is_finite();
            *sum = sum.and(Partial { small, large, nonfinite });
        }
    }
    let [x, y, z, w] = sums;
    x.and(y).and(z.and(w))
}

/// The sum of a power of two of partial sums, where the second half is added to the first.
fn tree(mut sums: Vec<Partial>) -> Partial {
    while sums.len() > 1 {
        let upper = sums.split_off(sums.len() / 2);
        sums.iter_mut().zip(upper).for_each(|(sum, other)| *sum = sum.and(other));
    }
    sums[0]
}

/// The partial sums of one dispatch over `count` vectors; `vector_of` is that of a file of `shaders/step/`.
fn region(
    count: usize,
    run: usize,
    vector_of: impl Fn(usize, usize) -> usize,
    vector: impl Fn(usize) -> [Option<Strict>; 4],
) -> Vec<Partial> {
    let units = (4 * count).div_ceil(MEASURED as usize);
    let mut sums: Vec<Partial> = (0..units)
        .map(|unit| {
            let thread = |k: usize, lane: usize| (unit * (VECTORS / run) + k) * LANES + lane;
            let vectors = |lane: usize| {
                let threads = (0..VECTORS / run).map(move |k| thread(k, lane));
                let all = threads.flat_map(|thread| (0..run).map(move |r| (thread, r)));
                all.map(|(thread, r)| vector_of(thread, r)).filter(|&i| i < count).map(&vector)
            };
            tree((0..LANES).map(|index| lane(vectors(index))).collect())
        })
        .collect();
    sums.resize(sums.len().next_multiple_of(PARTIALS_ALIGNMENT as usize), Partial::default());
    sums
}

/// The partial sums of tensors in buffers of their own: whole vectors, then the rest.
fn spans(gradients: &[Vec<Strict>]) -> Vec<Vec<Partial>> {
    let mut regions = Vec::new();
    for gradient in gradients.iter().filter(|gradient| !gradient.is_empty()) {
        let (vectors, rest) = gradient.as_chunks::<4>();
        if !vectors.is_empty() {
            regions.push(region(vectors.len(), 1, |thread, _| thread, |i| vectors[i].map(Some)));
        }
        if !rest.is_empty() {
            let last = std::array::from_fn(|lane| rest.get(lane).copied());
            regions.push(region(1, 1, |thread, _| thread, |_| last));
        }
    }
    regions
}

/// The partial sums of an arena of tensors.
fn arena(gradients: &[Vec<Strict>]) -> Vec<Vec<Partial>> {
    let mut all: Vec<Option<Strict>> = Vec::new();
    for gradient in gradients {
        all.extend(gradient.iter().copied().map(Some));
        all.resize(all.len().next_multiple_of(BLOCK), None);
    }
    let (vectors, _) = all.as_chunks::<4>();
    let vector_of = |thread: usize, k: usize| thread / 4 * 16 + thread % 4 + 4 * k;
    vec![region(vectors.len(), 4, vector_of, |i| vectors[i])]
}

/// The twin of `add_partials` and `decide` in `shaders/step_state.wgsl`.
fn total(partials: &[Partial]) -> Partial {
    let thread = |local: usize| {
        let strided = partials.iter().skip(local).step_by(THREADS);
        strided.fold(Partial::default(), |sum, &partial| sum.and(partial))
    };
    tree((0..THREADS).map(thread).collect())
}
