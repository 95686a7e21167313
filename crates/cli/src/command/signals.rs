//! Ctrl-C and its like.

use super::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Lets a write past the limit on the length of files (`ulimit -f`) fail with an error, as on a full disk, instead of
/// having the signal end the program.
#[cfg(unix)]
pub fn survive_file_size_limit() -> Result<(), Failure> {
    let registered = flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    registered.map(drop).map_err(|error| Failure::Input(format!("signals: {error}")))
}

/// Elsewhere there is no such signal.
#[cfg(not(unix))]
pub fn survive_file_size_limit() -> Result<(), Failure> {
    Ok(())
}

/// Whether the program was asked to end.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Set by the first signal.
    pub stop: Arc<AtomicBool>,
    which: Arc<AtomicUsize>,
    listening: Arc<AtomicBool>,
}

impl Signals {
    /// From here on the first signal asks for an end in good order, and the next one ends the program at once. A
    /// handler does nothing but set flags: what must be saved is saved between two updates.
    pub fn listen(&self) -> Result<(), Failure> {
        if self.listening.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        #[cfg(unix)]
        let hangup = Some(signal_hook::consts::SIGHUP);
        #[cfg(not(unix))]
        let hangup = None;
        for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
            // In this order: what ends the program looks whether the flag was set by an earlier one.
            flag::register_conditional_shutdown(signal, 128 + signal, self.stop.clone())
                .and_then(|_| flag::register_usize(signal, self.which.clone(), signal as usize))
                .and_then(|_| flag::register(signal, self.stop.clone()))
                .map_err(|error| Failure::Input(format!("signals: {error}")))?;
        }
        Ok(())
    }

    /// What the program exits with after the signal, as a shell has it: 130 after Ctrl-C.
    pub fn exit_code(&self) -> u8 {
        match self.which.load(Ordering::Relaxed) {
            0 => 130,
            signal => 128 + signal as u8,
        }
    }
}
