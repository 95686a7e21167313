use crate::harmless::memory::peak;
use crate::{folder, message, named, opened, rows, skip};
use std::path::Path;
use wgpu_optim::regression::data::{
    At, CsvOptions, DataError, DecimalMark, FileOptions, Offset, OnBadRow, Separator, Targets, open,
};

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
    let (x, aux) = rows(&data);
    assert_eq!(x, [2.0, 5.0, 8.0, 11.0]);
    assert_eq!(aux, [6.0, 3.0, 1.0, 4f64.ln(), 12.0, 9.0, 7.0, 10f64.ln()]);
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
    // Unused columns may hold anything.
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
        ("a,b\n\n\nNaN,1\n", "line 4, row 1, column `a`: `NaN` is not a finite number"),
        ("a,b\ninf,1\n", "column `a`: inf is beyond the range of f32"),
        ("a,b\n1e39,1\n", "1e39 is beyond the range of f32"),
        ("a,b\n1,2\n3\n", "line 3, row 2: 1 cells, but the header has 2"),
        ("a,b\n1,2,3\n", "line 2, row 1: 3 cells, but the header has 2"),
        ("a,b\n", "has no rows"),
        ("", "has no header"),
        ("y\n1\n", "has no features"),
        ("1,2\n3,4\n", "the first line has numbers"),
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
    assert!(message("d.csv", "a,b\nx,1\n", &skip()).contains("no well-formed rows"));
}

