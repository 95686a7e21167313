//! Files as data sets: what is read, what is refused, and what either costs.

#![cfg(feature = "cli")]

#[cfg(feature = "parquet")]
#[path = "common/parquet.rs"]
mod parquet;

use npyz::WriterBuilder;
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wgpu_optim::data::{At, DataError, FileData, FileOptions, Offset, OnBadRow, Targets, open};

/// Counts the bytes that this thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there while one is copied to the other.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: as the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most bytes that `f` holds at once.
fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let value = f();
    (value, (PEAK.get() - before) as usize)
}

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

/// Opens a file of these bytes.
fn opened(name: &str, bytes: &[u8], options: &FileOptions) -> Result<FileData, DataError> {
    let folder = folder();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    open(&path, options)
}

/// All rows: the features, and what lies beside them.
fn rows(data: &FileData) -> (Vec<f64>, Vec<f64>) {
    let rows = data.rows as usize;
    let (mut x, mut sides) = (vec![0.0; rows * data.features()], vec![0.0; rows * data.side()]);
    data.read(0, &mut x, &mut sides).unwrap();
    (x, sides)
}

#[track_caller]
fn message(name: &str, text: impl AsRef<[u8]>, options: &FileOptions) -> String {
    opened(name, text.as_ref(), options).unwrap_err().to_string()
}

/// The bytes of an .npy file.
fn npy<T: npyz::AutoSerialize + Copy>(shape: &[u64], order: npyz::Order, values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape).order(order);
    let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    bytes
}

/// Those of a header that may say anything.
fn npy_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn skip() -> FileOptions {
    FileOptions { on_bad_row: OnBadRow::Skip, ..FileOptions::default() }
}

fn named(targets: &[&str]) -> FileOptions {
    let targets = Targets::Named(targets.iter().map(|name| name.to_string()).collect());
    FileOptions { targets, ..FileOptions::default() }
}

#[test]
fn csv_columns_are_features_targets_weight_and_offset() {
    let text = "w,a,y1,e,b,y2\n1,2,3,4,5,6\n7,8,9,10,11,12\n";
    let options = FileOptions {
        weight: Some("w".into()),
        offset: Some(Offset::Exposure("e".into())),
        ..named(&["y2", "y1"])
    };
    let data = opened("d.csv", text.as_bytes(), &options).unwrap();
    assert_eq!((data.names.join(" "), data.target_names.join(" ")), ("a b".into(), "y2 y1".into()));
    assert_eq!((data.rows, data.targets, data.weighted, data.offset), (2, 2, true, true));
    let (x, sides) = rows(&data);
    assert_eq!(x, [2.0, 5.0, 8.0, 11.0]);
    assert_eq!(sides, [6.0, 3.0, 1.0, 4f64.ln(), 12.0, 9.0, 7.0, 10f64.ln()]);
    assert_eq!((data.columns[0].mean, data.columns[0].squares), (5.0, 18.0));
    assert_eq!((data.columns[1].min, data.columns[1].max), (5.0, 11.0));
    assert_eq!(data.target_values, None);

    let options = FileOptions { offset: Some(Offset::Column("e".into())), ..options };
    assert_eq!(rows(&opened("d.csv", text.as_bytes(), &options).unwrap()).1[3], 4.0);
    let options = FileOptions {
        targets: Targets::None,
        columns: Some(vec!["b".into(), "a".into()]),
        ..FileOptions::default()
    };
    // What no column is asked for may hold anything.
    let data = opened("d.csv", text.replace('6', "six").as_bytes(), &options).unwrap();
    assert_eq!(rows(&data), (vec![5.0, 2.0, 11.0, 8.0], vec![]));
}

#[test]
fn csv_of_other_programs_is_read() {
    let text = "\u{feff}\"a\", b ,\"the, y\"\r\n1,\"2\",3\r\n\r\n 4 ,5,+6e0";
    let data = opened("d.CSV", text.as_bytes(), &FileOptions::default()).unwrap();
    assert_eq!((data.names.join(" "), data.target_names.join(" ")), ("a b".into(), "the, y".into()));
    assert_eq!(rows(&data), (vec![1.0, 2.0, 4.0, 5.0], vec![3.0, 6.0]));
    assert_eq!(data.target_values, Some(vec![3.0, 6.0]));
    assert!(opened("no extension", b"a,b\n1,2", &FileOptions::default()).is_ok());
}

