//! CSV files.

use super::{DataError, Problem};
use csv::{ReaderBuilder, StringRecord, Trim};
use std::path::Path;

/// A file of numbers under a header line.
pub fn read(path: &Path, target: Option<&str>) -> Result<Problem, DataError> {
    let csv_error = |error: csv::Error| {
        let reason = error.to_string();
        match error.into_kind() {
            csv::ErrorKind::Io(error) => DataError::File { path: path.into(), error },
            _ => DataError::Csv { path: path.into(), reason },
        }
    };
    let name = path.display().to_string();
    let mut reader =
        ReaderBuilder::new().flexible(true).trim(Trim::All).from_path(path).map_err(csv_error)?;
    let header = reader.headers().map_err(csv_error)?.clone();
    if !header.is_empty() && header.iter().all(|name| name.parse::<f64>().is_ok()) {
        let reason = "the first line holds numbers, and must hold the names of the columns".into();
        return Err(DataError::Csv { path: path.into(), reason });
    }
    let target = target_column(path, &header, target)?;
    let features = header.len() - 1;
    if features == 0 {
        return Err(DataError::Empty {
            name,
            what: "features: it needs a column beside the target, separated by a comma",
        });
    }

    let (mut x, mut y) = (Vec::new(), Vec::new());
    let mut record = StringRecord::new();
    let mut row = 0;
    while reader.read_record(&mut record).map_err(csv_error)? {
        row += 1;
        if record.len() != header.len() {
            let (cells, expected) = (record.len(), header.len());
            let reason = format!("row {row}: {cells} cells where the header has {expected}");
            return Err(DataError::Csv { path: path.into(), reason });
        }
        for (column, cell) in record.iter().enumerate() {
            let value = number(cell).map_err(|reason| DataError::Cell {
                path: path.into(),
                row,
                column: header[column].into(),
                reason,
            })?;
            if column == target { y.push(value) } else { x.push(value) }
        }
    }
    if y.is_empty() {
        return Err(DataError::Empty { name, what: "rows below its header" });
    }
    Ok(Problem::table(&name, features, x, y))
}

fn target_column(path: &Path, header: &StringRecord, name: Option<&str>) -> Result<usize, DataError> {
    let Some(name) = name else {
        let empty = DataError::Empty { name: path.display().to_string(), what: "header line" };
        return header.len().checked_sub(1).ok_or(empty);
    };
    let found: Vec<usize> = (0..header.len()).filter(|&i| &header[i] == name).collect();
    if let [column] = found[..] {
        return Ok(column);
    }
    Err(DataError::Column {
        path: path.into(),
        name: name.into(),
        count: found.len(),
        available: header.iter().collect::<Vec<_>>().join(", "),
    })
}

/// A cell's value, which f32 must hold too: that is what a device computes with.
fn number(cell: &str) -> Result<f64, String> {
    let value: f64 = match cell {
        "" => return Err("the cell is empty".into()),
        _ => cell.parse().map_err(|_| format!("`{cell}` is not a number"))?,
    };
    if value.is_nan() {
        Err(format!("`{cell}` is not a number that can be learned from"))
    } else if !(value as f32).is_finite() {
        Err(format!("{cell} is beyond the range of f32"))
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_text(text: &str, target: Option<&str>) -> Result<Problem, DataError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path(), target)
    }

    fn message(text: &str) -> String {
        read_text(text, None).unwrap_err().to_string()
    }

    #[test]
    fn the_last_column_is_the_target_unless_another_is_named() {
        let text = "a,b,c\n1,2,3\r\n4, 5 ,6";
        let values = |target| read_text(text, target).unwrap().materialize::<f64>().unwrap();
        assert_eq!(values(None), (vec![1.0, 2.0, 4.0, 5.0], vec![3.0, 6.0]));
        assert_eq!(values(Some("b")), (vec![1.0, 3.0, 4.0, 6.0], vec![2.0, 5.0]));
    }

    #[test]
    fn a_bad_cell_is_named_by_row_and_column() {
        let text = message("a,b\n1,2\n\n3,four\n");
        assert!(text.ends_with(": row 2, column `b`: `four` is not a number"), "{text}");
        assert!(message("a,b\n1,\n").contains("column `b`: the cell is empty"));
        assert!(message("a,b\nNaN,1\n").contains("row 1, column `a`: `NaN`"));
        assert!(message("a,b\ninf,1\n").contains("`a`: inf is beyond the range of f32"));
        assert!(message("a,b\n1e39,1\n").contains("1e39 is beyond"));
    }

    #[test]
    fn rows_of_another_length_are_named() {
        assert!(message("a,b\n1,2\n3\n").contains("row 2: 1 cells where the header has 2"));
    }

    #[test]
    fn nothing_to_learn_from_is_an_error() {
        assert!(message("a,b\n").contains("no rows"));
        assert!(message("").contains("no header"));
        assert!(message("y\n1\n").contains("no features"));
    }

    #[test]
    fn a_file_without_a_header_is_refused() {
        assert!(message("1,2\n3,4\n").contains("the first line holds numbers"));
    }

    #[test]
    fn an_unknown_target_lists_the_columns() {
        let text = read_text("a,b\n1,2\n", Some("z")).unwrap_err().to_string();
        assert!(text.contains("0 columns are called `z`; the columns are a, b"), "{text}");
        let text = read_text("a,a,b\n1,2,3\n", Some("a")).unwrap_err().to_string();
        assert!(text.contains("2 columns are called `a`"), "{text}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("no/such/file.csv"), None).unwrap_err();
        assert!(matches!(error, DataError::File { .. }));
        assert!(error.to_string().starts_with("no/such/file.csv: "), "{error}");
    }
}
