//! The conditioning of gradients before a rule: norms, clipping, scales, accumulation, skipped steps; and
//! the moving average after it.

use super::state::words;
use super::twin::OptimizerTwin;
use super::values::TensorValues;
use super::{Check, Compared, Group, Random, Rig, SuiteError, nonfinite};
use crate::cpu::{self, Bounded, Number, clip_factor, condition, exact_step, norm};
use crate::gpu::span::Limits;
use crate::gpu::{Arena, Control, MEASURED};
use crate::regression::verification::exactly;
use crate::{Adam, ClipNorm, Conditioning, Error, Optimizer, Rule};
use wgpu::BufferUsages;

pub const GROUP: Group = Group { name: "conditioning", run: |rig, checks| Box::pin(run(rig, checks)) };

/// Half an ulp of one in f32.
const U: f64 = 1.0 / (1 << 24) as f64;

/// Tails, and sizes that several workgroups measure.
const SIZES: [usize; 6] = [1, 3, 4, 5, 1027, 2 * MEASURED as usize + 5];

async fn run(rig: &Rig<'_>, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    for packed in [false, true] {
        checks.extend(nonfinite::checks(rig, packed).await?);
        for (case, options) in options().into_iter().filter(|(case, _)| rig.includes(case)) {
            checks.extend(ConditioningCase::new(rig, case, options, packed)?.checks().await?);
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
pub struct Options {
    pub conditioning: Conditioning,
    pub micro_batches: u32,
    pub average: Option<f64>,
    /// Sizes of gradients are within 2^±octaves.
    pub octaves: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { conditioning: Conditioning::default(), micro_batches: 1, average: None, octaves: 20 }
    }
}

fn options() -> [(&'static str, Options); 10] {
    let none = Options::default();
    let with = |conditioning| Options { conditioning, ..none };
    let default = Conditioning::default();
    let clip = |clip| Conditioning { clip_norm: Some(clip), ..default };
    let all = Conditioning {
        clip_norm: Some(ClipNorm::Torch(0.7)),
        clip_value: Some(0.01),
        grad_scale: 1024.0,
        write_back: true,
        skip_nonfinite: true,
    };
    [
        ("clip norm of PyTorch", with(clip(ClipNorm::Torch(1.5)))),
        ("clip norm of optax", with(clip(ClipNorm::Optax(1.5)))),
        ("a norm that is not clipped", with(clip(ClipNorm::Optax(1e30)))),
        (
            "norm of 2^±60",
            Options {
                octaves: 60,
                ..with(Conditioning { write_back: true, ..clip(ClipNorm::Torch(1.0)) })
            },
        ),
        // Numbers alike, so that the order of their sum shows.
        ("norm of 2^±1", Options { octaves: 1, ..with(clip(ClipNorm::Torch(1.0))) }),
        ("clip value", with(Conditioning { clip_value: Some(0.25), write_back: true, ..default })),
        ("gradient scale", with(Conditioning { grad_scale: 3.0, write_back: true, ..default })),
        ("three micro-batches", Options { micro_batches: 3, ..none }),
        ("average", Options { average: Some(0.9), ..none }),
        ("all at once", Options { micro_batches: 2, average: Some(0.99), ..with(all) }),
    ]
}

/// Tensors of every size, each in a buffer of its own, with grids of two dimensions, or all in an arena.
pub fn tensors(
    rig: &Rig,
    packed: bool,
    options: Options,
    rule: impl Into<Rule>,
) -> Result<Optimizer, Error> {
    let device = &rig.gpu.device;
    let mut builder = Optimizer::new(device, rule).arithmetic(rig.arithmetic);
    if packed {
        let names = SIZES.map(|len| len.to_string());
        let shapes = SIZES.map(|len| [len as u64]);
        let named = names.iter().zip(&shapes).map(|(name, shape)| (&name[..], &shape[..]));
        builder = builder.arena(&Arena::new(device, BufferUsages::empty(), named)?);
    } else {
        builder = builder.limits(Limits { max_groups: 2, ..Limits::of(device) });
        for len in SIZES {
            builder = builder.tensor(rig.poisoned(len), rig.poisoned(len));
        }
    }
    let Options { conditioning, micro_batches, average, .. } = options;
    builder = builder.conditioning(conditioning).accumulate(micro_batches);
    if let Some(decay) = average {
        builder = builder.average(decay);
    }
    let optimizer = builder.build()?;
    for tensor in optimizer.tensors() {
        let mut random = rig.random(&format!("params of {}", tensor.params[0].len));
        rig.write(&tensor.params[0], &random.units(tensor.params[0].len as usize));
    }
    Ok(optimizer)
}

pub fn storage(packed: bool) -> &'static str {
    if packed { "arena" } else { "spans" }
}

async fn control(rig: &Rig<'_>, optimizer: &Optimizer) -> Result<Control, Error> {
    Ok(bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words(rig, optimizer.control()).await?)))
}