#[test]
fn bad_csv_rows_are_named_by_line_row_and_column() {
    let one = FileOptions::default();
    for (text, part) in [
        ("a,b\n1,2\n\n3,four\n", "d.csv: line 4, row 2, column `b`: `four` is not a number"),
        ("\u{feff}a,b\r\n1,2\r\n\r\n\r\n3,four", "line 5, row 2, column `b`"),
        ("a,b\n\"1\n\",2\n3,\n", "line 4, row 2, column `b`: the cell is empty"),
        ("a,b\n\n\nNaN,1\n", "line 4, row 1, column `a`: `NaN` is not a number that"),
        ("a,b\ninf,1\n", "column `a`: inf is beyond the range of f32"),
        ("a,b\n1e39,1\n", "1e39 is beyond the range of f32"),
        ("a,b\n1,2\n3\n", "line 3, row 2: 1 cells where the header has 2"),
        ("a,b\n1,2,3\n", "line 2, row 1: 3 cells where the header has 2"),
        ("a,b\n", "has no rows"),
        ("", "has no header"),
        ("y\n1\n", "has no features"),
        ("1,2\n3,4\n", "the first line holds numbers"),
    ] {
        let message = message("d.csv", text, &one);
        assert!(message.contains(part), "{text:?}: {message}");
    }
    let text = message("d.csv", b"a,b\n1,\xFF\n", &one);
    assert!(text.contains("`\u{fffd}` is not a number"), "{text}");
    assert!(message("d.csv", b"a,\xFF\n1,2\n", &one).contains("the header is not UTF-8"));
    let long = format!("a,b\n1,{}\n", "z".repeat(10_000));
    assert!(message("d.csv", long, &one).len() < 300);
}

#[test]
fn weights_and_exposures_have_their_ranges() {
    let options = FileOptions {
        weight: Some("w".into()),
        offset: Some(Offset::Exposure("e".into())),
        ..FileOptions::default()
    };
    let text = "w,e,a,y\n0,1,2,3\n-1,1,2,3\n1,0,2,3\n1,2,3,4\n";
    let error = message("d.csv", text, &options);
    assert!(error.ends_with("line 3, row 2, column `w`: the weight -1.0 is less than 0"), "{error}");
    let data = opened("d.csv", text.as_bytes(), &FileOptions { on_bad_row: OnBadRow::Skip, ..options });
    let data = data.unwrap();
    assert_eq!((data.rows, data.skipped.count), (2, 2));
    let reason = data.skipped.first[1].to_string();
    assert_eq!(reason, "line 4, row 3, column `e`: the exposure 0.0 is not above 0");
}

#[test]
fn skipped_rows_are_counted_and_the_first_described() {
    let mut text = "a,b\n".to_string();
    (0..100).for_each(|i| text += &if i % 3 == 1 { format!("{i},x\n") } else { format!("{i},{i}\n") });
    let loaded = opened("d.csv", text.as_bytes(), &skip()).unwrap();
    assert_eq!((loaded.rows, loaded.skipped.count, loaded.skipped.first.len()), (67, 33, 8));
    let bad = &loaded.skipped.first[7];
    assert_eq!((bad.row, bad.line, &bad.at), (23, Some(24), &Some(At::Column("b".into()))));
    assert!(message("d.csv", "a,b\nx,1\n", &skip()).contains("no rows that can be used"));
}

#[test]
fn columns_that_are_not_there_are_named() {
    let text = "a,b,a\n1,2,3\n";
    let error = message("d.csv", text, &named(&["z"]));
    assert!(error.ends_with("0 columns are called `z`; the columns are a, b, a"), "{error}");
    assert!(message("d.csv", text, &named(&["a"])).contains("2 columns are called `a`"));
    assert!(message("d.csv", text, &named(&["b", "b"])).contains("`b` cannot be two things"));
    let columns = Some(vec!["b".into(), "p".into(), "q".into()]);
    let options = FileOptions { targets: Targets::None, columns, ..FileOptions::default() };
    assert!(message("d.csv", text, &options).ends_with("there is no column `p`, `q`"));
    assert!(
        message("d.csv", text, &FileOptions { y: Some("y.npy".into()), ..named(&[]) }).contains(".npy")
    );
    let error = open(Path::new("no/such/file.csv"), &FileOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("no/such/file.csv: "), "{error}");
}

