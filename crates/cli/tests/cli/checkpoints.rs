//! Checkpoints of `fit`: interrupted and killed runs, and failing writes. No state is lost and no file is incomplete.

#![cfg(unix)]

use crate::{command, common};

use command::{Outcome, devices, folder, json, names, refused, refused_whole, run, wait_until};
use common::Random;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A run of several thousand updates with two optimizers.
const FIT: &str = "fit synthetic --samples 2000 --features 6 --batch-size 50 --steps 3000 --shuffle \
                   --learning-rate cosine --average 0.99 --eval-every 500 --log-every 7 --no-verify --json";

fn spawn(folder: &Path, arguments: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wgpu-optim"))
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
}

fn end(child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    let code = output.status.code().unwrap_or(-1);
    assert!(!stderr.contains("panicked"), "{stderr}");
    Outcome { code, stdout, stderr }
}

/// The update of the latest checkpoint in a directory; 0 if there is none.
fn newest(folder: &Path) -> u64 {
    let update = |name: &String| name.strip_suffix(".safetensors")?.rsplit('-').next()?.parse().ok();
    let names = if folder.is_dir() { names(folder) } else { Vec::new() };
    names.iter().filter_map(update).max().unwrap_or(0)
}

/// Waits until a directory has a checkpoint of a later update, or the run has ended.
fn wait_for_checkpoint(folder: &Path, after: u64, run: &mut Child) {
    let ended = |run: &mut Child| run.try_wait().unwrap().is_some();
    wait_until("a checkpoint", || newest(folder) > after || ended(run));
}

/// The report without times.
fn results(output: &Value) -> Vec<Value> {
    let keys =
        ["optimizer", "updates", "initial_loss", "loss", "best", "weights", "intercept", "metrics"];
    output["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| keys.map(|key| run[key].clone()).into())
        .collect()
}

/// Starts a run, sends it a signal, and returns its flags and result.
///
/// If the run ends before the signal, it is repeated with twice as many updates.
fn stopped(folder: &Path, device: &str, signal_name: &str) -> (u64, String, Outcome) {
    for steps in (0..12).map(|doubled| 3000 << doubled) {
        let fit = FIT.replace("--steps 3000", &format!("--steps {steps}"));
        let kept = format!("kept-{steps}");
        let fit =
            format!("{fit} --device {device} --log log.csv --checkpoint {kept} --checkpoint-every 10");
        let mut child = spawn(folder, &fit);
        wait_for_checkpoint(&folder.join(kept), 0, &mut child);
        signal(&child, signal_name);
        let outcome = end(child);
        if outcome.code != 0 {
            return (steps, fit, outcome);
        }
    }
    panic!("no run was long enough for a signal");
}

#[test]
fn a_run_stopped_by_a_signal_resumes_to_the_same_result_and_log() {
    let log = |folder: &TempDir| std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
    for device in devices() {
        let mut wholes = BTreeMap::new();
        for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
            let stopped_folder = folder(&[]);
            let (steps, fit, stopped) = stopped(stopped_folder.path(), device, name);
            assert_eq!(stopped.code, code, "{device} {name}: {}", stopped.stderr);
            assert!(stopped.stderr.contains("interrupted after update "), "{}", stopped.stderr);
            assert!(stopped.stderr.contains("go on with: "), "{}", stopped.stderr);
            assert!(stopped.stderr.trim_end().ends_with(" --resume"), "{}", stopped.stderr);
            assert!(names(&stopped_folder).contains(&"log.csv.partial".into()));
            let (whole, whole_log) = wholes.entry(steps).or_insert_with(|| {
                let folder = folder(&[]);
                (results(&json(&folder, &fit)), log(&folder))
            });
            // Resuming a finished run gives the same result.
            for _ in 0..2 {
                let rest = json(&stopped_folder, &format!("{fit} --resume"));
                assert_eq!(results(&rest), *whole, "{device} {name}");
                assert_eq!(log(&stopped_folder), *whole_log, "{device} {name}");
            }
        }
    }
}

/// While a run waits to write its results to a pipe, it does not check flags: only the second signal ends it.
#[test]
fn a_second_signal_ends_the_program_at_once() {
    // 20,000 weights exceed the capacity of a pipe several times.
    let fit = "fit --device cpu --samples 20 --features 20000 --optimizer adam --no-verify --json";
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = spawn(Path::new("."), fit);
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        // A signal that arrives before the previous one is handled is lost.
        wait_until("the end", || {
            signal(&child, name);
            child.try_wait().unwrap().is_some()
        });
        assert_eq!(end(child).code, code);
        drop(stdout);
    }
}

