use super::memory::peak;
use super::with_file;
use std::path::{Path, PathBuf};
use wgpu_optim::regression::data::{
    DataError, FileData, FileOptions, Offset, OnBadRow, Skipped, Targets, open,
};

/// Limit of features: a large index makes a dense row from few bytes.
const FEATURES: usize = 10;

/// Reads these bytes as data in every way: held and streamed, with malformed rows as errors and skipped.
pub fn check(name: &str, bytes: &[u8]) {
    with_file(name, bytes, |path| {
        ways(path, bytes).iter().for_each(|options| check_way(path, bytes, options));
    });
}

/// Roles of a file's columns.
fn ways(path: &Path, bytes: &[u8]) -> Vec<FileOptions> {
    let plain = FileOptions { features: Some(FEATURES), ..FileOptions::default() };
    let named = |name: &str| Some(name.to_string());
    let other = match path.extension().unwrap().to_str().unwrap() {
        // The file is also its own y.
        "npy" => FileOptions { y: Some(PathBuf::from(path)), ..plain.clone() },
        // An index below 100 makes a row that is not much longer than its text.
        "svm" if bytes.split(|byte| !byte.is_ascii_digit()).all(|digits| digits.len() < 3) => {
            FileOptions { features: None, ..plain.clone() }
        }
        "svm" => FileOptions { targets: Targets::None, ..plain.clone() },
        _ => FileOptions {
            targets: Targets::Named(vec!["y".into()]),
            weight: named("w"),
            offset: Some(Offset::Exposure("e".into())),
            ..plain.clone()
        },
    };
    vec![plain, other]
}

fn check_way(path: &Path, bytes: &[u8], options: &FileOptions) {
    let open = |on_bad_row, memory| {
        let options = FileOptions { on_bad_row, memory, ..options.clone() };
        let (read, peak) = peak(|| open(path, &options).map(|data| (rows(&data), data)));
        let limit = limit(path, bytes, &options);
        assert!(peak < limit, "{peak} bytes for {} of a file, {limit} allowed", bytes.len());
        if let Err(error) = &read {
            let (text, name) = (error.to_string(), path.display().to_string());
            assert!(text.contains(&name), "no {name} in: {text}");
            assert!(text.len() < name.len() + 10_000, "{text}");
        }
        read
    };
    let strict = open(OnBadRow::Error, u64::MAX);
    let held = open(OnBadRow::Skip, u64::MAX);
    let streamed = open(OnBadRow::Skip, 0);
    let skipped = match (held, streamed) {
        (Ok((held, a)), Ok((streamed, b))) => {
            assert_eq!(held, streamed);
            assert_eq!((a.rows, &a.skipped, &a.names), (b.rows, &b.skipped, &b.names));
            assert_eq!((&a.target_values, a.least_target), (&b.target_values, b.least_target));
            assert!(!a.is_streamed() && b.is_streamed());
            Ok((held, a.skipped))
        }
        (Err(a), Err(b)) => {
            assert_eq!(a.to_string(), b.to_string());
            Err(a)
        }
        (a, b) => panic!("held {:?}, streamed {:?}", a.err(), b.err()),
    };
    match (strict, skipped) {
        (Ok((strict, _)), skipped) => assert_eq!(skipped.unwrap(), (strict, Skipped::default())),
        (Err(DataError::Row { row, .. }), Ok((_, skipped))) => {
            assert_eq!((Some(&row), skipped.count > 0), (skipped.first.first(), true));
        }
        // Rows after a malformed row are not read.
        (Err(DataError::Row { .. }), Err(_)) => {}
        (Err(strict), skipped) => assert_eq!(strict.to_string(), skipped.unwrap_err().to_string()),
    }
}

/// The bits of all rows; the second half is read first.
fn rows(data: &FileData) -> (Vec<u64>, Vec<u64>) {
    let (features, aux_columns, rows) = (data.features(), data.aux_columns(), data.rows as usize);
    assert_eq!((data.columns.len(), data.target_names.len()), (features, data.targets));
    let (mut x, mut aux) = (vec![0.0; rows * features], vec![0.0; rows * aux_columns]);
    for rows in [rows / 2..rows, 0..rows / 2] {
        let (x, aux) = (
            &mut x[rows.start * features..rows.end * features],
            &mut aux[rows.start * aux_columns..rows.end * aux_columns],
        );
        data.read(rows.start as u64, x, aux).unwrap();
    }
    assert!(x.iter().chain(&aux).all(|number| (*number as f32).is_finite()));
    let bits = |numbers: Vec<f64>| numbers.into_iter().map(f64::to_bits).collect();
    (bits(x), bits(aux))
}

/// The memory limit: buffers, and numbers, which are longer in memory than in the file; here they exist twice, and once
/// more during a reallocation.
fn limit(path: &Path, bytes: &[u8], options: &FileOptions) -> usize {
    match path.extension().unwrap().to_str().unwrap() {
        // The parquet crate reserves the size that a page claims, at most 2 GiB, before it checks.
        "parquet" => (1 << 32) + 64 * bytes.len(),
        "svm" if options.features.is_none() => (4 << 20) + 2048 * bytes.len(),
        _ => (4 << 20) + 256 * bytes.len(),
    }
}
