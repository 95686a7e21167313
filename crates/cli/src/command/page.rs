//! Self-contained HTML pages: no script, no network, no font.

use super::plot::{Picture, PlotError, svg};
use std::fmt::Write;
use wgpu_optim::regression::data::text::printable_lines;

/// Charts are black on white; a dark colour scheme replaces the colours.
const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1b1b; --faint: #666; --line: #d9d9d9; --bad: #b3261e; }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; } h2 { border-top: 1px solid var(--line); font-size: 1.25rem; margin-top: 2.2rem; padding-top: 1.2rem; }
.warning { border-left: 4px solid var(--bad); color: var(--bad); font-weight: 600; padding: .3rem .8rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th { border-bottom: 1px solid var(--faint); text-align: right; white-space: nowrap; }
td { border-bottom: 1px solid var(--line); text-align: right; }
th, td { padding: .2rem .7rem; vertical-align: top; } .left { text-align: left; }
figure { margin: 1rem 0; } svg { display: block; height: auto; max-width: 100%; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181a; --ink: #e4e4e4; --faint: #9a9a9a; --line: #3a3d40; --bad: #ff8a80; }
  svg [fill='#FFFFFF'] { fill: #16181a; } svg [fill='#000000'] { fill: #e4e4e4; }
  svg [stroke='#000000'] { stroke: #e4e4e4; } svg [stroke='#D9D9D9'] { stroke: #3a3d40; }
  svg [stroke='#F0F0F0'] { stroke: #25282b; }
  svg [fill='#0072B2'] { fill: #4ea3dd; } svg [stroke='#0072B2'] { stroke: #4ea3dd; }
}";

/// A page, written from top to bottom. Its methods escape text.
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// Creates a page with a title.
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        Page { body: format!("<h1>{title}</h1>\n"), title }
    }

    pub fn heading(&mut self, text: &str) {
        self.add("h2", "", text);
    }

    pub fn paragraph(&mut self, text: &str) {
        self.add("p", "", text);
    }

    /// Adds a highlighted paragraph.
    pub fn warning(&mut self, text: &str) {
        self.add("p", " class=\"warning\"", text);
    }

    /// Adds a table with a header. Columns after the first `left` are aligned to the right.
    pub fn table(&mut self, header: &[&str], left: usize, rows: impl IntoIterator<Item = Vec<String>>) {
        self.body.push_str("<div class=\"wide\"><table>\n");
        self.row("th", left, header.iter().map(|text| escape(text)));
        for row in rows {
            self.row("td", left, row.iter().map(|text| escape(text)));
        }
        self.body.push_str("</table></div>\n");
    }

    /// Adds a picture as inline SVG.
    ///
    /// # Errors
    /// [`PlotError`] if it cannot be drawn.
    pub fn picture(&mut self, picture: &impl Picture) -> Result<(), PlotError> {
        let svg = svg(picture)?;
        // Inline SVG has no XML header.
        let start = svg.find("<svg").unwrap_or(0);
        self.body.push_str("<figure>");
        self.body.push_str(&svg[start..]);
        self.body.push_str("</figure>\n");
        Ok(())
    }

    /// Returns the page as HTML.
    pub fn finish(self) -> String {
        let Page { title, body } = self;
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}\n</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
        )
    }

    fn add(&mut self, element: &str, attributes: &str, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.body, "<{element}{attributes}>{}</{element}>", escape(text));
    }

    fn row(&mut self, element: &str, left: usize, cells: impl Iterator<Item = String>) {
        self.body.push_str("<tr>");
        for (i, cell) in cells.enumerate() {
            let class = if i < left { " class=\"left\"" } else { "" };
            let _ = write!(self.body, "<{element}{class}>{cell}</{element}>");
        }
        self.body.push_str("</tr>\n");
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // XML does not allow control characters.
    for c in printable_lines(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::plot::{Chart, Mark, Series};

    #[test]
    fn text_is_escaped_everywhere() {
        let mut page = Page::new("a < b");
        page.heading("<script>");
        page.warning("x & y");
        page.table(&["<th>"], 1, [vec!["\"'".to_string()]]);
        let html = page.finish();
        assert!(html.contains("<title>a &lt; b</title>") && html.contains("x &amp; y"));
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script"));
        assert!(html.contains("&lt;th&gt;") && html.contains("&quot;&#39;"));
    }

    #[test]
    fn a_page_asks_for_nothing_else() {
        let points = vec![(1.0, 2.0), (10.0, 3.0)];
        let series = vec![Series { label: "<one>".into(), mark: Mark::Line, points }];
        let [title, x_label, y_label] = ["&", "x", "y"].map(String::from);
        let mut page = Page::new("page");
        let chart = Chart { title, x_label, y_label, log_x: true, log_y: true, series };
        page.picture(&chart).unwrap();
        let html = page.finish();
        assert!(html.contains("<figure><svg") && !html.contains("<?xml"));
        for outside in ["src=", "href=", "@import", "url(", "<script"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
