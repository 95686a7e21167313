//! The first difference between two rules or conditionings: the field and both values.

use super::{Conditioning, Fields, Rule, with_rule};

/// The name of a field and its two values.
pub type Difference = (&'static str, String, String);

type NamedValues = Vec<(&'static str, String)>;

impl Rule {
    /// How `other` differs from this rule.
    pub(crate) fn difference(&self, other: &Self) -> Option<Difference> {
        if std::mem::discriminant(self) != std::mem::discriminant(other) {
            return Some(("rule", self.name().into(), other.name().into()));
        }
        let fields = |of: &Self| with_rule!(of, rule => rule.fields());
        first(fields(self), fields(other))
    }
}

impl Conditioning {
    /// How `other` differs from this.
    pub(crate) fn difference(&self, other: &Self) -> Option<Difference> {
        first(self.fields(), other.fields())
    }
}

fn first(ours: NamedValues, theirs: NamedValues) -> Option<Difference> {
    let mut pairs = ours.into_iter().zip(theirs);
    let differs = pairs.find(|((_, ours), (_, theirs))| ours != theirs);
    differs.map(|((name, ours), (_, theirs))| (name, ours, theirs))
}

#[cfg(test)]
mod tests {
    use super::super::{Adam, NAdam};
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
