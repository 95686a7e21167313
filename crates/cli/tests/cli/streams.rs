//! Exit codes, output streams, and files of the command.

mod environment;

use crate::command::{HANG, Outcome, json, run};
use crate::common;

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// The directory of the package, in which Cargo runs tests.
const HERE: &str = ".";
const DIABETES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/diabetes.csv");
/// The mean squared error of the least-squares fit to [`DIABETES`], and its parameters for standardized features, the
/// intercept last: from the normal equations in exact arithmetic.
const DIABETES_LOSS: f64 = 2859.69634758675;
const DIABETES_FIT: [f64; 11] =
    [-0.476, -11.407, 24.727, 15.429, -37.680, 22.676, 4.806, 8.422, 35.734, 3.217, 152.133];
const RULES: [&str; 5] = ["adam", "sgd", "nesterov", "rmsprop", "momentum"];
/// A fit that takes no time.
const SMALL: &str = "fit --device cpu --samples 2000 --features 4 --batch-size 100";

/// Runs the command, which must end with `code`, print nothing to standard output, and report each of `parts`.
#[track_caller]
fn fails(folder: impl AsRef<Path>, arguments: &str, code: i32, parts: &[&str]) {
    let outcome = run(folder, arguments);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (code, ""), "{arguments}: {}", outcome.stderr);
    for part in parts {
        assert!(outcome.stderr.contains(part), "{arguments}: no `{part}` in: {}", outcome.stderr);
    }
}

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

/// The kinds of device to test on.
fn devices() -> Vec<&'static str> {
    match common::gpu::Gpu::get() {
        Some(_) => vec!["cpu", "gpu"],
        None => vec!["cpu"],
    }
}

