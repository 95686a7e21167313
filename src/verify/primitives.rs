//! The primitives of strict arithmetic on a device: every operation on numbers that drivers treat in different ways.

use super::exhaustive::numerator_near_half;
use super::{Check, Compared, Depth, Group, Random, Rig, SuiteError};
use crate::cpu::{Number, Strict};
use crate::gpu::bindings::{BufferAccess, buffer_with, group, layout, pipeline};
use crate::gpu::shader;
use crate::regression::device::Gpu;
use crate::{Arithmetic, Error, Span};
use wgpu::BufferUsages;

pub const GROUP: Group = Group { name: "primitives", run: |rig, checks| Box::pin(run(rig, checks)) };

type Operation = fn(Strict, Strict, Strict) -> Strict;

/// The results of `shaders/arithmetic/probe.wgsl`, in its order.
const RESULTS: [(&str, Operation); 13] = [
    ("a · b", |a, b, _| a * b),
    ("a + b", |a, b, _| a + b),
    ("a − b", |a, b, _| a - b),
    ("a / b", |a, b, _| a / b),
    ("√|a|", |a, _, _| a.magnitude().root()),
    ("a · b + c", |a, b, c| a * b + c),
    ("c − a · b", |a, b, c| c - a * b),
    ("a · b − c", |a, b, c| a * b - c),
    ("(a + b) − a", |a, b, _| (a + b) - a),
    ("(a · b) / b", |a, b, _| (a * b) / b),
    ("a · c + b · c", |a, b, c| a * c + b * c),
    ("−a", |a, _, _| -a),
    ("a · b + (c − √|a| / b)", |a, b, c| a * b + (c - a.magnitude().root() / b)),
];

/// Threads of a workgroup of the probe.
const WORKGROUP: usize = 64;

/// Inputs of the probe.
#[derive(Clone, Debug, Default)]
struct Inputs {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Inputs {
    fn push(&mut self, a: f32, b: f32, c: f32) {
        self.a.push(a);
        self.b.push(b);
        self.c.push(c);
    }

    fn of(mut make: impl FnMut() -> [f32; 3], count: usize) -> Self {
        let mut inputs = Inputs::default();
        for _ in 0..count {
            let [a, b, c] = make();
            inputs.push(a, b, c);
        }
        inputs
    }
}

async fn run(rig: &Rig<'_>, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    for (case, inputs) in cases(rig, count(rig)).into_iter().filter(|(case, _)| rig.includes(case)) {
        let checked = compared(rig, &inputs)
            .await?
            .into_iter()
            .map(|compared| Check::exact(&format!("primitives/{}", compared.what), case, &[compared]));
        checks.extend(checked);
    }
    Ok(())
}

/// The arithmetic of a device whose bits are those of the processor.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// The one to use: [`Arithmetic::Exact`] if the device does not round sums and products to nearest, and
    /// [`Arithmetic::Strict`] if neither passes.
    pub arithmetic: Arithmetic,
    /// The checks of its primitives.
    pub checks: Vec<Check>,
    /// The checks that failed with [`Arithmetic::Strict`], if that is not the one.
    pub failed: Vec<Check>,
    /// For each operation, how many of its results have other bits in the device's own arithmetic, and of how many.
    pub without: Vec<(&'static str, u64, u64)>,
}

/// Compares every primitive on a device with the processor's.
///
/// # Errors
/// [`SuiteError`] if the device fails.
pub async fn self_test(gpu: &Gpu, (depth, seed): (Depth, u64)) -> Result<SelfTest, SuiteError> {
    let rig = |arithmetic| Rig { gpu, depth, seed, arithmetic };
    let mut strict = Vec::new();
    run(&rig(Arithmetic::Strict), &mut strict).await?;
    let failed: Vec<Check> = strict.iter().filter(|check| !check.pass).cloned().collect();
    let mut exact = Vec::new();
    if !failed.is_empty() {
        run(&rig(Arithmetic::Exact), &mut exact).await?;
    }
    let without = differences(&rig(Arithmetic::Fast)).await?;
    let is_exact = !exact.is_empty() && exact.iter().all(|check| check.pass);
    Ok(match is_exact {
        true => SelfTest { arithmetic: Arithmetic::Exact, checks: exact, failed, without },
        false => SelfTest { arithmetic: Arithmetic::Strict, checks: strict, failed: vec![], without },
    })
}

/// How many results of each operation have other bits in the device's own arithmetic, and of how many.
async fn differences(rig: &Rig<'_>) -> Result<Vec<(&'static str, u64, u64)>, Error> {
    let mut counts = RESULTS.map(|(name, _)| (name, 0, 0));
    for (_, inputs) in cases(rig, count(rig)) {
        for (counts, compared) in counts.iter_mut().zip(compared(rig, &inputs).await?) {
            let Compared { actual, expected, .. } = compared;
            let differ = actual.iter().zip(&expected).filter(|(a, b)| a.to_bits() != b.to_bits());
            counts.1 += differ.count() as u64;
            counts.2 += expected.len() as u64;
        }
    }
    Ok(counts.to_vec())
}

fn count(rig: &Rig) -> usize {
    if rig.full() { 1 << 20 } else { 1 << 14 }
}

