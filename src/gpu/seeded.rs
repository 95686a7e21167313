//! Seeded faults, which verification must detect: edits of the sources of all pipelines created on this thread during
//! a closure.
//!
//! This is the one exception from the rule that shaders are composed and never edited. Only the suite of
//! [`verify`](crate::verify) uses it, and seeded pipelines do not leave it. A thread-local is used because otherwise
//! every constructor on the way would need a parameter for the fault.

use std::cell::Cell;

/// A text of a source, and its replacement.
pub type Edit = (&'static str, &'static str);

thread_local! {
    static SEEDED: Cell<&'static [Edit]> = const { Cell::new(&[]) };
    /// One bit per edit: whether its text was found.
    static FOUND: Cell<u32> = const { Cell::new(0) };
}

/// Runs `make_pipelines` with edited sources. Returns its result, and whether every edit found its text.
#[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "faults are seeded natively"))]
pub fn with<T>(edits: &'static [Edit], make_pipelines: impl FnOnce() -> T) -> (T, bool) {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            SEEDED.set(&[]);
        }
    }
    SEEDED.set(edits);
    FOUND.set(0);
    let _reset = Reset;
    let made = make_pipelines();
    (made, FOUND.get().count_ones() as usize == edits.len())
}

/// Applies the current edits to a source.
pub fn edited(source: String) -> String {
    SEEDED.get().iter().enumerate().fold(source, |source, (i, (from, to))| {
        if !source.contains(from) {
            return source;
        }
        FOUND.set(FOUND.get() | 1 << i);
        source.replace(from, to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_edited_while_a_fault_is_seeded_and_not_behind_it() {
        let source = || edited("a + b".into());
        assert_eq!(with(&[("+", "-")], source), ("a - b".into(), true));
        assert_eq!(with(&[("+", "-"), ("c", "d")], source), ("a - b".into(), false));
        assert_eq!(source(), "a + b");
        std::panic::catch_unwind(|| with(&[("+", "-")], || panic!("seeded"))).unwrap_err();
        assert_eq!(source(), "a + b");
    }
}
