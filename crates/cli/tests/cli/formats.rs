//! The same rows in every format, compressed or not, from a file or a pipe: `fit`, `predict` and `sweep` give the same
//! numbers.

use crate::command::{HANG, folder, json, number};
use assert_cmd::Command;
use serde_json::Value;
use std::io::{Cursor, Write};
use std::path::Path;

/// y = 2 a − b + 1, with numbers that are exact in every format.
fn rows() -> Vec<[f64; 3]> {
    let row = |i: i32| {
        let (a, b) = (f64::from(i * 7 % 23) / 8.0, f64::from(i * 5 % 17) / 4.0 - 2.0);
        [a, b, 2.0 * a - b + 1.0]
    };
    (0..60).map(row).collect()
}

/// Rows of text cells.
fn text(separator: &str, decimal: &str) -> String {
    let cell = |value: &f64| value.to_string().replace('.', decimal);
    let line = |row: &[f64; 3]| row.iter().map(cell).collect::<Vec<_>>().join(separator);
    let header = ["a", "b", "y"].join(separator);
    [header].into_iter().chain(rows().iter().map(line)).collect::<Vec<_>>().join("\n")
}

fn svmlight(first: usize) -> String {
    let line = |[a, b, y]: &[f64; 3]| format!("{y} {first}:{a} {}:{b}\n", first + 1);
    rows().iter().map(line).collect()
}

/// An .npy file of numbers of eight bytes.
fn npy(shape: &str, values: &[f64]) -> Vec<u8> {
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

fn table() -> Vec<u8> {
    npy("(60, 3)", rows().as_flattened())
}

/// Separate X and y, as written by `numpy.savez_compressed`.
fn npz() -> Vec<u8> {
    let x: Vec<f64> = rows().iter().flat_map(|row| row[..2].to_vec()).collect();
    let y: Vec<f64> = rows().iter().map(|row| row[2]).collect();
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("X.npy", npy("(60, 2)", &x)), ("y.npy", npy("(60,)", &y))] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[cfg(feature = "parquet")]
fn parquet(compression: parquet::basic::Compression) -> Vec<u8> {
    use parquet::column::writer::ColumnWriter;
    use parquet::file::{properties::WriterProperties, writer::SerializedFileWriter};
    let schema = "message m { required double a; required double b; required double y; }";
    let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema.into(), properties.into()).unwrap();
    let mut group = file.next_row_group().unwrap();
    for place in 0..3 {
        let values: Vec<f64> = rows().iter().map(|row| row[place]).collect();
        let mut column = group.next_column().unwrap().unwrap();
        let ColumnWriter::DoubleColumnWriter(writer) = column.untyped() else { unreachable!() };
        writer.write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
    bytes
}

fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let csv = text(",", ".");
    // Concatenated gzip members are one file.
    let (start, end) = csv.split_at(csv.len() / 2);
    let mut files = vec![
        ("d.csv", csv.clone().into_bytes()),
        ("d.csv.gz", [gzip(start), gzip(end)].concat()),
        ("d.csv.zst", zstd::encode_all(csv.as_bytes(), 0).unwrap()),
        ("semicolons.csv", text(";", ",").into_bytes()),
        ("d.tsv", text("\t", ".").into_bytes()),
        ("bars.txt", text("|", ".").into_bytes()),
        ("blanks.dat", text("   ", ".").into_bytes()),
        ("mac.csv", csv.replace('\n', "\r").into_bytes()),
        ("windows.csv", format!("\u{feff}{}", csv.replace('\n', "\r\n")).into_bytes()),
        ("commented.csv", format!("# of 2026\n# rows\n{csv}").into_bytes()),
        ("savetxt.csv", format!("# {csv}").into_bytes()),
        ("d.npy", table()),
        ("d.npy.gz", gzip(table())),
        ("d.npz", npz()),
        ("d.svm", svmlight(1).into_bytes()),
        ("zero.svm", svmlight(0).into_bytes()),
        ("d.svm.gz", gzip(svmlight(1))),
        ("svmlight.txt", svmlight(1).into_bytes()),
    ];
    #[cfg(feature = "parquet")]
    files.extend([
        ("d.parquet", parquet(parquet::basic::Compression::SNAPPY)),
        ("gzip.parquet", parquet(parquet::basic::Compression::GZIP(Default::default()))),
        ("brotli.parquet", parquet(parquet::basic::Compression::BROTLI(Default::default()))),
        ("lz4.parquet", parquet(parquet::basic::Compression::LZ4_RAW)),
        ("zstd.parquet", parquet(parquet::basic::Compression::ZSTD(Default::default()))),
    ]);
    files
}

