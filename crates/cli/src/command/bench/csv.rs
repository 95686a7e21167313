//! The results of a benchmark as CSV.

use crate::bench::Report;
use std::io::{Error, Write};

const HEADER: [&str; 26] = [
    "work",
    "rule",
    "size",
    "rows",
    "features",
    "batch",
    "device",
    "threads",
    "cache",
    "samples",
    "missed",
    "min_s",
    "q1_s",
    "median_s",
    "q3_s",
    "low_s",
    "high_s",
    "trimmed_mean_s",
    "bytes",
    "gb_s",
    "percent_of_copy",
    "limit",
    "percent_of_limit",
    "gpu_median_s",
    "gpu_gb_s",
    "gpu_percent_of_copy",
];

pub fn write(to: &mut dyn Write, report: &Report) -> Result<(), Error> {
    let mut writer = csv::Writer::from_writer(to);
    writer.write_record(HEADER)?;
    for row in &report.rows {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let of_shape = |part: fn(&crate::bench::Shape) -> Option<u64>| {
            row.shape.as_ref().and_then(part).map_or_else(String::new, |value| value.to_string())
        };
        writer.write_record([
            row.work.clone(),
            text(&row.rule),
            row.size.to_string(),
            of_shape(|shape| Some(shape.rows)),
            of_shape(|shape| Some(shape.features)),
            of_shape(|shape| shape.batch),
            row.device.clone(),
            row.threads.map_or_else(String::new, |threads| threads.to_string()),
            text(&row.cache),
            row.samples.len().to_string(),
            row.samples.iter().filter(|sample| sample.is_none()).count().to_string(),
            number(row.min_s),
            number(row.q1_s),
            number(row.median_s),
            number(row.q3_s),
            number(row.interval.map(|[low, _]| low)),
            number(row.interval.map(|[_, high]| high)),
            number(row.trimmed_mean_s),
            row.bytes.to_string(),
            number(row.gb_s),
            number(row.percent_of_copy),
            text(&row.limit),
            number(row.percent_of_limit),
            number(row.gpu_median_s),
            number(row.gpu_gb_s),
            number(row.gpu_percent_of_copy),
        ])?;
    }
    writer.flush()
}
