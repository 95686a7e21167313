//! If one result cannot be written, all others are written completely.

#![cfg(target_os = "linux")]

use crate::command::{self, folder, names, run};
use command::Outcome;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wgpu-optim");
/// A log of 6 KB, and a plot, a model and a checkpoint of less.
const FIT: &str = "fit blog --device cpu --optimizer adam --epochs 20 --json";

/// Runs a script with the program as `$P` and the fit as `$FIT`; with `mounts`, in a namespace that can mount file systems.
fn shell(folder: &Path, mounts: bool, script: &str) -> Outcome {
    let mut command = match mounts {
        true => Command::new("unshare"),
        false => Command::new("sh"),
    };
    if mounts {
        command.args(["-rm", "sh"]);
    }
    let output = command
        .args(["-c", script])
        .current_dir(folder)
        .envs([("P", PROGRAM), ("FIT", FIT)])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stderr.contains("panicked"), "{stderr}");
    Outcome { code: output.status.code().unwrap_or(-1), stdout, stderr }
}

/// The directory of all results except the failing one.
const RESULTS: [(&str, &str); 4] = [
    ("log", "--log FOLDER/log.csv"),
    ("plot", "--plot FOLDER/plot.svg"),
    ("model", "--out FOLDER/model.safetensors"),
    ("checkpoint", "--checkpoint FOLDER/kept"),
];

/// The flags for all results, with the failing one in `bad`.
fn flags(failing: &str, bad: &str) -> String {
    let place = |name: &str| if name == failing { bad } else { "." };
    RESULTS.map(|(name, flag)| flag.replace("FOLDER", place(name))).join(" ")
}

/// Whether each result except the failing one is complete.
fn check_others(folder: &Path, failing: &str, stdout: Option<&str>) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    if failing != "log" {
        let log = read("log.csv");
        assert!(log.starts_with("optimizer,update,") && log.ends_with('\n'), "{failing}: {log}");
        assert!(log.lines().last().unwrap().starts_with("adam,200,"), "{failing}: {log}");
    }
    if failing != "plot" {
        assert!(read("plot.svg").trim_end().ends_with("</svg>"), "{failing}");
    }
    if failing != "model" {
        std::fs::write(folder.join("rows.csv"), "x1\n0.5\n").unwrap();
        let predicted = run(folder, "predict model.safetensors rows.csv");
        assert_eq!(predicted.code, 0, "{failing}: {}", predicted.stderr);
    }
    if failing != "checkpoint" {
        assert!(names(folder.join("kept")).contains(&"1-adam-200.safetensors".into()), "{failing}");
        let resumed = run(folder, &format!("{FIT} --checkpoint kept --resume"));
        assert_eq!(resumed.code, 0, "{failing}: {}", resumed.stderr);
    }
    if let Some(stdout) = stdout {
        let report: serde_json::Value = serde_json::from_str(stdout).unwrap();
        assert_eq!(report["runs"][0]["updates"], 200, "{failing}");
    }
}

/// Whether a file system can be mounted here.
fn can_mount() -> bool {
    let probe = folder(&[]);
    shell(probe.path(), true, "mkdir d && mount -t tmpfs none d").code == 0
}

#[test]
fn a_full_disk_under_one_result_takes_no_other_with_it() {
    let mounts = can_mount();
    for (failing, _) in RESULTS.iter().filter(|_| mounts) {
        let folder = folder(&[]);
        // The first page of the log still fits.
        let room = if *failing == "log" { 60 } else { 64 };
        let script = format!(
            "mkdir full; mount -t tmpfs -o size=64k none full; head -c {room}k /dev/zero >full/fill; \
             $P $FIT {} --log-every 1; code=$?; ls -A full >left; exit $code",
            flags(failing, "full")
        );
        let outcome = shell(folder.path(), true, &script);
        assert_eq!(outcome.code, 2, "{failing}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("error: "), "{failing}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("No space left on device"), "{failing}: {}", outcome.stderr);
        check_others(folder.path(), failing, Some(&outcome.stdout));
        let left = std::fs::read_to_string(folder.path().join("left")).unwrap();
        assert!(!left.contains(".wgpu-optim-"), "{failing}: {left}");
        assert!(*failing != "log" || left.contains("log.csv.partial"), "{left}");
    }
}

