//! The results of a benchmark as text.

use crate::bench::{Rates, Report, Row, Shape};
use crate::command::output;

pub const HEADER: [&str; 13] = [
    "work", "rule", "size", "device", "cache", "median", "95 %", "GB/s", "of copy", "of limit",
    "GPU GB/s", "of copy", "G/s",
];
/// Number of columns with text.
pub const LEFT: usize = 5;

/// The table on standard output.
pub fn text(report: &Report) -> String {
    let mut lines = vec![describe(report)];
    lines.push(output::table(&CALIBRATION, 2, calibration(report)));
    lines.push(output::table(&HEADER, LEFT, report.rows.iter().map(cells)));
    lines.join("\n\n")
}

/// The devices, one line each.
pub fn describe(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!("cpu: {} ({} threads, simd {})", machine.cpu, machine.threads, machine.simd);
    if let Some(adapter) = &machine.adapter {
        let software = if adapter.software { ", SOFTWARE" } else { "" };
        let driver = format!("{} {}", adapter.driver, adapter.driver_info);
        text += &format!("\ngpu: {} ({}, {}{software})", adapter.name, adapter.backend, driver.trim());
    }
    text
}

/// The cells of a row.
pub fn cells(row: &Row) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(String::new, rounded);
    let percent = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.0} %"));
    let is_fit = row.work == "fit";
    let missed = row.samples.iter().filter(|sample| sample.is_none()).count();
    // Fits report their mean.
    let time = match (is_fit, row.trimmed_mean_s, row.median_s) {
        (true, Some(time), _) | (false, _, Some(time)) => seconds(time),
        _ => "∞".into(),
    };
    let interval = match (row.interval, missed) {
        (_, 1..) => format!("{missed} of {} missed", row.samples.len()),
        (Some([low, high]), _) => format!("{} – {}", seconds(low), seconds(high)),
        (None, _) => String::new(),
    };
    let rate = row.params_per_s.or(row.features_per_s).map(|rate| rate * 1e-9);
    vec![
        row.work.clone(),
        row.rule.clone().unwrap_or_default(),
        size(row),
        device(row.threads),
        row.cache.clone().unwrap_or_default(),
        time,
        interval,
        number(row.gb_s),
        percent(row.percent_of_copy),
        row.limit
            .as_ref()
            .map_or_else(String::new, |of| format!("{} {of}", percent(row.percent_of_limit))),
        number(row.gpu_gb_s),
        percent(row.gpu_percent_of_copy),
        number(rate),
    ]
}

/// The short name of a device.
pub fn device(threads: Option<usize>) -> String {
    threads.map_or_else(|| "gpu".into(), |threads| format!("cpu × {threads}"))
}

/// A size, as on the command line.
pub fn size(row: &Row) -> String {
    match row.shape {
        None => power(row.size),
        Some(Shape { rows, features, batch: None }) => format!("{} × {}", power(rows), power(features)),
        Some(Shape { rows, features, batch: Some(batch) }) => {
            format!("{} × {} by {batch}", power(rows), power(features))
        }
    }
}

fn power(value: u64) -> String {
    if value >= 1 << 10 && value.is_power_of_two() {
        format!("2^{}", value.ilog2())
    } else {
        value.to_string()
    }
}

/// A time with three digits and a unit.
pub fn seconds(seconds: f64) -> String {
    let (scale, unit) = match seconds {
        s if s < 1e-6 => (1e9, "ns"),
        s if s < 1e-3 => (1e6, "µs"),
        s if s < 1.0 => (1e3, "ms"),
        _ => (1.0, "s"),
    };
    format!("{} {unit}", rounded(seconds * scale))
}

/// A number with three digits.
fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.001 => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

pub const CALIBRATION: [&str; 9] = [
    "device",
    "",
    "copy GB/s",
    "triad",
    "read",
    "empty dispatch",
    "submit and wait",
    "upload GB/s",
    "read back",
];

/// The bandwidths of plain streams, before and after the benchmarks.
pub fn calibration(report: &Report) -> Vec<Vec<String>> {
    let cells = |when: &str, rates: &Rates| {
        let number = |value: Option<f64>| value.map_or_else(String::new, rounded);
        let time = |value: Option<f64>| value.map_or_else(String::new, seconds);
        vec![
            device(rates.threads),
            when.into(),
            rounded(rates.copy_gb_s),
            rounded(rates.triad_gb_s),
            number(rates.read_gb_s),
            time(rates.empty_dispatch_s),
            time(rates.submit_and_wait_s),
            number(rates.upload_gb_s),
            number(rates.readback_gb_s),
        ]
    };
    let calibration = &report.calibration;
    let pairs = calibration.before.devices.iter().zip(&calibration.after.devices);
    pairs.flat_map(|(before, after)| [cells("before", before), cells("after", after)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let times = [(0.0123456, "12.3 ms"), (4.2e-7, "420 ns"), (3.0, "3.00 s"), (1.5e-5, "15.0 µs")];
        for (time, text) in times {
            assert_eq!(seconds(time), text);
        }
    }
}