const FIT: &str =
    "--device cpu --optimizer adam --lr 0.05 --epochs 30 --batch-size 10 --json --out m.safetensors";

/// The result of a fit.
fn fitted(report: &Value) -> Vec<Value> {
    let run = &report["runs"][0];
    ["updates", "initial_loss", "loss", "weights", "intercept"].map(|key| run[key].clone()).into()
}

/// Runs the command with bytes on its standard input, which must succeed.
#[track_caller]
fn piped(folder: &Path, arguments: &str, bytes: &[u8]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-optim"));
    command.current_dir(folder).args(arguments.split_whitespace()).write_stdin(bytes);
    let output = command.timeout(HANG).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", text(output.stderr));
    text(output.stdout)
}

#[test]
fn rows_come_to_the_same_numbers_in_every_format_and_through_a_pipe() {
    let folder = folder(&[]);
    let path = folder.path();
    let mut expected = None;
    for (name, bytes) in files() {
        std::fs::write(path.join(name), &bytes).unwrap();
        let from = |data: &str, bytes: &[u8]| {
            let fit = piped(path, &format!("fit {data} {FIT}"), bytes);
            let fit: Value = serde_json::from_str(&fit).unwrap();
            assert_eq!((&fit["data"]["samples"], &fit["data"]["features"]), (&60.into(), &2.into()));
            let predictions = piped(path, &format!("predict m.safetensors {data}"), bytes);
            let sweep =
                format!("sweep {data} --device cpu --epochs 2 --batch-size 10 --lr 0.1,0.01 --json");
            let sweep: Value = serde_json::from_str(&piped(path, &sweep, bytes)).unwrap();
            (fitted(&fit), predictions, sweep["optimizers"].clone())
        };
        let whole = from(name, b"");
        let expected = expected.get_or_insert_with(|| whole.clone());
        assert_eq!(whole, *expected, "{name}");
        // Compressed and binary formats are recognised by their first bytes, svmlight by its lines.
        assert_eq!(from("-", &bytes), *expected, "{name} as -");
        if cfg!(target_os = "linux") {
            assert_eq!(from("/dev/stdin", &bytes), *expected, "{name} as /dev/stdin");
        }
    }
    let (fit, ..) = expected.unwrap();
    assert_eq!(
        (&fit[0], number(&fit[1])),
        (&180.into(), rows().iter().map(|r| r[2] * r[2]).sum::<f64>() / 60.0)
    );
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_read_once_and_whole() {
    let folder = folder(&[("few.csv", &text(",", "."))]);
    let whole = json(&folder, &format!("fit few.csv {FIT}"));
    let fifo = folder.path().join("pipe.csv");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let writer = std::thread::spawn({
        let (fifo, text) = (fifo.clone(), text(",", "."));
        move || std::fs::write(fifo, text).unwrap()
    });
    assert_eq!(fitted(&json(&folder, &format!("fit pipe.csv {FIT}"))), fitted(&whole));
    writer.join().unwrap();
}

#[test]
fn a_pipe_that_is_longer_than_any_buffer_is_read_whole() {
    let mut csv = String::from("a,b,y\n");
    (0..20_000).for_each(|i| csv += &format!("{},{},{}\n", i % 10, i % 7, 2 * (i % 10) - i % 7 + 1));
    let folder = folder(&[("d.csv", &csv)]);
    let fit = "--device cpu --optimizer adam --epochs 1 --json";
    let file = json(&folder, &format!("fit d.csv {fit}"));
    let pipe: Value =
        serde_json::from_str(&piped(folder.path(), &format!("fit - {fit}"), csv.as_bytes())).unwrap();
    assert_eq!(pipe["data"]["samples"], 20_000);
    assert_eq!(fitted(&pipe), fitted(&file));
}
