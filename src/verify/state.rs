//! The step state: counters, powers and learning rates, which must not be rounded by floating point.

use super::variants::plain;
use super::{Check, Compared, Group, Rig, SuiteError};
use crate::cpu::{Bounded, Number, StepState, one_minus_power};
use crate::gpu::{Arena, Control, ReadBack};
use crate::{Error, Optimizer, Rule, Sgd, Span};
use wgpu::BufferUsages;

pub const GROUP: Group = Group { name: "step state", run: |rig, checks| Box::pin(run(rig, checks)) };

/// The first step of each run: the start, and around the ends of the integers of f32 and u32.
const STARTS: [u64; 4] = [0, (1 << 24) - 2, (1 << 32) - 2, (1 << 40) + 1];

async fn run(rig: &Rig<'_>, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    let steps = if rig.full() { 10_000 } else { 300 };
    for (name, rule) in rig.of_rules(plain()) {
        for start in STARTS {
            let steps = if start == 0 { steps } else { 5 };
            checks.extend(counted(rig, name, rule, start, steps).await?);
        }
    }
    checks.push(learning_rates(rig, 3).await?);
    // More tensors than a workgroup has threads: deciding and advancing are two dispatches then.
    checks.push(learning_rates(rig, 131).await?);
    checks.push(many_tensors(rig, if rig.full() { 65_579 } else { 16_411 }).await?);
    Ok(())
}

/// Runs steps from `start`: compares the state word for word, and its powers with f64.
async fn counted(
    rig: &Rig<'_>,
    name: &str,
    rule: Rule,
    start: u64,
    steps: u64,
) -> Result<Vec<Check>, Error> {
    let [params, grads] = [(); 2].map(|()| rig.span(&[0.0]));
    let optimizer = Optimizer::new(&rig.gpu.device, rule)
        .arithmetic(rig.arithmetic)
        .tensor(params, grads)
        .build()?;
    optimizer.set_step(&rig.gpu.queue, 0, start)?;
    let mut left = steps;
    while left > 0 {
        let now = left.min(1000);
        rig.run(|pass| (0..now).for_each(|_| optimizer.record(pass))).await?;
        left -= now;
    }
    let found = words(rig, optimizer.state()).await?;
    let expected = StepState::after(&rule, start + steps);
    let case = format!("{steps} steps from {start} on");
    let kernel = format!("step state/{name}");
    let words = bytemuck::cast_slice::<_, u32>(std::slice::from_ref(&expected));
    let exact = Check::words(&kernel, &case, "state", &found, words);
    let device: StepState = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&found));
    let (beta1, beta2) = rule.bias_corrected_betas();
    let of = |what, word: u64, beta| {
        let near = Bounded::near(one_minus_power(beta, start + steps));
        Compared::new(what, [(word as f64 * 2f64.powi(-64)) as f32], [near])
    };
    let mut quantities = vec![of("1 − beta2ᵗ", device.bias_correction2, beta2)];
    if !matches!(rule, Rule::NAdam(_)) {
        // NAdam's is a product of other factors, which the words above cover.
        quantities.push(of("1 − beta1ᵗ", device.bias_correction1, beta1));
    }
    Ok(vec![exact, Check::derived(&kernel, &format!("powers after {case}"), &quantities)])
}

/// A step takes its entry of the learning-rate table, and past its end the last one. The numbers are exact on every
/// device. The optimizer counts the steps.
async fn learning_rates(rig: &Rig<'_>, tensors: usize) -> Result<Check, Error> {
    let rates = [0.5, 0.25, 2.0, 1.0, 0.125];
    let rule = Sgd { lr: 0.5, ..Sgd::default() };
    let mut builder =
        Optimizer::new(&rig.gpu.device, rule).learning_rates(rates.to_vec()).arithmetic(rig.arithmetic);
    let params: Vec<Span> = (0..tensors).map(|i| rig.span(&[i as f32; 5])).collect();
    for params in &params {
        builder = builder.tensor(params.clone(), rig.span(&[1.0; 5]));
    }
    let optimizer = builder.build()?;
    let mut found = Vec::new();
    let mut expected = Vec::new();
    let mut sum = 0.0;
    for step in 0..8 {
        rig.run(|pass| optimizer.record(pass)).await?;
        sum += rates[usize::min(step, rates.len() - 1)];
        found.extend(rig.read(&params.iter().collect::<Vec<_>>()).await?.concat());
        expected.extend((0..tensors).flat_map(|i| [i as f32 - sum; 5]));
    }
    let case = format!("a table of 5 over 8 steps of {tensors} tensors");
    let check =
        Check::exact("step state/learning rates", &case, &[Compared::new("params", found, expected)]);
    let control: Control =
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words(rig, optimizer.control()).await?));
    Ok(check.and(Check::words("", "", "steps", &[control.steps as u32], &[8])))
}

/// An arena of many tensors of one element: each takes its own step. The numbers are exact on every device.
async fn many_tensors(rig: &Rig<'_>, count: usize) -> Result<Check, Error> {
    let names: Vec<String> = (0..count).map(|i| format!("t{i}")).collect();
    let shapes = names.iter().map(|name| (&name[..], &[1][..]));
    let arena = Arena::new(&rig.gpu.device, BufferUsages::empty(), shapes)?;
    let start = |i: usize| (i % 251) as f32;
    for (i, tensor) in arena.tensors().iter().enumerate() {
        tensor.params.iter().for_each(|span| rig.write(span, &[start(i)]));
        tensor.grads.iter().for_each(|span| rig.write(span, &[(i % 13) as f32 - 6.0]));
    }
    let rates = [0.5, 0.25, 2.0];
    let rule = Sgd { lr: 0.5, ..Sgd::default() };
    let optimizer = Optimizer::new(&rig.gpu.device, rule)
        .learning_rates(rates.to_vec())
        .arithmetic(rig.arithmetic)
        .arena(&arena)
        .build()?;
    rig.run(|pass| (0..rates.len()).for_each(|_| optimizer.record(pass))).await?;
    let found = super::steps::read(rig, optimizer.tensors()).await?.concat().concat();
    let moved = rates.iter().sum::<f32>();
    let expected: Vec<f32> = (0..count).map(|i| start(i) - moved * ((i % 13) as f32 - 6.0)).collect();
    let case = format!("an arena of {count} tensors");
    Ok(Check::exact("step state/tensors", &case, &[Compared::new("params", found, expected)]))
}

/// A buffer, word for word.
pub async fn words(rig: &Rig<'_>, buffer: &wgpu::Buffer) -> Result<Vec<u32>, Error> {
    let mut staging = ReadBack::new(&rig.gpu.device, buffer.size())?;
    rig.submit(|encoder| staging.copy(encoder, &Span::whole(buffer))).await?;
    rig.gpu.wait(staging.read()).await
}
