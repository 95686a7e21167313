//! Ctrl-C, SIGTERM, SIGHUP, and the file size limit.

use super::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Catches the signal of the file size limit (`ulimit -f`), so that a write past the limit fails with an error, as on a
/// full disk.
#[cfg(unix)]
pub fn survive_file_size_limit() -> Result<(), Failure> {
    let registered = flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    registered.map(drop).map_err(|error| Failure::Input(format!("signals: {error}")))
}

/// Does nothing: only Unix has this signal.
#[cfg(not(unix))]
pub fn survive_file_size_limit() -> Result<(), Failure> {
    Ok(())
}

/// Signals that ask the program to stop.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Set by the first signal.
    pub stop: Arc<AtomicBool>,
    which: Arc<AtomicUsize>,
    listening: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers: the first signal sets `stop`, and the second ends the program at once. Handlers only set
    /// flags, because state is saved between two updates.
    pub fn listen(&self) -> Result<(), Failure> {
        if self.listening.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        #[cfg(unix)]
        let hangup = Some(signal_hook::consts::SIGHUP);
        #[cfg(not(unix))]
        let hangup = None;
        for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
            // The shutdown handler first: it must see the flag of an earlier signal, not of this one.
            flag::register_conditional_shutdown(signal, 128 + signal, self.stop.clone())
                .and_then(|_| flag::register_usize(signal, self.which.clone(), signal as usize))
                .and_then(|_| flag::register(signal, self.stop.clone()))
                .map_err(|error| Failure::Input(format!("signals: {error}")))?;
        }
        Ok(())
    }

    /// The exit code after the signal, by the convention of shells: 130 after Ctrl-C.
    pub fn exit_code(&self) -> u8 {
        match self.which.load(Ordering::Relaxed) {
            0 => 130,
            signal => 128 + signal as u8,
        }
    }
}