/// Kills and resumes a run until it ends, at most forty times: the updates of the latest checkpoint after every kill, and
/// the number of kills that left a temporary file.
fn killed(folder: &Path, fit: &str) -> (Vec<u64>, usize) {
    let kept = folder.join("kept");
    let unfinished = || names(&kept).iter().any(|name| name.starts_with(".wgpu-optim-"));
    let (mut random, mut updates, mut left) = (Random(5), Vec::new(), 0);
    while updates.len() < 40 {
        let resume = if updates.is_empty() { "" } else { "--resume" };
        let mut child = spawn(folder, &format!("{fit} {resume}"));
        wait_for_checkpoint(&kept, updates.last().copied().unwrap_or(0), &mut child);
        if updates.len() % 2 == 0 {
            // At a random time.
            std::thread::sleep(Duration::from_micros(random.bits() % 40_000));
        } else {
            wait_until("an unfinished file", || {
                signal(&child, "STOP");
                if unfinished() {
                    return true;
                }
                signal(&child, "CONT");
                child.try_wait().unwrap().is_some()
            });
        }
        if child.try_wait().unwrap().is_some() {
            assert_eq!(end(child).code, 0);
            break;
        }
        child.kill().unwrap();
        let outcome = end(child);
        assert!(!outcome.stderr.contains("damaged"), "{}", outcome.stderr);
        // The log is well-formed at any time.
        let log = std::fs::read_to_string(folder.join("log.csv.partial")).unwrap();
        assert!(log.ends_with('\n') && log.lines().all(|line| line.matches(',').count() == 3));
        left += usize::from(unfinished());
        updates.push(newest(&kept));
    }
    (updates, left)
}

#[test]
fn a_run_killed_repeatedly_reaches_the_same_result() {
    // If the last kill is too late, a longer run is killed.
    for steps in (0..8).map(|doubled| 60_000 << doubled) {
        let fit = format!(
            "fit synthetic --samples 2000 --features 6 --batch-size 50 --steps {steps} --shuffle --device cpu \
             --optimizer adam --no-verify --json --log log.csv --log-every 1"
        );
        // A separate thread writes the checkpoints.
        let keeping = format!("{fit} --checkpoint kept --checkpoint-every 1");
        let killed_folder = folder(&[]);
        let (updates, left) = killed(killed_folder.path(), &keeping);
        if updates.len() < 40 {
            continue;
        }
        assert!(updates.is_sorted_by(|earlier, later| earlier < later), "{updates:?}");
        assert!(left > 0, "no kill came while a file was written");
        let whole_folder = folder(&[]);
        let whole = json(&whole_folder, &fit);
        let rest = json(&killed_folder, &format!("{keeping} --resume"));
        assert_eq!(results(&rest), results(&whole));
        let log = |folder: &TempDir| std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
        assert!(log(&killed_folder) == log(&whole_folder));
        let names = names(killed_folder.path().join("kept"));
        let last = format!("1-adam-{steps}.safetensors");
        assert!(names.contains(&last) && names.len() <= 3, "{names:?}");
        return;
    }
    panic!("no run was long enough for forty kills");
}

#[test]
fn who_reads_one_line_only_does_not_stop_a_run() {
    let folder = folder(&[]);
    let mut child = spawn(folder.path(), &format!("{FIT} --device cpu --checkpoint kept"));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "{\n");
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), stderr.contains("panicked")),
        (Some(0), false),
        "{stderr}"
    );
    json(&folder, &format!("{FIT} --device cpu --checkpoint kept --resume"));
}

