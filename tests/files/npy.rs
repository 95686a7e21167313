use crate::harmless::memory::peak;
use crate::{folder, message, opened, rows, skip};
use npyz::WriterBuilder;
use std::path::PathBuf;
use wgpu_optim::regression::data::{FileOptions, open};

/// The bytes of an .npy file.
pub fn npy<T: npyz::AutoSerialize + Copy>(shape: &[u64], order: npyz::Order, values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape).order(order);
    let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    bytes
}

/// The bytes of an .npy file with an arbitrary header.
pub fn npy_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
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
    assert!(error.contains("y3.npy: has 3 rows, but X has 2"), "{error}");
}

#[test]
fn hostile_npy_headers_are_refused_by_name() {
    let header = |descr: &str, shape: &str| {
        npy_header(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"), 64)
    };
    let mut long = b"\x93NUMPY\x02\x00".to_vec();
    long.extend(u32::MAX.to_le_bytes());
    for (bytes, part) in [
        (header("'<f8'", "(4294967296, 4294967296)"), "does not match 64 bytes"),
        (header("'<f8'", "(2305843009213693953, 8)"), "does not match 64 bytes"),
        (header("'<f8'", "(1000000, 2)"), "does not match 64 bytes"),
        (header("'<f8'", "(2, 2)"), "does not match 64 bytes"),
        (header("'<f8'", "(-2, 2)"), "is not a whole number"),
        (header("'<f8'", "(99999999999999999999, 2)"), "is not a whole number"),
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
        (long, "has 4294967295 bytes: the limit is 10000"),
        (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "unknown .npy version 9"),
        (b"\x93NUMPY\x01".to_vec(), "ends within its header"),
        (b"\x93NUMPY\x01\x00\xFF\x00{".to_vec(), "ends within its header"),
        (b"PK\x03\x04".to_vec(), "is not an .npy file"),
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
    assert!(error.ends_with("x.npy: row 2, column `x1`: `NaN` is not a finite number"));
    let data = opened("x.npy", &bytes, &skip()).unwrap();
    assert_eq!(rows(&data), (vec![1.0], vec![2.0]));
    let reason = data.skipped.first[1].to_string();
    assert_eq!(reason, "row 3, column `x2`: 1e300 is beyond the range of f32");
}

#[test]
fn npy_of_half_precision_and_of_booleans_is_read() {
    let half = |values: &[u16]| values.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>();
    let mut bytes = npy_header("{'descr': '<f2', 'fortran_order': False, 'shape': (3, 3), }", 0);
    // 1 2 3, 4 5 6, 65504 2⁻²⁴ −0.5
    bytes.extend(half(&[0x3C00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x7BFF, 0x0001, 0xB800]));
    let data = opened("x.npy", &bytes, &FileOptions::default()).unwrap();
    assert_eq!(rows(&data).0, [1.0, 2.0, 4.0, 5.0, 65504.0, 2f64.powi(-24)]);
    assert_eq!(rows(&data).1, [3.0, 6.0, -0.5]);
    let mut infinite = npy_header("{'descr': '>f2', 'fortran_order': False, 'shape': (1, 2), }", 0);
    infinite.extend([0x3C, 0x00, 0x7C, 0x00]);
    let error = message("x.npy", &infinite, &FileOptions::default());
    assert!(error.ends_with("column `x2`: inf is beyond the range of f32"), "{error}");
    let mut truth = npy_header("{'descr': '|b1', 'fortran_order': False, 'shape': (2, 2), }", 0);
    truth.extend([1, 0, 0, 1]);
    let labels = FileOptions { labels: true, ..FileOptions::default() };
    let data = opened("x.npy", &truth, &labels).unwrap();
    assert_eq!(rows(&data), (vec![1.0, 0.0], vec![0.0, 1.0]));
    assert_eq!(data.about.labels, Some(vec!["False".into(), "True".into()]));
}