/// Steps of Adam with one conditioning.
struct ConditioningCase<'a> {
    rig: &'a Rig<'a>,
    case: String,
    options: Options,
    rule: Rule,
    optimizer: Optimizer,
    kernel: &'static str,
    found: Vec<Compared<Bounded>>,
    kept: Vec<Compared<f32>>,
    twin: OptimizerTwin,
    same: Vec<Compared<f32>>,
}

impl<'a> ConditioningCase<'a> {
    fn new(rig: &'a Rig, case: &str, options: Options, packed: bool) -> Result<Self, Error> {
        let rule: Rule = Adam { lr: 0.02, eps: 1e-6, ..Adam::default() }.into();
        let optimizer = tensors(rig, packed, options, rule)?;
        let case = format!("{case}, {}", storage(packed));
        let kernel = "conditioning";
        let rates = vec![rule.lr() as f32];
        let twin = OptimizerTwin::new(rule, rates, options, packed, optimizer.tensors().len());
        let (found, kept, same) = (vec![], vec![], vec![]);
        Ok(ConditioningCase { rig, case, options, rule, optimizer, kernel, found, kept, twin, same })
    }

    async fn checks(mut self) -> Result<Vec<Check>, Error> {
        let micro_batches = self.options.micro_batches;
        let mut random = self.rig.random(&self.case);
        for record in 0..3 * micro_batches {
            self.record(record, &mut random).await?;
        }
        if self.rig.compares_bits() {
            return Ok(vec![Check::exact(self.kernel, &self.case, &self.same)]);
        }
        let check = Check::derived(self.kernel, &self.case, &self.found);
        let kept = Check::exact("", "", &self.kept);
        // With write-back even the gradients change.
        Ok(vec![if self.kept.is_empty() { check } else { check.and(kept) }])
    }

    /// Checks one recorded micro-batch, starting from the device's state before it.
    async fn record(&mut self, record: u32, random: &mut Random) -> Result<(), Error> {
        let (rig, micro_batches) = (self.rig, self.options.micro_batches);
        for tensor in self.optimizer.tensors() {
            let grads = &tensor.grads[0];
            rig.write(grads, &random.wides(grads.len as usize, self.options.octaves));
        }
        let before = TensorValues::read(rig, &self.optimizer).await?;
        rig.run(|pass| self.optimizer.record(pass)).await?;
        let after = TensorValues::read(rig, &self.optimizer).await?;
        if rig.compares_bits() {
            return self.compare_bits(&before, &after).await;
        }
        let gathered = record % micro_batches;
        let sums: Vec<Vec<Bounded>> = before
            .iter()
            .map(|held| {
                let grads = exactly(&held.grads);
                if gathered == 0 {
                    return grads;
                }
                grads.iter().zip(exactly(&held.accumulator)).map(|(g, waits)| *g + waits).collect()
            })
            .collect();
        if gathered + 1 < micro_batches {
            for ((before, after), sum) in before.iter().zip(&after).zip(sums) {
                self.found.push(Compared::new("accumulator", after.accumulator.clone(), sum));
                self.kept.push(Compared::new("params", after.params.clone(), before.params.clone()));
            }
            return Ok(());
        }
        let control = control(rig, &self.optimizer).await?;
        self.check_factor(&control, &sums);
        let t = u64::from(record / micro_batches + 1);
        let step = exact_step::<Bounded>(&self.rule, t, f64::from(self.rule.lr() as f32));
        let factor = Bounded::exactly(control.grad_factor);
        let limit = self.options.conditioning.clip_value.map(Bounded::of);
        for ((before, after), sum) in before.iter().zip(&after).zip(sums) {
            let grads: Vec<Bounded> = sum.iter().map(|&g| condition(g, factor, limit)).collect();
            let mut params = exactly(&before.params);
            let mut moments: Vec<Vec<Bounded>> = before.moments.iter().map(|m| exactly(m)).collect();
            let mut slices: Vec<&mut [Bounded]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
            cpu::update(&self.rule, &step, &mut params, &grads, &mut slices);
            if self.options.conditioning.write_back {
                self.found.push(Compared::new("gradient", after.grads.clone(), grads));
            } else {
                self.kept.push(Compared::new("gradient", after.grads.clone(), before.grads.clone()));
            }
            self.found.push(Compared::new("params", after.params.clone(), params));
            for ((name, actual), expected) in self.rule.moments().iter().zip(&after.moments).zip(moments)
            {
                self.found.push(Compared::new(*name, actual.clone(), expected));
            }
            if let Some(decay) = self.options.average {
                let next = |(average, param): (Bounded, Bounded)| match t {
                    1 => param,
                    _ => Bounded::of(decay) * average + Bounded::of(1.0 - decay) * param,
                };
                let pairs = exactly(&before.average).into_iter().zip(exactly(&after.params));
                self.found.push(Compared::new(
                    "average",
                    after.average.clone(),
                    pairs.map(next).collect::<Vec<_>>(),
                ));
            }
        }
        Ok(())
    }

