//! Kernels with a fault in them, which verification must find: text that is replaced in the sources of all
//! pipelines made meanwhile on this thread.
//!
//! Shaders are composed and not edited, and this is the one exception: it is for the suite of
//! [`verify`](crate::verify) alone, and a seeded pipeline leaves it in no way. A place for the fault in
//! every constructor between here and there would be a fault of its own.

use std::cell::Cell;

/// What stands in a source, and what is put in its place.
pub type Edit = (&'static str, &'static str);

thread_local! {
    static SEEDED: Cell<&'static [Edit]> = const { Cell::new(&[]) };
    /// A bit for every edit.
    static FOUND: Cell<u32> = const { Cell::new(0) };
}

/// Runs `make_pipelines`, whose sources are edited, and says whether each edit had something to replace.
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

/// A source as it is to be compiled.
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