/// Inputs for each way in which devices differ.
fn cases(rig: &Rig, count: usize) -> Vec<(&'static str, Inputs)> {
    let random = |case| rig.random(case);
    let mut cases = vec![("designed", designed())];
    let mut add = |case: &'static str, make: fn(&mut Random) -> [f32; 3]| {
        let mut random = random(case);
        cases.push((case, Inputs::of(|| make(&mut random), count)));
    };
    add("numbers from 2^-30 to 2^30", |random| [random.wide(30), random.wide(30), random.wide(30)]);
    add("sums that cancel", |random| {
        let (a, b) = (random.wide(4), random.wide(4));
        [a, b, -(a * b)]
    });
    add("results next to 2^-126", |random| {
        let half = |random: &mut Random| (1.0 + random.unit().abs()) * 2f32.powi(-63);
        let (a, b) = (half(random), half(random));
        [a, b, -f32::MIN_POSITIVE * (1.0 + random.unit().abs())]
    });
    add("quotients next to half of a unit", |random| {
        let (numerator, denominator) = near_half(random);
        [numerator, denominator, random.wide(30)]
    });
    add("significands of few bits", |random| {
        let few = |random: &mut Random| {
            let mask = u32::MAX << random.below(23);
            f32::from_bits(random.wide(20).to_bits() & mask)
        };
        [few(random), few(random), few(random)]
    });
    add("significands that are alike", |random| {
        let a = random.wide(20);
        let by = random.below(5) as i32 - 2;
        let b = f32::from_bits(a.to_bits().wrapping_add_signed(by));
        [a, b, -a]
    });
    cases
}

/// Inputs whose results tell one fault of a driver from another.
fn designed() -> Inputs {
    let mut inputs = Inputs::default();
    let ulp = |n: i32| 2f32.powi(n);
    // One rounding gives 2⁻²⁴, two give zero.
    let (a, c) = (1.0 + ulp(-12), -(1.0 + ulp(-11)));
    inputs.push(a, a, c);
    inputs.push(a, -a, -c);
    // A sum that is only exact if it is not computed.
    inputs.push(ulp(24), 1.0, 3.0);
    inputs.push(1.0, ulp(-24), -1.0);
    inputs.push(1.0 + ulp(-23), ulp(-24), 1.0 / 3.0);
    inputs.push(1.0, 1.5 * ulp(-24), 7.0);
    inputs.push(-1.0, -1.5 * ulp(-24), -7.0);
    // Subnormal numbers, the smallest normal ones, and zeros.
    let least = f32::MIN_POSITIVE;
    let small = [0.0, -0.0, least, -least, f32::from_bits(1), f32::from_bits(0x007f_ffff), least * 1.5];
    for a in small {
        for b in [1.0, -1.0, 0.5, least, 3.0] {
            inputs.push(a, b, a);
            inputs.push(b, a, -a);
        }
    }
    // Whole multiples of four keep vectors full.
    while !inputs.a.len().is_multiple_of(4) {
        inputs.push(1.0, 1.0, 1.0);
    }
    inputs
}

/// A numerator and a denominator whose quotient is next to half of a unit.
fn near_half(random: &mut Random) -> (f32, f32) {
    loop {
        let denominator = random.below(1 << 22) * 2 + 1 + (1 << 23);
        if let Some(numerator) = numerator_near_half(denominator, random.below(2) == 0) {
            let scale = 2f32.powi(random.below(40) as i32 - 43);
            return (numerator as f32 * scale, denominator as f32 * scale);
        }
    }
}

/// Runs the probe. Only results that are finite are promised.
async fn compared(rig: &Rig<'_>, inputs: &Inputs) -> Result<Vec<Compared<f32>>, Error> {
    let found = results(rig, inputs).await?;
    let results = RESULTS.iter().zip(found.chunks(inputs.a.len()));
    Ok(results
        .map(|((name, of), found)| {
            let number = |values: &[f32], i: usize| Strict::new(values[i]);
            let expected = (0..inputs.a.len())
                .map(|i| of(number(&inputs.a, i), number(&inputs.b, i), number(&inputs.c, i)));
            let pairs = found.iter().copied().zip(expected.map(|x| x.stored().value()));
            let (found, expected): (Vec<f32>, Vec<f32>) =
                pairs.filter(|(_, expected)| expected.is_finite()).unzip();
            Compared::new(*name, found, expected)
        })
        .collect())
}

async fn results(rig: &Rig<'_>, inputs: &Inputs) -> Result<Vec<f32>, Error> {
    let device = &rig.gpu.device;
    let count = inputs.a.len();
    let all = rig.span(&[&inputs.a[..], &inputs.b, &inputs.c].concat());
    let found = rig.poisoned(RESULTS.len() * count);
    let zero = buffer_with(device, "zero", BufferUsages::UNIFORM, &[0; 16]);
    let uses = [BufferAccess::Uniform, BufferAccess::Read, BufferAccess::Write];
    let layout = layout(device, "primitives", &uses);
    let pipeline = pipeline(device, &shader::probe(rig.arithmetic), "main", &layout, &[]);
    let buffers = [&zero, &all.buffer, &found.buffer].map(|buffer| buffer.as_entire_binding());
    let bindings = group(device, "primitives", &layout, buffers.to_vec());
    rig.run(|pass| {
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups((count / 4).div_ceil(WORKGROUP) as u32, 1, 1);
    })
    .await?;
    Ok(rig.read(&[&Span::whole(&found.buffer)]).await?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_quotients_are_next_to_half_of_a_unit() {
        let mut random = Random::new(1, "quotients");
        for _ in 0..1000 {
            let (a, b) = near_half(&mut random);
            let quotient = f64::from(a) / f64::from(b);
            let units = quotient * 2f64.powi(if quotient < 1.0 { 25 } else { 24 });
            // An odd number of halves of the last bit, but for less than a millionth.
            assert!((units - units.round()).abs() < 1e-6 && units.round() % 2.0 == 1.0, "{a:e} / {b:e}");
        }
    }
}