#[test]
fn columns_that_are_not_there_are_named() {
    let text = "a,b,a\n1,2,3\n";
    let error = message("d.csv", text, &named(&["z"]));
    assert!(error.ends_with("0 columns are named `z`; the columns are a, b, a"), "{error}");
    assert!(message("d.csv", text, &named(&["a"])).contains("2 columns are named `a`"));
    assert!(message("d.csv", text, &named(&["b", "b"])).contains("`b` is named for two roles"));
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

#[test]
fn a_quote_that_is_never_closed_is_an_error_whatever_becomes_of_bad_rows() {
    let rows = |from: usize, to: usize| (from..to).map(|i| format!("{i},1,{i}\n")).collect::<String>();
    let lost = |middle: &str, end: &str| format!("a,b,y\n{}{middle}{}{end}", rows(1, 3), rows(4, 500));
    for (text, part) in [
        (lost("3,\"1,3\n", ""), "line 4: a quote that opens here is never closed"),
        (lost("\"3,1,3\n", ""), "line 4: a quote that opens here is never closed"),
        (lost("3,1,\"3\n", ""), "line 4: a quote that opens here is never closed"),
        // A second one closes it, and the lines between are one row.
        (
            lost("3,\"1,3\n", "500,1,\"500\n"),
            "line 4: a quote that opens here closes in the middle of a cell on line 501",
        ),
        (lost("3,\"1,3\n", "500,1\",500\n"), "line 4: quotes join the lines up to line 501"),
    ] {
        for options in [FileOptions::default(), skip()] {
            let message = message("d.csv", &text, &options);
            assert!(message.contains(part), "no `{part}`: {message}");
        }
        let windows = message("d.csv", text.replace('\n', "\r\n"), &skip());
        assert!(windows.contains(part), "no `{part}`: {windows}");
    }
    assert!(
        message("d.csv", "a,y\n1,\"2", &skip())
            .contains("line 2: a quote that opens here is never closed")
    );
    // A text of several lines in an unused column is accepted.
    let text = "a,note,y\n1,\"two\nlines\",2\n3,\"\",4\n";
    let options = FileOptions { exclude: vec!["note".into()], ..FileOptions::default() };
    assert_eq!(rows_of(text, &options), (vec![1.0, 3.0], vec![2.0, 4.0]));
}

fn rows_of(text: &str, options: &FileOptions) -> (Vec<f64>, Vec<f64>) {
    rows(&opened("d.csv", text.as_bytes(), options).unwrap())
}

#[test]
fn lines_end_in_a_carriage_return_too() {
    for end in ["\r", "\n", "\r\n"] {
        let text = ["a,b,y", "1,2,3", "4,5,6", "", "7,x,9"].join(end);
        let message = message("d.csv", text, &FileOptions::default());
        assert!(
            message.ends_with("line 5, row 3, column `b`: `x` is not a number"),
            "{end:?}: {message}"
        );
    }
}

#[test]
fn the_separator_is_detected_or_given() {
    let x = (vec![1.5, 2.0, 4.0, 5.5, 7.0, 9.0], vec![3.25, 6.0, -2.5]);
    for text in [
        "age;weight;price\n1,5;2;3,25\n4;5,5;6\n7;9;-2,5\n",
        "age;weight;price\n1.5;2;3.25\n4;5.5;6\n7;9;-2.5\n",
        "age\tweight\tprice\n1.5\t2\t3.25\n4\t5.5\t6\n7\t9\t-2.5\n",
        "age|weight|price\n1.5|2|3.25\n4|5.5|6\n7|9|-2.5\n",
        "  age weight  price\n  1.5      2   3.25\n  4      5.5   6  \n\n  7      9  -2.5\n",
        "# prices\n# of 2026\nage,weight,price\n1.5,2,3.25\n4,5.5,6\n7,9,-2.5\n",
        "# age,weight,price\n1.5,2,3.25\n4,5.5,6\n7,9,-2.5\n",
    ] {
        let data = opened("d.csv", text.as_bytes(), &FileOptions::default()).unwrap();
        assert_eq!((data.names.join(" "), rows(&data)), ("age weight".into(), x.clone()), "{text}");
    }
    let said = |separator, decimal| FileOptions {
        csv: CsvOptions { separator: Some(separator), decimal: Some(decimal), header: None },
        ..FileOptions::default()
    };
    let text = "age/weight/price\n1,5/2/3,25\n4/5,5/6\n7/9/-2,5\n";
    assert_eq!(rows_of(text, &said(Separator::Byte(b'/'), DecimalMark::Comma)), x);
    // Two different marks in one file: one may be a thousands separator.
    let text = "a;y\n1,5;2\n1.500;3\n";
    let error = message("d.csv", text, &FileOptions::default());
    assert!(
        error.contains("line 3, row 2, column `a`: `1.500` is not a number with the decimal mark `,`"),
        "{error}"
    );
    let error = message("d.csv", "a\ty\n1,5\t2\n", &FileOptions::default());
    assert!(error.ends_with("`1,5` is not a number with the decimal mark `.` (--decimal ,)"), "{error}");
    let one = message("d.csv", "a/b/y\n1/2/3\n", &FileOptions::default());
    assert!(one.contains("its header is one cell, `a/b/y`, where cells are separated by `,`"), "{one}");
}

#[test]
fn an_index_that_pandas_wrote_is_left_out() {
    for (text, left_out) in [
        (",a,y\n0,1,2\n1,3,4\n", true),
        ("Unnamed: 0,a,y\n12,1,2\n40,3,4\n", true),
        ("\"\",a,y\n1,1,2\n2,3,4\n", true),
        ("i,a,y\n0,1,2\n1,3,4\n", false),
    ] {
        let data = opened("d.csv", text.as_bytes(), &FileOptions::default()).unwrap();
        assert_eq!(
            (data.names.contains(&"a".into()), data.features()),
            (true, 1 + usize::from(!left_out))
        );
        assert_eq!(data.about.notes.len(), usize::from(left_out), "{text}");
    }
    // A first column without a name that does not count rows is not an index.
    let error = message("d.csv", ",a,y\n0.5,1,2\n0.25,3,4\n", &FileOptions::default());
    assert!(error.contains("column 1 has no name"), "{error}");
}

#[test]
fn texts_of_a_file_are_printable() {
    let text = "a,\u{1b}]0;title\u{7}y\n\u{1b}[31mRED\u{1b}[0m\u{7},1\n";
    let error = message("d.csv", text, &FileOptions::default());
    assert!(error.ends_with("column `a`: `\\u{1b}[31mRED\\u{1b}[0m\\u{7}` is not a number"), "{error}");
    let error = message("d.csv", text, &named(&["z"]));
    assert!(error.ends_with("the columns are a, \\u{1b}]0;title\\u{7}y"), "{error}");
    let error = message("d.csv", "a,\"b\nc\"\n1,x\n", &FileOptions::default());
    assert!(error.ends_with("column `b\\nc`: `x` is not a number"), "{error}");
}

#[test]
fn formats_that_are_not_read_are_named() {
    let zip = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0b\0\0\0[Content_Ty";
    for (name, bytes, part) in [
        ("d.arff", &b"@relation r\n@data\n1,2\n"[..], "an ARFF file"),
        ("d.xlsx", zip, "an Excel workbook"),
        ("d.zip", zip, "a zip archive"),
        ("d.csv", zip, "a zip archive"),
        ("d.json", b"[{\"a\": 1}]", "a JSON file"),
        ("d.csv", b"\xFF\xFEa\0,\0b\0", "text in UTF-16"),
        ("d.csv", b"\xFD7zXZ\0", "compressed with xz"),
        (
            "d.md",
            b"# Rows\nof words\nand lines\n",
            "the file was read as CSV, because its extension is unknown",
        ),
        ("d.csv.gz", b"\x1f\x8b\x08\0\0", "cannot be decompressed as gzip"),
        (
            "d.npz",
            b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "must have one array, or the arrays X and y",
        ),
    ] {
        let error = message(name, bytes, &FileOptions::default());
        assert!(error.contains(part), "{name}: no `{part}`: {error}");
    }
    let folder = folder();
    let error = open(folder.path(), &FileOptions::default()).unwrap_err();
    assert!(error.to_string().contains("is a directory"), "{error}");
    #[cfg(unix)]
    for device in ["/dev/zero", "/dev/null"] {
        let error = open(Path::new(device), &FileOptions::default()).unwrap_err();
        assert!(error.to_string().ends_with("is a device, not a data file"), "{error}");
    }
}
