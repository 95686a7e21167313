//! Properties of all formats: rows that are written, and bytes that may be anything.

use crate::memory::peak;
use crate::npy::npy;
#[cfg(feature = "parquet")]
use crate::parquet;
use crate::{folder, opened_for_good, rows, skip};
use proptest::prelude::*;
use wgpu_optim::data::{FileOptions, open};

const NAMES: [&str; 4] = ["d.csv", "d.npy", "d.svm", "d.parquet"];

/// Rows of three columns as a file of each format; the bits of what is read are those that are written.
fn files(values: &[f32], bad: &[bool]) -> Vec<(&'static str, Vec<u8>)> {
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
            harmless(name, &bytes)?;
            harmless(name, text.as_bytes())?;
        }
        let header = [b"\x93NUMPY\x01\x00\x76\x00".as_slice(), &bytes].concat();
        harmless("d.npy", &header)?;
        harmless("d.parquet", &[b"PAR1".as_slice(), &bytes, b"PAR1"].concat())?;
    }

    #[test]
    fn damaged_files_are_read_or_refused(
        table in prop::collection::vec(prop::array::uniform3(finite()), 1..20),
        damage in prop::collection::vec((0.0..1.0, any::<u8>(), 0..4), 1..8),
    ) {
        for (name, mut bytes) in files(table.as_flattened(), &[]) {
            for &(at, byte, how) in &damage {
                let at = (at * bytes.len() as f64) as usize;
                match how {
                    _ if at == bytes.len() => {}
                    0 => bytes[at] = byte,
                    1 => bytes[at] ^= 1 << (byte % 8),
                    2 => bytes.truncate(at),
                    _ => bytes.insert(at, byte),
                }
            }
            harmless(name, &bytes)?;
        }
    }
}

/// Opens and reads a file of these bytes, whatever becomes of it.
fn harmless(name: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    let folder = folder();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    for memory in [0, u64::MAX] {
        // An index makes a dense row of a few bytes: that is bounded, but not by the file.
        let options = FileOptions { memory, features: Some(100), ..skip() };
        let (_, peak) = peak(|| {
            if let Ok(data) = open(&path, &options) {
                let (x, _) = rows(&data);
                assert!(x.iter().all(|x| (*x as f32).is_finite()));
            }
        });
        // Buffers, and numbers that are longer in memory than as text. For a page of a Parquet file its
        // crate reserves what the page says that it needs, at most 2 GiB, before it finds out.
        let reserved = if name == "d.parquet" { 1 << 32 } else { 4 << 20 };
        prop_assert!(peak < reserved + 64 * bytes.len(), "{}: {} of {}", name, peak, bytes.len());
    }
    Ok(())
}
