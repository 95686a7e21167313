//! What the libraries under a driver take from the environment.

/// Starts this program anew with `XDG_RUNTIME_DIR` where that is not set, as on a server without a desktop.
///
/// Mesa's device selection, a layer that every Vulkan program gets, asks libwayland for a display each time adapters
/// are listed. Without the variable libwayland writes lines like `error: XDG_RUNTIME_DIR is invalid` to standard
/// error, which read as if this program had failed. With a folder that does not exist it finds no display either, and
/// is silent. The variable has to be there before the first thread is; a program's own environment cannot be changed
/// later without unsafe code, but that of a new one can.
///
/// Returns where there is nothing to do, and where it is not possible: then the lines are printed.
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
    // Under a loader that was called by its name, the program is another file than the one that runs.
    if program.file_name() != Path::new(&name).file_name() {
        return;
    }
    let mut again = std::process::Command::new(program);
    // It returns only where the program cannot be started.
    let _ = again.arg0(name).args(arguments).env(VARIABLE, "/nonexistent").exec();
}

#[cfg(not(all(unix, not(target_vendor = "apple"))))]
pub fn provide_runtime_folder() {}
