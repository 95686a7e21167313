//! Text from files and from the command line, made safe to print.

use std::borrow::Cow;

/// Escapes characters that a terminal would interpret instead of display: control characters, line ends, and marks that
/// reorder text. `ESC` becomes `\u{1b}`, a line feed `\n`.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_unprintable)
}

/// Escapes text as [`printable`] does, except line feeds.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_unprintable(c))
}

/// Escapes JSON as [`printable_lines`] does, with JSON's own escapes: these characters occur only in strings.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let unprintable = |c: char| c != '\n' && is_unprintable(c);
    if !json.contains(unprintable) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            // Each of these characters is one unit of UTF-16.
            c if unprintable(c) => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Returns the first `most` characters of a text, escaped by [`printable`], for a message.
pub fn shortened(text: &[u8], most: usize) -> String {
    // A character has at most four bytes.
    let start = String::from_utf8_lossy(&text[..text.len().min(4 * most)]);
    match start.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", printable(&start[..end])),
        None => printable(&start).into_owned(),
    }
}

fn is_unprintable(c: char) -> bool {
    let reorders =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}')
}

fn escaped(text: &str, unprintable: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&unprintable) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !unprintable(c) => shown.push(c),
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            c => shown.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(printable("\u{1b}[31mRED\u{7}"), "\\u{1b}[31mRED\\u{7}");
        assert_eq!(printable("a\nb\r\tc\u{202e}d\u{85}"), "a\\nb\\r\\tc\\u{202e}d\\u{85}");
        assert_eq!(printable_lines("a\nb\u{9b}"), "a\nb\\u{9b}");
        assert!(matches!(printable("größer `als` \\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_stays_json() {
        let name = "a\u{202e}b\u{85}\u{1b}\n";
        let json = serde_json::to_string_pretty(&[name]).unwrap();
        let shown = printable_json(&json);
        assert!(!shown.contains(|c| c != '\n' && is_unprintable(c)), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [name]);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(shortened("ééé".as_bytes(), 2), "éé…");
        assert_eq!(shortened("ééé".as_bytes(), 3), "ééé");
        assert_eq!(shortened(b"a\xff\x1b", 3), "a\u{fffd}\\u{1b}");
    }
}