#[test]
fn another_problem_is_refused_by_the_field_that_differs() {
    let folder = folder(&[("a.csv", "x,y\n1,2\n2,3\n3,5\n"), ("b.csv", "x,y\n1,2\n2,3\n3,6\n")]);
    let fit = |rest: &str| format!("fit {rest} --device cpu --optimizer adam --checkpoint kept");
    let first = "a.csv --batch-size 2 --epochs 3";
    run(&folder, &fit(first));
    let refused = |rest: &str, parts: &[&str]| {
        refused_whole(&folder, &format!("{} --resume", fit(rest)), parts);
    };
    refused(
        "a.csv --batch-size 3 --epochs 3",
        &[
            "1-adam-6.safetensors: configuration mismatch: batch_size was 2 in the checkpoint and is 3 now",
        ],
    );
    refused(
        "a.csv --batch-size 2 --epochs 3 --lr 0.5",
        &["rule.Adam.lr was 0.001 in the checkpoint and is 0.5 now"],
    );
    refused(
        "a.csv --batch-size 2 --epochs 3 --loss squared_error",
        &["model.loss.name was \"mse\" in the checkpoint"],
    );
    refused("b.csv --batch-size 2 --epochs 3", &["data.checksum was \"crc32 "]);
    refused("a.csv --batch-size 2 --epochs 2", &["update was 6 in the checkpoint and is at most 4 now"]);
    refused_whole(&folder, &fit(first), &["already contains checkpoints: pass --resume to continue"]);
    let others = [
        ("a.csv --batch-size 2 --epochs 3 --optimizer sgd", "1-adam is there, and here are 1-sgd"),
        (
            "a.csv --batch-size 2 --epochs 3 --optimizer adam --optimizer adam",
            "--optimizer adam given twice",
        ),
    ];
    for (rest, part) in others {
        for resume in ["", "--resume"] {
            let folder_of = if rest.contains("adam") { "other" } else { "kept" };
            let part = if resume.is_empty() && folder_of == "kept" {
                "pass --resume to continue"
            } else {
                part
            };
            let fit = format!("fit {rest} --device cpu --checkpoint {folder_of} {resume}");
            command::refused(&folder, &fit, &[part]);
        }
    }
    // The path of the file may change, and more epochs extend the run.
    std::fs::rename(folder.path().join("a.csv"), folder.path().join("c.csv")).unwrap();
    let longer = json(&folder, &format!("{} --resume --json", fit("c.csv --batch-size 2 --epochs 5")));
    assert_eq!(longer["runs"][0]["updates"], 10);
}

#[test]
fn another_fall_of_the_learning_rate_is_another_run() {
    let folder = folder(&[]);
    for (rate, of) in [("exponential", "--gamma"), ("invscaling", "--power-t")] {
        let fit = |value: f64, epochs: u32| {
            format!(
                "fit blog --device cpu --optimizer adam --epochs {epochs} --learning-rate {rate} {of} {value} \
                 --checkpoint {rate} --resume"
            )
        };
        assert_eq!(run(&folder, &fit(0.5, 2)).code, 0);
        refused(&folder, &fit(0.25, 4), &["schedule was \"0.001 ", " in the checkpoint and is "]);
        assert_eq!(run(&folder, &fit(0.5, 4)).code, 0);
    }
}

#[test]
fn a_run_directory_has_all_outputs() {
    let folder = folder(&[]);
    let fit = "fit blog --device cpu --epochs 20 --checkpoint-every 50 --run-dir run";
    let report = json(&folder, &format!("{fit} --json"));
    let run_folder = folder.path().join("run");
    let all = [
        "checkpoints",
        "config.json",
        "log.csv",
        "loss.svg",
        "model.safetensors",
        "report.json",
        "verification.json",
    ];
    assert_eq!(names(&run_folder), all);
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(run_folder.join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("report.json"), report);
    let config = read("config.json");
    assert_eq!(config["runs"][1]["configuration"]["rule.Adam.lr"], 0.001);
    assert_eq!(config["runs"][1]["updates"], 200);
    assert_eq!(read("verification.json")[0]["verification"]["pass"], true);
    refused_whole(&folder, fit, &["pass --resume to continue"]);
    let before = std::fs::read(run_folder.join("log.csv")).unwrap();
    let plot = std::fs::read(run_folder.join("loss.svg")).unwrap();
    let again = json(&folder, &format!("{fit} --resume --json"));
    assert_eq!(results(&again), results(&report));
    assert_eq!(std::fs::read(run_folder.join("log.csv")).unwrap(), before);
    assert_eq!(std::fs::read(run_folder.join("loss.svg")).unwrap(), plot);
    assert_eq!(names(&run_folder), all);
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = folder(&[]);
    let long = "fit synthetic --samples 100000 --epochs 100000 --device cpu --checkpoint kept --checkpoint-every 10";
    let mut first = spawn(folder.path(), long);
    wait_for_checkpoint(&folder.path().join("kept"), 0, &mut first);
    for resume in ["", "--resume"] {
        refused(&folder, &format!("{long} {resume}"), &["kept: is in use by another run"]);
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(!names(folder.path().join("kept")).is_empty());
}

#[test]
fn obstacles_are_named_and_left_alone() {
    let folder = folder(&[("kept", "something"), ("log.csv", "old")]);
    let fit = "fit blog --device cpu --optimizer adam --epochs 2 --checkpoint-every 5";
    refused_whole(&folder, &format!("{fit} --checkpoint kept"), &["creating the directory kept: "]);
    refused_whole(&folder, &format!("{fit} --run-dir kept"), &["--run-dir kept: "]);
    refused(&folder, fit, &["--checkpoint-every goes with --checkpoint DIR or --run-dir DIR"]);
    refused(&folder, "fit blog --resume", &["--resume goes with --checkpoint"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("kept")).unwrap(), "something");
    // A directory with the name of a checkpoint.
    std::fs::create_dir_all(folder.path().join("c/1-adam-10.safetensors/x")).unwrap();
    let outcome = run(&folder, &format!("{fit} --checkpoint c --resume"));
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.stderr.contains("reading c/1-adam-10.safetensors: it is not a regular file"),
        "{}",
        outcome.stderr
    );
    std::fs::create_dir_all(folder.path().join("d")).unwrap();
    let child = format!("{fit} --checkpoint d");
    std::fs::write(folder.path().join("d/lock"), "").unwrap();
    assert_eq!(run(&folder, &child).code, 0);
    assert!(names(folder.path().join("d")).contains(&"1-adam-20.safetensors".into()));
}

