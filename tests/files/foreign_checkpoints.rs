//! Checkpoints with content that no run writes: an error, or a resumed run, but never a panic.

use crate::{damage, harmless};

use damage::{damage, damaged};
use harmless::checksummed::{texts, with_texts};
use harmless::{checkpoint, state};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Paths to every place in a JSON value.
fn places(value: &Value) -> Vec<String> {
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(parts) => parts.iter().map(|(key, part)| (key.clone(), part)).collect(),
        Value::Array(parts) => parts.iter().enumerate().map(|(i, part)| (i.to_string(), part)).collect(),
        _ => Vec::new(),
    };
    let inner = parts.into_iter().flat_map(|(key, part)| {
        // Slashes separate the keys of a path.
        let key = key.replace('~', "~0").replace('/', "~1");
        places(part).into_iter().map(move |place| format!("/{key}{place}"))
    });
    std::iter::once(String::new()).chain(inner).collect()
}

/// A writer of a file, and a check whether it can be read.
type Kind = (fn() -> &'static [u8], fn(&[u8]) -> bool);

const KINDS: [Kind; 2] = [
    (checkpoint::whole, |bytes| checkpoint::check(bytes).is_ok()),
    (state::whole, |bytes| state::check(bytes).is_ok()),
];

#[test]
fn a_file_is_what_was_written() {
    assert_eq!(checkpoint::check(checkpoint::whole()).unwrap().progress.update, 6);
    assert_eq!(state::check(state::whole()).unwrap().tensors.len(), 2);
}

#[test]
fn every_number_in_it_may_be_another() {
    let others = [
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!(0),
        json!(1),
        json!(-1),
        json!(7),
        json!(12),
        json!(13),
        json!(u32::MAX),
        json!(u64::MAX - 1),
        json!(u64::MAX),
        json!(1e300),
        json!(-0.5),
        json!(""),
        json!("NaN"),
        json!("inf"),
        json!("-inf"),
        json!("0"),
        json!("-1"),
        json!("1e300"),
        json!("1e-320"),
        json!("a".repeat(10_000)),
    ];
    for (whole, check) in KINDS {
        for (key, text) in texts(whole()) {
            let value: Value = serde_json::from_str(&text).unwrap();
            for place in places(&value) {
                for other in &others {
                    let mut changed = value.clone();
                    *changed.pointer_mut(&place).unwrap() = other.clone();
                    check(&with_texts(whole(), [(key.clone(), changed.to_string())]));
                }
            }
        }
    }
}

#[test]
fn a_text_may_be_nested_without_end() {
    for (whole, check) in KINDS {
        for (key, _) in texts(whole()) {
            for part in ["[", r#"{"a":"#] {
                check(&with_texts(whole(), [(key.clone(), part.repeat(100_000))]));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn its_bytes_may_be_damaged_in_any_way(changes in damage(), which in 0..2usize) {
        let (whole, check) = KINDS[which];
        let damaged = damaged(whole().to_vec(), &changes);
        prop_assert!(!check(&damaged) || damaged == whole(), "read in spite of {:?}", changes);
    }

    #[test]
    fn its_texts_may_be_damaged_in_any_way(changes in damage(), which in 0..2usize, at in any::<prop::sample::Index>()) {
        let (whole, check) = KINDS[which];
        let (key, text) = at.get(&texts(whole())).clone();
        let text = damaged(text.into_bytes(), &changes);
        check(&with_texts(whole(), [(key, String::from_utf8_lossy(&text).into_owned())]));
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0u64..300) {
        for (_, check) in KINDS {
            prop_assert!(!check(&bytes));
            let header = [&length.to_le_bytes(), &b"{"[..], &bytes].concat();
            prop_assert!(!check(&header));
        }
    }
}
