//! Samples of a work and of what it is compared with, which take turns: what disturbs one disturbs the others too.

use super::BenchError;
use super::statistics::Summary;
use std::time::{Duration, Instant};

/// What a sample lasts at least where work can be repeated on the same data: noise of a few microseconds is then
/// a thousandth of it.
pub const SAMPLE: Duration = Duration::from_millis(5);
/// A sample shorter than so many ticks of the clock tells nothing.
pub const TICKS: u32 = 100;
/// Times that a run comes back to every work, minutes apart and in fresh memory: what differs between them is what
/// differs between two runs.
pub const VISITS: usize = 5;
/// No fewer samples in a visit, whatever they take.
pub const LEAST: usize = 3;
/// No more, whatever time is left.
pub const MOST: usize = 20;
/// Quartiles of the ratio that are no further apart than this share of it are near enough.
pub const SPREAD: f64 = 0.005;
const MOST_REPEATS: u32 = 4096;

/// How long one repetition took.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// By the wall's clock, in seconds.
    pub wall: f64,
    /// By the device's, where it has one that could be read.
    pub device: Option<f64>,
}

/// What takes turns.
pub trait Turns {
    /// Does the work so many times.
    fn work(&mut self, repeats: u32) -> Result<Timed, BenchError>;
    /// Copies as many bytes as that moves, so many times.
    fn copy(&mut self, repeats: u32) -> Result<Timed, BenchError>;
    /// Moves as many bytes the way that the work reads and writes them, so many times, where that is another.
    fn limit(&mut self, _repeats: u32) -> Result<Option<Timed>, BenchError> {
        Ok(None)
    }
    /// Goes through more than the last cache holds.
    fn flush(&mut self) -> Result<(), BenchError>;
}

/// What came of it, in seconds of one repetition.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Repetitions in a sample of the work.
    pub repeats: u32,
    /// Of the work.
    pub work: Vec<f64>,
    /// Of the copy that ran beside each.
    pub copy: Vec<f64>,
    /// Of the limit, where there is one.
    pub limit: Vec<f64>,
    /// Of work and copy by the device's own clock, where every one could be read.
    pub device: Option<[Vec<f64>; 2]>,
    /// How many of them each visit took.
    pub visits: Vec<usize>,
}

impl Samples {
    /// Adds those of a later visit.
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

/// The samples of a visit: until they agree, or the time is over. `cold` flushes ahead of every one.
pub fn take(budget: Duration, cold: bool, turns: &mut dyn Turns) -> Result<Samples, BenchError> {
    let repeats = match cold {
        true => {
            // Once for what only the first time costs.
            turns.work(1)?;
            turns.copy(1)?;
            [1, 1]
        }
        false => [enough(&mut |n| turns.work(n))?, enough(&mut |n| turns.copy(n))?],
    };
    let takers = if turns.limit(1)?.is_some() { 3 } else { 2 };
    let mut samples = Samples { repeats: repeats[0], ..Samples::default() };
    let mut device: [Vec<Option<f64>>; 2] = Default::default();
    let started = Instant::now();
    while samples.work.len() < MOST {
        if samples.work.len() >= LEAST {
            let ratios: Vec<f64> = samples.work.iter().zip(&samples.copy).map(|(w, c)| w / c).collect();
            let agree = Summary::of(&ratios).is_some_and(|summary| summary.spread() <= SPREAD);
            if agree || started.elapsed() >= budget {
                break;
            }
        }
        // Who goes first changes, so that none always has another's caches.
        let first = samples.work.len();
        for turn in 0..takers {
            let turn = (first + turn) % takers;
            match (cold, turn) {
                (true, _) => turns.flush()?,
                // What the others have left in the caches is not this one's.
                (false, 0) => drop(turns.work(1)?),
                (false, 1) => drop(turns.copy(1)?),
                (false, _) => drop(turns.limit(1)?),
            }
            match turn {
                0 => {
                    let timed = turns.work(repeats[0])?;
                    samples.work.push(timed.wall);
                    device[0].push(timed.device);
                }
                1 => {
                    let timed = turns.copy(repeats[1])?;
                    samples.copy.push(timed.wall);
                    device[1].push(timed.device);
                }
                _ => samples.limit.extend(turns.limit(repeats[1])?.map(|timed| timed.wall)),
            }
        }
    }
    let [work, copy] = device.map(|times| times.into_iter().collect::<Option<Vec<f64>>>());
    samples.device = work.zip(copy).map(|(work, copy)| [work, copy]);
    samples.visits = vec![samples.work.len()];
    Ok(samples)
}

/// Repetitions that fill a sample.
fn enough(run: &mut dyn FnMut(u32) -> Result<Timed, BenchError>) -> Result<u32, BenchError> {
    let wanted = SAMPLE.as_secs_f64().max(f64::from(TICKS) * tick());
    // What only the first time costs is not counted.
    run(1)?;
    let mut repeats = 1;
    loop {
        let each = run(repeats)?.wall;
        if each * f64::from(repeats) >= wanted / 4.0 || repeats == MOST_REPEATS {
            let needed = (wanted / each.max(1e-9)).ceil();
            return Ok((needed as u32).clamp(1, MOST_REPEATS));
        }
        repeats = (4 * repeats).min(MOST_REPEATS);
    }
}

/// The shortest time that the clock can tell from none.
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

    /// Takes what it is told to, by a clock of its own.
    struct Fake {
        order: Vec<char>,
        work: Vec<f64>,
        limited: bool,
    }

    impl Turns for Fake {
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
        assert_eq!(take(long, false, &mut fake(&[2e-3])).unwrap().work.len(), LEAST);
        let noisy: Vec<f64> = (0..7).map(|i| 1e-3 + f64::from(i) * 1e-4).collect();
        assert_eq!(take(long, false, &mut fake(&noisy)).unwrap().work.len(), MOST);
        assert_eq!(take(Duration::ZERO, false, &mut fake(&noisy)).unwrap().work.len(), LEAST);
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
        assert_eq!(samples.limit, [2e-3; LEAST]);
        let order: String = fake.order[3..].iter().collect();
        assert_eq!(order, "fwfcflfcflfwflfwfc");
    }

    #[test]
    fn visits_add_up() {
        let mut all = take(Duration::ZERO, false, &mut fake(&[1e-5])).unwrap();
        all.append(take(Duration::ZERO, false, &mut fake(&[1e-5])).unwrap());
        assert_eq!((all.work.len(), &all.visits[..]), (2 * LEAST, &[LEAST, LEAST][..]));
        assert_eq!(all.device.as_ref().unwrap()[1].len(), 2 * LEAST);
        all.append(take(Duration::ZERO, true, &mut fake(&[1e-5])).unwrap());
        assert!(all.device.is_none(), "one time that could not be read leaves none");
    }
}
