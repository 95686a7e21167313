//! Work for a device in submissions that are short, because what takes long is taken for dead: Windows resets
//! a GPU after two seconds.

use super::clock::Instant;
use crate::Error;
use crate::gpu::{ReadBack, Span};
use crate::regression::device::Gpu;
use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;
use wgpu::{CommandEncoder, PollType, SubmissionIndex};

/// What is recorded for a submission should take as long, by what the last ones took: so far below the
/// [`BUDGET`](Submissions::BUDGET) that the estimate may be wrong by several times.
const AIM: Duration = Duration::from_millis(50);
/// Submissions that the device has at a time, so that it does not wait for the host between them.
const IN_FLIGHT: usize = 2;
/// Bytes that a submission copies at most: little for any device.
const COPIED: u64 = 1 << 26;
/// How many times as much as the last one a submission may be.
const GROWTH: u64 = 4;

/// What a device was given to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Submissions {
    /// How many submissions there were.
    pub count: u64,
    /// The longest of those whose end was waited for, which are all but some that ended while rows were read.
    pub longest: Duration,
}

impl Submissions {
    /// What no submission takes longer than, unless a single dispatch does.
    pub const BUDGET: Duration = Duration::from_millis(500);
}

/// How much work of one kind makes a submission, learned from those that were waited for. Units are the
/// kind's own.
#[derive(Debug, Default)]
pub struct ThroughputEstimate(Cell<u64>);

impl ThroughputEstimate {
    /// Before anything is known, as little as can be.
    fn units(&self) -> u64 {
        self.0.get()
    }

    fn learn(&self, units: u64, took: Duration) {
        let known = self.0.get();
        // Of little work most is the way there and back: that tells nothing unless it took too long.
        if units < known / GROWTH && took < AIM {
            return;
        }
        let fitting = AIM.as_secs_f64() / took.as_secs_f64().max(1e-9) * units as f64;
        self.0.set((fitting as u64).min(units.saturating_mul(GROWTH)));
    }
}

/// Work that is recorded, and submitted as it comes to be enough.
#[derive(Debug)]
pub struct SubmissionQueue<'a> {
    gpu: &'a Gpu,
    told: &'a Cell<Submissions>,
    rate: &'a ThroughputEstimate,
    encoder: CommandEncoder,
    /// What the encoder has: units of work, and bytes that are copied.
    units: u64,
    copied: u64,
    flights: VecDeque<Flight>,
    /// When the last submission ended that was waited for.
    ended: Instant,
}

/// A submission that the device may still be at.
#[derive(Debug)]
struct Flight {
    index: SubmissionIndex,
    units: u64,
    since: Instant,
}

impl<'a> SubmissionQueue<'a> {
    /// Nothing yet; what becomes of it is added to `told`.
    pub fn new(gpu: &'a Gpu, told: &'a Cell<Submissions>, rate: &'a ThroughputEstimate) -> Self {
        let encoder = gpu.device.create_command_encoder(&Default::default());
        let (flights, ended) = (VecDeque::new(), Instant::now());
        SubmissionQueue { gpu, told, rate, encoder, units: 0, copied: 0, flights, ended }
    }

    /// How many units more the submission should have; all of one, where it has less room than for them.
    pub fn room(&self) -> u64 {
        match self.rate.units().saturating_sub(self.units) {
            0 => self.rate.units(),
            room => room,
        }
    }

    /// Where to record so many units more, which are one dispatch or what belongs to it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn encoder(&mut self, units: u64) -> Result<&mut CommandEncoder, Error> {
        if self.units > 0 && self.units.saturating_add(units) > self.rate.units() {
            self.submit()?;
        }
        self.units += units.max(1);
        Ok(&mut self.encoder)
    }

    /// Where to record a copy of so many bytes.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn copying(&mut self, bytes: u64) -> Result<&mut CommandEncoder, Error> {
        if self.copied > 0 && self.copied.saturating_add(bytes) > COPIED {
            self.submit()?;
        }
        self.copied += bytes.max(1);
        Ok(&mut self.encoder)
    }

    /// Records a copy to be read.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; those of [`ReadBack::copy`].
    pub fn copy(&mut self, read_back: &mut ReadBack, span: &Span) -> Result<(), Error> {
        for at in (0..span.len).step_by((COPIED / 4) as usize) {
            let (offset, len) = (span.offset + 4 * at, (COPIED / 4).min(span.len - at));
            read_back.copy(self.copying(4 * len)?, &Span { offset, len, ..span.clone() })?;
        }
        Ok(())
    }

    /// Submits what is recorded, and says which submission the device's work so far ends with.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn submit(&mut self) -> Result<SubmissionIndex, Error> {
        while self.flights.len() >= IN_FLIGHT {
            self.land()?;
        }
        let fresh = self.gpu.device.create_command_encoder(&Default::default());
        let recorded = std::mem::replace(&mut self.encoder, fresh);
        let since = Instant::now();
        let index = self.gpu.queue.submit([recorded.finish()]);
        let told = self.told.get();
        self.told.set(Submissions { count: told.count + 1, ..told });
        let units = std::mem::take(&mut self.units);
        self.copied = 0;
        self.flights.push_back(Flight { index: index.clone(), units, since });
        Ok(index)
    }

    /// Waits for the earliest submission.
    fn land(&mut self) -> Result<(), Error> {
        let Some(Flight { index, units, since }) = self.flights.pop_front() else { return Ok(()) };
        let poll =
            |timeout| self.gpu.poll(PollType::Wait { submission_index: Some(index.clone()), timeout });
        let waited = poll(Some(Duration::ZERO))?.is_none();
        if waited {
            poll(None)?;
        }
        let took = since.max(self.ended).elapsed();
        self.ended = Instant::now();
        // If it had ended before, this is only an upper bound.
        if waited || took < AIM {
            if units > 0 {
                self.rate.learn(units, took);
            }
            let told = self.told.get();
            self.told.set(Submissions { longest: told.longest.max(took), ..told });
        }
        Ok(())
    }

    /// Submits, and waits until the device is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn finish(mut self) -> Result<(), Error> {
        if self.units > 0 || self.copied > 0 {
            self.submit()?;
        }
        while !self.flights.is_empty() {
            self.land()?;
        }
        Ok(())
    }

    /// The same, and reads what was copied.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn read(self, read_back: &mut ReadBack) -> Result<Vec<f32>, Error> {
        let gpu = self.gpu;
        self.finish()?;
        gpu.wait(read_back.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn submissions_begin_small_and_grow_to_their_length() {
        let rate = ThroughputEstimate::default();
        assert_eq!(rate.units(), 0);
        rate.learn(10, MS);
        assert_eq!(rate.units(), 40);
        rate.learn(40, 4 * MS);
        rate.learn(160, 16 * MS);
        assert_eq!(rate.units(), 500);
    }

    #[test]
    fn what_took_too_long_makes_the_next_one_shorter() {
        let rate = ThroughputEstimate::default();
        rate.learn(1000, 25 * MS);
        assert_eq!(rate.units(), 2000);
        rate.learn(2000, 1000 * MS);
        assert_eq!(rate.units(), 100);
        rate.learn(10, 100 * MS);
        assert_eq!(rate.units(), 5);
    }

    #[test]
    fn little_work_tells_nothing_of_much() {
        let rate = ThroughputEstimate::default();
        rate.learn(1000, 50 * MS);
        rate.learn(1, MS);
        assert_eq!(rate.units(), 1000);
    }
}
