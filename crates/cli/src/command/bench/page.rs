//! The HTML page of a benchmark.

use super::table::{self, CALIBRATION, HEADER, LEFT, calibration, cells};
use crate::bench::{Report, Row, Summary};
use crate::command::Failure;
use crate::command::page::Page;
use crate::command::plot::{Chart, Mark, Series};
use serde_json::Value;

/// Renders the page.
pub fn page(report: &Report) -> Result<String, Failure> {
    let machine = &report.machine;
    let name = machine.adapter.as_ref().map_or(&machine.cpu, |adapter| &adapter.name);
    let mut page = Page::new(&format!("wgpu-optim bench: {name}"));
    super::remarks(report).iter().for_each(|remark| page.warning(remark));
    for line in table::describe(report).lines() {
        page.paragraph(line);
    }
    page.heading("By size");
    page.paragraph(
        "GB/s of the bytes that a step must move: gradients read, parameters and moments read and written. Dashes \
         show the interleaved copy, half of whose bytes are read and half written. Thin lines with rings are cold: \
         all caches were flushed before each sample.",
    );
    let mut devices: Vec<Option<usize>> = Vec::new();
    for row in &report.rows {
        if !devices.contains(&row.threads) {
            devices.push(row.threads);
        }
    }
    for &threads in &devices {
        let of_device = report.rows.iter().filter(|row| row.threads == threads && row.work == "step");
        let rows: Vec<&Row> = of_device.collect();
        if !rows.is_empty() {
            page.picture(&roofline(&format!("Steps, {}", table::device(threads)), &rows))?;
        }
    }
    let gradients = report.rows.iter().filter(|row| row.work == "gradient");
    let gradients: Vec<&Row> = gradients.collect();
    if !gradients.is_empty() {
        page.picture(&of_gradients(&devices, &gradients))?;
    }
    page.heading("Every row");
    page.paragraph(
        "Every result was compared with its definition in f64 before it was timed. Times are medians of wall-clock \
         times with a 95 % confidence interval; for fits they are means without the fastest and the slowest seed. \
         The share of the copy is the median of ratios to an interleaved copy of as many bytes. GPU GB/s are by the \
         device's timestamps. G/s are billions of parameters, or of elements of X, per second.",
    );
    page.table(&HEADER, LEFT, report.rows.iter().map(cells));
    page.heading("Plain streams, before and after");
    page.table(&CALIBRATION, 2, calibration(report));
    if !report.left_out.is_empty() {
        page.heading("Left out");
        let rows = report.left_out.iter().map(|left| vec![left.what.clone(), left.reason.clone()]);
        page.table(&["work", "why"], 2, rows);
    }
    page.heading("Machine, build and settings");
    page.table(&["", ""], 2, record(report));
    Ok(page.finish())
}

/// The chart of a step's GB/s against the bytes that it moves.
fn roofline(title: &str, rows: &[&Row]) -> Chart {
    let mut series = vec![Series { label: "copy".into(), mark: Mark::Reference, points: copies(rows) }];
    let mut rules: Vec<&Option<String>> = Vec::new();
    for row in rows {
        if !rules.contains(&&row.rule) {
            rules.push(&row.rule);
        }
    }
    for rule in rules {
        for (cache, mark) in [("hot", Mark::Joined), ("cold", Mark::Faint)] {
            let of = |row: &&&Row| row.rule == *rule && row.cache.as_deref() == Some(cache);
            let points: Vec<_> = rows.iter().filter(of).filter_map(|row| point(row)).collect();
            if !points.is_empty() {
                series.push(Series { label: rule.clone().unwrap_or_default(), mark, points });
            }
        }
    }
    chart(title, "bytes moved by a step", "GB/s", series)
}

fn chart(title: &str, x_label: &str, y_label: &str, series: Vec<Series>) -> Chart {
    let [title, x_label, y_label] = [title, x_label, y_label].map(String::from);
    Chart { title, x_label, y_label, log_x: true, log_y: true, series }
}

fn point(row: &Row) -> Option<(f64, f64)> {
    Some((row.bytes as f64, row.gb_s?))
}

/// The medians of the hot copies, by number of bytes.
fn copies(rows: &[&Row]) -> Vec<(f64, f64)> {
    let hot = rows.iter().filter(|row| row.cache.as_deref() == Some("hot"));
    let mut sizes: Vec<u64> = hot.clone().map(|row| row.bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let of = |&bytes: &u64| {
        let beside = hot.clone().filter(|row| row.bytes == bytes).flat_map(|row| &row.beside);
        let times: Vec<f64> = beside.copied().collect();
        Some((bytes as f64, 1e-9 * bytes as f64 / Summary::of(&times)?.median))
    };
    sizes.iter().filter_map(of).collect()
}

/// The chart of the gradients' GB/s of X against the features.
fn of_gradients(devices: &[Option<usize>], rows: &[&Row]) -> Chart {
    let mut series = Vec::new();
    for &threads in devices {
        for (cache, mark) in [("hot", Mark::Joined), ("cold", Mark::Faint)] {
            let of = |row: &&&Row| row.threads == threads && row.cache.as_deref() == Some(cache);
            let point = |row: &&Row| Some((row.shape?.features as f64, row.gb_s?));
            let mut points: Vec<_> = rows.iter().filter(of).filter_map(point).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            if !points.is_empty() {
                series.push(Series { label: table::device(threads), mark, points });
            }
        }
    }
    chart("Gradients", "features", "GB/s of X", series)
}

/// The description of the machine, one line per property.
fn record(report: &Report) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let versions = serde_json::to_value(&report.versions).unwrap_or_default();
    let machine = serde_json::to_value(&report.machine).unwrap_or_default();
    flatten("", &versions, &mut lines);
    flatten("", &machine, &mut lines);
    lines
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                flatten(&name, value, lines);
            }
        }
        Value::String(text) => lines.push(vec![name.into(), text.clone()]),
        Value::Null => {}
        value => lines.push(vec![name.into(), value.to_string()]),
    }
}
