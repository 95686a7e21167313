//! Property tests of all formats: round trips, and arbitrary bytes.

use crate::damage::{damage, damaged};
use crate::harmless;
use crate::npy::npy;
#[cfg(feature = "parquet")]
use crate::parquet;
use crate::{opened_for_good, skip};
use proptest::prelude::*;
use wgpu_optim::regression::data::FileOptions;

const NAMES: [&str; 4] = ["d.csv", "d.npy", "d.svm", "d.parquet"];

/// Fragments of random CSV or svmlight texts.
const CELLS: &[&str] = &[
    ",",
    ",",
    ",",
    ",",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\r",
    " ",
    "\t",
    "\"",
    "#",
    ":",
    "1:",
    "2:",
    "10:",
    "11:",
    "0:",
    "-1:",
    "+1:",
    "01:",
    "9223372036854775808:",
    "18446744073709551616:",
    "qid:",
    "0",
    "1",
    "-1",
    "2.5",
    "1e38",
    "1e39",
    "-1e39",
    "1e309",
    "1e-400",
    "-0",
    "nan",
    "NaN",
    "-nan",
    "inf",
    "-Infinity",
    "0x1p3",
    "1_000",
    "1,5",
    "١",
    "\0",
    "\u{feff}",
    "\u{2028}",
];

/// Writes rows of three columns in each format: reading returns the same bits.
pub fn files(values: &[f32], bad: &[bool]) -> Vec<(&'static str, Vec<u8>)> {
    let bad = |row: usize| bad.get(row).copied().unwrap_or(false);
    let (mut csv, mut svm) = ("a,b,y\n".to_string(), String::new());
    let (mut c, mut fortran) = (Vec::new(), vec![0.0; values.len()]);
    let rows = values.len() / 3;
    for (i, row) in values.chunks(3).enumerate() {
        let [a, b, y] = row else { unreachable!() };
        let (text_a, text_b) = (f64::from(*a), f64::from(*b));
        let y = if bad(i) { f32::NAN } else { *y };
        let text_y = f64::from(y);
        csv += &format!("{text_a},{text_b},{text_y}\n");
        svm += &format!("{text_y} 1:{text_a} 2:{text_b}\n");
        c.extend([*a, *b, y]);
        [*a, *b, y]
            .into_iter()
            .enumerate()
            .for_each(|(j, value)| fortran[j * rows + i] = f64::from(value));
    }
    let shape = [rows as u64, 3];
    vec![
        #[cfg(feature = "parquet")]
        ("d.parquet", parquet::of_rows(&c)),
        ("d.csv", csv.into_bytes()),
        ("d.svm", svm.into_bytes()),
        ("c.npy", npy(&shape, npyz::Order::C, &c)),
        ("f.npy", npy(&shape, npyz::Order::Fortran, &fortran)),
    ]
}

fn finite() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |x| x.is_finite()),
        (-100i16..100).prop_map(f32::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn streamed_rows_are_those_that_are_loaded_and_written(
        table in prop::collection::vec(prop::array::uniform3(finite()), 1..60),
        bad in prop::collection::vec(prop::bool::weighted(0.1), 60),
        any_bad in any::<bool>(),
        reads in prop::collection::vec((0.0..1.0, 0usize..20, any::<bool>()), 1..12),
    ) {
        let bad: Vec<bool> = bad.into_iter().map(|bad| bad && any_bad).collect();
        let good = table.iter().zip(&bad).filter(|(_, bad)| !**bad).map(|(row, _)| row);
        let good: Vec<[f64; 3]> = good.map(|row| row.map(f64::from)).collect();
        prop_assume!(!good.is_empty());
        let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for (name, bytes) in files(table.as_flattened(), &bad) {
            let open = |memory| opened_for_good(name, &bytes, &FileOptions { memory, ..skip() });
            let (loaded, streamed) = (open(1 << 20), open(0));
            prop_assert!(!loaded.data.is_streamed() && streamed.data.is_streamed());
            prop_assert_eq!(loaded.data.rows as usize, good.len());
            prop_assert_eq!(&loaded.data.columns, &streamed.data.columns);
            let mut next = 0;
            for &(from, count, on) in &reads {
                let first = if on { next } else { (from * good.len() as f64) as usize };
                let end = (first + count).min(good.len());
                let x: Vec<f64> = good[first..end].iter().flat_map(|row| row[..2].to_vec()).collect();
                let y: Vec<f64> = good[first..end].iter().map(|row| row[2]).collect();
                for kept in [&loaded, &streamed] {
                    let (mut into_x, mut into_y) = (vec![0.0; x.len()], vec![0.0; y.len()]);
                    kept.data.read(first as u64, &mut into_x, &mut into_y).unwrap();
                    prop_assert_eq!(bits(&into_x), bits(&x), "{}", name);
                    prop_assert_eq!(bits(&into_y), bits(&y), "{}", name);
                }
                next = end;
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        text in "[a-z0-9 .:,#\"\\-\r\n]{0,300}",
    ) {
        for name in NAMES {
            harmless::data::check(name, &bytes);
            harmless::data::check(name, text.as_bytes());
        }
        harmless::data::check("d.npy", &[b"\x93NUMPY\x01\x00\x76\x00".as_slice(), &bytes].concat());
        harmless::data::check("d.parquet", &[b"PAR1".as_slice(), &bytes, b"PAR1"].concat());
    }

    #[test]
    fn damaged_files_are_read_or_refused(
        table in prop::collection::vec(prop::array::uniform3(finite()), 1..20),
        bad in prop::collection::vec(prop::bool::weighted(0.1), 20),
        damage in damage(),
    ) {
        for (name, bytes) in files(table.as_flattened(), &bad) {
            harmless::data::check(name, &damaged(bytes, &damage));
        }
    }

    #[test]
    fn unusual_texts_are_read_or_refused(
        cells in prop::collection::vec(prop::sample::select(CELLS), 1..60),
        start in prop::sample::select(vec!["", "\u{feff}", "\u{feff}\u{feff}", "\r\n", "\n\n"]),
        header in prop::sample::select(vec!["", "y,w,e\n", "y,w,e,a\r\n", "a,a\n", ",\n", "1,2\n"]),
    ) {
        let text = [start, header].into_iter().chain(cells).collect::<String>();
        harmless::data::check("d.csv", text.as_bytes());
        harmless::data::check("d.svm", text.as_bytes());
    }
}
