//! Tells the program what it was built from and how, for the records of its benchmarks. Whatever is not known,
//! as in a package without its repository, is `unknown`.

use std::path::Path;
use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    tell("RUSTC", output(&rustc, &["--version"]));
    // Of this repository, not of one that the package lies in.
    let own = Path::new("../../.git").exists();
    let git = |arguments: &[&str]| if own { output("git", arguments) } else { None };
    tell("REVISION", git(&["rev-parse", "HEAD"]));
    tell("DIRTY", git(&["status", "--porcelain"]).map(|changes| (!changes.is_empty()).to_string()));
    // A published package has its own lock file; in the repository it is the workspace's.
    let lock =
        ["../../Cargo.lock", "Cargo.lock"].iter().find_map(|path| std::fs::read_to_string(path).ok());
    tell("WGPU", lock.as_deref().and_then(wgpu));
    tell("TARGET", std::env::var("TARGET").ok());
    tell("OPT_LEVEL", std::env::var("OPT_LEVEL").ok());
    tell("PROFILE", std::env::var("PROFILE").ok());
    let features = std::env::vars().filter_map(|(name, _)| {
        Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-"))
    });
    let mut features: Vec<String> = features.filter(|name| name != "default").collect();
    features.sort();
    tell("FEATURES", Some(features.join(" ")));

    let mut watched = [
        "build.rs",
        "Cargo.toml",
        "src",
        "../../Cargo.lock",
        "../../Cargo.toml",
        "../../src",
        "../../shaders",
    ]
    .map(String::from)
    .to_vec();
    // Every commit is another revision; but only what is measured with need be built anew for that.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let paths = ["HEAD", "index"].map(|name| git(&["rev-parse", "--git-path", name]));
        watched.extend(paths.into_iter().flatten());
    }
    for path in watched.iter().filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
}

fn tell(name: &str, value: Option<String>) {
    println!("cargo::rustc-env=BUILD_{name}={}", value.unwrap_or_else(|| "unknown".into()));
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}

/// The version of wgpu in a lock file.
fn wgpu(lock: &str) -> Option<String> {
    let (_, package) = lock.split_once("name = \"wgpu\"\nversion = \"")?;
    Some(package.split_once('"')?.0.to_string())
}
