//! Checkpoints that say what no run ever wrote: refused, or gone on with, but never a panic.

#![cfg(feature = "cli")]

#[path = "common/damage.rs"]
mod damage;
mod harmless;

use damage::{damage, damaged};
use harmless::checkpoint::{check, check_texts, texts, whole};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Every place in a value, as a way to put another one there.
fn places(value: &Value) -> Vec<String> {
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(parts) => parts.iter().map(|(key, part)| (key.clone(), part)).collect(),
        Value::Array(parts) => parts.iter().enumerate().map(|(i, part)| (i.to_string(), part)).collect(),
        _ => Vec::new(),
    };
    let inner = parts.into_iter().flat_map(|(key, part)| {
        // Slashes divide the keys of a way.
        let key = key.replace('~', "~0").replace('/', "~1");
        places(part).into_iter().map(move |place| format!("/{key}{place}"))
    });
    std::iter::once(String::new()).chain(inner).collect()
}

#[test]
fn a_checkpoint_is_what_was_written() {
    assert_eq!(check(whole()).unwrap().progress.update, 6);
}

#[test]
fn every_number_of_it_may_be_another() {
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
    for (key, text) in texts() {
        let text = text.as_str().unwrap();
        let value: Value = serde_json::from_str(text).unwrap();
        for place in places(&value) {
            for other in &others {
                let mut changed = value.clone();
                *changed.pointer_mut(&place).unwrap() = other.clone();
                check_texts([(key.clone(), changed.to_string())]);
            }
        }
    }
}

#[test]
fn a_text_may_be_nested_without_end() {
    for key in texts().into_iter().map(|(key, _)| key) {
        check_texts([(key.clone(), "[".repeat(100_000))]);
        check_texts([(key, r#"{"a":"#.repeat(100_000))]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn its_bytes_may_be_damaged_in_any_way(changes in damage()) {
        let damaged = damaged(whole().to_vec(), &changes);
        let read = check(&damaged);
        prop_assert!(read.is_err() || damaged == whole(), "read in spite of {:?}", changes);
    }

    #[test]
    fn its_texts_may_be_damaged_in_any_way(changes in damage(), which in 0..5usize) {
        let (key, text) = texts().into_iter().nth(which).unwrap();
        let text = damaged(text.as_str().unwrap().as_bytes().to_vec(), &changes);
        check_texts([(key, String::from_utf8_lossy(&text).into_owned())]);
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0u64..300) {
        prop_assert!(check(&bytes).is_err());
        let header = [&length.to_le_bytes(), &b"{"[..], &bytes].concat();
        prop_assert!(check(&header).is_err());
    }
}
