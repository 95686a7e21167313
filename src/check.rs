//! Validation of user settings. Each error names the owner, the field, its value and the permitted range.

use crate::Error;
use crate::rule::EpsPlacement;

/// Validates the fields of the rule, schedule or option of this name.
pub(crate) struct Check(pub &'static str);

impl Check {
    pub fn that(
        &self,
        holds: bool,
        field: &'static str,
        value: f64,
        range: &'static str,
    ) -> Result<(), Error> {
        if holds {
            return Ok(());
        }
        let rule = self.0;
        Err(Error::HyperParameter { rule, field, value, range })
    }

    /// Checks a learning rate, which must stay finite in f32.
    pub fn lr(&self, field: &'static str, lr: f64) -> Result<(), Error> {
        let holds = lr >= 0.0 && lr <= f64::from(f32::MAX);
        self.that(holds, field, lr, "0 ≤ lr ≤ 3.4e38, finite")
    }

    pub fn decay(&self, field: &'static str, value: f64) -> Result<(), Error> {
        self.that((0.0..1.0).contains(&value), field, value, "0 ≤ value < 1")
    }

    /// Checks a factor that is applied repeatedly: above 1 it would overflow.
    pub fn factor(&self, field: &'static str, value: f64) -> Result<(), Error> {
        self.that((0.0..=1.0).contains(&value), field, value, "0 ≤ value ≤ 1")
    }

    /// Checks a value that is multiplied or added in f32.
    pub fn not_negative(&self, field: &'static str, value: f64) -> Result<(), Error> {
        let holds = value >= 0.0 && value <= f64::from(f32::MAX);
        self.that(holds, field, value, "0 ≤ value ≤ 3.4e38, finite")
    }

    /// Checks a divisor, whose inverse must not overflow either.
    pub fn divisor(&self, field: &'static str, value: f64) -> Result<(), Error> {
        let holds = value >= f64::from(f32::MIN_POSITIVE) && value <= 2f64.powi(126);
        self.that(holds, field, value, "1.18e-38 ≤ value ≤ 8.5e37")
    }

    /// Checks a limit: a [`divisor`](Self::divisor), or infinity for no limit.
    pub fn limit(&self, field: &'static str, value: f64) -> Result<(), Error> {
        let range = "1.18e-38 ≤ value ≤ 8.5e37, or inf";
        let divisor = self.divisor(field, value);
        self.that(value == f64::INFINITY || divisor.is_ok(), field, value, range)
    }

    /// Checks eps, which guards a division: a device may flush values below the smallest normal f32 to zero.
    pub fn eps(&self, eps: f64) -> Result<(), Error> {
        let holds = eps >= f64::from(f32::MIN_POSITIVE) && eps <= f64::from(f32::MAX);
        self.that(holds, "eps", eps, "1.18e-38 ≤ eps ≤ 3.4e38 (a normal f32)")
    }

    /// Rejects epsilon-hat for rules without a bias correction of the second moment.
    pub fn no_hat(&self, placement: EpsPlacement) -> Result<(), Error> {
        if placement != EpsPlacement::Hat {
            return Ok(());
        }
        let (rule, range) = (self.0, "outside or inside");
        Err(Error::Option { rule, field: "eps_placement", value: "hat", range })
    }

    pub fn steps(&self, field: &'static str, steps: u64) -> Result<(), Error> {
        self.that(steps > 0, field, steps as f64, "value ≥ 1")
    }
}

/// Checks a learning-rate table.
pub(crate) fn learning_rates(rates: &[f32]) -> Result<(), Error> {
    let error = |index, value| Error::LearningRates { index, length: rates.len(), value };
    if rates.is_empty() {
        return Err(error(0, None));
    }
    match rates.iter().position(|lr| !(lr.is_finite() && *lr >= 0.0)) {
        Some(index) => Err(error(index, Some(rates[index]))),
        None => Ok(()),
    }
}
