//! Files of `shaders/` as text, and their pipeline overrides.

/// A file of `shaders/`.
macro_rules! shader_file {
    ($file:expr) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $file))
    };
}
pub(crate) use shader_file;

/// A pipeline override of type bool.
pub(crate) fn flag(name: &'static str, set: bool) -> (&'static str, f64) {
    (name, f64::from(u8::from(set)))
}