    /// Compares everything with the processor's, bit for bit.
    async fn compare_bits(
        &mut self,
        before: &[TensorValues],
        after: &[TensorValues],
    ) -> Result<(), Error> {
        let expected = self.twin.record(before);
        let moments = self.rule.moments();
        for (after, expected) in after.iter().zip(&expected) {
            self.same.extend(after.compared(expected, moments, ""));
        }
        let control = control(self.rig, &self.optimizer).await?;
        let (found, expected) =
            ([control.norm, control.grad_factor], [self.twin.norm, self.twin.factor]);
        self.same.push(Compared::new("norm and factor", found, expected));
        Ok(())
    }

    /// Compares the norm with f64, and the factor with the one of the device's own norm.
    fn check_factor(&mut self, control: &Control, sums: &[Vec<Bounded>]) {
        let Conditioning { clip_norm, grad_scale, .. } = self.options.conditioning;
        let scale =
            Bounded::of(1.0 / grad_scale) * Bounded::of(1.0 / f64::from(self.options.micro_batches));
        let mut factor = scale;
        if let Some(clip) = clip_norm {
            let values: Vec<Vec<f64>> =
                sums.iter().map(|sum| sum.iter().map(|g| g.value).collect()).collect();
            let inherited = norm(
                sums.iter()
                    .map(|sum| sum.iter().map(|g| g.error).collect::<Vec<f64>>())
                    .collect::<Vec<_>>()
                    .iter()
                    .map(Vec::as_slice),
            );
            let exact = norm(values.iter().map(Vec::as_slice));
            // A lane's 16 vectors, their four elements, a tree of 256 lanes; then partial sums, and a tree of 64. Their
            // errors a root halves; then two roots, the sum under one, and the scales. Each is 2u at most, a root 9u.
            let partials = sums.len().div_ceil(16) as u32;
            let additions = 16 + 2 + 8 + partials + 6;
            let relative = f64::from(additions + 3) * U + (9.0 + 9.0 + 5.0 + 4.0 * 2.0) * U;
            // Squares of elements below 2⁻¹⁰⁸ may be flushed.
            let lost = 2f64.powi(-108) * (sums.iter().map(Vec::len).sum::<usize>() as f64).sqrt();
            let error = inherited + exact * relative + lost;
            let norm = Bounded { value: exact, error } * scale;
            self.found.push(Compared::new("norm", vec![control.norm], vec![norm]));
            // PyTorch adds 1e-6, divides and compares with one; optax divides and multiplies.
            let by = clip_factor(clip, control.norm.into());
            let far_below = clip.max_norm() > 1.001 * f64::from(control.norm) + 1e-5;
            let clipped = Bounded { value: by, error: if far_below { 0.0 } else { 10.0 * U * by } };
            factor = factor * clipped;
        }
        self.found.push(Compared::new("factor", vec![control.grad_factor], vec![factor]));
    }
}
