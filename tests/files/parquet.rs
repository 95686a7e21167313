use crate::{message, named, opened, rows};
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;
use wgpu_optim::regression::data::{FileOptions, OnBadRow};

/// Writes the next column of a row group.
type Write<'a> = dyn Fn(&mut ColumnWriter, usize) + 'a;

fn file(schema: &str, groups: usize, compression: Compression, write: &Write) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    for group in 0..groups {
        let mut columns = writer.next_row_group().unwrap();
        while let Some(mut column) = columns.next_column().unwrap() {
            write(column.untyped(), group);
            column.close().unwrap();
        }
        columns.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

/// Rows of the columns a, b and y in row groups of ten, with various compressions.
pub fn of_rows(values: &[f32]) -> Vec<u8> {
    let schema = "message m { required float a; optional double b; required float y; }";
    let groups: Vec<&[f32]> = values.chunks(30).collect();
    let column = std::cell::Cell::new(0);
    let compression = match values.len() % 2 {
        0 => Compression::SNAPPY,
        _ => Compression::ZSTD(Default::default()),
    };
    file(schema, groups.len(), compression, &|writer, group| {
        let values: Vec<f32> = groups[group].iter().copied().skip(column.get()).step_by(3).collect();
        column.set((column.get() + 1) % 3);
        match writer {
            ColumnWriter::FloatColumnWriter(writer) => writer.write_batch(&values, None, None),
            ColumnWriter::DoubleColumnWriter(writer) => {
                let values: Vec<f64> = values.into_iter().map(f64::from).collect();
                writer.write_batch(&values, Some(&vec![1; values.len()]), None)
            }
            _ => unreachable!(),
        }
        .unwrap();
    })
}

/// Two rows of a column of every type.
fn of_types() -> Vec<u8> {
    let schema = "message m {
        required boolean flag; required int32 int; required int64 long; required int32 byte (UINT_8);
        required float single; required double double; optional double null;
        required binary text (UTF8); required int32 day (DATE); repeated int32 list;
    }";
    let ints = std::cell::Cell::new(0);
    file(schema, 1, Compression::UNCOMPRESSED, &|writer, _| {
        match writer {
            ColumnWriter::BoolColumnWriter(writer) => writer.write_batch(&[true, false], None, None),
            ColumnWriter::Int64ColumnWriter(writer) => {
                writer.write_batch(&[-9, 10_000_000_000], None, None)
            }
            ColumnWriter::FloatColumnWriter(writer) => writer.write_batch(&[0.5, 1.5], None, None),
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                writer.write_batch(&[ByteArray::from("a"), ByteArray::from("b")], None, None)
            }
            ColumnWriter::DoubleColumnWriter(writer) if writer.get_descriptor().name() == "null" => {
                writer.write_batch(&[4.0], Some(&[1, 0]), None)
            }
            ColumnWriter::DoubleColumnWriter(writer) => writer.write_batch(&[-0.25, 0.75], None, None),
            ColumnWriter::Int32ColumnWriter(writer) => {
                let nth = ints.replace(ints.get() + 1);
                match nth {
                    3 => writer.write_batch(&[1, 2], Some(&[1, 1]), Some(&[0, 0])),
                    _ => writer.write_batch(&[[-7, 8], [255, 3], [1, 2]][nth], None, None),
                }
            }
            _ => unreachable!(),
        }
        .unwrap();
    })
}

#[test]
fn parquet_columns_are_read_by_their_types() {
    let (bytes, options) = (of_types(), named(&["long"]));
    let options = FileOptions {
        select: Some(["single", "flag", "double", "byte", "int"].map(String::from).into()),
        ..options
    };
    let data = opened("d.parquet", &bytes, &options).unwrap();
    assert_eq!((data.rows, data.target_names.join(" ")), (2, "long".into()));
    let x = [0.5, 1.0, -0.25, 255.0, -7.0, 1.5, 0.0, 0.75, 3.0, 8.0];
    assert_eq!(rows(&data), (x.into(), vec![-9.0, 1e10]));
    for (name, part) in [
        ("text", "column `text` has the type BYTE_ARRAY, not numbers"),
        ("day", "column `day` has the type Date, not numbers"),
        ("list", "column `list` has lists, not numbers"),
    ] {
        let options = FileOptions { select: Some(vec![name.into()]), ..options.clone() };
        let error = message("d.parquet", &bytes, &options);
        assert!(error.contains(part), "{error}");
    }
    let options = FileOptions { select: Some(vec!["null".into()]), ..options };
    let error = message("d.parquet", &bytes, &options);
    assert!(error.ends_with("row 2, column `null`: the cell is null"), "{error}");
    let data = opened("d.parquet", &bytes, &FileOptions { on_bad_row: OnBadRow::Skip, ..options });
    assert_eq!(rows(&data.unwrap()), (vec![4.0], vec![-9.0]));
}

/// `pandas.DataFrame({"a": …, "b": …, "y": …})` without some of its rows, by `to_parquet` of pandas 2.
#[test]
fn the_index_of_a_pandas_frame_is_left_out() {
    let bytes = include_bytes!("../data/pandas_index.parquet");
    let data = opened("d.parquet", bytes, &FileOptions::default()).unwrap();
    assert_eq!((data.names.join(" "), data.target_names.join(" ")), ("a b".into(), "y".into()));
    assert_eq!(rows(&data).1, [3.0, 6.0, 2.0, 5.0]);
    assert_eq!(data.about.notes.len(), 1);
    let data = opened("d.parquet", bytes, &named(&["__index_level_0__"])).unwrap();
    assert_eq!(rows(&data).1, [12.0, 40.0, 41.0, 90.0]);
}

#[test]
fn labels_in_parquet_are_words_or_booleans() {
    let schema = "message m { required double a; required binary kind (UTF8); required boolean good; }";
    let bytes = file(schema, 2, Compression::GZIP(Default::default()), &|writer, group| {
        match writer {
            ColumnWriter::DoubleColumnWriter(writer) => writer.write_batch(&[1.0, 2.0], None, None),
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                let words = [["dog", "cat"], ["cow", "dog"]][group].map(ByteArray::from);
                writer.write_batch(&words, None, None)
            }
            ColumnWriter::BoolColumnWriter(writer) => writer.write_batch(&[true, false], None, None),
            _ => unreachable!(),
        }
        .unwrap();
    });
    let labels = |target: &str, left: &str| FileOptions {
        labels: true,
        exclude: vec![left.into()],
        ..named(&[target])
    };
    let data = opened("d.parquet", &bytes, &labels("kind", "good")).unwrap();
    assert_eq!(data.about.labels, Some(["cat", "cow", "dog"].map(String::from).into()));
    assert_eq!(rows(&data).1, [2.0, 0.0, 1.0, 2.0]);
    let data = opened("d.parquet", &bytes, &labels("good", "kind")).unwrap();
    assert_eq!(data.about.labels, Some(["False", "True"].map(String::from).into()));
    assert_eq!(rows(&data).1, [1.0, 0.0, 1.0, 0.0]);
}