#[test]
fn a_row_without_an_end_is_refused_before_it_fills_the_memory() {
    let folder = folder();
    for (name, start) in
        [("line.csv", "a,b\n1,2\n3,"), ("quote.csv", "a,b\n1,2\n\n\"3"), ("l.svm", "1 1:1\n1")]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, start).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
        let (error, bytes) = peak(|| open(&path, &skip()).unwrap_err());
        let line = if name == "quote.csv" { 4 } else { start.lines().count() as u64 };
        assert!(matches!(error, DataError::LongRow { line: found, .. } if found == line), "{error}");
        assert!(bytes < 512 << 20, "{name}: {bytes}");
    }
}

#[test]
fn npy_arrays_are_read_in_either_order_and_of_any_number() {
    use npyz::Order::{C, Fortran};
    let options = FileOptions::default();
    let (x, y) = (vec![1.0, 2.0, 4.0, 5.0], vec![3.0, 6.0]);
    for bytes in [
        npy(&[2, 3], C, &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]),
        npy(&[2, 3], Fortran, &[1.0f64, 4.0, 2.0, 5.0, 3.0, 6.0]),
        npy(&[2, 3], Fortran, &[1.0f32, 4.0, 2.0, 5.0, 3.0, 6.0]),
        npy(&[2, 3], C, &[1i8, 2, 3, 4, 5, 6]),
        npy(&[2, 3], C, &[1u16, 2, 3, 4, 5, 6]),
        npy(&[2, 3], Fortran, &[1i64, 4, 2, 5, 3, 6]),
    ] {
        let data = opened("x.npy", &bytes, &options).unwrap();
        assert_eq!(data.names, ["x1", "x2"]);
        assert_eq!(rows(&data), (x.clone(), y.clone()));
    }
    let data = opened("x.npy", &npy(&[1, 2], C, &[i32::MIN, -1]), &options).unwrap();
    assert_eq!(rows(&data), (vec![-2147483648.0], vec![-1.0]));
    let header = "{'descr': '>i2', 'fortran_order': False, 'shape': (1, 2), }";
    let mut bytes = npy_header(header, 0);
    bytes.extend([0xFF, 0xFE, 0x01, 0x02]);
    assert_eq!(rows(&opened("x.npy", &bytes, &options).unwrap()), (vec![-2.0], vec![258.0]));
}

#[test]
fn npy_targets_may_have_a_file_of_their_own() {
    let folder = folder();
    let write = |name: &str, bytes: Vec<u8>| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let x = write("x.npy", npy(&[2, 1], npyz::Order::C, &[1.0f32, 2.0]));
    let with = |y: PathBuf| open(&x, &FileOptions { y: Some(y), ..FileOptions::default() });
    let data = with(write("y1.npy", npy(&[2], npyz::Order::C, &[5i64, 7]))).unwrap();
    assert_eq!(
        (rows(&data), data.target_names.join(" ")),
        ((vec![1.0, 2.0], vec![5.0, 7.0]), "y".into())
    );
    let y = write("y2.npy", npy(&[2, 2], npyz::Order::Fortran, &[5.0f64, 7.0, 6.0, 8.0]));
    let data = with(y).unwrap();
    assert_eq!(rows(&data).1, [5.0, 6.0, 7.0, 8.0]);
    assert_eq!(data.target_names, ["y1", "y2"]);
    let error = with(write("y3.npy", npy(&[3], npyz::Order::C, &[1.0f64; 3]))).unwrap_err().to_string();
    assert!(error.contains("y3.npy: has 3 rows, and X has 2"), "{error}");
}

