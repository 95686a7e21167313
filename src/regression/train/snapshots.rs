//! Copies of a run's state on the host: when they are taken, and when they are saved.

use super::clock::Instant;
use super::observer::Observer;
use super::state::RunState;
use std::time::Duration;

/// Snapshots in case a device is lost take at most one part in [`SHARE`] of the time, and are at least [`LEAST`]
/// apart.
const SHARE: u32 = 100;
const LEAST: Duration = Duration::from_secs(1);

/// When the state of a run is passed to [`Observer::save`]: at the end, when the run is interrupted, and at these
/// intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// Updates between two saved states.
    pub every: Option<u64>,
    /// Time between two saved states.
    pub after: Option<Duration>,
}

impl CheckpointPolicy {
    /// After every `updates` updates.
    pub fn every(updates: u64) -> Self {
        CheckpointPolicy { every: Some(updates), after: None }
    }

    /// When this time has passed since the last saved state.
    pub fn after(time: Duration) -> Self {
        CheckpointPolicy { every: None, after: Some(time) }
    }
}

/// The owner of a run's latest snapshot.
#[derive(Debug)]
pub struct Snapshots {
    policy: Option<CheckpointPolicy>,
    /// Whether snapshots are also taken now and then without being saved, because the device may be lost.
    pub on_device: bool,
    /// The state that the run resumes from: the given one, then the latest snapshot.
    pub latest: Option<RunState>,
    saved: Instant,
    taken: Instant,
    took: Duration,
}

impl Snapshots {
    /// Of a run that resumes from `latest`, or starts.
    pub fn new(policy: Option<CheckpointPolicy>, latest: Option<RunState>) -> Self {
        let now = Instant::now();
        Snapshots { policy, on_device: false, latest, saved: now, taken: now, took: Duration::ZERO }
    }

    /// Whether states are saved.
    pub fn are_saved(&self) -> bool {
        self.policy.is_some()
    }

    /// The update of the latest snapshot.
    pub fn update(&self) -> u64 {
        self.latest.as_ref().map_or(0, |state| state.progress.update)
    }

    /// Updates from `done` to the next one whose state is saved.
    pub fn until_save(&self, done: u64) -> u64 {
        self.every().map_or(u64::MAX, |every| every - done % every)
    }

    /// Whether the state after `done` updates is to be saved.
    pub fn save_is_due(&self, done: u64) -> bool {
        let after = self.policy.and_then(|policy| policy.after);
        self.every().is_some_and(|every| done.is_multiple_of(every))
            || after.is_some_and(|after| self.saved.elapsed() >= after)
    }

    /// Whether a snapshot is to be taken in case the device is lost.
    pub fn snapshot_is_due(&self) -> bool {
        let recent = self.latest.is_some() && self.taken.elapsed() < LEAST.max(SHARE * self.took);
        self.on_device && !recent
    }

    /// Takes over a snapshot that was begun at `started`.
    pub fn put(&mut self, state: RunState, started: Instant) {
        self.latest = Some(state);
        self.taken = Instant::now();
        self.took = started.elapsed();
    }

    /// Saves the latest snapshot, if there is one and states are saved.
    pub fn save(&mut self, observer: &mut dyn Observer) -> Result<(), String> {
        if let (Some(_), Some(state)) = (&self.policy, &self.latest) {
            observer.save(state)?;
            self.saved = Instant::now();
        }
        Ok(())
    }

    fn every(&self) -> Option<u64> {
        Some(self.policy?.every?.max(1))
    }
}
