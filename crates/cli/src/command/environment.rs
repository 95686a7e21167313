//! Environment variables that libraries of graphics drivers read.

/// Restarts this program with `XDG_RUNTIME_DIR` if the variable is not set, as on a server without a desktop.
///
/// Mesa's device-selection layer, which every Vulkan program loads, asks libwayland for a display whenever adapters are
/// listed. Without the variable libwayland prints lines like `error: XDG_RUNTIME_DIR is invalid`, which look like a
/// failure of this program. With a directory that does not exist it finds no display and prints nothing. The variable
/// must be set before the first thread starts; a running program cannot change its environment without unsafe code, but
/// it can set that of a new process.
///
/// Returns if the variable is set, or if the restart is not possible; then the lines are printed.
#[cfg(all(unix, not(target_vendor = "apple")))]
pub fn provide_runtime_folder() {
    use std::os::unix::process::CommandExt;
    use std::path::Path;

    const VARIABLE: &str = "XDG_RUNTIME_DIR";
    if std::env::var_os(VARIABLE).is_some_and(|folder| Path::new(&folder).is_absolute()) {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) else { return };
    // If an explicit loader runs the program, the current executable is the loader.
    if program.file_name() != Path::new(&name).file_name() {
        return;
    }
    let mut again = std::process::Command::new(program);
    // `exec` returns only if it fails.
    let _ = again.arg0(name).args(arguments).env(VARIABLE, "/nonexistent").exec();
}

#[cfg(not(all(unix, not(target_vendor = "apple"))))]
pub fn provide_runtime_folder() {}
