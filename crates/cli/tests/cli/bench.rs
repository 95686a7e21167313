//! Tests of `bench` and `compare`, with small sizes.

use crate::command;

use command::{Outcome, devices, folder, json, names, number, numbers, refused, refused_whole, run};
use serde_json::{Value, json};

/// All benchmarks, with the smallest sizes.
const TINY: &str = "--sizes 1000,64x5 --rule adam,sgd --time-budget 0 --stream 2^20";

#[test]
fn json_has_what_programs_rely_on() {
    for device in devices() {
        let report = json(".", &format!("bench all {TINY} --device {device} --json"));
        assert_eq!(report["schema"], 1);
        let machine = &report["machine"];
        for field in ["cpu", "threads", "simd", "memory_bytes", "system", "kernel", "build", "settings"]
        {
            assert!(!machine[field].is_null(), "{field}: {machine}");
        }
        assert_eq!(machine["adapter"].is_null(), device == "cpu");
        for when in ["before", "after"] {
            let rates = &report["calibration"][when];
            assert!(number(&rates["copy_gb_s"]) > 0.0 && number(&rates["triad_gb_s"]) > 0.0);
        }
        assert!(report["calibration"]["stable"].is_boolean());
        let rows = report["rows"].as_array().unwrap();
        rows.iter().for_each(check_row);
        let has = |work: &str, rule: Value, size: u64, threads: Value| {
            let is = |row: &&Value| {
                row["work"] == work
                    && row["rule"] == rule
                    && row["size"] == size
                    && row["threads"] == threads
            };
            assert!(rows.iter().any(|row| is(&row)), "{work} {rule} {size} {threads} on {device}");
        };
        let mut threads = vec![json!(1)];
        threads.extend((device == "gpu").then_some(Value::Null));
        for threads in threads {
            has("step", json!("adam"), 1000, threads.clone());
            has("step", json!("sgd"), 1000, threads.clone());
            has("gradient", Value::Null, 15 * 64, threads.clone());
            has("gradient", Value::Null, 64 * 5, threads.clone());
            has("epoch", json!("adam"), 64 * 5, threads.clone());
            has("fit", json!("sgd"), 64 * 5, threads);
        }
    }
}

fn check_row(row: &Value) {
    let samples = row["samples"].as_array().unwrap();
    if row["work"] == "fit" {
        assert_eq!(samples.len(), 5, "{row}");
        return;
    }
    assert!(samples.len() >= 10, "{row}");
    let times = numbers(&row["samples"]);
    assert!(times.iter().all(|&time| time > 0.0), "{row}");
    assert_eq!(row["beside"].as_array().unwrap().len(), samples.len());
    let (least, median) = (number(&row["min_s"]), number(&row["median_s"]));
    let interval = numbers(&row["interval"]);
    assert!(least <= interval[0] && interval[0] <= median && median <= interval[1], "{row}");
    let gb_s = number(&row["bytes"]) / median * 1e-9;
    assert!((number(&row["gb_s"]) / gb_s - 1.0).abs() < 1e-9, "{row}");
    assert!(number(&row["percent_of_copy"]) > 0.0);
    let validation = &row["validation"];
    assert!(number(&validation["values"]) > 0.0 && number(&validation["worst_ratio"]) <= 1.0, "{row}");
}

#[test]
fn page_and_table_are_files_of_their_own() {
    let folder = folder(&[]);
    let flags = "--device cpu --html page.html --csv rows.csv";
    let Outcome { code, stdout, stderr } = run(&folder, &format!("bench step {TINY} {flags}"));
    assert_eq!(code, 2, "a shape is none of a step's: {stdout}{stderr}");
    let arguments =
        format!("bench step --sizes 4096,8192 --rule adam --time-budget 0 --stream 2^20 {flags}");
    let Outcome { code, stdout, stderr } = run(&folder, &arguments);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("of copy") && stdout.contains("2^13") && stdout.contains("cpu × 1"),
        "{stdout}"
    );
    assert_eq!(names(&folder), ["page.html", "rows.csv"]);
    let page = std::fs::read_to_string(folder.path().join("page.html")).unwrap();
    for outside in ["<script", "<link", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(
        page.contains("<svg") && page.contains("prefers-color-scheme") && page.ends_with("</html>\n")
    );
    let rows = std::fs::read_to_string(folder.path().join("rows.csv")).unwrap();
    assert!(rows.starts_with("work,rule,size,"));
    assert!(
        rows.lines().skip(1).all(|line| line.starts_with("step,adam,")) && rows.lines().count() >= 3
    );
}

#[test]
fn bad_sizes_and_numbers_are_refused_with_what_is_wrong() {
    let refusals: [(&str, &[&str]); 11] = [
        ("bench step --sizes 0", &["`0`", "1 to 2^40"]),
        ("bench step --sizes 12q", &["`12q` is not a size"]),
        ("bench step --sizes 2^99", &["2^99"]),
        (
            "bench step --sizes 8x8 --stream 2^20 --device cpu",
            &["8x8", "the size of a step is one number"],
        ),
        ("bench gradient --sizes 8x2^30", &["8x2^30"]),
        (
            "bench step --device cpu --rule adam --sizes 2^40",
            &["step adam", "17592186044416 bytes", "available"],
        ),
        ("bench step --rule adma", &["adma"]),
        ("bench --stream 100", &["--stream", "2^16"]),
        ("bench --seeds 4", &["--seeds"]),
        ("bench --time-budget -1", &["from 0 to 3600"]),
        ("bench --device cpu --adapter x", &["--adapter"]),
    ];
    for (arguments, parts) in refusals {
        refused(".", arguments, parts);
    }
    let folder = folder(&[]);
    refused_whole(&folder, "bench step --html a --csv a", &["--csv a", "overwrite"]);
    refused_whole(&folder, "bench step --csv none/a", &["none/a", "directory"]);
}

