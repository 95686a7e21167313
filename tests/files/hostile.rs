//! Hostile numbers, sizes and texts in files.

use crate::any::files;
use crate::harmless::memory::peak;
use crate::npy::{npy, npy_header};
use crate::{message, opened, rows, skip};
use wgpu_optim::regression::data::FileOptions;

const ROWS: usize = 50;

/// A table of three columns with one number in it.
fn with(number: f32, row: usize, column: usize) -> Vec<f32> {
    let mut table: Vec<f32> = (0..3 * ROWS as u16).map(f32::from).collect();
    table[3 * row + column] = number;
    table
}

#[test]
fn numbers_that_are_none_are_named_or_counted_wherever_they_are() {
    for (row, column) in [0, 1, 17, 31, ROWS - 1].into_iter().flat_map(|row| [0, 1, 2].map(|c| (row, c)))
    {
        for (number, reason) in [
            (f32::NAN, "`NaN` is not a finite number"),
            (f32::INFINITY, "inf is beyond the range of f32"),
            (f32::NEG_INFINITY, "-inf is beyond the range of f32"),
        ] {
            for (name, bytes) in files(&with(number, row, column), &[]) {
                let error = message(name, &bytes, &FileOptions::default());
                let place = match name {
                    "c.npy" | "f.npy" => format!("{name}: row {}, column `x{}`", row + 1, column + 1),
                    "d.csv" => format!(
                        "line {}, row {}, column `{}`",
                        row + 2,
                        row + 1,
                        ["a", "b", "y"][column]
                    ),
                    "d.parquet" => {
                        format!("{name}: row {}, column `{}`", row + 1, ["a", "b", "y"][column])
                    }
                    _ => format!(", row {}", row + 1),
                };
                assert!(
                    error.contains(&format!("{place}: {reason}")),
                    "no `{place}: {reason}`: {error}"
                );
                let data = opened(name, &bytes, &skip()).unwrap();
                assert_eq!((data.rows, data.skipped.count), (ROWS as u64 - 1, 1));
                assert_eq!(data.skipped.first[0].row, row as u64 + 1);
            }
        }
        // The largest value is still finite in f32.
        for (name, bytes) in files(&with(1e38, row, column), &[]) {
            let (x, y) = rows(&opened(name, &bytes, &FileOptions::default()).unwrap());
            let read = if column == 2 { y[row] } else { x[2 * row + column] };
            assert_eq!(read, f64::from(1e38f32), "{name}");
        }
    }
}

#[test]
fn an_svmlight_index_may_be_of_any_size() {
    for (index, part) in [
        ("0", "the index 0 is outside 1 … 1048576"),
        ("-9223372036854775809", "the index -9223372036854775809 is outside"),
        ("1048577", "the index 1048577 is outside"),
        ("9223372036854775808", "the index 9223372036854775808 is outside"),
        ("18446744073709551617", "the index 18446744073709551617 is outside"),
        ("340282366920938463463374607431768211456", "is not an index"),
        ("1e3", "`1e3` is not an index"),
        ("", "`` is not an index"),
    ] {
        let text = format!("1 1:1\r\n0 1:2 {index}:1");
        let (error, bytes) = peak(|| message("d.svm", &text, &FileOptions::default()));
        assert!(error.contains("line 2:7, row 2: ") && error.contains(part), "no `{part}`: {error}");
        assert!(bytes < 1 << 16, "{bytes}");
        assert_eq!(opened("d.svm", text.as_bytes(), &skip()).unwrap().rows, 1);
    }
}

#[test]
fn texts_end_and_begin_as_editors_have_it() {
    for (name, lines) in [("d.csv", ["a,y", "1,2", "3,4"]), ("d.svm", ["# a", "2 1:1", "4 1:3"])] {
        for start in ["", "\u{feff}"] {
            for between in ["\n", "\r\n", "\n\n", "\r\n\r\n"] {
                for end in ["", "\n", "\r\n", "\n\n"] {
                    let text = format!("{start}{}{end}", lines.join(between));
                    let data = opened(name, text.as_bytes(), &FileOptions::default());
                    let data = data.unwrap_or_else(|error| panic!("{text:?}: {error}"));
                    assert_eq!(rows(&data), (vec![1.0, 3.0], vec![2.0, 4.0]), "{text:?}");
                }
            }
        }
    }
}

#[test]
fn a_long_line_is_read_in_a_small_multiple_of_it() {
    let values: Vec<String> = (1..=1 << 18).map(|value| value.to_string()).collect();
    let csv = format!("{}\n{}\n", values.join(",").replace("1", "a"), values.join(","));
    let svm: String = (1..=1 << 18).map(|value| format!(" {value}:{value}")).collect();
    for (name, text) in [("d.csv", csv), ("d.svm", format!("1{svm}\n"))] {
        let (data, bytes) = peak(|| opened(name, text.as_bytes(), &FileOptions::default()).unwrap());
        assert!((1 << 18) - 1 <= data.features(), "{}", data.features());
        assert!(bytes < 64 * text.len(), "{name}: {bytes} of {}", text.len());
    }
}

#[test]
fn columns_are_bounded() {
    let most = 1 << 20;
    let commas = ",".repeat(most);
    let byte = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 4194304), }";
    for (name, bytes, count) in [
        ("d.csv", format!("{commas}y\n{commas}\n").into_bytes(), most + 1),
        ("d.csv", ",".repeat(9 << 20).into_bytes(), (9 << 20) + 1),
        ("d.npy", npy_header(byte, 4 << 20), 4 << 20),
    ] {
        let (error, held) = peak(|| message(name, &bytes, &FileOptions::default()));
        assert!(
            error.ends_with(&format!("has {count} columns: at most {most} are supported")),
            "{error}"
        );
        assert!(held < 64 * bytes.len(), "{name}: {held} of {}", bytes.len());
    }
}

#[test]
fn shapes_of_nothing_have_no_data() {
    let empty = npy::<f32>(&[4, 0], npyz::Order::C, &[]);
    assert!(message("x.npy", &empty, &FileOptions::default()).contains("has no features"));
    let header = |shape: &str| {
        npy_header(&format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"), 0)
    };
    for shape in [
        "(1152921504606846976, 0)",
        "(0, 1152921504606846976)",
        "(0, 0)",
        "(0,)",
        "(18446744073709551615, 0)",
    ] {
        let (text, bytes) = peak(|| message("x.npy", header(shape), &FileOptions::default()));
        assert!(text.contains("has no") || text.contains("has 1 dimensions"), "{shape}: {text}");
        assert!(bytes < 1 << 16, "{shape}: {bytes}");
    }
}
