//! A picture to fit, and the initial Gaussians.

use super::splats::{Picture, Start};
use std::f32::consts::PI;

type Colour = [f32; 3];

fn mix(a: Colour, b: Colour, t: f32) -> Colour {
    let t = t.clamp(0.0, 1.0);
    std::array::from_fn(|k| a[k] + (b[k] - a[k]) * t)
}

/// An evening by a lake, at (x, y) in the unit square, y downwards.
fn evening(x: f32, y: f32) -> Colour {
    const SHORE: f32 = 0.68;
    let in_water = y > SHORE;
    // The water mirrors the upper half, distorted by waves that grow towards the viewer.
    let depth = (y - SHORE).max(0.0);
    let wave = (0.008 + 0.12 * depth) * (25.0 * (depth + 0.03).ln() + 3.0 * x).sin();
    let (x, height) = if in_water { (x + wave, SHORE - 1.5 * depth) } else { (x, y) };

    let mut colour = match height / SHORE {
        t if t < 0.5 => mix([0.10, 0.12, 0.32], [0.62, 0.27, 0.47], 2.0 * t),
        t => mix([0.62, 0.27, 0.47], [1.00, 0.70, 0.36], 2.0 * t - 1.0),
    };
    for star in 0..24 {
        let at = [0.754_878, 0.569_84].map(|step: f32| (step * (star * star) as f32).fract());
        if (x - at[0]).hypot(height - 0.3 * at[1]) < 0.0045 {
            colour = [0.9, 0.85, 0.95];
        }
    }
    let from_sun = (x - 0.62).hypot(height - 0.40);
    colour = mix(colour, [1.0, 0.80, 0.45], 0.55 * (-from_sun * 7.0).exp());
    if from_sun < 0.085 {
        colour = [1.0, 0.95, 0.72];
    }
    // Ridges, the nearest last and darkest.
    let ridges: [(f32, f32, f32, Colour); 3] = [
        (0.46, 0.06, 1.3, [0.48, 0.26, 0.46]),
        (0.54, 0.05, 2.9, [0.30, 0.17, 0.38]),
        (0.62, 0.04, 4.4, [0.13, 0.09, 0.24]),
    ];
    for (base, size, phase, ridge) in ridges {
        let rough =
            (7.0 * x + phase).sin() + 0.5 * (17.0 * x + 2.0 * phase).sin() + 0.2 * (41.0 * x).sin();
        if height > base - size * rough {
            colour = ridge;
        }
    }
    if in_water { mix(colour, [0.08, 0.10, 0.26], 0.25 + 0.8 * depth) } else { colour }
}

/// The evening picture, each pixel the mean of 4 × 4 points.
pub fn painted(size: u32) -> Picture {
    let mut values = Vec::new();
    for y in 0..size {
        for x in 0..size {
            let mut sum = [0.0; 3];
            for k in 0..16 {
                let [dx, dy] = [k % 4, k / 4].map(|k| (k as f32 + 0.5) / 4.0);
                let point = evening((x as f32 + dx) / size as f32, (y as f32 + dy) / size as f32);
                sum = std::array::from_fn(|k| sum[k] + point[k] / 16.0);
            }
            values.extend(sum);
        }
    }
    Picture { width: size, height: size, values }
}

/// `count` round Gaussians distributed over the picture, in the colours of the picture.
pub fn scattered(goal: &Picture, count: usize) -> Start {
    let mut seed = 1u64;
    // SplitMix64, in the unit interval.
    let mut random = || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    };
    let [width, height] = [goal.width as f32, goal.height as f32];
    // Wide enough that several cover every pixel. Their weights sum to about `overlap`, by which colours are divided.
    let spread = 0.6;
    let scale = spread * (width * height / count as f32).sqrt();
    let overlap = 2.0 * PI * spread * spread;
    let mut start = Start { positions: Vec::new(), colours: Vec::new(), shapes: Vec::new() };
    for _ in 0..count {
        let [x, y] = [width * random(), height * random()];
        let [column, row] = [(x as u32).min(goal.width - 1), (y as u32).min(goal.height - 1)];
        let pixel = 3 * (row * goal.width + column) as usize;
        start.positions.extend([x, y]);
        start.colours.extend(goal.values[pixel..pixel + 3].iter().map(|value| value / overlap));
        start.shapes.extend([f32::ln(scale), f32::ln(scale), PI * random()]);
    }
    start
}
