use crate::harmless::memory::peak;
use crate::{folder, message, named, opened, rows, skip};
use std::path::Path;
use wgpu_optim::data::{At, DataError, FileOptions, Offset, OnBadRow, Targets, open};

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
        select: Some(vec!["b".into(), "a".into()]),
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
    let select = Some(vec!["b".into(), "p".into(), "q".into()]);
    let options = FileOptions { targets: Targets::None, select, ..FileOptions::default() };
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
