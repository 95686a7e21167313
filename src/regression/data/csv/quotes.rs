//! Misplaced quotes in a record, for messages: the reader of records accepts any quotes.

use super::super::Separator;

/// A quote that is not closed properly, with byte offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// It is never closed.
    Open { opens: usize },
    /// Text follows the closing quote within the cell.
    Closed { opens: usize, closes: usize },
}

/// Checks the quotes of a record.
pub fn check(record: &[u8], separator: Separator) -> Result<(), Stray> {
    let ends = |byte: u8| byte == separator.byte() || byte == b'\n' || byte == b'\r';
    let (mut at, mut begins) = (0, true);
    while let Some(&byte) = record.get(at) {
        if byte != b'"' || !begins {
            begins = ends(byte);
            at += 1;
            continue;
        }
        let opens = at;
        at += 1;
        loop {
            match (record.get(at), record.get(at + 1)) {
                (None, _) => return Err(Stray::Open { opens }),
                (Some(b'"'), Some(b'"')) => at += 2,
                (Some(b'"'), next) => {
                    if next.is_some_and(|&next| !ends(next)) {
                        return Err(Stray::Closed { opens, closes: at });
                    }
                    at += 1;
                    break;
                }
                _ => at += 1,
            }
        }
        begins = false;
    }
    Ok(())
}

/// The number of line ends in these bytes: carriage returns, line feeds, or both together.
pub fn line_ends(bytes: &[u8]) -> u64 {
    let feeds = bytes.iter().filter(|&&byte| byte == b'\n').count();
    let returns = bytes.iter().zip(bytes.iter().skip(1).chain([&0]));
    let returns = returns.filter(|(byte, next)| **byte == b'\r' && **next != b'\n').count();
    (feeds + returns) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stray_quotes_are_found() {
        let check = |text: &str| check(text.as_bytes(), Separator::Byte(b','));
        for text in ["", "a,b", "\"a\",\"b\"", "\"a\"\"b\",1", "a\"b,1", "\"a\n,\",2", "1,\"\"\n"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        assert_eq!(check("1,\"2,3\n4,5,6\n"), Err(Stray::Open { opens: 2 }));
        assert_eq!(check("1,\"2,3\n4,\"5,6\n"), Err(Stray::Closed { opens: 2, closes: 9 }));
        assert_eq!(check("\"a\"\""), Err(Stray::Open { opens: 0 }));
    }

    #[test]
    fn lines_end_in_three_ways() {
        assert_eq!([line_ends(b"a\nb\r\nc\rd"), line_ends(b"\r\r\n\n"), line_ends(b"a")], [3, 3, 0]);
        assert_eq!(line_ends(b"a\r"), 1);
    }
}
