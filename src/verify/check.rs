//! The result of one check of the suite.

use crate::regression::verification::{Bounded, Verification};
use serde::Serialize;

/// The requirement on a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// An error bound, derived from the operations that compute the value.
    Derived,
    /// The same bits.
    Exact,
}

/// One kernel on one kind of input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The kernel, or the rule and its variant.
    pub kernel: String,
    /// The input.
    pub case: String,
    /// The largest error as a share of its bound; where bits are compared 0, or the largest f64.
    pub worst_ratio: f64,
    /// The requirement on the values.
    pub bound: Bound,
    /// Whether every value is within its bound.
    pub pass: bool,
    /// Number of compared values.
    pub values: u64,
    /// Number of values without a bound, because an operation before them may overflow.
    pub unbounded: u64,
    /// The element with the largest share.
    pub worst: Option<Element>,
    /// The error, if the device or the library failed.
    pub error: Option<String>,
}

/// One compared value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Element {
    /// `params`, `gradient`, `loss`, a moment's name …
    pub quantity: String,
    /// Its index.
    pub element: usize,
    /// The value of the device.
    pub actual: f32,
    /// Its bits, as in `0x3f800000`.
    pub actual_bits: String,
    /// The expected value.
    pub expected: f64,
    /// The bits of the f32 nearest to the expected value.
    pub expected_bits: String,
    /// The allowed error.
    pub allowed: f64,
    /// The number of f32 between the two.
    pub ulps: u64,
}

/// A set of values to compare.
#[derive(Clone, Debug)]
pub struct Compared<E> {
    /// `params`, `gradient`, `loss`, a moment's name …
    pub what: String,
    /// The values of the device.
    pub actual: Vec<f32>,
    /// The expected values, with their errors.
    pub expected: Vec<E>,
}

impl<E> Compared<E> {
    /// Compares values of the device with as many exact ones.
    pub fn new(
        what: impl Into<String>,
        actual: impl Into<Vec<f32>>,
        expected: impl Into<Vec<E>>,
    ) -> Self {
        Compared { what: what.into(), actual: actual.into(), expected: expected.into() }
    }

    /// The reason why they cannot be compared, if there is one.
    fn unlike(&self) -> Option<String> {
        let Compared { what, actual, expected } = self;
        let differ = actual.len() != expected.len();
        differ.then(|| format!("{what}: {} values for {}", actual.len(), expected.len()))
    }
}

impl Check {
    fn new(kernel: &str, case: &str, bound: Bound) -> Self {
        Check {
            kernel: kernel.into(),
            case: case.into(),
            worst_ratio: 0.0,
            bound,
            pass: true,
            values: 0,
            unbounded: 0,
            worst: None,
            error: None,
        }
    }

    /// Compares each value with its own bound. Fails if more than a few have none.
    pub fn derived(kernel: &str, case: &str, all: &[Compared<Bounded>]) -> Self {
        let mut check = Self::new(kernel, case, Bound::Derived);
        for of in all {
            if let Some(why) = of.unlike() {
                return Self::failed(kernel, case, why);
            }
            let mut report = Verification::new();
            report.compare(0, &of.what, &of.actual, &of.expected);
            check.add(&report);
            check.unbounded += of.expected.iter().filter(|b| !b.error.is_finite()).count() as u64;
        }
        if 20 * check.unbounded > check.values {
            let why = format!("{} of {} values have no bound", check.unbounded, check.values);
            return Self::failed(kernel, case, why);
        }
        check.of_something()
    }

    /// Compares bits.
    pub fn exact(kernel: &str, case: &str, all: &[Compared<f32>]) -> Self {
        let mut check = Self::new(kernel, case, Bound::Exact);
        for of in all {
            if let Some(why) = of.unlike() {
                return Self::failed(kernel, case, why);
            }
            let Compared { what, actual, expected } = of;
            check.values += actual.len() as u64;
            let differs = |i: &usize| actual[*i].to_bits() != expected[*i].to_bits();
            let Some(element) = (0..actual.len()).find(differs) else { continue };
            if check.pass {
                let of = Element::new(what, element, actual[element], expected[element].into(), 0.0);
                check.worst = Some(of);
            }
            (check.pass, check.worst_ratio) = (false, f64::MAX);
        }
        check.of_something()
    }

    /// Returns the check, which fails if nothing was compared.
    fn of_something(mut self) -> Self {
        if self.values == 0 {
            (self.pass, self.error) = (false, Some("there was nothing to compare".into()));
        }
        self
    }

    /// Compares words, as of counters.
    pub fn words(kernel: &str, case: &str, what: &str, actual: &[u32], expected: &[u32]) -> Self {
        let as_f32 = |words: &[u32]| words.iter().map(|&word| f32::from_bits(word)).collect::<Vec<_>>();
        Self::exact(kernel, case, &[Compared::new(what, as_f32(actual), as_f32(expected))])
    }

