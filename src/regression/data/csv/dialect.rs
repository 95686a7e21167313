//! Detection of a CSV dialect: start of the rows, separator, header.

use super::super::input::{Input, Reader};
use super::super::source::number;
use super::super::{DataError, Separator};
use super::quotes;
use std::io::{Read, Seek, SeekFrom};

/// Number of bytes, and of lines, from which separators are detected.
const SAMPLE: usize = 1 << 16;
const LINES: usize = 32;

/// Texts that stand for a missing value.
const MISSING: [&str; 11] = ["", "NA", "N/A", "n/a", "NaN", "nan", "?", "null", "NULL", "-", "."];

/// Detectable separators, in order of preference.
pub const SEPARATORS: [Separator; 5] = [
    Separator::Byte(b','),
    Separator::Byte(b';'),
    Separator::Byte(b'\t'),
    Separator::Byte(b'|'),
    Separator::Blanks,
];

/// The detected properties of a file.
pub struct Sniffed {
    /// Offset of the header, or of the first row, in bytes.
    pub start: u64,
    pub separator: Separator,
    /// Whether the header begins with a comment mark.
    pub commented: bool,
}

/// Detects the dialect from the first lines of a file. The separator is the one that divides the first line, and the
/// most of the next lines into the same number of cells.
///
/// Leading lines that start with `#` are comments. The last of them is the header if it has as many cells as the row
/// below it, and that row has numbers.
pub fn sniff(input: &Input, requested: Option<Separator>) -> Result<Sniffed, DataError> {
    let failed = |error| DataError::file(input.path(), error);
    let bom = if input.head().starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let mut reader = input.reader();
    reader.seek(SeekFrom::Start(bom)).map_err(failed)?;
    let start = comments_end(&mut reader, bom).map_err(failed)?;
    let sample = |start: u64| -> std::io::Result<Vec<u8>> {
        let mut reader = input.reader();
        reader.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        reader.take(SAMPLE as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = sample(start.rows).map_err(failed)?;
    let lines = lines(&bytes, input.len() - start.rows > SAMPLE as u64);
    let separator = requested.unwrap_or_else(|| separator(&lines));
    let mut sniffed = Sniffed { start: start.rows, separator, commented: false };
    if let Some(last) = start.last_comment {
        let above = sample(last).map_err(failed)?;
        let names = above.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        let names = uncommented(names);
        let first = lines.first().copied().unwrap_or_default();
        let alike =
            separator.count(names).is_some_and(|count| count == separator.count(first).unwrap_or(0));
        if alike && !is_header(separator.cells(first)) {
            (sniffed.start, sniffed.commented) = (last, true);
        }
    }
    Ok(sniffed)
}

/// Removes the comment mark from a header, unless the mark is the whole first name.
pub fn uncommented(line: &[u8]) -> &[u8] {
    let rest = line.trim_ascii_start().strip_prefix(b"#").unwrap_or(line).trim_ascii_start();
    if rest.first().is_none_or(|&first| SEPARATORS.contains(&Separator::Byte(first))) {
        line
    } else {
        rest
    }
}

struct Start {
    /// End of the comment lines.
    rows: u64,
    /// Start of the last comment line.
    last_comment: Option<u64>,
}

fn comments_end(reader: &mut Reader, from: u64) -> std::io::Result<Start> {
    let mut start = Start { rows: from, last_comment: None };
    let (mut at, mut fresh, mut comment) = (from, true, false);
    for byte in std::io::BufReader::new(reader).bytes() {
        let byte = byte?;
        match byte {
            b'\n' | b'\r' => (fresh, comment) = (true, false),
            b'#' if fresh => {
                start.last_comment = Some(at);
                (fresh, comment) = (false, true);
            }
            _ if fresh => {
                start.rows = at;
                return Ok(start);
            }
            _ => debug_assert!(comment),
        }
        at += 1;
    }
    start.rows = at;
    Ok(start)
}

/// The first non-empty lines, without the last one if the sample truncates it.
fn lines(sample: &[u8], cut: bool) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = sample
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .filter(|line| !line.trim_ascii().is_empty())
        .take(LINES)
        .collect();
    if cut && lines.len() > 1 && lines.len() < LINES {
        lines.pop();
    }
    lines
}

fn separator(lines: &[&[u8]]) -> Separator {
    let comma = SEPARATORS[0];
    let Some((first, others)) = lines.split_first() else { return comma };
    let fit = |separator: Separator| {
        let width = separator.count(first).filter(|&width| width > 1)?;
        let alike = others.iter().filter(|line| separator.count(line) == Some(width)).count();
        // Names may contain blanks.
        (separator != Separator::Blanks || alike > 0).then_some(alike)
    };
    let mut best = (comma, fit(comma));
    for &separator in &SEPARATORS[1..] {
        let fits = fit(separator);
        if fits > best.1 {
            best = (separator, fits);
        }
    }
    best.0
}

impl Separator {
    /// The number of cells of a line; `None` if a quote is open at its end.
    fn count(self, line: &[u8]) -> Option<usize> {
        quotes::check(line, self).is_ok().then(|| self.cells(line).count())
    }

    /// The cells of a line, approximately: for detection only.
    fn cells(self, line: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut quoted = false;
        let separates = move |&byte: &u8| {
            quoted ^= byte == b'"';
            !quoted && byte == self.byte()
        };
        line.split(separates).filter(move |cell| self != Separator::Blanks || !cell.is_empty())
    }
}

/// Whether a line is a header: not if it has more numbers than words.
pub fn is_header<'a>(cells: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut numbers, mut words) = (0, 0);
    for cell in cells {
        let cell = cell.trim_ascii();
        let cell = cell.strip_prefix(b"\"").and_then(|c| c.strip_suffix(b"\"")).unwrap_or(cell);
        if MISSING.iter().any(|missing| missing.as_bytes() == cell) {
            continue;
        }
        let decimal = [number(cell, b'.'), number(cell, b',')];
        if decimal.iter().any(Result::is_ok) { numbers += 1 } else { words += 1 }
    }
    words > 0 && numbers <= words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn separator_of(text: &str) -> Separator {
        separator(&lines(text.as_bytes(), false))
    }

    #[test]
    fn the_separator_is_what_divides_lines_alike() {
        for (text, byte) in [
            ("a,b\n1,2\n", b','),
            ("a;b;c\n1,5;2,5;3,5\n", b';'),
            ("first name\tage\n1\t2\n", b'\t'),
            ("a|b\n1|2", b'|'),
            ("length, mm;width, mm;y\n1,5;2;3\n2,5;3;4\n", b';'),
            ("\"a;b\",c\n1,2\n", b','),
            ("a,b\n1\n1,2,3\n", b','),
            ("one name\n1\n2\n", b','),
            ("a;b\n1;2;3\n", b';'),
            ("", b','),
        ] {
            assert_eq!(separator_of(text), Separator::Byte(byte), "{text:?}");
        }
        assert_eq!(separator_of("a  b y\n 1   2 3\n"), Separator::Blanks);
    }

    #[test]
    fn a_line_of_names_has_no_more_numbers_than_words() {
        let header = |text: &str| is_header(text.as_bytes().split(|&byte| byte == b','));
        for text in ["a,b,y", "a,,,", "2019,region", "x,1", "NA,a"] {
            assert!(header(text), "{text}");
        }
        for text in ["63,,145,1", "1,2,x", "1,?,NA", "", ",,", "-,.,null", "5.1,3.5,setosa"] {
            assert!(!header(text), "{text}");
        }
    }
}