/// The names in a folder, sorted.
fn names(folder: &TempDir) -> Vec<String> {
    let entries = folder.path().read_dir().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder with the file `data.csv` of this text.
fn csv(text: &str) -> TempDir {
    let folder = folder();
    std::fs::write(folder.path().join("data.csv"), text).unwrap();
    folder
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

#[track_caller]
fn assert_strings(value: &Value, fields: &[&str]) {
    assert!(fields.iter().all(|&field| value[field].is_string()), "{fields:?} of {value}");
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

#[test]
fn fit_reports_every_optimizer_in_the_order_given() {
    for device in devices() {
        let rules: String = RULES.map(|rule| format!(" --optimizer {rule}")).concat();
        let size = "--samples 20000 --features 8 --batch-size 500 --epochs 5";
        let report = json(HERE, &format!("fit --device {device} {size} --json{rules}"));
        assert_eq!(report["device"]["kind"], device);
        assert_strings(&report["device"], &["name", "backend", "driver"]);
        let data = &report["data"];
        assert_eq!(data["name"], "synthetic");
        assert_eq!((&data["samples"], &data["features"]), (&20000.into(), &8.into()));
        let runs = report["runs"].as_array().unwrap();
        assert_eq!(runs.iter().map(|run| run["optimizer"].as_str().unwrap()).collect::<Vec<_>>(), RULES);
        for run in runs {
            assert_eq!(run["updates"], 200);
            assert!(number(&run["loss"]) < number(&run["initial_loss"]), "{run}");
            assert!(number(&run["seconds"]) > 0.0, "{run}");
            assert_eq!(numbers(&run["weights"]).len(), 8);
            assert!(run["intercept"].is_number());
            let verification = &run["verification"];
            assert_eq!(verification["pass"], true, "{run}");
            assert!(number(&verification["checks"]) >= 1.0, "{run}");
            assert!((0.0..=1.0).contains(&number(&verification["worst_ratio"])), "{run}");
        }
    }
}

#[test]
fn fit_finds_the_least_squares_line_of_a_file() {
    for device in devices() {
        let settings = "--standardize --optimizer adam --lr 1 --batch-size 442 --steps 4000 --json";
        let report = json(HERE, &format!("fit {DIABETES} --device {device} {settings}"));
        let run = &report["runs"][0];
        let loss = number(&run["loss"]);
        assert!((loss / DIABETES_LOSS - 1.0).abs() < 1e-4, "{device}: {loss}");
        let mut params = numbers(&run["weights"]);
        params.push(number(&run["intercept"]));
        for (actual, expected) in params.iter().zip(DIABETES_FIT) {
            assert!((actual - expected).abs() < 0.5, "{device}: {params:?}");
        }
    }
}

#[test]
fn fit_predicts_the_column_asked_for() {
    let fit = "fit data.csv --device cpu --target y --optimizer sgd --lr 0.1 --steps 1000 --json";
    let report = json(csv("y,x\n1,0\n3,1\n5,2\n7,3\n"), fit);
    let (slope, intercept) = (&report["runs"][0]["weights"][0], &report["runs"][0]["intercept"]);
    assert!((number(slope) - 2.0).abs() < 1e-4 && (number(intercept) - 1.0).abs() < 1e-4, "{report}");
}

#[test]
fn fit_prints_a_table_for_people() {
    let outcome = run(HERE, SMALL);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    for part in ["2000 rows × 4 features", "threads", "rmsprop", "adam", "ok: "] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
}

#[test]
fn the_log_of_small_data_has_a_line_for_every_update() {
    for device in devices() {
        let folder = folder();
        let fit = format!("fit blog --device {device} --epochs 30 --lr 0.05 --log log.csv");
        let outcome = run(&folder, &fit);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert_eq!(names(&folder), ["log.csv"]);
        let text = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
        let (header, lines) = text.split_once('\n').unwrap();
        assert_eq!(header, "optimizer,update,batch_loss,loss,m,b");
        let lines: Vec<Vec<&str>> = lines.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 2 * 300);
        for (i, line) in lines.iter().enumerate() {
            let (rule, update) = (["rmsprop", "adam"][i / 300], i % 300 + 1);
            assert_eq!(line[..2], [rule, &update.to_string()]);
        }
        let value = |cell: &str| cell.parse::<f64>().unwrap();
        let [.., loss, m, b] = lines[299][..] else { panic!("{lines:?}") };
        assert!(value(loss) < 1e-6, "{loss}");
        assert!((value(m) - 2.5).abs() < 1e-2 && (value(b) - 1.0).abs() < 1e-2, "{m} {b}");
    }
}

#[test]
fn the_log_of_large_data_leaves_updates_out() {
    let folder = folder();
    let fit = "fit --device cpu --samples 200000 --features 8 --batch-size 100 --epochs 1 --log log.csv";
    assert_eq!(run(&folder, fit).code, 0);
    let text = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
    assert_eq!(text.lines().count(), 1 + 2 * 1000);
    assert!(text.lines().nth(1).unwrap().starts_with("rmsprop,2,"), "{text}");
}

#[test]
fn small_data_are_logged_as_often_as_asked() {
    let folder = folder();
    assert_eq!(run(&folder, "fit blog --device cpu --log log.csv --log-every 50").code, 0);
    let text = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
    assert_eq!(text.lines().count(), 1 + 2 * 2);
}

#[test]
fn data_are_not_overwritten_by_the_log() {
    let text = "a,y\n1,2\n2,3\n";
    let folder = csv(text);
    fails(&folder, "fit data.csv --device cpu --log data.csv", 2, &["data.csv"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("data.csv")).unwrap(), text);
}

#[test]
fn plots_are_svg_or_png() {
    let folder = folder();
    for (name, start) in [("x.svg", &b"<svg"[..]), ("x.png", &b"\x89PNG"[..])] {
        assert_eq!(run(&folder, &format!("{SMALL} --plot {name}")).code, 0);
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        assert!(bytes.starts_with(start), "{name}");
    }
    assert_eq!(names(&folder), ["x.png", "x.svg"]);
}

#[test]
fn reproduce_arrives_where_the_series_does() {
    let folder = folder();
    let report = json(&folder, "reproduce --json --plot .");
    assert_eq!(report["pass"], true);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 9 * 2 * (1 + devices().len()));
    for row in rows {
        let published = match (row["algorithm"].as_str().unwrap(), row["variant"].as_str().unwrap()) {
            ("momentum", _) => Some((2.499982141031187, 1.0000022781248525)),
            ("nesterov", "published") => Some((2.4883666557187394, 0.9970348560917996)),
            ("rmsprop", "published") => Some((2.500000366541509, 0.9999980870880228)),
            ("adam", _) => Some((2.513850200823342, 0.9979734270328469)),
            _ => None,
        };
        assert_eq!(row["pass"], true, "{row}");
        // The figures in the articles, with the loss over all rows.
        let figure = match (row["algorithm"].as_str().unwrap(), row["variant"].as_str().unwrap()) {
            ("rmsprop_article", "published") => {
                Some((20, 1.7328788754733273, 0.9588054014593544, 0.204399151))
            }
            ("rmsprop_article", _) => Some((20, 1.7339250339004542, 1.0016312105106244, 0.204003150)),
            ("adam_article", _) => Some((100, 2.515841775708289, 1.0006921167986251, 8.7065611e-5)),
            _ => None,
        };
        if let Some((updates, m, b, mse)) = figure {
            let error = (number(&row["m"]) - m).abs().max((number(&row["b"]) - b).abs());
            let (line, loss) = if row["device"] == "f64" { (1e-12, 1e-8) } else { (5e-5, 1e-2) };
            assert_eq!(row["updates"], updates, "{row}");
            assert!(error <= line && (number(&row["mse"]) / mse - 1.0).abs() <= loss, "{row}");
        }
        for field in ["published_m", "published_b"] {
            assert_eq!(row[field].is_null(), published.is_none(), "{row}");
        }
        if let Some((m, b)) = published {
            let error = (number(&row["m"]) - m).abs().max((number(&row["b"]) - b).abs());
            assert!(error <= if row["device"] == "f64" { 1e-12 } else { 5e-5 }, "{row}");
        }
    }
    let names = names(&folder);
    assert_eq!(names.len(), 10, "{names:?}");
    assert!(names.iter().all(|name| name.ends_with(".svg")), "{names:?}");
}

#[test]
fn devices_lists_the_adapters() {
    let report = json(HERE, "devices --json");
    let adapters = report["adapters"].as_array().unwrap();
    assert!(!adapters.is_empty() || devices() == ["cpu"]);
    for adapter in adapters {
        assert_strings(adapter, &["name", "type", "backend", "driver"]);
        let name = adapter["name"].as_str().unwrap();
        assert!(run(HERE, "devices").stdout.contains(name));
        fails(HERE, "fit --adapter nonexistent", 2, &["`nonexistent`", name]);
        assert!(adapter["refused"].is_null() || adapter["refused"].as_str().unwrap().contains("needed"));
    }
}

#[test]
fn an_adapter_is_asked_for_by_its_backend() {
    for adapter in json(HERE, "devices --json")["adapters"].as_array().unwrap() {
        let backend = adapter["backend"].as_str().unwrap();
        if adapter["refused"].is_null() {
            let report = json(HERE, &format!("fit blog --epochs 1 --json --adapter {backend}"));
            assert_eq!(report["device"]["backend"], backend);
        } else {
            let needed = ["cannot run the kernels", "needed"];
            fails(HERE, &format!("fit blog --adapter {backend}"), 2, &needed);
        }
    }
}

#[test]
fn a_file_that_cannot_be_learned_from_is_refused() {
    fails(HERE, "fit no/such.csv --device cpu", 2, &["no/such.csv"]);
    fails(HERE, &format!("fit {DIABETES} --target z"), 2, &["`z`", "age, sex", "progression"]);
    for (text, parts) in [
        ("a,b\n1,2\n3,four\n", &["row 2", "`b`", "`four`"][..]),
        ("a,b\n1,NaN\n", &["row 1", "`b`", "`NaN`"]),
        ("a,b\n", &["no rows"]),
        ("", &["no header"]),
    ] {
        fails(csv(text), "fit data.csv", 2, &[parts, &["data.csv"]].concat());
    }
}

#[test]
fn unusual_files_are_trained_on() {
    for text in [
        // Written by a spreadsheet; one row; a constant feature; a target of zeros.
        "\u{feff}\"a\",\"b,c\"\r\n\"1\", 2 \r\n2,3\r\n",
        "a,y\n1,2\n",
        "a,k,y\n1,5,1\n2,5,2\n3,5,3\n",
        "a,y\n1,0\n2,0\n",
    ] {
        let report = json(csv(text), "fit data.csv --device cpu --standardize --target a --json");
        assert!(report["runs"][0]["loss"].is_number(), "{text}: {report}");
    }
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    fails(HERE, &format!("fit {DIABETES} --batch-size 1000"), 2, &["1000", "442"]);
    fails(HERE, "fit --samples 0", 2, &["--samples"]);
    fails(HERE, "fit --features 0", 2, &["--features"]);
    fails(HERE, "fit --epochs 0", 2, &["--epochs"]);
    fails(HERE, "fit --batch-size 0", 2, &["--batch-size"]);
    fails(HERE, "fit --device cpu --samples 1000000000000", 2, &["memory", "1000000000000"]);
    fails(HERE, "fit --on-the-fly --samples 10000000000000", 2, &["samples is 1", "1099511627776"]);
}

#[test]
fn divergence_names_its_update_and_leaves_only_the_partial_log() {
    for (device, rule) in devices().into_iter().flat_map(|d| RULES.map(|rule| (d, rule))) {
        let fit = format!("fit --device {device} --samples 2000 --features 4 --batch-size 100");
        let flags = format!("--optimizer {rule} --lr 1e9 --log log.csv --plot x.svg --json");
        let folder = folder();
        fails(&folder, &format!("{fit} {flags}"), 1, &[rule, "diverged at update "]);
        assert_eq!(names(&folder), ["log.csv.partial"]);
    }
}

#[test]
fn arguments_are_checked() {
    for (flags, parts) in [
        ("--betas 1,0.9", &["beta1", "is 1", "0 ≤ value < 1"][..]),
        ("--eps 0", &["eps is 0"]),
        ("--lr -1", &["lr is -1"]),
        ("--lr nan", &["lr is NaN"]),
        ("--optimizer adam --alpha 0.9", &["--alpha"]),
        ("--noise -1", &["noise is -1"]),
        ("--target y", &["--target"]),
        ("--optimizer adams", &["adams", "nesterov"]),
        ("--adapter x", &["--adapter", "--device cpu"]),
        ("--unknown", &["--unknown"]),
    ] {
        fails(HERE, &format!("{SMALL} {flags}"), 2, parts);
    }
    fails(HERE, "train", 2, &["train"]);
}

#[test]
fn output_that_cannot_be_written_is_refused() {
    // Training would take hours.
    let endless = format!("{SMALL} --steps 100000000000");
    for (fit, parts) in [
        (format!("{endless} --plot x.pdf"), &["x.pdf", ".svg or .png"][..]),
        (format!("{endless} --log no/log.csv"), &["no/log.csv"]),
        (format!("{SMALL} --plot no/x.svg"), &["no/x.svg"]),
    ] {
        let folder = folder();
        fails(&folder, &fit, 2, parts);
        assert_eq!(names(&folder), [""; 0]);
    }
}

#[cfg(unix)]
mod unix {
    use super::*;
    use crate::command::wait_until;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    fn spawn(folder: &Path, arguments: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-optim"));
        command.current_dir(folder).args(arguments.split_whitespace());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_reader_who_goes_away_causes_no_panic() {
        // 5000 weights exceed the capacity of a pipe.
        let fit = "fit --device cpu --samples 20 --features 5000 --json";
        let mut child = spawn(Path::new(HERE), fit);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "{\n");
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
    }

    #[test]
    fn an_interrupted_fit_names_its_update_and_keeps_the_partial_log() {
        let folder = folder();
        let fit = "fit --device cpu --steps 100000000 --samples 5000 --features 4 --log log.csv";
        let child = spawn(folder.path(), fit);
        // A line below the header means that training has begun and signals are handled.
        let partial = folder.path().join("log.csv.partial");
        let lines = || std::fs::read_to_string(&partial).map_or(0, |text| text.lines().count());
        wait_until("a line of the log", || lines() > 1);
        let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
        assert!(kill.unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("rmsprop: interrupted after update "), "{message}");
        assert_eq!(names(&folder), ["log.csv.partial"]);
        let last = std::fs::read_to_string(partial).unwrap();
        let update = last.lines().last().unwrap().split(',').nth(1).unwrap();
        assert!(message.contains(&format!("update {update}")), "{message}: {update}");
    }
}
