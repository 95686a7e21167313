//! Work for a device in short submissions: systems reset a GPU that does not respond, Windows after two seconds.

use super::clock::Instant;
use crate::Error;
use crate::gpu::{ReadBack, Span};
use crate::regression::device::{Gpu, Submission};
use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;
use wgpu::CommandEncoder;

/// The target time of a submission, by the estimate from previous ones: so far below the
/// [`BUDGET`](Submissions::BUDGET) that the estimate may be wrong by several times.
const AIM: Duration = Duration::from_millis(50);
/// Submissions in flight, so that the device does not wait for the host between them.
const IN_FLIGHT: usize = 2;
/// The most bytes that a submission copies: little for any device.
const COPIED: u64 = 1 << 26;
/// The largest growth from one submission to the next.
const GROWTH: u64 = 4;

/// Statistics of submissions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Submissions {
    /// The number of submissions.
    pub count: u64,
    /// The longest of those whose end was awaited: all but some that ended while rows were read.
    pub longest: Duration,
}

impl Submissions {
    /// The most time of a submission, unless a single dispatch takes longer.
    pub const BUDGET: Duration = Duration::from_millis(500);
}

/// How many units of one kind of work fit into a submission, learned from previous ones.
#[derive(Debug, Default)]
pub struct ThroughputEstimate(Cell<u64>);

impl ThroughputEstimate {
    /// 0 before the first estimate: the smallest submissions.
    fn units(&self) -> u64 {
        self.0.get()
    }

    fn learn(&self, units: u64, took: Duration) {
        let known = self.0.get();
        // The time of little work is mostly latency, which says nothing unless it is too long.
        if units < known / GROWTH && took < AIM {
            return;
        }
        let enough = AIM.as_secs_f64() / took.as_secs_f64().max(1e-9) * units as f64;
        self.0.set((enough as u64).min(units.saturating_mul(GROWTH)));
    }
}

/// Work that is recorded, and submitted when there is enough of it.
#[derive(Debug)]
pub struct SubmissionQueue<'a> {
    gpu: &'a Gpu,
    statistics: &'a Cell<Submissions>,
    rate: &'a ThroughputEstimate,
    /// The name of what is uploaded, if it is: a submission may be refused.
    uploaded: Option<&'static str>,
    encoder: CommandEncoder,
    /// Units of work and copied bytes in the encoder.
    units: u64,
    copied: u64,
    flights: VecDeque<Flight>,
    /// When the last awaited submission ended.
    ended: Instant,
}

/// A submission in flight.
#[derive(Debug)]
struct Flight {
    submission: Submission,
    units: u64,
    since: Instant,
}

impl<'a> SubmissionQueue<'a> {
    /// An empty queue; its submissions are added to `statistics`.
    pub fn new(gpu: &'a Gpu, statistics: &'a Cell<Submissions>, rate: &'a ThroughputEstimate) -> Self {
        let encoder = gpu.device.create_command_encoder(&Default::default());
        let (flights, ended) = (VecDeque::new(), Instant::now());
        SubmissionQueue {
            gpu,
            statistics,
            rate,
            uploaded: None,
            encoder,
            units: 0,
            copied: 0,
            flights,
            ended,
        }
    }

    /// Work that uploads `what`: the device may refuse its submissions.
    pub fn uploading(self, what: &'static str) -> Self {
        SubmissionQueue { uploaded: Some(what), ..self }
    }

    /// Units that the current submission still has room for; those of a whole one, if it has none.
    pub fn room(&self) -> u64 {
        match self.rate.units().saturating_sub(self.units) {
            0 => self.rate.units(),
            room => room,
        }
    }

    /// The encoder for `units` more units of work: one dispatch and its copies.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn encoder(&mut self, units: u64) -> Result<&mut CommandEncoder, Error> {
        if self.units > 0 && self.units.saturating_add(units) > self.rate.units() {
            self.submit().await?;
        }
        self.units += units.max(1);
        Ok(&mut self.encoder)
    }

    /// The encoder for a copy of `bytes` bytes.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn copying(&mut self, bytes: u64) -> Result<&mut CommandEncoder, Error> {
        if self.copied > 0 && self.copied.saturating_add(bytes) > COPIED {
            self.submit().await?;
        }
        self.copied += bytes.max(1);
        Ok(&mut self.encoder)
    }

    /// Records a copy to be read.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; those of [`ReadBack::copy`].
    pub async fn copy(&mut self, read_back: &mut ReadBack, span: &Span) -> Result<(), Error> {
        for at in (0..span.len).step_by((COPIED / 4) as usize) {
            let (offset, len) = (span.offset + 4 * at, (COPIED / 4).min(span.len - at));
            read_back.copy(self.copying(4 * len).await?, &Span { offset, len, ..span.clone() })?;
        }
        Ok(())
    }

    /// Submits the recorded work.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; [`Error::OutOfMemory`] of work that [uploads](Self::uploading).
    pub async fn submit(&mut self) -> Result<Submission, Error> {
        self.make_room().await?;
        let gpu = self.gpu;
        match self.uploaded {
            None => Ok(self.launch()),
            Some(what) => gpu.allocate(what, || Ok(self.launch())).await,
        }
    }

    /// Waits until one submission more may be in flight.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn make_room(&mut self) -> Result<(), Error> {
        while self.flights.len() >= IN_FLIGHT {
            self.land().await?;
        }
        Ok(())
    }

    /// Submits the recorded work, for which [there is room](Self::make_room).
    pub fn launch(&mut self) -> Submission {
        let fresh = self.gpu.device.create_command_encoder(&Default::default());
        let recorded = std::mem::replace(&mut self.encoder, fresh);
        let since = Instant::now();
        let submission = self.gpu.launch(recorded);
        let statistics = self.statistics.get();
        self.statistics.set(Submissions { count: statistics.count + 1, ..statistics });
        let units = std::mem::take(&mut self.units);
        self.copied = 0;
        self.flights.push_back(Flight { submission: submission.clone(), units, since });
        submission
    }

    /// Waits for the earliest submission.
    async fn land(&mut self) -> Result<(), Error> {
        let Some(Flight { submission, units, since }) = self.flights.pop_front() else { return Ok(()) };
        let waited = !self.gpu.is_complete(&submission)?;
        if waited {
            self.gpu.complete(&submission).await?;
        }
        let took = since.max(self.ended).elapsed();
        self.ended = Instant::now();
        // If it had ended before, this is an upper bound.
        if waited || took < AIM {
            if units > 0 {
                self.rate.learn(units, took);
            }
            let statistics = self.statistics.get();
            let longest = statistics.longest.max(took);
            self.statistics.set(Submissions { longest, ..statistics });
        }
        Ok(())
    }

    /// Submits, and waits until the device is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn finish(mut self) -> Result<(), Error> {
        if self.units > 0 || self.copied > 0 {
            self.submit().await?;
        }
        while !self.flights.is_empty() {
            self.land().await?;
        }
        Ok(())
    }

    /// [Finishes](Self::finish), and reads the copies.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn read(self, read_back: &mut ReadBack) -> Result<Vec<f32>, Error> {
        let gpu = self.gpu;
        self.finish().await?;
        gpu.wait(read_back.read()).await
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
