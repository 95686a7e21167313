//! What keeps a run from being lost.

use super::state::RunState;
use std::fmt;
use std::time::{Duration, Instant};

/// Copies that are taken in case a device is lost cost at most one in so many of the time, and are at least a
/// second apart.
const SHARE: u32 = 100;
const LEAST: Duration = Duration::from_secs(1);

/// Where a run goes on from, and how it is kept from being lost.
pub struct Keep<'a> {
    /// Where the run stands. What is here at first is gone on from; later it is the last copy of the state.
    pub state: Option<RunState>,
    /// Every how many updates the state is saved.
    pub every: Option<u64>,
    /// How long after the last time.
    pub after: Option<Duration>,
    /// Whether the state is copied besides now and then, as on a device that may be lost.
    pub copies: bool,
    /// Saves a state: one between two updates that is finite, and that of the end. The message of an error
    /// ends the run.
    pub save: &'a mut dyn FnMut(&RunState) -> Result<(), String>,
    saved: Instant,
    copied: Instant,
    took: Duration,
}

impl fmt::Debug for Keep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let update = self.state.as_ref().map(|state| state.progress.update);
        let (every, after, copies) = (self.every, self.after, self.copies);
        f.debug_struct("Keep")
            .field("update", &update)
            .field("every", &every)
            .field("after", &after)
            .field("copies", &copies)
            .finish_non_exhaustive()
    }
}

impl<'a> Keep<'a> {
    /// Nothing is saved or copied unless it is asked for.
    pub fn new(save: &'a mut dyn FnMut(&RunState) -> Result<(), String>) -> Self {
        let now = Instant::now();
        Keep {
            state: None,
            every: None,
            after: None,
            copies: false,
            save,
            saved: now,
            copied: now,
            took: Duration::ZERO,
        }
    }

    /// Whether states are saved at all.
    pub(super) fn saves(&self) -> bool {
        self.every.is_some() || self.after.is_some()
    }

    /// The most updates after `done` before one is looked at again.
    pub(super) fn until(&self, done: u64) -> u64 {
        self.every.map_or(u64::MAX, |every| every.max(1) - done % every.max(1))
    }

    pub(super) fn save_is_due(&self, done: u64) -> bool {
        self.every.is_some_and(|every| done.is_multiple_of(every.max(1)))
            || self.after.is_some_and(|after| self.saved.elapsed() >= after)
    }

    pub(super) fn copy_is_due(&self) -> bool {
        let copied = self.state.is_some() && self.copied.elapsed() < LEAST.max(SHARE * self.took);
        self.copies && !copied
    }

    /// Takes a copy that was begun at `started`.
    pub(super) fn copied(&mut self, state: RunState, started: Instant) {
        self.state = Some(state);
        self.copied = Instant::now();
        self.took = started.elapsed();
    }

    /// Saves the last copy.
    pub(super) fn save_copy(&mut self) -> Result<(), String> {
        let Some(state) = &self.state else { return Ok(()) };
        (self.save)(state)?;
        self.saved = Instant::now();
        Ok(())
    }
}
