//! The list of rules. A rule is one line here and three files of one name.

use super::NamedRule;

/// Passes the list of rules, each with the name of its files, to another macro, behind `arguments`.
macro_rules! for_all_rules {
    ([$($callback:tt)+] $($arguments:tt)*) => {
        $($callback)+! {
            { $($arguments)* }
            /// Gradient descent, plain, with momentum, or with Nesterov momentum.
            Sgd: sgd,
            /// RMSprop.
            RmsProp: rmsprop,
            /// Adam or AdamW.
            Adam: adam,
            /// Adam with Nesterov momentum.
            NAdam: nadam,
            /// Adam with a rectified variance.
            RAdam: radam,
            /// Adam in the infinity norm.
            Adamax: adamax,
            /// Adagrad.
            Adagrad: adagrad,
            /// Lion.
            Lion: lion,
        }
    };
}
pub(crate) use for_all_rules;

/// The file of every rule as a module of the folder.
macro_rules! declare_modules {
    ({} $($(#[$doc:meta])* $rule:ident: $file:ident,)+) => {
        $(mod $file;)+
    };
}
pub(crate) use declare_modules;

/// An expression of whichever rule a [`Rule`] is.
macro_rules! with_rule {
    ($self:expr, $rule:ident => $value:expr) => {
        $crate::rule::for_all_rules!([$crate::rule::match_rule] $self, $rule => $value)
    };
}
pub(crate) use with_rule;

macro_rules! match_rule {
    ({ $self:expr, $of:ident => $value:expr } $($(#[$doc:meta])* $rule:ident: $file:ident,)+) => {
        match $self {
            $($crate::Rule::$rule($of) => $value,)+
        }
    };
}
pub(crate) use match_rule;

macro_rules! define_rules {
    ({} $($(#[$doc:meta])* $rule:ident: $file:ident,)+) => {
        /// The types of the rules.
        pub mod types {
            $(pub use super::super::$file::$rule;)+
        }
        pub use types::*;

        /// One of the update rules, with its hyper-parameters.
        ///
        /// Around its own formula every rule does the same, in this order, at step t with learning rate lr:
        ///
        /// ```text
        /// maximize:                g ← −g
        /// weight_decay, coupled:   g ← g + weight_decay · p
        /// weight_decay, decoupled: p ← p − lr · weight_decay · p, in one with the rule's own change of p
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$doc])* $rule($rule),)+
        }

        $(impl From<$rule> for Rule {
            fn from(rule: $rule) -> Self {
                Rule::$rule(rule)
            }
        })+

        /// The optimizers of every rule.
        pub(super) const NAMES: &[&[NamedRule]] = &[$(<$rule as super::UpdateRule>::NAMES),+];

        impl Rule {
            /// Every rule in every variant of its kernel, by name: the settings that tests and verification run.
            #[doc(hidden)]
            pub fn variants() -> Vec<(&'static str, Rule)> {
                [$(<$rule as super::UpdateRule>::variants()),+].concat()
            }
        }
    };
}
for_all_rules!([define_rules]);
