//! Update rules as plain data: what a user sets, PyTorch's names and defaults, and the checks.
//!
//! What a rule *means* is in [`cpu`](crate::cpu) under the same file name, and what runs on the GPU in
//! `shaders/update/`.

mod adam;
mod rmsprop;
mod sgd;

pub use adam::Adam;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;

use crate::Error;

/// One of the update rules, with its hyper-parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// Gradient descent, plain, with momentum, or with Nesterov momentum.
    Sgd(Sgd),
    /// RMSprop.
    RmsProp(RmsProp),
    /// Adam.
    Adam(Adam),
}

impl Rule {
    /// The name of the algorithm: `sgd`, `momentum`, `nesterov`, `rmsprop` or `adam`.
    pub fn name(&self) -> &'static str {
        match self {
            Rule::Sgd(sgd) if sgd.nesterov => "nesterov",
            Rule::Sgd(sgd) if sgd.momentum != 0.0 => "momentum",
            Rule::Sgd(_) => "sgd",
            Rule::RmsProp(_) => "rmsprop",
            Rule::Adam(_) => "adam",
        }
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        match self {
            Rule::Sgd(rule) => rule.lr,
            Rule::RmsProp(rule) => rule.lr,
            Rule::Adam(rule) => rule.lr,
        }
    }

    /// PyTorch's names of what the rule keeps for every parameter, in the order in which it is stored.
    pub fn moments(&self) -> &'static [&'static str] {
        match self {
            Rule::Sgd(sgd) if sgd.momentum == 0.0 => &[],
            Rule::Sgd(_) => &["momentum_buffer"],
            Rule::RmsProp(_) => &["square_avg"],
            Rule::Adam(_) => &["exp_avg", "exp_avg_sq"],
        }
    }

    /// Bytes that one step must move for each f32 parameter: the gradient read once, the parameter
    /// and every moment read once and written once.
    pub fn bytes_per_parameter(&self) -> u64 {
        4 + 8 * (1 + self.moments().len() as u64)
    }

    /// The decay rates whose powers correct the moments' bias; zero where the rule corrects nothing.
    pub fn bias_corrected_betas(&self) -> (f64, f64) {
        match self {
            Rule::Adam(adam) => adam.betas,
            Rule::Sgd(_) | Rule::RmsProp(_) => (0.0, 0.0),
        }
    }

    /// Checks every hyper-parameter.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            Rule::Sgd(rule) => rule.validate(),
            Rule::RmsProp(rule) => rule.validate(),
            Rule::Adam(rule) => rule.validate(),
        }
    }
}

impl From<Sgd> for Rule {
    fn from(rule: Sgd) -> Self {
        Rule::Sgd(rule)
    }
}

impl From<RmsProp> for Rule {
    fn from(rule: RmsProp) -> Self {
        Rule::RmsProp(rule)
    }
}

impl From<Adam> for Rule {
    fn from(rule: Adam) -> Self {
        Rule::Adam(rule)
    }
}

/// The checks that the rules share: each names the rule, the field, its value and the range.
struct Check(&'static str);

impl Check {
    fn that(
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

    /// A learning rate is used as f32 on the device, and must not become infinite there.
    fn lr(&self, lr: f64) -> Result<(), Error> {
        let holds = lr >= 0.0 && lr <= f64::from(f32::MAX);
        self.that(holds, "lr", lr, "0 ≤ lr ≤ 3.4e38, finite")
    }

    fn decay(&self, field: &'static str, value: f64) -> Result<(), Error> {
        self.that((0.0..1.0).contains(&value), field, value, "0 ≤ value < 1")
    }

    /// A device may flush anything below the smallest normal f32 to zero, and eps guards a division.
    fn eps(&self, eps: f64) -> Result<(), Error> {
        let holds = eps >= f64::from(f32::MIN_POSITIVE) && eps <= f64::from(f32::MAX);
        self.that(holds, "eps", eps, "1.18e-38 ≤ eps ≤ 3.4e38 (a normal f32)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(rule: impl Into<Rule>) -> String {
        rule.into().validate().unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_valid() {
        for rule in [Sgd::default().into(), RmsProp::default().into(), Rule::from(Adam::default())] {
            rule.validate().unwrap();
        }
    }

    #[test]
    fn an_error_names_field_value_and_range() {
        let text = message(Adam { betas: (0.9, 1.0), ..Adam::default() });
        assert_eq!(text, "adam: beta2 is 1.0, which is outside its range: 0 ≤ value < 1");
        assert!(message(Adam { eps: 0.0, ..Adam::default() }).contains("eps is 0.0"));
        assert!(message(RmsProp { alpha: -0.1, ..RmsProp::default() }).contains("alpha is -0.1"));
    }

    #[test]
    fn nothing_that_is_not_a_number_passes() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            message(Sgd { lr: bad, ..Sgd::default() });
            message(Sgd { momentum: bad, ..Sgd::default() });
            message(Sgd { dampening: bad, ..Sgd::default() });
            message(RmsProp { lr: bad, ..RmsProp::default() });
            message(RmsProp { alpha: bad, ..RmsProp::default() });
            message(RmsProp { eps: bad, ..RmsProp::default() });
            message(Adam { lr: bad, ..Adam::default() });
            message(Adam { betas: (bad, 0.9), ..Adam::default() });
            message(Adam { betas: (0.9, bad), ..Adam::default() });
            message(Adam { eps: bad, ..Adam::default() });
        }
    }

    #[test]
    fn nesterov_needs_momentum_and_no_dampening() {
        let nesterov = Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() };
        Rule::from(nesterov).validate().unwrap();
        assert!(message(Sgd { momentum: 0.0, ..nesterov }).contains("momentum is 0.0"));
        assert!(message(Sgd { dampening: 0.1, ..nesterov }).contains("dampening is 0.1"));
    }

    #[test]
    fn bytes_are_those_of_one_fused_pass() {
        assert_eq!(Rule::from(Sgd::default()).bytes_per_parameter(), 12);
        let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
        assert_eq!(Rule::from(momentum).bytes_per_parameter(), 20);
        assert_eq!(Rule::from(RmsProp::default()).bytes_per_parameter(), 20);
        assert_eq!(Rule::from(Adam::default()).bytes_per_parameter(), 28);
    }
}
