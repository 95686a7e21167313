//! The HTML page of a verification.

use super::report::{
    AdapterReport, FAULT_HEADER, FaultReport, KERNEL_HEADER, Kernel, Report, failure, ratio,
};
use crate::command::Failure;
use crate::command::output::AtomicFile;
use crate::command::page::Page;
use crate::command::plot::{Chart, Mark, Series};
use std::path::Path;
use wgpu_optim::verify::{Bound, Check};

pub fn write<'a>(report: &Report, path: &'a Path) -> Result<AtomicFile<'a>, Failure> {
    let mut page = Page::new("wgpu-optim: verification");
    let verdict = match report.pass {
        true => "Every value is within its bound.".to_string(),
        false => report.failures(),
    };
    if report.pass {
        page.paragraph(&verdict)
    } else {
        page.warning(&verdict)
    }
    page.paragraph(&format!(
        "Every value that a kernel wrote was compared with its definition in f64, from the device's own inputs. \
         A derived bound is the sum of the errors that WGSL allows for the operations, computed by running the same \
         formula; the ratio is the error divided by the bound. Bits were compared where every order of operations \
         gives the same bits. The seed of the inputs is {}. \
         A ratio of exactly 1 comes from a constant that f32 cannot represent, or from a number that the device \
         flushed to zero; both errors are known exactly.",
        report.seed
    ));
    for adapter in &report.adapters {
        page.heading(&format!("{} ({}, {})", adapter.name, adapter.backend, adapter.driver));
        for check in adapter.checks.iter().filter(|check| !check.pass) {
            page.warning(&failure(check));
        }
        page.picture(&chart(adapter))?;
        page.table(&KERNEL_HEADER, 3, adapter.kernels().iter().flat_map(Kernel::rows));
    }
    if let Some(faults) = &report.faults {
        page.heading("Seeded faults");
        page.paragraph(
            "The kernels were built with each of these faults. A suite that does not detect them proves nothing.",
        );
        page.table(&FAULT_HEADER, 3, faults.iter().map(FaultReport::row));
    }
    for adapter in &report.adapters {
        page.heading(&format!("Every check on {}", adapter.name));
        let header = ["kernel", "case", "bound", "values", "error / bound", "ulps there", ""];
        let rows = adapter.checks.iter().map(|check| {
            vec![
                check.kernel.clone(),
                check.case.clone(),
                if check.bound == Bound::Derived { "derived" } else { "same bits" }.into(),
                check.values.to_string(),
                ratio(check),
                check.worst.as_ref().map_or(String::new(), |worst| worst.ulps.to_string()),
                if check.pass { "ok" } else { "FAILED" }.into(),
            ]
        });
        page.table(&header, 3, rows);
    }
    let html = page.finish();
    AtomicFile::write(path, |file| file.write_all(html.as_bytes()))
}

/// The chart of the ratios of checks with a derived bound, by the part of a kernel's name before the slash.
fn chart(adapter: &AdapterReport) -> Chart {
    let mut series: Vec<Series> = Vec::new();
    // Checks without an error are not plotted.
    let off = |check: &&Check| check.bound == Bound::Derived && check.worst_ratio > 0.0;
    let derived = adapter.checks.iter().filter(off);
    let mut count = 0.0;
    for (i, check) in derived.enumerate() {
        count = i as f64;
        let label = check.kernel.split('/').next().unwrap_or_default();
        let at = series.iter().position(|series| series.label == label).unwrap_or_else(|| {
            series.push(Series { label: label.into(), mark: Mark::Points, points: Vec::new() });
            series.len() - 1
        });
        series[at].points.push((count, check.worst_ratio));
    }
    // Extended to leave room for the legend.
    let bound = vec![(0.0, 1.0), (1.45 * count, 1.0)];
    series.push(Series { label: "allowed".into(), mark: Mark::Reference, points: bound });
    Chart {
        title: "Largest error of each check, as a share of its bound".into(),
        x_label: "check".into(),
        y_label: "error / bound".into(),
        log_x: false,
        log_y: true,
        series,
    }
}
