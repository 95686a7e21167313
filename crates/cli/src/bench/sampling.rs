//! Samples of a benchmark, interleaved with those of a copy, so that other load on the machine affects both alike.

use super::BenchError;
use super::statistics::Summary;
use std::time::{Duration, Instant};

/// Minimum duration of a sample whose work can be repeated on the same data: noise of a few microseconds is then a
/// thousandth of it.
pub const SAMPLE: Duration = Duration::from_millis(5);
/// Minimum duration of a sample in ticks of the clock.
pub const TICKS: u32 = 100;
/// Visits of every benchmark in a run, minutes apart and in fresh memory, so that visits differ as much as runs do.
pub const VISITS: usize = 5;
/// Minimum number of samples in a visit.
pub const MIN_SAMPLES: usize = 3;
/// Maximum number of samples in a visit.
pub const MAX_SAMPLES: usize = 20;
/// Sampling ends when the quartiles of the ratio are this close, relative to its median.
pub const SPREAD: f64 = 0.005;
const MAX_REPEATS: u32 = 4096;

/// The duration of one repetition.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// Wall-clock time in seconds.
    pub wall: f64,
    /// Time by the device's timestamps in seconds, if they are available.
    pub device: Option<f64>,
}

/// A benchmark and the streams that it is interleaved with.
pub trait Interleaved {
    /// Runs the benchmark `repeats` times.
    fn work(&mut self, repeats: u32) -> Result<Timed, BenchError>;
    /// Copies as many bytes as the benchmark moves, `repeats` times.
    fn copy(&mut self, repeats: u32) -> Result<Timed, BenchError>;
    /// Moves as many bytes with the benchmark's pattern of reads and writes, `repeats` times, if it is not a copy.
    fn limit(&mut self, _repeats: u32) -> Result<Option<Timed>, BenchError> {
        Ok(None)
    }
    /// Flushes the caches.
    fn flush(&mut self) -> Result<(), BenchError>;
}

/// Samples, in seconds per repetition.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Repetitions in a sample of the work.
    pub repeats: u32,
    /// Times of the benchmark.
    pub work: Vec<f64>,
    /// Times of the copies interleaved with it.
    pub copy: Vec<f64>,
    /// Times of the limit, if there is one.
    pub limit: Vec<f64>,
    /// Times of benchmark and copy by the device's timestamps, if all are available.
    pub device: Option<[Vec<f64>; 2]>,
    /// Number of samples of each visit.
    pub visits: Vec<usize>,
}

impl Samples {
    /// Appends the samples of a later visit.
    pub fn append(&mut self, later: Samples) {
        self.repeats = later.repeats;
        self.work.extend(later.work);
        self.copy.extend(later.copy);
        self.limit.extend(later.limit);
        self.visits.extend(later.visits);
        self.device = match (self.device.take(), later.device) {
            (Some([mut work, mut copy]), Some([later_work, later_copy])) => {
                work.extend(later_work);
                copy.extend(later_copy);
                Some([work, copy])
            }
            _ => None,
        };
    }
}

/// Takes the samples of a visit until they agree or the time is over. `cold` flushes the caches before every sample.
pub fn take(budget: Duration, cold: bool, streams: &mut dyn Interleaved) -> Result<Samples, BenchError> {
    let repeats = match cold {
        true => {
            // Once, for first-time costs.
            streams.work(1)?;
            streams.copy(1)?;
            [1, 1]
        }
        false => [enough(&mut |n| streams.work(n))?, enough(&mut |n| streams.copy(n))?],
    };
    let kinds = if streams.limit(1)?.is_some() { 3 } else { 2 };
    let mut samples = Samples { repeats: repeats[0], ..Samples::default() };
    let mut device: [Vec<Option<f64>>; 2] = Default::default();
    let started = Instant::now();
    while samples.work.len() < MAX_SAMPLES {
        if samples.work.len() >= MIN_SAMPLES {
            let ratios: Vec<f64> = samples.work.iter().zip(&samples.copy).map(|(w, c)| w / c).collect();
            let agree = Summary::of(&ratios).is_some_and(|summary| summary.spread() <= SPREAD);
            if agree || started.elapsed() >= budget {
                break;
            }
        }
        // The order rotates, so that none always finds the caches of the same other.
        let first = samples.work.len();
        for i in 0..kinds {
            let kind = (first + i) % kinds;
            match (cold, kind) {
                (true, _) => streams.flush()?,
                // Once untimed, to replace the others' data in the caches.
                (false, 0) => drop(streams.work(1)?),
                (false, 1) => drop(streams.copy(1)?),
                (false, _) => drop(streams.limit(1)?),
            }
            match kind {
                0 => {
                    let timed = streams.work(repeats[0])?;
                    samples.work.push(timed.wall);
                    device[0].push(timed.device);
                }
                1 => {
                    let timed = streams.copy(repeats[1])?;
                    samples.copy.push(timed.wall);
                    device[1].push(timed.device);
                }
                _ => samples.limit.extend(streams.limit(repeats[1])?.map(|timed| timed.wall)),
            }
        }
    }
    let [work, copy] = device.map(|times| times.into_iter().collect::<Option<Vec<f64>>>());
    samples.device = work.zip(copy).map(|(work, copy)| [work, copy]);
    samples.visits = vec![samples.work.len()];
    Ok(samples)
}