#[test]
fn hostile_npy_headers_are_refused_by_name() {
    let header = |descr: &str, shape: &str| {
        npy_header(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"), 64)
    };
    let mut long = b"\x93NUMPY\x02\x00".to_vec();
    long.extend(u32::MAX.to_le_bytes());
    for (bytes, part) in [
        (header("'<f8'", "(4294967296, 4294967296)"), "is not that of 64 bytes"),
        (header("'<f8'", "(2305843009213693953, 8)"), "is not that of 64 bytes"),
        (header("'<f8'", "(1000000, 2)"), "is not that of 64 bytes"),
        (header("'<f8'", "(2, 2)"), "is not that of 64 bytes"),
        (header("'<f8'", "(-2, 2)"), "is not of whole numbers"),
        (header("'<f8'", "(99999999999999999999, 2)"), "is not of whole numbers"),
        (header("'<f8'", "8"), "is not a tuple"),
        (header("'<f8'", "()"), "has 0 dimensions"),
        (header("'<f8'", "(8,)"), "X has 1 dimensions"),
        (header("'<f8'", "(2, 2, 2)"), "has 3 dimensions"),
        (header("'|O'", "(2, 4)"), "pickled objects"),
        (header("[('a', '<f4'), ('b', '<f4')]", "(8, 1)"), "records"),
        (header("'<c16'", "(2, 2)"), "`<c16`"),
        (header("'<M8[ns]'", "(2, 2)"), "`<M8[ns]`"),
        (header("7", "(2, 4)"), "`descr` is not a string"),
        (npy_header("{}", 0), "no `descr`"),
        (
            npy_header("{'descr': '<f8', 'fortran_order': 0, 'shape': (1, 1)}", 8),
            "neither True nor False",
        ),
        (
            npy_header("{'descr': '<f8', 'fortran_order': True, 'shape': (0, 9999999999)}", 0),
            "has no rows",
        ),
        (long, "has 4294967295 bytes, and must have at most 10000"),
        (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "unknown version 9"),
        (b"\x93NUMPY\x01".to_vec(), "ends within its header"),
        (b"\x93NUMPY\x01\x00\xFF\x00{".to_vec(), "ends within its header"),
        (b"PK\x03\x04".to_vec(), "is no .npy file"),
    ] {
        let (text, bytes) = peak(|| message("x.npy", bytes, &FileOptions::default()));
        assert!(text.contains(part), "no `{part}`: {text}");
        assert!(bytes < 1 << 16, "{text}: {bytes}");
    }
}

#[test]
fn bad_npy_rows_are_named_by_row_and_column() {
    let bytes = npy(&[3, 2], npyz::Order::C, &[1.0f64, 2.0, f64::NAN, 4.0, 5.0, 1e300]);
    let error = message("x.npy", &bytes, &FileOptions::default());
    assert!(
        error.ends_with("x.npy: row 2, column `x1`: `NaN` is not a number that can be learned from")
    );
    let data = opened("x.npy", &bytes, &skip()).unwrap();
    assert_eq!(rows(&data), (vec![1.0], vec![2.0]));
    let reason = data.skipped.first[1].to_string();
    assert_eq!(reason, "row 3, column `x2`: 1e300 is beyond the range of f32");
}

#[test]
fn svmlight_rows_are_dense() {
    let text = "# a comment\n\n+1 2:0.5 # more\n-1 qid:7 1:2 3:-1e-3\r\n0";
    let data = opened("d.svm", text.as_bytes(), &FileOptions::default()).unwrap();
    assert_eq!((data.names.join(" "), data.target_names.join(" ")), ("x1 x2 x3".into(), "y".into()));
    assert_eq!(rows(&data).0, [0.0, 0.5, 0.0, 2.0, 0.0, -1e-3, 0.0, 0.0, 0.0]);
    assert_eq!(data.target_values, Some(vec![-1.0, 0.0, 1.0]));
    let wide = FileOptions { features: Some(5), ..FileOptions::default() };
    assert_eq!(opened("d.libsvm", text.as_bytes(), &wide).unwrap().features(), 5);
    let none = FileOptions { targets: Targets::None, columns: Some(data.names.clone()), ..wide };
    let none = FileOptions { features: Some(3), ..none };
    assert_eq!(rows(&opened("d.svmlight", text.as_bytes(), &none).unwrap()).1, []);
}

#[test]
fn bad_svmlight_rows_are_named_by_line_and_byte() {
    let few = FileOptions { features: Some(3), ..FileOptions::default() };
    for (row, part) in [
        ("1 0:2", "line 2:3, row 2: the index 0 is not in 1 … 3"),
        ("1 1:1 -1:2", "line 2:7, row 2: the index -1 is not in"),
        ("1 4:2", "line 2:3, row 2: the index 4 is not in 1 … 3"),
        ("1 2:2 1:1", "line 2:7, row 2: the index 1 is not above 2, the one before it"),
        ("1 2:2 2:1", "the index 2 is not above 2"),
        ("1 2", "line 2:3, row 2: `2` is not `index:value`"),
        ("1 a:2", "`a` is not an index"),
        ("1 2:", "line 2:5, row 2: the cell is empty"),
        ("1 2:b", "line 2:5, row 2: `b` is not a number"),
        ("1 2:nan", "`NaN` is not a number"),
        ("b 2:1", "line 2:1, row 2: `b` is not a number"),
        ("1,2 2:1", "`1,2` is not a number"),
    ] {
        let text = format!("1 1:1\n{row}\n0 3:1");
        let error = message("d.svm", &text, &few);
        assert!(error.contains(part), "{row}: {error}");
        let data = opened("d.svm", text.as_bytes(), &FileOptions { features: Some(3), ..skip() });
        let data = data.unwrap();
        assert_eq!((data.rows, data.skipped.count), (2, 1));
    }
}

#[test]
fn an_svmlight_index_is_bounded() {
    let text = "1 1048577:1\n1 1:1\n";
    assert!(message("d.svm", text, &FileOptions::default()).contains("1048577 is not in 1 … 1048576"));
    assert_eq!(opened("d.svm", text.as_bytes(), &skip()).unwrap().features(), 1);
    let wide = FileOptions { features: Some(1 << 21), ..FileOptions::default() };
    assert!(message("d.svm", text, &wide).contains("2097152 features"));
    assert!(message("d.svm", "", &FileOptions::default()).contains("no features"));
}

#[test]
fn rows_that_are_not_there_are_an_error() {
    for memory in [0, u64::MAX] {
        let options = FileOptions { memory, ..FileOptions::default() };
        let data = opened_for_good("d.csv", b"a,b\n1,2\n3,4\n", &options);
        let error = data.data.read(1, &mut [0.0; 2], &mut [0.0; 2]).unwrap_err();
        assert!(error.to_string().ends_with("has 2 rows: there are no 2 from row 1 on"), "{error}");
        data.data.read(u64::MAX, &mut [0.0; 2], &mut [0.0; 2]).unwrap_err();
        data.data.read(2, &mut [], &mut []).unwrap();
    }
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

/// Data whose file stays.
struct Kept {
    folder: TempDir,
    data: FileData,
}

fn opened_for_good(name: &str, bytes: &[u8], options: &FileOptions) -> Kept {
    let folder = folder();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let data = open(&path, options).unwrap();
    Kept { folder, data }
}

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

#[cfg(feature = "parquet")]
#[test]
fn parquet_columns_are_read_by_their_types() {
    let (bytes, options) = (parquet::of_types(), named(&["long"]));
    let options = FileOptions {
        columns: Some(["single", "flag", "double", "byte", "int"].map(String::from).into()),
        ..options
    };
    let data = opened("d.parquet", &bytes, &options).unwrap();
    assert_eq!((data.rows, data.target_names.join(" ")), (2, "long".into()));
    let x = [0.5, 1.0, -0.25, 255.0, -7.0, 1.5, 0.0, 0.75, 3.0, 8.0];
    assert_eq!(rows(&data), (x.into(), vec![-9.0, 1e10]));
    for (name, part) in [
        ("text", "column `text` is of the type BYTE_ARRAY, not numbers"),
        ("day", "column `day` is of the type Date, not numbers"),
        ("list", "column `list` is of lists, not numbers"),
    ] {
        let options = FileOptions { columns: Some(vec![name.into()]), ..options.clone() };
        let error = message("d.parquet", &bytes, &options);
        assert!(error.contains(part), "{error}");
    }
    let options = FileOptions { columns: Some(vec!["null".into()]), ..options };
    let error = message("d.parquet", &bytes, &options);
    assert!(error.ends_with("row 2, column `null`: the cell is null"), "{error}");
    let data = opened("d.parquet", &bytes, &FileOptions { on_bad_row: OnBadRow::Skip, ..options });
    assert_eq!(rows(&data.unwrap()), (vec![4.0], vec![-9.0]));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_takes_a_feature() {
    let error = message("d.parquet", "PAR1", &FileOptions::default());
    assert!(error.contains("feature `parquet`"), "{error}");
}

const NAMES: [&str; 4] = ["d.csv", "d.npy", "d.svm", "d.parquet"];

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
        // Buffers, and numbers that are longer in memory than as text. For a page of a Parquet file its crate
        // reserves what the page says that it needs, at most 2 GiB, before it finds out.
        let reserved = if name == "d.parquet" { 1 << 32 } else { 4 << 20 };
        prop_assert!(peak < reserved + 64 * bytes.len(), "{}: {} of {}", name, peak, bytes.len());
    }
    Ok(())
}
