//! `reproduce`: the algorithms of the blog series.

use super::device::{Choice, Description, DeviceArguments};
use super::plot::{Chart, Mark, Series};
use super::{Failure, output};
use crate::series::{Algorithm, Device, Line, Variant, run as run_algorithm};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::regression::reference::gradient::{Rows, gradient};
use wgpu_optim::{Loss, Model};

#[derive(Args)]
#[command(after_help = "\
Example:
  wgpu-optim reproduce --plot pictures")]
pub struct Arguments {
    #[command(flatten)]
    device: DeviceArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Plot the data and the loss of each algorithm into this directory
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    gpu: Option<Description>,
    rows: Vec<Row>,
    defects: Vec<&'static str>,
    pass: bool,
}

#[derive(Serialize)]
struct Row {
    algorithm: Algorithm,
    variant: Variant,
    device: &'static str,
    updates: usize,
    m: f64,
    b: f64,
    mse: f64,
    published_m: Option<f64>,
    published_b: Option<f64>,
    expected_m: f64,
    expected_b: f64,
    tolerance: f64,
    pass: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(folder) = &arguments.plot {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::Input(format!("{}: {error}", folder.display())))?;
    }
    let gpu = open(&arguments.device)?;
    let mut devices = vec![(Device::Cpu, "cpu"), (Device::F64, "f64")];
    if let Some(gpu) = &gpu {
        devices.insert(0, (Device::Gpu(gpu), "gpu"));
    }

    let mut rows = Vec::new();
    for algorithm in Algorithm::ALL {
        for variant in [Variant::Published, Variant::Corrected] {
            for &(device, name) in &devices {
                rows.push(row(algorithm, variant, device, name)?);
            }
        }
    }
    if let Some(folder) = &arguments.plot {
        draw(folder)?;
    }
    let pass = rows.iter().all(|row| row.pass);
    let defects = Algorithm::ALL.iter().filter_map(|algorithm| algorithm.defect()).collect();
    let report = Report { gpu: gpu.as_ref().map(Description::of_gpu), rows, defects, pass };
    if arguments.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    if pass {
        Ok(())
    } else {
        Err(Failure::Check("a result differs from the series by more than the tolerance".into()))
    }
}

/// Opens a GPU for `auto` too, software included: this command tests the kernels.
fn open(device: &DeviceArguments) -> Result<Option<Gpu>, Failure> {
    match (device.device, &device.adapter) {
        (Choice::Auto, None) => match block_on(Gpu::open(None)) {
            Ok(gpu) => Ok(Some(gpu)),
            Err(error) => {
                output::note(&format!("The GPU rows are omitted: {error}."));
                Ok(None)
            }
        },
        _ => device.open(),
    }
}

fn row(
    algorithm: Algorithm,
    variant: Variant,
    device: Device,
    name: &'static str,
) -> Result<Row, Failure> {
    let path = run_algorithm(algorithm, variant, device)?;
    let (m, b) = *path.last().unwrap_or(&algorithm.start());
    let expected = algorithm.expected(variant);
    let published = algorithm.published(variant);
    // f32 differs from f64 in the seventh digit, and the rule amplifies the difference.
    let tolerance = if matches!(device, Device::F64) { 1e-12 } else { 5e-5 };
    let error = (m - expected.0).abs().max((b - expected.1).abs());
    Ok(Row {
        algorithm,
        variant,
        device: name,
        updates: path.len() - 1,
        m,
        b,
        mse: mse((m, b))?,
        published_m: published.map(|line| line.0),
        published_b: published.map(|line| line.1),
        expected_m: expected.0,
        expected_b: expected.1,
        tolerance,
        pass: error <= tolerance,
    })
}

/// The mean squared error over the whole data set, as the series logs it.
fn mse((m, b): Line) -> Result<f64, Failure> {
    let (x, y) = Problem::blog().materialize::<f64>()?;
    let model = Model::new(1, Loss::Mse);
    Ok(gradient(&model, Rows { x: &x, aux: &y }, &[m, b], &mut [0.0; 2]))
}

fn print(report: &Report) -> Result<(), Failure> {
    let header = [
        "algorithm",
        "variant",
        "on",
        "updates",
        "m",
        "b",
        "MSE",
        "series' m",
        "series' b",
        "difference",
        "",
    ];
    let rows = report.rows.iter().map(|row| {
        let published = |value: Option<f64>| value.map_or("not printed".into(), |v| format!("{v:.9}"));
        let difference = (row.m - row.expected_m).abs().max((row.b - row.expected_b).abs());
        vec![
            row.algorithm.name().into(),
            format!("{:?}", row.variant).to_lowercase(),
            row.device.into(),
            row.updates.to_string(),
            format!("{:.9}", row.m),
            format!("{:.9}", row.b),
            format!("{:.2e}", row.mse),
            published(row.published_m),
            published(row.published_b),
            format!("{difference:.1e}"),
            if row.pass { "ok" } else { "FAIL" }.into(),
        ]
    });
    output::text(&output::table(&header, 3, rows))?;
    output::text(
        "Differences are from the published number or, if the series prints none, from the same algorithm in f64 \
         in NumPy. The tolerance is 1e-12 in f64 and 5e-5 in f32.",
    )?;
    for defect in &report.defects {
        output::text(&format!("- {defect}"))?;
    }
    match &report.gpu {
        Some(gpu) => output::text(&format!("GPU: {}", gpu.line())),
        None => output::text("GPU: not run"),
    }
}

/// Plots the data and the f64 runs; those of other devices look the same.
fn draw(folder: &Path) -> Result<(), Failure> {
    let (x, y) = Problem::blog().materialize::<f64>()?;
    let data = Chart {
        title: "The series' data".into(),
        x_label: "X".into(),
        y_label: "y".into(),
        log_x: false,
        log_y: false,
        series: vec![Series {
            label: "100 rows".into(),
            mark: Mark::Points,
            points: x.into_iter().zip(y).collect(),
        }],
    };
    data.save(&folder.join("data.svg"))?;
    let mut pictures = 1;
    for algorithm in Algorithm::ALL {
        let variants = match algorithm.defect() {
            Some(_) => vec![Variant::Published, Variant::Corrected],
            None => vec![Variant::Published],
        };
        let mut series = Vec::new();
        for variant in variants {
            let path = run_algorithm(algorithm, variant, Device::F64)?;
            let losses = path.into_iter().map(mse).collect::<Result<Vec<f64>, _>>()?;
            let points = (0..).map(f64::from).zip(losses).collect();
            let label = format!("{variant:?}").to_lowercase();
            series.push(Series { label, mark: Mark::Points, points });
        }
        let chart = Chart {
            title: format!("MSE against total updates: {}", algorithm.name()),
            x_label: "total updates".into(),
            y_label: "MSE over all rows".into(),
            log_x: false,
            log_y: true,
            series,
        };
        chart.save(&folder.join(format!("{}.svg", algorithm.name())))?;
        pictures += 1;
    }
    output::note(&format!("Wrote {pictures} plots to {}", folder.display()));
    Ok(())
}