/// The number of repetitions that fill a sample.
fn enough(run: &mut dyn FnMut(u32) -> Result<Timed, BenchError>) -> Result<u32, BenchError> {
    let target = SAMPLE.as_secs_f64().max(f64::from(TICKS) * tick());
    // Once, for first-time costs.
    run(1)?;
    let mut repeats = 1;
    loop {
        let each = run(repeats)?.wall;
        if each * f64::from(repeats) >= target / 4.0 || repeats == MAX_REPEATS {
            let needed = (target / each.max(1e-9)).ceil();
            return Ok((needed as u32).clamp(1, MAX_REPEATS));
        }
        repeats = (4 * repeats).min(MAX_REPEATS);
    }
}

/// The resolution of the clock in seconds.
pub fn tick() -> f64 {
    let tick = || {
        let start = Instant::now();
        loop {
            let passed = start.elapsed();
            if !passed.is_zero() {
                return passed;
            }
        }
    };
    (0..100).map(|_| tick()).min().unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports given times.
    struct Fake {
        order: Vec<char>,
        work: Vec<f64>,
        limited: bool,
    }

    impl Interleaved for Fake {
        fn work(&mut self, repeats: u32) -> Result<Timed, BenchError> {
            self.order.push('w');
            let next = self.work[self.order.len() % self.work.len()];
            Ok(Timed { wall: next, device: (repeats > 1).then_some(next) })
        }

        fn copy(&mut self, _: u32) -> Result<Timed, BenchError> {
            self.order.push('c');
            Ok(Timed { wall: 1e-3, device: Some(1e-3) })
        }

        fn limit(&mut self, _: u32) -> Result<Option<Timed>, BenchError> {
            Ok(self.limited.then(|| {
                self.order.push('l');
                Timed { wall: 2e-3, device: None }
            }))
        }

        fn flush(&mut self) -> Result<(), BenchError> {
            self.order.push('f');
            Ok(())
        }
    }

    fn fake(work: &[f64]) -> Fake {
        Fake { order: Vec::new(), work: work.to_vec(), limited: false }
    }

    #[test]
    fn samples_that_agree_are_enough_and_others_go_on() {
        let long = Duration::from_secs(60);
        assert_eq!(take(long, false, &mut fake(&[2e-3])).unwrap().work.len(), MIN_SAMPLES);
        let noisy: Vec<f64> = (0..7).map(|i| 1e-3 + f64::from(i) * 1e-4).collect();
        assert_eq!(take(long, false, &mut fake(&noisy)).unwrap().work.len(), MAX_SAMPLES);
        assert_eq!(take(Duration::ZERO, false, &mut fake(&noisy)).unwrap().work.len(), MIN_SAMPLES);
    }

    #[test]
    fn short_work_is_repeated_but_not_where_it_must_be_cold() {
        let zero = Duration::ZERO;
        let hot = take(zero, false, &mut fake(&[1e-5])).unwrap();
        assert_eq!(hot.repeats, 500);
        assert!(hot.device.is_some());
        let cold = take(zero, true, &mut fake(&[1e-5])).unwrap();
        assert_eq!(cold.repeats, 1);
        // One time that could not be read leaves none.
        assert!(cold.device.is_none());
    }

    #[test]
    fn turns_change_and_each_is_flushed_ahead_of() {
        let mut fake = fake(&[1e-3]);
        take(Duration::ZERO, true, &mut fake).unwrap();
        let order: String = fake.order[2..].iter().collect();
        assert!(order.starts_with("fwfcfcfwfwfc"), "{order}");
    }

    #[test]
    fn a_limit_takes_turns_too() {
        let mut fake = Fake { limited: true, ..fake(&[1e-3]) };
        let samples = take(Duration::ZERO, true, &mut fake).unwrap();
        assert_eq!(samples.limit, [2e-3; MIN_SAMPLES]);
        let order: String = fake.order[3..].iter().collect();
        assert_eq!(order, "fwfcflfcflfwflfwfc");
    }

    #[test]
    fn visits_add_up() {
        let mut all = take(Duration::ZERO, false, &mut fake(&[1e-5])).unwrap();
        all.append(take(Duration::ZERO, false, &mut fake(&[1e-5])).unwrap());
        assert_eq!(
            (all.work.len(), &all.visits[..]),
            (2 * MIN_SAMPLES, &[MIN_SAMPLES, MIN_SAMPLES][..])
        );
        assert_eq!(all.device.as_ref().unwrap()[1].len(), 2 * MIN_SAMPLES);
        all.append(take(Duration::ZERO, true, &mut fake(&[1e-5])).unwrap());
        assert!(all.device.is_none(), "one time that could not be read leaves none");
    }
}