#[test]
fn a_full_or_closed_standard_output_takes_no_file_with_it() {
    let full = folder(&[]);
    let script = format!("$P $FIT {} >/dev/full", flags("", ""));
    let outcome = shell(full.path(), false, &script);
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert_eq!(outcome.stderr, "error: standard output: No space left on device (os error 28)\n");
    check_others(full.path(), "stdout", None);
    // The reader has closed the pipe; standard output is open for reading only.
    let gone = "(sleep 0; exec $P $FIT FLAGS; ) 2>err | exec true; cat err >&2; test ! -s err";
    for script in [gone, "exec $P $FIT FLAGS </dev/null 1</dev/null"] {
        let folder = folder(&[]);
        let outcome = shell(folder.path(), false, &script.replace("FLAGS", &flags("", "")));
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        check_others(folder.path(), "stdout", None);
    }
}

#[test]
fn a_named_pipe_in_the_place_of_a_result_is_refused_before_training() {
    for (failing, part) in [
        ("log", "log.csv: exists and is not a regular file"),
        ("plot", "plot.svg: exists and is not a regular file"),
        ("model", "model.safetensors: exists and is not a regular file"),
        ("checkpoint", "kept/lock: it is not a regular file"),
    ] {
        let folder = folder(&[]);
        std::fs::create_dir_all(folder.path().join("bad/kept")).unwrap();
        let make = "mkfifo bad/log.csv bad/plot.svg bad/model.safetensors bad/kept/lock";
        assert_eq!(shell(folder.path(), false, make).code, 0);
        let outcome = run(folder.path(), &format!("{FIT} {}", flags(failing, "bad")));
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{failing}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(part), "{failing}: {}", outcome.stderr);
    }
}

#[test]
fn a_limit_on_the_length_of_files_is_an_error_like_a_full_disk() {
    let folder = folder(&[]);
    let script = "ulimit -f 8; $P $FIT --log log.csv --log-every 1 --out model.safetensors >/dev/null";
    let outcome = shell(folder.path(), false, script);
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("error: log.csv.partial: File too large"), "{}", outcome.stderr);
    let log = std::fs::read_to_string(folder.path().join("log.csv.partial")).unwrap();
    assert!(log.ends_with('\n') && log.lines().count() > 10, "{log}");
    assert_eq!(names(&folder), ["log.csv.partial", "model.safetensors"]);
}

#[test]
fn unwritable_outputs_are_detected_before_training() {
    let folder = folder(&[]);
    let long = "fit synthetic --device cpu --steps 1000000000";
    let cases = [
        ("--out m/", "--out m/: is not the name of a file"),
        ("--out ./m/.", "is not the name of a file"),
        ("--out none/m", "its directory does not exist"),
        ("--log a.svg --plot a.svg", "would overwrite the data or another output"),
        ("--log a --out a.partial", "would overwrite the data or another output"),
        ("--checkpoint c --out c/lock", "has a name that the checkpoints in this folder use"),
        (
            "--checkpoint c --out c/2-sgd-7.safetensors",
            "has a name that the checkpoints in this folder use",
        ),
        ("--checkpoint new --out new", "is the folder of the checkpoints"),
    ];
    std::fs::create_dir(folder.path().join("c")).unwrap();
    for (flags, part) in cases {
        command::refused_whole(&folder, &format!("{long} {flags}"), &[part]);
    }
    std::fs::create_dir_all(folder.path().join("run/report.json")).unwrap();
    command::refused(&folder, &format!("{long} --run-dir run"), &["run/report.json: exists and is not"]);
}