    /// The result of the checks of a training run.
    pub fn verified(kernel: &str, case: &str, report: &Verification) -> Self {
        let mut check = Self::new(kernel, case, Bound::Derived);
        check.add(report);
        check.of_something()
    }

    /// A case that failed to run.
    pub fn failed(kernel: &str, case: &str, error: impl ToString) -> Self {
        let error = Some(error.to_string());
        Check { pass: false, worst_ratio: f64::MAX, error, ..Self::new(kernel, case, Bound::Exact) }
    }

    /// Merges this check with another one of the same input.
    pub fn and(mut self, other: Self) -> Self {
        self.values += other.values;
        self.unbounded += other.unbounded;
        self.pass &= other.pass;
        self.error = self.error.or(other.error);
        if other.worst_ratio > self.worst_ratio {
            (self.worst_ratio, self.worst) = (other.worst_ratio, other.worst);
        }
        self
    }

    /// Records the element with the largest share.
    fn add(&mut self, report: &Verification) {
        self.values += report.values;
        self.pass &= report.pass;
        let Some(worst) = &report.worst else { return };
        if self.worst.is_none() || report.worst_ratio > self.worst_ratio {
            self.worst_ratio = report.worst_ratio;
            let quantity = match worst.update {
                0 => worst.quantity.clone(),
                update => format!("{} of update {update}", worst.quantity),
            };
            let of = Element::new(&quantity, worst.element, worst.actual, worst.expected, worst.bound);
            self.worst = Some(of);
        }
    }
}

impl Element {
    fn new(quantity: &str, element: usize, actual: f32, expected: f64, allowed: f64) -> Self {
        let bits = |x: f32| format!("{:#010x}", x.to_bits());
        Element {
            quantity: quantity.into(),
            element,
            actual,
            actual_bits: bits(actual),
            expected,
            expected_bits: bits(expected as f32),
            allowed,
            ulps: place(actual).abs_diff(place(expected as f32)),
        }
    }
}

/// The rank of an f32 among all f32; 0 for both zeros.
fn place(x: f32) -> i64 {
    let magnitude = i64::from(x.to_bits() & 0x7fff_ffff);
    if x.is_sign_negative() { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(actual: &[f32], expected: &[f32]) -> Check {
        Check::exact("k", "c", &[Compared::new("params", actual, expected)])
    }

    #[test]
    fn bits_that_differ_fail_and_the_first_of_them_is_named() {
        assert!(exact(&[1.0, 0.0], &[1.0, 0.0]).pass);
        let check = exact(&[1.0, -0.0], &[1.0, 0.0]);
        assert!(!check.pass && check.worst_ratio == f64::MAX);
        let worst = check.worst.unwrap();
        assert_eq!((worst.element, worst.ulps), (1, 0));
        assert_eq!(worst.actual_bits, "0x80000000");
        assert!(!exact(&[1.0], &[1.0, 0.0]).pass);
    }

    #[test]
    fn the_largest_share_of_all_quantities_is_named() {
        let of = |what: &str, actual: &[f32], value, error| {
            Compared::new(what, actual, [Bounded { value, error }])
        };
        let derived = |all: &[Compared<Bounded>]| Check::derived("k", "c", all);
        let check = derived(&[of("a", &[1.125], 1.0, 0.25), of("b", &[2.25], 2.0, 1.0)]);
        assert!(check.pass && check.worst_ratio == 0.5 && check.values == 2);
        assert_eq!(check.worst.unwrap().quantity, "a");
        assert!(!derived(&[of("a", &[1.5], 1.0, 0.25)]).pass);
        assert!(!derived(&[of("a", &[], 1.0, 0.25)]).pass);
    }

    #[test]
    fn values_without_a_bound_are_counted_and_prove_nothing() {
        let endless = Bounded { value: 1.0, error: f64::INFINITY };
        let of = |expected: &[Bounded]| {
            let actual = vec![1.0; expected.len()];
            Check::derived("k", "c", &[Compared::new("a", actual, expected)])
        };
        assert!(!of(&[endless]).pass);
        let beside = |others| of(&[vec![Bounded::exactly(1.0); others], vec![endless]].concat());
        assert!(beside(20).pass && beside(20).unbounded == 1);
        assert!(!beside(10).pass);
        assert!(!of(&[]).pass);
    }

    #[test]
    fn a_run_without_values_proves_nothing() {
        assert!(!Check::verified("k", "c", &Verification::new()).pass);
    }

    #[test]
    fn ulps_count_across_zero() {
        let smallest = f32::from_bits(1);
        assert_eq!(Element::new("", 0, smallest, f64::from(-smallest), 0.0).ulps, 2);
        assert_eq!(Element::new("", 0, 1.0, 1.0 + f64::from(f32::EPSILON), 0.0).ulps, 1);
    }
}
