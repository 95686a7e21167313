//! The decision whether a step is taken, on gradients that have an element of every class of bits.

use super::conditioning::{Options, storage, tensors};
use super::{Check, Compared, Rig};
use crate::cpu::all_finite;
use crate::gpu::{Control, ReadBack};
use crate::{Adam, Conditioning, Error, Optimizer, Sgd, Span};

/// The value of all other elements.
const ELSEWHERE: f32 = 0.25;
/// Steps of one submission.
const STEPS: usize = 32;
/// The bits of infinity, which precede those of NaN, and the bit of a quiet NaN.
const INFINITY: u32 = 0x7f80_0000;
const QUIET: u32 = 0x0040_0000;

/// Every kind of f32 that a test of bits could take for another, without its sign: each single bit of a significand
/// or of a payload, and the two neighbours of each boundary between classes.
fn classes() -> [(&'static str, Vec<u32>); 6] {
    let bits = |base: u32, count: u32| (0..count).map(move |k| base | 1 << k);
    let some = [0x3f80_0000, 0x3f7f_ffff, 0x7f00_0000, 0x7f7f_fffe, 0x7f7f_ffff];
    [
        ("a zero", vec![0]),
        ("a subnormal number", bits(0, 23).chain([0x007f_fffe, 0x007f_ffff]).collect()),
        ("a normal number", bits(0x0080_0000, 23).chain([0x0080_0000]).chain(some).collect()),
        ("an infinity", vec![INFINITY]),
        ("a quiet NaN", bits(INFINITY | QUIET, 22).chain([INFINITY | QUIET, 0x7fff_ffff]).collect()),
        ("a signalling NaN", bits(INFINITY, 22).chain([0x7fbf_ffff]).collect()),
    ]
}

/// A gradient with one such element: at the first, the last or any place of one tensor after the other. The step
/// is taken where the processor says so, and one that is not leaves everything as it was.
pub async fn checks(rig: &Rig<'_>, packed: bool) -> Result<Vec<Check>, Error> {
    let classes: Vec<_> = classes().into_iter().filter(|(name, _)| rig.includes(name)).collect();
    if classes.is_empty() {
        return Ok(Vec::new());
    }
    let conditioning = Conditioning { skip_nonfinite: true, ..Conditioning::default() };
    let options = Options { conditioning, micro_batches: 1, average: Some(0.5), octaves: 1 };
    // A gradient of 3e38 overflows a second moment: finite gradients meet plain descent.
    let optimizers = [
        tensors(rig, packed, options, Sgd { lr: 0.5, ..Sgd::default() })?,
        tensors(rig, packed, options, Adam { amsgrad: true, ..Adam::default() })?,
    ];
    for tensor in optimizers.iter().flat_map(Optimizer::tensors) {
        rig.write(&tensor.grads[0], &vec![ELSEWHERE; tensor.grads[0].len as usize]);
    }
    // Nonzero state, so that a change shows.
    for optimizer in &optimizers {
        rig.run(|pass| optimizer.record(pass)).await?;
    }
    let mut random = rig.random(&format!("places of gradients in {}", storage(packed)));
    let mut checks = Vec::new();
    let mut place = 0;
    for (name, bits) in classes {
        let signed: Vec<f32> =
            bits.iter().flat_map(|&bits| [bits, bits | 1 << 31]).map(f32::from_bits).collect();
        let optimizer = &optimizers[usize::from(!signed[0].is_finite())];
        let tensors = optimizer.tensors();
        // Every value once; in the whole suite at every kind of place of every tensor.
        let times = if rig.full() { 3 * tensors.len() } else { 1 };
        let mut cases = Vec::new();
        for &value in signed.iter().cycle().take(times * signed.len()) {
            let grads = &tensors[place % tensors.len()].grads[0];
            let at = match place / tensors.len() % 3 {
                0 => 0,
                1 => grads.len - 1,
                _ => u64::from(random.below(grads.len as u32)),
            };
            cases.push((value, Span::new(&grads.buffer, grads.offset + at * 4, 1)));
            place += 1;
        }
        // A step that is taken resets the number of consecutive skips.
        rig.run(|pass| optimizer.record(pass)).await?;
        let before = held(rig, optimizer).await?;
        let verdicts = verdicts(rig, optimizer, &cases).await?;
        let after = held(rig, optimizer).await?;
        let mut in_a_row = 0;
        let expected = cases.iter().flat_map(|(value, _)| {
            let taken = all_finite([&[*value][..]]);
            in_a_row = if taken { 0 } else { in_a_row + 1 };
            [u32::from(taken), u32::from(!taken), in_a_row]
        });
        let kernel = format!("gradient norm/{}", storage(packed));
        let case = format!("a gradient with {name}");
        let expected: Vec<u32> = expected.collect();
        let check = Check::words(
            &kernel,
            &case,
            "taken and skipped steps, and those skipped in a row",
            &verdicts,
            &expected,
        );
        checks.push(match signed[0].is_finite() {
            true => check,
            false => check.and(Check::exact("", "", &[Compared::new("skipped steps", after, before)])),
        });
    }
    Ok(checks)
}

/// The number of steps each case takes and skips, and of consecutive skips after it.
async fn verdicts(
    rig: &Rig<'_>,
    optimizer: &Optimizer,
    cases: &[(f32, Span)],
) -> Result<Vec<u32>, Error> {
    let values: Vec<f32> = cases.iter().map(|(value, _)| *value).chain([ELSEWHERE]).collect();
    let values = rig.span(&values).buffer;
    let control = Span::whole(optimizer.control());
    let mut staging = ReadBack::new(&rig.gpu.device, (cases.len() as u64 + 1) * control.len * 4)?;
    rig.submit(|encoder| staging.copy(encoder, &control)).await?;
    let numbered: Vec<(u64, &Span)> = (0..).zip(cases.iter().map(|(_, place)| place)).collect();
    for cases in numbered.chunks(STEPS) {
        rig.submit(|encoder| {
            cases.iter().try_for_each(|(i, Span { buffer, offset, .. })| {
                encoder.copy_buffer_to_buffer(&values, i * 4, buffer, *offset, 4);
                optimizer.record(&mut encoder.begin_compute_pass(&Default::default()));
                encoder.copy_buffer_to_buffer(&values, values.size() - 4, buffer, *offset, 4);
                staging.copy(encoder, &control)
            })
        })
        .await?;
    }
    let controls: Vec<Control> = rig.gpu.wait(staging.read()).await?;
    let counted = |pair: &[Control]| {
        let [taken, skipped] = [pair[1].steps - pair[0].steps, pair[1].skipped - pair[0].skipped];
        [taken as u32, skipped as u32, pair[1].skipped_in_a_row]
    };
    Ok(controls.windows(2).flat_map(counted).collect())
}

/// Everything that a step writes, except for the counters.
async fn held(rig: &Rig<'_>, optimizer: &Optimizer) -> Result<Vec<f32>, Error> {
    let states = Span::whole(optimizer.state());
    let mut spans = vec![&states];
    for tensor in optimizer.tensors() {
        spans.extend(tensor.params.iter().chain(tensor.moments.iter().flatten()).chain(&tensor.average));
    }
    Ok(rig.read(&spans).await?.concat())
}
