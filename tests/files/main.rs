//! Data files: reading, errors, and memory use. Damaged files of models and checkpoints.

mod any;
mod csv;
#[path = "../common/damage.rs"]
mod damage;
mod foreign_checkpoints;
#[path = "../harmless/mod.rs"]
mod harmless;
mod hostile;
mod models;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;
mod svmlight;

use harmless::memory;
use tempfile::TempDir;
use wgpu_optim::regression::data::{DataError, FileData, FileOptions, OnBadRow, Targets, open};

pub fn folder() -> TempDir {
    TempDir::new().unwrap()
}

/// Opens a file of these bytes.
pub fn opened(name: &str, bytes: &[u8], options: &FileOptions) -> Result<FileData, DataError> {
    let folder = folder();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    open(&path, options)
}

/// Reads all rows: features and auxiliary columns.
pub fn rows(data: &FileData) -> (Vec<f64>, Vec<f64>) {
    let rows = data.rows as usize;
    let (mut x, mut aux) = (vec![0.0; rows * data.features()], vec![0.0; rows * data.aux_columns()]);
    data.read(0, &mut x, &mut aux).unwrap();
    (x, aux)
}

#[track_caller]
pub fn message(name: &str, text: impl AsRef<[u8]>, options: &FileOptions) -> String {
    opened(name, text.as_ref(), options).unwrap_err().to_string()
}

pub fn skip() -> FileOptions {
    FileOptions { on_bad_row: OnBadRow::Skip, ..FileOptions::default() }
}

pub fn named(targets: &[&str]) -> FileOptions {
    let targets = Targets::Named(targets.iter().map(|name| name.to_string()).collect());
    FileOptions { targets, ..FileOptions::default() }
}

#[test]
fn rows_that_are_not_there_are_an_error() {
    for memory in [0, u64::MAX] {
        let options = FileOptions { memory, ..FileOptions::default() };
        let data = opened_for_good("d.csv", b"a,b\n1,2\n3,4\n", &options);
        let error = data.data.read(1, &mut [0.0; 2], &mut [0.0; 2]).unwrap_err();
        assert!(
            error.to_string().ends_with("has 2 rows: it does not have 2 rows from row 1"),
            "{error}"
        );
        data.data.read(u64::MAX, &mut [0.0; 2], &mut [0.0; 2]).unwrap_err();
        data.data.read(2, &mut [], &mut []).unwrap();
    }
}

#[test]
fn rows_take_no_more_memory_than_they_may() {
    let text = format!("a,b\n{}", "1,2\n".repeat(1 << 17));
    for (memory, streamed) in [(1 << 20, true), (1 << 21, false)] {
        let options = FileOptions { memory, ..FileOptions::default() };
        let (data, bytes) = memory::peak(|| opened("d.csv", text.as_bytes(), &options).unwrap());
        assert_eq!(data.is_streamed(), streamed);
        // Twice the size, for a reallocation, and buffers.
        assert!(bytes < 2 * memory as usize + (1 << 18), "{bytes} of {memory}");
    }
}

#[test]
fn data_can_be_shared_between_threads() {
    let options = FileOptions { memory: 0, ..FileOptions::default() };
    let kept = opened_for_good("d.csv", b"a,b\n1,2\n3,4\n5,6\n", &options);
    std::thread::scope(|scope| {
        for first in (0..3).cycle().take(12) {
            let data = &kept.data;
            scope.spawn(move || {
                let (mut x, mut y) = ([0.0], [0.0]);
                data.read(first, &mut x, &mut y).unwrap();
                assert_eq!((x[0], y[0]), (2.0 * first as f64 + 1.0, 2.0 * first as f64 + 2.0));
            });
        }
    });
}

#[test]
fn a_file_that_changes_is_noticed() {
    let options = FileOptions { memory: 0, ..FileOptions::default() };
    let data = opened_for_good("d.csv", b"a,b\n1,2\n3,4\n", &options);
    assert!(data.data.is_streamed());
    std::fs::write(data.folder.path().join("d.csv"), "a,b\n1,2\n").unwrap();
    let error = data.data.read(0, &mut [0.0; 2], &mut [0.0; 2]).unwrap_err();
    assert!(matches!(error, DataError::Changed { .. }), "{error}");
}

/// Data with the temporary directory of its file.
pub struct Kept {
    folder: TempDir,
    data: FileData,
}

pub fn opened_for_good(name: &str, bytes: &[u8], options: &FileOptions) -> Kept {
    let folder = folder();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let data = open(&path, options).unwrap();
    Kept { folder, data }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_takes_a_feature() {
    let error = message("d.parquet", "PAR1", &FileOptions::default());
    assert!(error.contains("feature `parquet`"), "{error}");
}
