//! Where two rules, or two ways of conditioning, differ: the name of the first field, and what it is in each.

use super::{Adagrad, Adam, Adamax, Conditioning, Lion, NAdam, RmsProp, Rule, Sgd};

/// A field's name, and what it is in the one and in the other.
pub type Difference = (&'static str, String, String);

type Fields = Vec<(&'static str, String)>;

/// All fields of a struct by name. One that is left out does not compile.
macro_rules! fields {
    ($value:expr, $of:ident: $($field:ident)+) => {{
        let $of { $($field),+ } = $value;
        vec![$((stringify!($field), format!("{:?}", $field))),+]
    }};
}

impl Rule {
    fn fields(&self) -> Fields {
        match self {
            Rule::Sgd(rule) => fields!(rule, Sgd: lr momentum dampening nesterov lr_in_momentum
                weight_decay decoupled_weight_decay maximize),
            Rule::RmsProp(rule) => fields!(rule, RmsProp: lr alpha eps eps_placement centered
                clamp_variance bias_correction momentum lr_in_momentum initial_accumulator
                weight_decay decoupled_weight_decay maximize),
            Rule::Adam(rule) => fields!(rule, Adam: lr betas eps eps_placement amsgrad amsgrad_of
                weight_decay decoupled_weight_decay maximize),
            Rule::NAdam(rule) => fields!(rule, NAdam: lr betas eps momentum_decay
                weight_decay decoupled_weight_decay maximize),
            Rule::Adamax(rule) => fields!(rule, Adamax: lr betas eps eps_placement
                weight_decay decoupled_weight_decay maximize),
            Rule::Adagrad(rule) => fields!(rule, Adagrad: lr lr_decay eps eps_placement
                initial_accumulator weight_decay decoupled_weight_decay maximize),
            Rule::Lion(rule) => fields!(rule, Lion: lr betas
                weight_decay decoupled_weight_decay maximize),
        }
    }

    /// How `other` differs from this rule.
    pub(crate) fn difference(&self, other: &Self) -> Option<Difference> {
        if std::mem::discriminant(self) != std::mem::discriminant(other) {
            return Some(("rule", self.name().into(), other.name().into()));
        }
        first(self.fields(), other.fields())
    }
}

impl Conditioning {
    /// How `other` differs from this.
    pub(crate) fn difference(&self, other: &Self) -> Option<Difference> {
        let fields = |of: &Self| -> Fields {
            fields!(of, Conditioning: clip_norm clip_value grad_scale write_back skip_nonfinite)
        };
        first(fields(self), fields(other))
    }
}

fn first(ours: Fields, theirs: Fields) -> Option<Difference> {
    let mut pairs = ours.into_iter().zip(theirs);
    let differs = pairs.find(|((_, ours), (_, theirs))| ours != theirs);
    differs.map(|((name, ours), (_, theirs))| (name, ours, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_that_differs_is_named() {
        let adam = Adam::default();
        let difference = |other: Rule| Rule::from(adam).difference(&other);
        assert_eq!(difference(adam.into()), None);
        let other = Adam { eps: 1e-7, amsgrad: true, ..adam };
        assert_eq!(difference(other.into()), Some(("eps", "1e-8".into(), "1e-7".into())));
        let other = NAdam::default();
        assert_eq!(difference(other.into()), Some(("rule", "adam".into(), "nadam".into())));
    }
}
