//! The fields of a struct of hyper-parameters by their names.

use std::any::Any;

/// Access to hyper-parameters by name.
pub(crate) trait Fields {
    /// All fields, with their values as text.
    fn fields(&self) -> Vec<(&'static str, String)>;
    /// The names of all fields, in the order of declaration.
    fn names(&self) -> &'static [&'static str];
    /// The field of this name.
    fn field(&self, name: &str) -> Option<&dyn Any>;
    /// The field of this name, to be set.
    fn field_mut(&mut self, name: &str) -> Option<&mut dyn Any>;
}

/// Implements [`Fields`]. A field that is left out does not compile.
macro_rules! fields {
    ($of:ident: $($field:ident)+) => {
        impl $crate::rule::Fields for $of {
            fn fields(&self) -> Vec<(&'static str, String)> {
                let $of { $($field),+ } = self;
                vec![$((stringify!($field), format!("{:?}", $field))),+]
            }

            fn names(&self) -> &'static [&'static str] {
                &[$(stringify!($field)),+]
            }

            fn field(&self, name: &str) -> Option<&dyn std::any::Any> {
                match name {
                    $(stringify!($field) => Some(&self.$field),)+
                    _ => None,
                }
            }

            fn field_mut(&mut self, name: &str) -> Option<&mut dyn std::any::Any> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use fields;