/// Runs the command after a shell command.
fn behind(folder: &Path, first: &str, arguments: &str) -> Outcome {
    let program = env!("CARGO_BIN_EXE_wgpu-optim");
    let script = format!("{first} exec {program} {arguments}");
    let mut command = Command::new("sh");
    command.current_dir(folder).args(["-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command.spawn().unwrap())
}

#[test]
fn an_incomplete_write_is_an_error_and_the_old_file_remains() {
    let folder = folder(&[]);
    // A checkpoint of 4000 features exceeds the file size limit, one of 4 features does not.
    let fit = |features: u32, steps: u32, more: &str| {
        format!(
            "fit synthetic --samples 500 --features {features} --steps {steps} --batch-size 10 --device cpu \
             --optimizer adam --no-verify --checkpoint-every 5 --keep-last 5 {more}"
        )
    };
    let limited = "ulimit -f 16;";
    let small = behind(folder.path(), limited, &fit(4, 10, "--checkpoint small"));
    assert_eq!(small.code, 0, "{}", small.stderr);
    assert_eq!(json(&folder, &fit(4000, 10, "--checkpoint kept --json"))["runs"][0]["updates"], 10);
    let before = names(folder.path().join("kept"));
    let more = behind(folder.path(), limited, &fit(4000, 30, "--checkpoint kept --resume --json"));
    // Intermediate states may be skipped, the last one is always written.
    assert_eq!(more.code, 2, "{}", more.stderr);
    let part = "error: adam: checkpoint: writing kept/1-adam-30.safetensors: File too large";
    assert!(more.stderr.contains(part), "{}", more.stderr);
    let report: Value = serde_json::from_str(&more.stdout).unwrap();
    assert_eq!(report["runs"][0]["updates"], 30);
    assert_eq!(names(folder.path().join("kept")), before);
    json(&folder, &fit(4000, 30, "--checkpoint kept --resume --json"));
}

#[test]
fn a_full_disk_is_an_error_and_the_old_files_remain() {
    let folder = folder(&[]);
    std::fs::create_dir(folder.path().join("disk")).unwrap();
    let mount = "mount -t tmpfs -o size=256k tmpfs disk";
    let probe = format!("unshare -rm sh -c '{mount}'");
    let able = Command::new("sh").current_dir(folder.path()).args(["-c", &probe]).output().unwrap();
    if !able.status.success() {
        // Without mounts, the file size limit causes errors in the same places.
        return an_incomplete_write_is_an_error_and_the_old_file_remains();
    }
    let program = env!("CARGO_BIN_EXE_wgpu-optim");
    let fit = "fit synthetic --samples 500 --features 8000 --batch-size 10 --device cpu --optimizer adam --no-verify \
               --checkpoint disk --checkpoint-every 5";
    // 96 KB each: the third one does not fit. The last state of a run is always written, others may be skipped.
    let script = format!(
        "{mount}; {program} {fit} --keep-last 9 --steps 5 >/dev/null || exit 89; \
         {program} {fit} --keep-last 9 --steps 10 --resume >/dev/null || exit 90; \
         {program} {fit} --keep-last 9 --steps 50 --resume --out model.safetensors >/dev/null; \
         test $? = 2 || exit 91; test -s model.safetensors || exit 93; rm $(ls disk/*.safetensors | sort -V | head -n -1); \
         {program} {fit} --keep-last 1 --steps 50 --resume >/dev/null || exit 92; ls -A disk"
    );
    let mut command = Command::new("unshare");
    command.current_dir(folder.path()).args(["-rm", "sh", "-c", &script]);
    let outcome = end(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(outcome.code, 0, "{} {}", outcome.stdout, outcome.stderr);
    let part = "error: adam: checkpoint: writing disk/1-adam-50.safetensors: No space left";
    assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "1-adam-50.safetensors\nlock\n");
}

#[test]
fn a_folder_that_may_not_be_written_to_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = folder(&[]);
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    // A user without root's privileges needs a copy of the program that it may run.
    let program = folder.path().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_wgpu-optim"), &program).unwrap();
    let is_root = std::fs::write(closed.join("probe"), "").is_ok();
    let _ = std::fs::remove_file(closed.join("probe"));
    for (flags, part) in [
        ("--checkpoint closed", "locking closed/lock: "),
        ("--checkpoint closed/kept", "creating the directory closed/kept: "),
        ("--run-dir closed/run", "--run-dir closed/run: "),
        ("--log closed/log.csv", "--log closed/log.csv: "),
        ("--plot closed/p.svg", "--plot closed/p.svg: "),
        ("--out closed/m.safetensors", "--out closed/m.safetensors: "),
    ] {
        let mut command = Command::new(&program);
        command
            .current_dir(folder.path())
            .args("fit blog --device cpu".split(' '))
            .args(flags.split(' '));
        if is_root {
            command.uid(65534).gid(65534);
        }
        let outcome = end(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{flags}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(part) && outcome.stderr.contains("denied"),
            "{}",
            outcome.stderr
        );
        assert!(names(&closed).is_empty());
    }
}

/// Rows, some of them so large that f32 overflows.
fn rows(bad: &[usize], column: &str) -> String {
    let mut text = String::from("a,b,y\n");
    for i in 0..60 {
        let (mut a, b) = ((i as f64 * 0.7).sin().to_string(), (i as f64 * 1.3).cos());
        let mut y = (2.0 * (i as f64 * 0.7).sin() - b).to_string();
        if bad.contains(&i) {
            *if column == "a" { &mut a } else { &mut y } = "1e38".into();
        }
        text += &format!("{a},{b},{y}\n");
    }
    text
}

#[test]
fn updates_that_are_not_finite_are_skipped_and_counted() {
    for device in devices() {
        for (bad, column) in
            [(&[0][..], "a"), (&[59], "a"), (&[23, 24, 50], "a"), (&[0], "y"), (&[31], "y")]
        {
            let folder = folder(&[("bad.csv", &rows(bad, column))]);
            let fit = format!(
                "fit bad.csv --device {device} --batch-size 6 --epochs 5 --lr 0.1 --optimizer adam"
            );
            // The first update multiplies the large feature by a weight of 0.
            let outcome = run(&folder, &fit);
            let (code, part) = match column {
                "a" => (1, "diverged at update "),
                _ => (2, "the loss is inf before the first update; targets are too large for f32"),
            };
            assert_eq!(outcome.code, code, "{}", outcome.stderr);
            assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
            let skipping = json(&folder, &format!("{fit} --skip-nonfinite 3 --json"));
            let batches: std::collections::BTreeSet<_> = bad.iter().map(|row| row / 6).collect();
            let run = &skipping["runs"][0];
            assert_eq!(run["skipped"], 5 * batches.len(), "{device} {bad:?} {column}");
            assert!(command::numbers(&run["weights"]).iter().all(|w| w.abs() < 10.0));
        }
    }
}

#[test]
fn a_run_that_only_skips_or_diverges_stops_and_keeps_the_last_good_checkpoint() {
    for device in devices() {
        let all: Vec<usize> = (0..60).collect();
        let folder = folder(&[("bad.csv", &rows(&all, "y")), ("good.csv", &rows(&[], ""))]);
        let fit = format!("--device {device} --batch-size 6 --epochs 400 --checkpoint-every 1");
        let outcome = run(
            &folder,
            &format!("fit bad.csv {fit} --optimizer adam --skip-nonfinite 4 --checkpoint a"),
        );
        assert_eq!(outcome.code, 1, "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("4 updates in a row, up to update 4, came to"),
            "{}",
            outcome.stderr
        );
        let diverging = format!("fit good.csv {fit} --optimizer sgd --lr 30 --checkpoint b");
        let outcome = run(&folder, &diverging);
        assert_eq!(outcome.code, 1, "{}", outcome.stderr);
        for part in ["diverged at update ", "a lower learning rate", "the last checkpoint is b/1-sgd-"] {
            assert!(outcome.stderr.contains(part), "no `{part}`: {}", outcome.stderr);
        }
        // It is valid: the run diverges again from there.
        let again = run(&folder, &format!("{diverging} --resume"));
        assert_eq!(again.code, 1, "{}", again.stderr);
        assert!(!again.stderr.contains("damaged"), "{}", again.stderr);
    }
}
