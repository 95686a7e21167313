//! Fits a picture with 2-D Gaussians: the example's own kernels render them and compute the gradients, the optimizer's step
//! is recorded after them on the same buffers, and many steps are one submission.
//!
//!     cargo run --release --example splat_image -- --out frames
//!     cargo run --release --example splat_image -- --image photo.png --size 512 --gaussians 20000
//!
//! `splats.wgsl` and `splats.rs` do not depend on this crate, which `fit`, below, uses. Only the frames are read back.

mod picture;
mod splats;

pub use picture::{painted, scattered};
pub use splats::{Picture, Splats, Start};

use std::error::Error;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Instant;
use wgpu::{Device, PollType, Queue};
use wgpu_optim::gpu::{ReadBack, required_limits};
use wgpu_optim::{Adam, Optimizer, Span};

const USAGE: &str = "splat_image [--size PIXELS] [--gaussians N] [--steps N] [--every STEPS] \
                     [--image PNG] [--out FOLDER]";

pub struct Settings {
    /// Pixels of the picture's longer side.
    pub size: u32,
    pub gaussians: usize,
    pub steps: usize,
    /// Steps per frame, in one submission. The number of steps is rounded down to whole frames.
    pub every: usize,
    /// Picture to fit, instead of the built-in one.
    pub image: Option<PathBuf>,
    pub out: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        let out = std::env::temp_dir().join("splat");
        Settings { size: 192, gaussians: 3000, steps: 300, every: 20, image: None, out }
    }
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::parse(std::env::args().skip(1))?;
    let (device, queue) = pollster::block_on(open())?;
    fit(&device, &queue, &settings)?;
    println!("frames are in {}", settings.out.display());
    Ok(())
}

/// Opens a device like any program; a software adapter suffices.
async fn open() -> Result<(Device, Queue), Box<dyn Error>> {
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    let adapter = wgpu::Instance::default().request_adapter(&options).await?;
    println!("{}", adapter.get_info().name);
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: required_limits(&adapter.limits()),
        ..Default::default()
    };
    Ok(adapter.request_device(&descriptor).await?)
}

/// Fits the picture, writes the frames, and returns the loss at each frame.
pub fn fit(device: &Device, queue: &Queue, settings: &Settings) -> Result<Vec<f64>, Box<dyn Error>> {
    let goal = match &settings.image {
        Some(file) => load(file, settings.size)?,
        None => painted(settings.size),
    };
    std::fs::create_dir_all(&settings.out)?;
    save(&settings.out.join("target.png"), &goal)?;

    let splats = Splats::new(device, &goal, &scattered(&goal, settings.gaussians));
    let Splats { positions, colours, shapes, .. } = &splats;
    // Three parameter groups, because positions, colours and logarithms of scales need different learning rates.
    let optimizer = Optimizer::new(device, Adam { lr: 0.2, ..Adam::default() })
        .tensor(Span::whole(&positions.params), Span::whole(&positions.grads))
        .group(Adam { lr: 0.01, ..Adam::default() })
        .tensor(Span::whole(&colours.params), Span::whole(&colours.grads))
        .group(Adam { lr: 0.04, ..Adam::default() })
        .tensor(Span::whole(&shapes.params), Span::whole(&shapes.grads))
        .build()?;

    println!("{} Gaussians, {} dispatches a step", settings.gaussians, 4 + optimizer.dispatches());

    let mut staging = ReadBack::new(device, splats.picture.size())?;
    let mut losses = Vec::new();
    let started = Instant::now();
    for step in (0..=settings.steps).step_by(settings.every) {
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        // No steps before the first frame.
        for _ in 0..settings.every.min(step) {
            splats.record_gradients(&mut pass);
            optimizer.record(&mut pass);
        }
        splats.record_picture(&mut pass);
        drop(pass);
        staging.copy(&mut encoder, &Span::whole(&splats.picture))?;
        queue.submit([encoder.finish()]);

        let frame = Picture { values: wait(device, staging.read())??, ..goal };
        save(&settings.out.join(format!("frame_{:03}.png", losses.len())), &frame)?;
        let loss = mean_squared_error(&frame, &goal);
        let (psnr, seconds) = (-10.0 * loss.log10(), started.elapsed().as_secs_f64());
        println!("step {step:4}   loss {loss:.3e}   PSNR {psnr:5.2} dB   {seconds:6.2} s");
        losses.push(loss);
    }
    Ok(losses)
}

/// Waits for a read-back.
fn wait<T>(device: &Device, reading: impl Future<Output = T>) -> Result<T, wgpu::PollError> {
    let mut reading = pin!(reading);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // The first poll of the future requests the mapping; polling the device completes it.
    loop {
        if let std::task::Poll::Ready(result) = reading.as_mut().poll(&mut context) {
            return Ok(result);
        }
        device.poll(PollType::wait_indefinitely())?;
    }
}

fn mean_squared_error(a: &Picture, b: &Picture) -> f64 {
    let squares = a.values.iter().zip(&b.values).map(|(a, b)| f64::from(a - b).powi(2));
    squares.sum::<f64>() / a.values.len() as f64
}

fn load(file: &Path, size: u32) -> Result<Picture, Box<dyn Error>> {
    let image = image::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let image = image.resize(size, size, image::imageops::FilterType::Triangle).to_rgb32f();
    Ok(Picture { width: image.width(), height: image.height(), values: image.into_raw() })
}

fn save(file: &Path, picture: &Picture) -> Result<(), Box<dyn Error>> {
    // The cast saturates.
    let bytes: Vec<u8> = picture.values.iter().map(|value| (255.0 * value).round() as u8).collect();
    let color = image::ColorType::Rgb8;
    image::save_buffer(file, &bytes, picture.width, picture.height, color)
        .map_err(|error| format!("{}: {error}", file.display()).into())
}

impl Settings {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut settings = Self::default();
        while let Some(flag) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            match flag.as_str() {
                "--size" => settings.size = value.parse()?,
                "--gaussians" => settings.gaussians = value.parse()?,
                "--steps" => settings.steps = value.parse()?,
                "--every" => settings.every = value.parse()?,
                "--image" => settings.image = Some(value.into()),
                "--out" => settings.out = value.into(),
                _ => return Err(USAGE.into()),
            }
        }
        // `backward` is one dispatch with a workgroup for every Gaussian.
        match settings {
            Settings { gaussians: 1..=65_535, size: 16..=1024, every: 1.., .. } => Ok(settings),
            _ => Err("16 to 1024 pixels, 1 to 65535 Gaussians, 1 step or more to a frame".into()),
        }
    }
}