/// A report with one row, whose samples are `by` times as long.
fn file(by: f64) -> String {
    let samples: Vec<f64> = (0..20).map(|i| by * 1e-3 * (1.0 + 0.002 * f64::from(i % 5))).collect();
    let row = |work: &str, samples: &[f64]| {
        json!({
            "work": work, "rule": "adam", "size": 4096, "device": "cpu", "threads": 1, "cache": "hot",
            "samples": samples, "beside": vec![1e-3; 20], "median_s": by * 1e-3,
        })
    };
    let rows = [row("step", &samples), row("epoch", &[1e-3; 20])];
    json!({ "schema": 1, "machine": { "cpu": "one" }, "rows": rows }).to_string()
}

#[test]
fn a_slower_row_fails_and_others_do_not() {
    let folder = folder(&[("a", &file(1.0)), ("same", &file(1.03)), ("slower", &file(1.5))]);
    let same = run(&folder, "compare a same");
    assert_eq!((same.code, same.stderr.as_str()), (0, ""));
    assert!(same.stdout.contains("2 SAME, 0 FASTER, 0 SLOWER, 0 UNSURE"), "{}", same.stdout);
    let slower = run(&folder, "compare a slower");
    assert_eq!(slower.code, 1);
    assert!(slower.stdout.contains("1 SAME, 0 FASTER, 1 SLOWER"), "{}", slower.stdout);
    assert!(slower.stderr.contains("1 row is SLOWER"), "{}", slower.stderr);
    let faster = json(&folder, "compare slower a --json");
    assert_eq!((&faster["faster"], &faster["rows"][0]["verdict"]), (&json!(1), &json!("FASTER")));
}

#[test]
fn other_files_are_refused() {
    let other = r#"{"schema": 7, "rows": []}"#;
    let empty = r#"{"schema": 1, "rows": []}"#;
    let folder = folder(&[("a", &file(1.0)), ("text", "hello"), ("other", other), ("empty", empty)]);
    refused(&folder, "compare a text", &["text: not a benchmark report"]);
    refused(&folder, "compare other a", &["other: its schema is 7"]);
    refused(&folder, "compare a empty", &["no row in common"]);
    refused(&folder, "compare a nothing", &["nothing:"]);
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    refused(&folder, "compare folder a", &["folder: "]);
}

/// The same report, modified.
fn changed(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut value: serde_json::Value = serde_json::from_str(&file(1.0)).unwrap();
    change(&mut value);
    value.to_string()
}

#[test]
fn times_that_no_clock_measured_are_refused() {
    for (what, time, said) in
        [("negative", json!(-1), "-1.0"), ("zero", json!(0), "0.0"), ("none", json!(null), "null")]
    {
        let samples = changed(|file| file["rows"][1]["samples"] = json!(vec![time.clone(); 20]));
        let folder = folder(&[("a", &file(1.0)), (what, &samples)]);
        let row = format!(
            "{what}: row 2 (epoch adam of 4096, cpu, 1 thread, hot): number 1 of `samples` is {said}, "
        );
        for arguments in [format!("{what} a"), format!("a {what}"), format!("{what} {what} --json")] {
            refused(
                &folder,
                &format!("compare {arguments}"),
                &[&row, "a time must be above 0 s and finite"],
            );
        }
    }
    let copies = changed(|file| file["rows"][0]["beside"] = json!(vec![0.0; 20]));
    let folder = folder(&[("a", &file(1.0)), ("copies", &copies)]);
    refused(&folder, "compare a copies", &["copies: row 1 (step", "number 1 of `beside` is 0.0"]);
}

/// Comparing a thousand rows of the same benchmark with a thousand would give a million lines.
#[test]
fn a_row_is_there_once() {
    let many = changed(|file| {
        let rows = file["rows"].as_array().unwrap().clone();
        file["rows"] = std::iter::repeat_n(rows, 1000).flatten().collect();
    });
    let folder = folder(&[("a", &file(1.0)), ("many", &many)]);
    for arguments in ["many many", "a many", "many a"] {
        let parts = ["many: rows 1 and 3 are both of step adam of 4096, cpu, 1 thread, hot"];
        refused(&folder, &format!("compare {arguments}"), &parts);
    }
}

#[test]
fn many_works_are_compared_in_no_time() {
    let many = changed(|file| {
        let row = file["rows"][0].clone();
        let of = |size: u64| {
            let mut row = row.clone();
            row["size"] = size.into();
            row
        };
        file["rows"] = (1..=20_000).map(of).collect();
    });
    let folder = folder(&[("many", &many)]);
    let compared = json(&folder, "compare many many --json");
    assert_eq!(
        (&compared["same"], compared["rows"].as_array().unwrap().len()),
        (&json!(20_000), 20_000)
    );
}

/// Inconsistent visits in a row are not trusted.
#[test]
fn visits_that_do_not_add_up_are_not_believed() {
    let visits = changed(|file| file["rows"][0]["visits"] = json!([u64::MAX, 21]));
    let folder = folder(&[("a", &file(1.0)), ("visits", &visits)]);
    assert_eq!(json(&folder, "compare a visits --json")["same"], 2);
}

#[test]
fn a_run_can_be_compared_with_itself() {
    let folder = folder(&[]);
    let report =
        run(&folder, "bench gradient --sizes 256x8 --device cpu --time-budget 0 --stream 2^20 --json");
    assert_eq!(report.code, 0, "{}", report.stderr);
    std::fs::write(folder.path().join("a.json"), &report.stdout).unwrap();
    let compared = json(&folder, "compare a.json a.json --json");
    assert!(number(&compared["same"]) >= 1.0 && compared["slower"] == 0, "{compared}");
}
