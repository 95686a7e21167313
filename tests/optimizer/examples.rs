//! Tests of the examples.

#[path = "../../examples/embed.rs"]
#[allow(dead_code, reason = "its `main` and what only that calls")]
mod embed;
#[cfg(feature = "checkpoint")]
#[path = "../../examples/resume.rs"]
#[allow(dead_code, reason = "its `main` and what only that calls")]
mod resume;
#[path = "../../examples/splat_image/main.rs"]
#[allow(dead_code, reason = "its `main` and what only that calls")]
mod splat_image;

use crate::common;

use common::gpu::Gpu;
use common::{Random, assert_within, widen};
use splat_image::{Picture, Settings, Splats, Start, fit};
use std::path::Path;
use wgpu_optim::Span;

#[test]
fn every_walker_reaches_the_minimum() {
    let Some(gpu) = Gpu::get() else { return };
    let ends = embed::descend(&gpu.device, &gpu.queue).unwrap();
    assert_eq!(ends.len(), 1000);
    let far = ends.iter().filter(|end| embed::distance(end) >= 0.05).count();
    assert_eq!(far, 0, "{far} walkers did not arrive");
}

#[cfg(feature = "checkpoint")]
#[test]
fn a_run_that_was_cut_ends_where_the_other_one_does() {
    let Some(gpu) = Gpu::get() else { return };
    let other = Gpu::with_limits(gpu.device.limits()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.safetensors");
    let pair = |gpu: &Gpu| (gpu.device.clone(), gpu.queue.clone());
    let through = resume::through(pair(gpu)).unwrap();
    let cut = resume::cut(pair(gpu), pair(&other), &file).unwrap();
    common::assert_bits("parameters", &cut, &through);
    assert!(through.iter().all(|p| p.is_finite() && *p != 0.0));
}

/// The definition of the loss of `splats.wgsl`, from (position, colour, shape) of each Gaussian, and of the picture. Like
/// the kernels, it omits weights beyond three scales.
fn reference(goal: &Picture, params: &[Vec<f64>; 3]) -> (f64, Vec<f64>) {
    let [positions, colours, shapes] = params;
    let gaussians = positions.chunks(2).zip(colours.chunks(3)).zip(shapes.chunks(3));
    let mut picture = vec![0.0; goal.values.len()];
    for ((position, colour), shape) in gaussians {
        for (p, pixel) in picture.chunks_mut(3).enumerate() {
            let dx = (p % goal.width as usize) as f64 + 0.5 - position[0];
            let dy = (p / goal.width as usize) as f64 + 0.5 - position[1];
            let (sin, cos) = shape[2].sin_cos();
            let u = (cos * dx + sin * dy) / shape[0].exp();
            let v = (cos * dy - sin * dx) / shape[1].exp();
            let weight = (-0.5 * (u * u + v * v)).exp() - (-4.5f64).exp();
            for (value, colour) in pixel.iter_mut().zip(colour) {
                *value += weight.max(0.0) * colour;
            }
        }
    }
    let squares = picture.iter().zip(&goal.values).map(|(a, b)| (a - f64::from(*b)).powi(2));
    (squares.sum::<f64>() / picture.len() as f64, picture)
}

/// A noisy picture whose sides are not multiples of a tile, and Gaussians over and around it, the first one outside.
fn tiny(gaussians: usize) -> (Picture, Start) {
    let (width, height) = (21, 18);
    let mut random = Random(3);
    let mut within = |low: f32, high: f32| low + (high - low) * (0.5 + 0.5 * random.unit());
    let values = (0..3 * width * height).map(|_| within(0.0, 1.0)).collect();
    let mut start = Start { positions: Vec::new(), colours: Vec::new(), shapes: Vec::new() };
    for _ in 0..gaussians {
        start.positions.extend([within(-1.0, 22.0), within(-1.0, 19.0)]);
        start.colours.extend([within(-0.5, 1.0), within(-0.5, 1.0), within(-0.5, 1.0)]);
        start.shapes.extend([within(-0.5, 1.5), within(-0.5, 1.5), within(-3.1, 3.1)]);
    }
    start.positions[0] = -40.0;
    (Picture { width, height, values }, start)
}

// Relative to the largest value: WGSL allows errors of 2⁻¹¹ in sin and cos. llvmpipe is within 4e-7 of the definition,
// SwiftShader within 2e-4.
const TOLERANCE: f64 = 1e-3;

#[test]
fn splat_picture_is_the_sum_of_all_gaussians() {
    let Some(gpu) = Gpu::get() else { return };
    // The last few are in a second bin of 1024.
    let (goal, start) = tiny(1030);
    let splats = Splats::new(&gpu.device, &goal, &start);
    gpu.run(|pass| splats.record_picture(pass));
    let picture = &gpu.read(&[&Span::whole(&splats.picture)])[0];

    let params = [&start.positions, &start.colours, &start.shapes].map(|values| widen(values));
    let (_, expected) = reference(&goal, &params);
    let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    assert_within("picture", &widen(picture), &expected, &vec![TOLERANCE * largest; expected.len()]);
}

#[test]
fn splat_gradients_are_the_slopes_of_the_loss() {
    let Some(gpu) = Gpu::get() else { return };
    let (goal, start) = tiny(9);
    let splats = Splats::new(&gpu.device, &goal, &start);
    gpu.run(|pass| splats.record_gradients(pass));
    let grads = [&splats.positions, &splats.colours, &splats.shapes].map(|t| Span::whole(&t.grads));
    let read = gpu.read(&[&grads[0], &grads[1], &grads[2]]);

    let mut params = [&start.positions, &start.colours, &start.shapes].map(|values| widen(values));
    for (k, what) in ["positions", "colours", "shapes"].into_iter().enumerate() {
        let mut slope = |i: usize| {
            let (here, h) = (params[k][i], 1e-6);
            let [above, below] = [here + h, here - h].map(|x| {
                params[k][i] = x;
                reference(&goal, &params).0
            });
            params[k][i] = here;
            (above - below) / (2.0 * h)
        };
        let slopes: Vec<f64> = (0..read[k].len()).map(&mut slope).collect();
        let largest = slopes.iter().fold(0.0f64, |most, slope| most.max(slope.abs()));
        assert_within(what, &widen(&read[k]), &slopes, &vec![TOLERANCE * largest; slopes.len()]);
    }
}

#[test]
fn splats_show_the_picture_reproducibly() {
    let Some(gpu) = Gpu::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = |out: &str| {
        let out = folder.path().join(out);
        let settings = Settings { size: 64, gaussians: 600, steps: 120, every: 40, image: None, out };
        (fit(&gpu.device, &gpu.queue, &settings).unwrap(), settings.out)
    };
    let (losses, frames) = run("first");
    assert_eq!(losses.len(), 4);
    let target = pixels(&frames.join("target.png"));
    let [first, last] = ["frame_000.png", "frame_003.png"].map(|name| {
        let frame = pixels(&frames.join(name));
        let squares = frame.iter().zip(&target).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
        20.0 * 255f64.log10() - 10.0 * (squares.sum::<f64>() / target.len() as f64).log10()
    });
    // On llvmpipe and on SwiftShader from 14.8 to 35.9 dB.
    assert!(last > 33.0 && last > first + 18.0, "PSNR from {first:.2} to {last:.2} dB");

    let (again, frames_again) = run("second");
    assert_eq!(again, losses);
    let bytes = |folder: &Path| std::fs::read(folder.join("frame_003.png")).unwrap();
    assert!(bytes(&frames_again) == bytes(&frames), "the last frames differ");
}

/// The bytes of a picture of 64 × 64 pixels.
fn pixels(file: &Path) -> Vec<u8> {
    let image = image::open(file).unwrap().into_rgb8();
    assert_eq!(image.dimensions(), (64, 64), "{}", file.display());
    image.into_raw()
}