#[test]
fn special_files_among_checkpoints_are_errors_that_name_them() {
    let folder = folder(&[]);
    let place = |name: &str| folder.path().join(name);
    ["c", "d", "e", "f", "g"].iter().for_each(|name| std::fs::create_dir(place(name)).unwrap());
    assert_eq!(shell(folder.path(), false, "mkfifo c/lock d/1-adam-5.safetensors").code, 0);
    symlink("/dev/zero", place("e/1-adam-5.safetensors")).unwrap();
    symlink("../new", place("f/lock")).unwrap();
    std::fs::File::create(place("g/1-adam-5.safetensors")).unwrap().set_len(50 << 30).unwrap();
    for (flags, part) in [
        ("--checkpoint c", "locking c/lock: it is not a regular file"),
        ("--checkpoint d --resume", "reading d/1-adam-5.safetensors: it is not a regular file"),
        ("--checkpoint e --resume", "reading e/1-adam-5.safetensors: it is not a regular file"),
        ("--checkpoint f", "locking f/lock: it is not a regular file"),
        ("--checkpoint g --resume", "reading g/1-adam-5.safetensors: it has 53687091200 bytes"),
    ] {
        command::refused_whole(&folder, &format!("{FIT} {flags}"), &[part]);
    }
    assert!(!place("new").exists());
}

#[test]
fn a_folder_with_an_unfinished_file_of_another_program_is_left_as_it_is() {
    let folder = folder(&[]);
    let started =
        wgpu_optim::checkpoint::Files::begin(&wgpu_optim::checkpoint::Disk, folder.path()).unwrap();
    std::fs::write(folder.path().join(".wgpu-optim-left"), "by a program that was killed").unwrap();
    let outcome = run(&folder, &format!("{FIT} --run-dir ."));
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let unfinished = names(&folder).into_iter().filter(|name| name.starts_with(".wgpu-optim-"));
    assert_eq!(unfinished.count(), 1);
    started.rename(&folder.path().join("predictions.csv")).unwrap();
    // It is also detected with a log alone.
    std::fs::write(folder.path().join(".wgpu-optim-left"), "").unwrap();
    assert_eq!(run(&folder, &format!("{FIT} --log other.csv")).code, 0);
    assert!(!names(&folder).iter().any(|name| name.starts_with(".wgpu-optim-")));
}

#[test]
fn a_log_has_one_writer_at_a_time() {
    let folder = folder(&[]);
    let mut first = Command::new(PROGRAM)
        .current_dir(folder.path())
        .args("fit blog --device cpu --steps 1000000000 --log log.csv --log-every 1".split(' '))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let partial = folder.path().join("log.csv.partial");
    command::wait_until("a log", || partial.metadata().is_ok_and(|file| file.len() > 100));
    let second = run(&folder, &format!("{FIT} --log log.csv"));
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!((second.code, second.stdout.as_str()), (2, ""), "{}", second.stderr);
    assert!(
        second.stderr.contains("log.csv.partial: is being written by another run"),
        "{}",
        second.stderr
    );
    // The partial log of an ended run is replaced.
    assert_eq!(run(&folder, &format!("{FIT} --log log.csv")).code, 0);
    assert_eq!(names(&folder), ["log.csv"]);
}

#[test]
fn results_that_replace_others_keep_their_permissions() {
    let folder = folder(&[("log.csv", ""), ("plot.svg", ""), ("model.safetensors", "")]);
    let place = |name: &str| folder.path().join(name);
    for name in names(&folder) {
        std::fs::set_permissions(place(&name), PermissionsExt::from_mode(0o600)).unwrap();
    }
    let outcome = run(&folder, &format!("{FIT} {}", flags("", "")));
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    for name in ["log.csv", "plot.svg", "model.safetensors"] {
        let found = place(name).metadata().unwrap();
        assert_eq!((found.permissions().mode() & 0o777, found.len() > 0), (0o600, true), "{name}");
    }
}
