use crate::{message, opened, rows, skip};
use wgpu_optim::regression::data::{FileOptions, Targets, ZeroBased};

#[test]
fn svmlight_rows_are_dense() {
    let text = "# a comment\n\n+1 2:0.5 # more\n-1 qid:7 1:2 3:-1e-3\r\n0";
    let data = opened("d.svm", text.as_bytes(), &FileOptions::default()).unwrap();
    assert_eq!((data.names.join(" "), data.target_names.join(" ")), ("x1 x2 x3".into(), "y".into()));
    assert_eq!(rows(&data).0, [0.0, 0.5, 0.0, 2.0, 0.0, -1e-3, 0.0, 0.0, 0.0]);
    assert_eq!(data.target_values, Some(vec![-1.0, 0.0, 1.0]));
    let wide = FileOptions { features: Some(5), ..FileOptions::default() };
    assert_eq!(opened("d.libsvm", text.as_bytes(), &wide).unwrap().features(), 5);
    let none = FileOptions { targets: Targets::None, select: Some(data.names.clone()), ..wide };
    let none = FileOptions { features: Some(3), ..none };
    assert!(rows(&opened("d.svmlight", text.as_bytes(), &none).unwrap()).1.is_empty());
}

#[test]
fn bad_svmlight_rows_are_named_by_line_and_byte() {
    let few = FileOptions { features: Some(3), ..FileOptions::default() };
    for (row, part) in [
        ("1 0:2", "line 2:3, row 2: the index 0 is outside 1 … 3"),
        ("1 1:1 -1:2", "line 2:7, row 2: the index -1 is outside"),
        ("1 4:2", "line 2:3, row 2: the index 4 is outside 1 … 3"),
        ("1 2:2 1:1", "line 2:7, row 2: the index 1 must be greater than 2, the previous one"),
        ("1 2:2 2:1", "the index 2 must be greater than 2"),
        ("1 2", "line 2:3, row 2: `2` is not `index:value`"),
        ("1 a:2", "`a` is not an index"),
        ("1 2:", "line 2:5, row 2: the cell is empty"),
        ("1 2:b", "line 2:5, row 2: `b` is not a number"),
        ("1 2:nan", "`NaN` is not a finite number"),
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
    assert!(message("d.svm", text, &FileOptions::default()).contains("1048577 is outside 1 … 1048576"));
    assert_eq!(opened("d.svm", text.as_bytes(), &skip()).unwrap().features(), 1);
    let wide = FileOptions { features: Some(1 << 21), ..FileOptions::default() };
    assert!(message("d.svm", text, &wide).contains("2097152 features"));
    assert!(message("d.svm", "", &FileOptions::default()).contains("no features"));
}

#[test]
fn indices_begin_at_0_where_one_of_them_is_0() {
    let text = "1.5 0:1 2:2\n-1 0:2 1:3\n2 0:4 1:1\n";
    let data = opened("d.svm", text.as_bytes(), &FileOptions::default()).unwrap();
    assert_eq!(rows(&data), (vec![1.0, 0.0, 2.0, 2.0, 3.0, 0.0, 4.0, 1.0, 0.0], vec![1.5, -1.0, 2.0]));
    let with = |zero_based| FileOptions { zero_based, ..FileOptions::default() };
    let error = message("d.svm", text, &with(ZeroBased::No));
    assert!(
        error.contains("line 1:5, row 1: the index 0 is outside 1 … 1048576 (--zero-based yes"),
        "{error}"
    );
    let ones = "1 1:5\n2 2:7\n";
    let width = |zero_based| opened("d.svm", ones.as_bytes(), &with(zero_based)).unwrap().features();
    assert_eq!([ZeroBased::Auto, ZeroBased::No, ZeroBased::Yes].map(width), [2, 2, 3]);
}
