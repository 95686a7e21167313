//! Every root, and a billion quotients: minutes on a device. They depend on no seed of the suite, so that a pass is a
//! fact about the device.

use super::{Check, Depth, Group, Rig, SuiteError};
use crate::cpu::{Number, Strict};
use crate::gpu::bindings::{BufferAccess, buffer_with, group, layout, pipeline};
use crate::gpu::shader;
use crate::gpu::span::{Limits, grid};
use crate::{Error, Span};
use wgpu::BufferUsages;

pub const GROUP: Group = Group { name: "exhaustive", run: |rig, checks| Box::pin(run(rig, checks)) };

/// Results of one dispatch.
const CHUNK: u32 = 1 << 22;
/// Non-negative bit patterns: those of all numbers that have a root.
const ROOTS: u64 = 1 << 31;
const QUOTIENTS: u64 = 1 << 30;
/// The share of them that the rest of the suite takes, spread over all.
const SAMPLE: u64 = 64;
const SEED: u32 = 0x5eed;

async fn run(rig: &Rig<'_>, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    let every = if rig.depth == Depth::Exhaustive { 1 } else { SAMPLE };
    checks.push(compare(rig, false, every, ROOTS).await?);
    checks.push(compare(rig, true, every, QUOTIENTS).await?);
    Ok(())
}

/// Compares every `every`-th chunk of `count` results.
async fn compare(rig: &Rig<'_>, quotients: bool, every: u64, count: u64) -> Result<Check, Error> {
    let device = &rig.gpu.device;
    let found = rig.poisoned(CHUNK as usize);
    let uses = [BufferAccess::Uniform, BufferAccess::Write];
    let layout = layout(device, "exhaustive", &uses);
    let constants = [crate::wgsl::flag("QUOTIENTS", quotients)];
    let pipeline = pipeline(device, &shader::exhaustive(rig.arithmetic), "main", &layout, &constants);
    let grid = grid(u64::from(CHUNK) / 4, 64, Limits::of(device).max_groups);
    let (kernel, case) = match quotients {
        false => ("exhaustive/√a", format!("{} of all non-negative numbers", share(every))),
        true => ("exhaustive/a / b", format!("{} of 2^30 pairs", share(every))),
    };
    let mut all: Option<Check> = None;
    for first in (0..count).step_by((u64::from(CHUNK) * every) as usize) {
        let job = [first as u32, SEED, 0, 0];
        let usage = BufferUsages::UNIFORM;
        let job = buffer_with(device, "exhaustive", usage, bytemuck::cast_slice(&job));
        let buffers = [&job, &found.buffer].map(|buffer| buffer.as_entire_binding());
        let bindings = group(device, "exhaustive", &layout, buffers.to_vec());
        rig.run(|pass| {
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &bindings, &[]);
            pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
        })
        .await?;
        let found = rig.read(&[&Span::whole(&found.buffer)]).await?.concat();
        let words: Vec<u32> = found.iter().map(|x| x.to_bits()).collect();
        let numbers = (first as u32..).take(CHUNK as usize);
        let expected: Vec<u32> = match quotients {
            false => numbers.map(root).collect(),
            true => numbers.map(quotient).collect(),
        };
        let check = Check::words(kernel, &case, "results", &words, &expected);
        all = Some(match all {
            Some(all) => all.and(check),
            None => check,
        });
    }
    Ok(all.unwrap_or_else(|| Check::failed(kernel, &case, "there was nothing to compare")))
}

fn share(every: u64) -> String {
    if every == 1 { "all".into() } else { format!("1 / {every}") }
}

fn root(bits: u32) -> u32 {
    Strict::new(f32::from_bits(bits)).root().stored().value().to_bits()
}

fn quotient(n: u32) -> u32 {
    let [a, b] = pair(n).map(|bits| Strict::new(f32::from_bits(bits)));
    (a / b).stored().value().to_bits()
}

/// The twin of `mixed` in `shaders/arithmetic/exhaustive.wgsl`.
fn mixed(x: u32) -> u32 {
    let mut y = x ^ (x >> 16);
    y = y.wrapping_mul(0x7feb_352d);
    y ^= y >> 15;
    y = y.wrapping_mul(0x846c_a68b);
    y ^ (y >> 16)
}

/// The twin of `pair` in `shaders/arithmetic/exhaustive.wgsl`.
fn pair(n: u32) -> [u32; 2] {
    let a = mixed(n ^ SEED);
    let b = mixed(a.wrapping_add(0x9e37_79b9));
    let c = mixed(b.wrapping_add(0x9e37_79b9));
    let exponent = (b >> 23) % 120 + 1;
    match c & 7 {
        0 => {
            let mask = u32::MAX << ((c >> 3) % 23);
            [a & mask, b & mask]
        }
        1 => [a, (b & 0xff80_0000) | (a.wrapping_add((c >> 3) % 5) & 0x7f_ffff)],
        2 => {
            let divisor = 0x80_0001 | (a & 0x7f_fffe);
            let Some(numerator) = numerator_near_half(divisor, c & 8 != 0) else { return [a, b] };
            let exponents = [64 + (b & 127), 64 + (b >> 7 & 127)];
            [(numerator & 0x7f_ffff) | exponents[0] << 23, (divisor & 0x7f_ffff) | exponents[1] << 23]
        }
        3 => [exponent << 23 | (a & 0x807f_ffff), (exponent + 126) << 23 | (b & 0x807f_ffff)],
        4 => [(exponent + 127) << 23 | (a & 0x807f_ffff), exponent << 23 | (b & 0x807f_ffff)],
        _ => [a, b],
    }
}

/// The numerator N of a quotient as close to the middle of two numbers as there is one: Q · D = N · 2²⁴ ± 1 for the odd
/// divisor D of 24 bits and an odd Q, `above` for +1. `None` if N has not 24 bits.
pub(super) fn numerator_near_half(divisor: u32, above: bool) -> Option<u32> {
    // Newton's iteration doubles the correct bits of the inverse modulo 2³².
    let step = |inverse: u32, _| inverse.wrapping_mul(2u32.wrapping_sub(divisor.wrapping_mul(inverse)));
    let inverse = (0..5).fold(divisor, step);
    let residue = (if above { inverse } else { inverse.wrapping_neg() }) & 0xff_ffff;
    let product = u64::from(residue + (1 << 24)) * u64::from(divisor);
    let next = if above { product - 1 } else { product + 1 };
    let numerator = (next >> 24) as u32;
    (1 << 23..1 << 24).contains(&numerator).then_some(numerator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_of_every_kind() {
        let quotients: Vec<f32> = (0..1 << 14).map(|n| f32::from_bits(quotient(n))).collect();
        assert!(quotients.iter().any(|q| q.is_nan()));
        assert!(quotients.iter().any(|q| q.is_infinite()));
        assert!(quotients.iter().filter(|&&q| q == 0.0).count() > 100);
        let tight = |q: &&f32| q.abs() > f32::MIN_POSITIVE && q.abs() < 2.0 * f32::MIN_POSITIVE;
        assert!(quotients.iter().filter(tight).count() > 10);
    }
}
