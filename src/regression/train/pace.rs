//! The number of updates in a submission, and when a check is worth its time.

use super::VerifyEvery;
use std::time::Duration;

/// A submission should take about this long: long enough that waiting for it costs nothing, short
/// enough for a progress bar and for an interruption.
const SUBMISSION: Duration = Duration::from_millis(50);
/// The share of the training time that checks may take. Reading the state before and after takes time too, so this
/// stays below the 5 % that a user may notice.
const VERIFY_SHARE: f64 = 0.03;

pub struct Pace {
    verify: VerifyEvery,
    /// The last update of the plan, from 0: by then no state is zero.
    last: u64,
    training: Duration,
    verifying: Duration,
    rows: u64,
    last_check: Option<Duration>,
    next_updates: u64,
}

impl Pace {
    pub fn new(verify: VerifyEvery, updates: u64) -> Self {
        Pace {
            verify,
            last: updates.saturating_sub(1),
            training: Duration::ZERO,
            verifying: Duration::ZERO,
            rows: 0,
            last_check: None,
            next_updates: 1,
        }
    }

    /// Resumes after this time of training, for this number of rows, and of verification.
    pub fn after(self, (training, rows): (Duration, u64), verifying: Duration) -> Self {
        Pace { training, verifying, rows, ..self }
    }

    /// Whether the update after `done` updates is checked.
    pub fn check_is_due(&self, done: u64) -> bool {
        match self.verify {
            VerifyEvery::Never => false,
            VerifyEvery::Updates(k) => done.is_multiple_of(k.max(1)),
            // Regardless of the budget: the first update starts from zeros, which hide most terms.
            VerifyEvery::Budget if done == self.last => true,
            VerifyEvery::Budget => match self.last_check {
                None => true,
                Some(last) => {
                    let spent = self.verifying + last;
                    spent.as_secs_f64() < VERIFY_SHARE * self.training.as_secs_f64()
                }
            },
        }
    }

    /// Updates until the next one that must be checked.
    pub fn until_check(&self, done: u64) -> u64 {
        match self.verify {
            VerifyEvery::Updates(k) => k.max(1) - done % k.max(1),
            VerifyEvery::Budget if done < self.last => self.last - done,
            VerifyEvery::Never | VerifyEvery::Budget => u64::MAX,
        }
    }

    pub fn checked(&mut self, took: Duration) {
        self.verifying += took;
        self.last_check = Some(took);
    }

    /// Updates for the next submission.
    pub fn updates(&self, most: usize) -> u64 {
        self.next_updates.min(most as u64)
    }

    pub fn ran(&mut self, updates: u64, rows: u64, took: Duration) {
        self.training += took;
        self.rows += rows;
        let per_update = (took.as_secs_f64() / updates as f64).max(1e-9);
        let enough = (SUBMISSION.as_secs_f64() / per_update) as u64;
        // The first submission also pays for warming up: grow towards the estimate, don't jump.
        self.next_updates = enough.clamp(1, 4 * updates);
    }

    pub fn rows_per_second(&self) -> f64 {
        if self.training.is_zero() { 0.0 } else { self.rows as f64 / self.training.as_secs_f64() }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn training(&self) -> Duration {
        self.training
    }

    pub fn verifying(&self) -> Duration {
        self.verifying
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn submissions_grow_to_their_length_and_shrink_past_it() {
        let mut pace = Pace::new(VerifyEvery::Never, 1000);
        assert_eq!(pace.updates(256), 1);
        pace.ran(1, 10, MS);
        assert_eq!(pace.updates(256), 4);
        pace.ran(4, 40, 4 * MS);
        pace.ran(16, 160, 16 * MS);
        assert_eq!(pace.updates(256), 50);
        pace.ran(50, 500, 500 * MS);
        assert_eq!(pace.updates(256), 5);
        pace.ran(1, 10, 1000 * MS);
        assert_eq!(pace.updates(256), 1);
    }

    #[test]
    fn the_first_update_is_checked_and_then_as_many_as_the_budget_allows() {
        let mut pace = Pace::new(VerifyEvery::Budget, 1000);
        assert!(pace.check_is_due(0));
        pace.checked(MS);
        assert!(!pace.check_is_due(1));
        pace.ran(1, 10, 60 * MS);
        assert!(!pace.check_is_due(2));
        pace.ran(1, 10, 10 * MS);
        assert!(pace.check_is_due(3));
    }

    #[test]
    fn the_last_update_is_checked_whatever_the_budget_is() {
        let mut pace = Pace::new(VerifyEvery::Budget, 8);
        pace.checked(1000 * MS);
        pace.ran(1, 10, MS);
        let due: Vec<u64> = (1..8).filter(|&done| pace.check_is_due(done)).collect();
        assert_eq!((due, pace.until_check(3)), (vec![7], 4));
    }

    #[test]
    fn every_kth_update_is_checked_from_the_first() {
        let pace = Pace::new(VerifyEvery::Updates(3), 1000);
        let due: Vec<u64> = (0..8).filter(|&done| pace.check_is_due(done)).collect();
        assert_eq!(due, [0, 3, 6]);
        assert_eq!(pace.until_check(4), 2);
    }
}
