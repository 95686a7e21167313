//! Heat maps of a value over two settings, as SVG or PNG.

mod axis;
mod colours;
mod frame;

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::canvas::{self, Picture, PlotError, font, px, write, write_upwards};
use axis::short;
pub use axis::{HeatAxis, HeatValues};
use frame::Frame;

/// Outline of the lowest cell, distinct from every colour of the map.
const LOWEST: RGBColor = RGBColor(230, 40, 40);
/// Digits of a number at an axis.
const BRIEF: usize = 3;
const PRECISE: usize = 5;

/// A heat map: one rectangle for each pair of settings, coloured by the logarithm of the value.
///
/// The lowest value is considered the best: its cell is outlined, and the subtitle describes it.
#[derive(Clone, Debug)]
pub struct HeatMap {
    /// Title above the map.
    pub title: String,
    /// Horizontal axis.
    pub x: HeatAxis,
    /// Vertical axis, from the bottom up; names from the top down.
    pub y: HeatAxis,
    /// Name of the value.
    pub value_label: String,
    /// Values in row-major order, the first `y` first. `None` and non-finite values are runs that diverged. Values ≤ 0
    /// have the colour of the smallest positive one.
    pub cells: Vec<Option<f64>>,
}

impl HeatMap {
    /// Writes the map atomically, as SVG or PNG by the extension of `path`.
    ///
    /// # Errors
    /// [`PlotError`] for the path or the file, for an axis without values or with values that do not increase, and for a
    /// number of cells that does not match the axes.
    pub fn save(&self, path: &Path) -> Result<(), PlotError> {
        canvas::save(self, path)
    }

    fn values(&self) -> impl Iterator<Item = Option<f64>> + '_ {
        self.cells.iter().map(|cell| cell.filter(|value| value.is_finite()))
    }

    /// The first lowest value and its cell.
    fn lowest(&self) -> Option<(usize, f64)> {
        let found = self.values().enumerate().filter_map(|(i, value)| Some((i, value?)));
        found.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The subtitle.
    fn summary(&self) -> String {
        let Some((i, value)) = self.lowest() else { return "every run diverged".into() };
        let (x, y) = (self.x.text(i % self.x.len(), PRECISE), self.y.text(i / self.x.len(), PRECISE));
        let (what, value) = (&self.value_label, short(value, PRECISE));
        format!("lowest {what}: {value}, at {} {x} and {} {y}", self.x.label, self.y.label)
    }

    /// The logarithms of the cells, for their colours.
    fn logarithms(&self) -> Vec<Option<f64>> {
        let floor = self.values().flatten().filter(|value| *value > 0.0).reduce(f64::min).unwrap_or(1.0);
        self.values().map(|value| Some(value?.max(floor).log10())).collect()
    }

    /// Writes the labels of the axes around the `frame`.
    fn draw_axes<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        frame: &Frame,
        [columns, rows]: [&[i32]; 2],
    ) -> Result<(), PlotError> {
        let (bottom, left, half) = (frame.y.end + px(1), frame.x.start - px(1), px(1) / 2);
        let texts: Vec<_> = (0..self.x.len()).map(|i| self.x.text(i, BRIEF)).collect();
        for (i, x) in apart(columns, widest(root, &texts)? + px(8)) {
            Frame { x: x - half..x + half, y: bottom..bottom + px(4) }.fill(root, BLACK)?;
            write(root, &texts[i], 17, (x, bottom + px(8)), (HPos::Center, VPos::Top))?;
        }
        for (i, y) in apart(rows, px(19)) {
            Frame { x: left - px(4)..left, y: y - half..y + half }.fill(root, BLACK)?;
            write(root, &self.y.text(i, BRIEF), 17, (left - px(8), y), (HPos::Right, VPos::Center))?;
        }
        let (x, y) = frame.centre();
        write(root, &self.x.label, 19, (x, frame.y.end + px(48)), (HPos::Center, VPos::Center))?;
        write_upwards(root, &self.y.label, 19, (px(24), y))
    }

    /// Draws the key of outline and cross, if the map has them, on a line from `x`.
    fn draw_key<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        (x, y): (i32, i32),
    ) -> Result<(), PlotError> {
        let square = |x| Frame { x: x..x + px(18), y: y - px(9)..y + px(9) };
        let mut x = x;
        if self.lowest().is_some() {
            square(x).grown(-px(3)).outline(root, LOWEST, px(3))?;
            write(root, "lowest", 17, (x + px(26), y), (HPos::Left, VPos::Center))?;
            x += px(110);
        }
        let diverged = self.values().filter(Option::is_none).count();
        if diverged > 0 {
            square(x).cross_out(root)?;
            let text = format!("diverged: {diverged} of {}", self.cells.len());
            write(root, &text, 17, (x + px(26), y), (HPos::Left, VPos::Center))?;
        }
        Ok(())
    }
}

impl Picture for HeatMap {
    const SIZE: (u32, u32) = (900, 700);

    fn draw<DB: DrawingBackend>(&self, backend: DB, _piece: usize) -> Result<(), PlotError> {
        let (x_edges, y_edges) = (self.x.edges()?, self.y.edges()?);
        let (x_cells, y_cells) = (self.x.len(), self.y.len());
        if self.cells.len() != x_cells * y_cells {
            let cells = self.cells.len();
            let what = format!("there are {cells} cells instead of {x_cells} × {y_cells}");
            return Err(PlotError::Data { what });
        }
        let root = canvas::paper(backend)?;
        let [right, bottom] = [Self::SIZE.0, Self::SIZE.1].map(|pixels| px(pixels as i32));
        let centre = (HPos::Center, VPos::Center);
        write(&root, &self.title, 25, (right / 2, px(30)), centre)?;
        write(&root, &self.summary(), 18, (right / 2, px(62)), centre)?;

        // The labels of the y axis get the width they need, but at most a third of the picture.
        let texts: Vec<_> = (0..y_cells).map(|i| self.y.text(i, BRIEF)).collect();
        let left = px(52) + widest(&root, &texts)?.min(right / 3);
        let frame = Frame { x: left..right - px(148), y: px(90)..bottom - px(112) };
        let columns: Vec<_> = x_edges.iter().map(|edge| frame.across(*edge)).collect();
        let downwards = matches!(self.y.values, HeatValues::Names(_));
        let row = |edge: &f64| frame.up(if downwards { 1.0 - edge } else { *edge });
        let rows: Vec<_> = y_edges.iter().map(row).collect();
        let cell = |i: usize| {
            let (x, y) = (i % x_cells, i / x_cells);
            let (one, other) = (rows[y], rows[y + 1]);
            Frame { x: columns[x]..columns[x + 1], y: one.min(other)..one.max(other) }
        };

        let logarithms = self.logarithms();
        let colours = Axis::new(logarithms.iter().flatten().copied(), true);
        for (i, logarithm) in logarithms.iter().enumerate() {
            match logarithm {
                Some(at) => cell(i).apart().fill(&root, colours::viridis(colours.fraction(*at)))?,
                None => cell(i).apart().cross_out(&root)?,
            }
        }
        frame.outline(&root, BLACK, px(1))?;
        self.draw_axes(&root, &frame, [&columns, &rows])?;
        self.draw_key(&root, (frame.x.start, bottom - px(28)))?;
        if let Some((i, _)) = self.lowest() {
            cell(i).outline(&root, LOWEST, px(3))?;
            cell(i).grown(px(3)).outline(&root, WHITE, px(1))?;
            let bar = Frame { x: right - px(118)..right - px(96), ..frame };
            colours::draw_bar(&root, &bar, &colours, (&self.value_label, right - px(20)))?;
        }
        Ok(root.present()?)
    }
}

/// The width of the widest label.
fn widest<DB: DrawingBackend>(on: &DrawingArea<DB, Shift>, texts: &[String]) -> Result<i32, PlotError> {
    let style = font(17);
    texts.iter().try_fold(0, |most, text| {
        let width = on.estimate_text_size(text, &style)?.0;
        Ok(most.max(width as i32))
    })
}

/// Selects cells between these ends, with their centres, that are far enough apart for labels of this `length`.
fn apart(ends: &[i32], length: i32) -> Vec<(usize, i32)> {
    let mut shown: Vec<(usize, i32)> = vec![];
    for (i, pair) in ends.windows(2).enumerate() {
        let middle = (pair[0] + pair[1]) / 2;
        if shown.last().is_none_or(|last| (middle - last.1).abs() >= length) {
            shown.push((i, middle));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(label: &str, values: HeatValues) -> HeatAxis {
        HeatAxis { label: label.into(), values }
    }

    fn logarithmic(label: &str, powers: std::ops::Range<i32>, base: f64) -> HeatAxis {
        axis(label, HeatValues::Log(powers.map(|power| base.powi(power)).collect()))
    }

    fn map(x: HeatAxis, y: HeatAxis, cells: Vec<Option<f64>>) -> HeatMap {
        HeatMap { title: "a & b".into(), x, y, value_label: "loss".into(), cells }
    }

    /// A map of learning rates and batch sizes: the valley of a quadratic, and a corner that diverges.
    fn example() -> HeatMap {
        let (x, y) = (logarithmic("learning rate", -20..1, 1.8), logarithmic("batch", 0..13, 2.0));
        let value = |i: usize| {
            let (x, y) = ((i % 21) as f64 - 12.0, (i / 21) as f64 - 6.0);
            (x - 0.4 * y < 6.0).then(|| 0.003 + 0.02 * (x - 0.5 * y).powi(2) + 0.004 * y.powi(2))
        };
        let cells = (0..21 * 13).map(value).collect();
        HeatMap { title: "Adam on diabetes, 100 epochs".into(), ..map(x, y, cells) }
    }

    fn one(value: Option<f64>) -> HeatMap {
        map(
            axis("x", HeatValues::Linear(vec![-3.0])),
            axis("y", HeatValues::Names(vec!["<n>".into()])),
            vec![value],
        )
    }

    #[test]
    fn both_formats_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let [svg, png] = ["a.svg", "a.png"].map(|name| {
            let path = directory.path().join(name);
            example().save(&path).unwrap();
            std::fs::read(path).unwrap()
        });
        assert!(png.starts_with(b"\x89PNG") && png[16..24] == [0, 0, 3, 132, 0, 0, 2, 188]);
        let svg = String::from_utf8(svg).unwrap();
        assert!(svg.starts_with(r#"<svg width="900" height="700" "#));
        for text in ["learning rate", "batch", "4096", "Adam on diabetes, 100 epochs", "diverged: "] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn the_lowest_cell_is_outlined_and_named() {
        let map = example();
        assert_eq!(map.summary(), "lowest loss: 0.003, at learning rate 0.0090744 and batch 64");
        let svg = canvas::svg(&map).unwrap();
        assert_eq!(svg.matches("#E62828").count(), 8, "four sides, and four in the key");
        let nothing_missing = canvas::svg(&one(Some(0.25))).unwrap();
        assert!(nothing_missing.contains("lowest loss: 0.25, at x -3 and y &lt;n&gt;"));
        assert!(!nothing_missing.contains("diverged"));
    }

    #[test]
    fn what_diverged_is_crossed_out_and_counted() {
        for diverged in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)] {
            let svg = canvas::svg(&one(diverged)).unwrap();
            assert!(svg.contains("every run diverged") && svg.contains("diverged: 1 of 1"));
            assert!(!svg.contains("lowest") && !svg.contains("loss"), "no outline and no colours");
            assert_eq!(svg.matches("<polyline").count(), 4, "two of the cell, two of the key");
        }
        let x = axis("x", HeatValues::Linear(vec![1.0, 2.0]));
        let some = HeatMap { x, cells: vec![None, Some(2.0)], ..one(None) };
        let svg = canvas::svg(&some).unwrap();
        assert!(svg.contains("lowest loss: 2, at x 2") && svg.contains("diverged: 1 of 2"));
    }

    #[test]
    fn values_of_any_size_have_a_colour() {
        let x = || axis("x", HeatValues::Linear(vec![1.0, 2.0, 4.0]));
        let of = |values: [f64; 3]| HeatMap { x: x(), cells: values.map(Some).to_vec(), ..one(None) };
        assert_eq!(of([0.0, 10.0, -1.0]).logarithms(), [Some(1.0); 3]);
        assert_eq!(of([-1.0, 0.0, -0.0]).logarithms(), [Some(0.0); 3]);
        assert_eq!(of([0.0, 10.0, -1.0]).lowest(), Some((2, -1.0)));
        for values in [[5.0; 3], [0.0; 3], [5e-324, 1.0, f64::MAX], [f64::MAX; 3], [5e-324; 3]] {
            assert!(canvas::svg(&of(values)).unwrap().contains("lowest loss"));
        }
    }

    #[test]
    fn many_cells_are_drawn_and_some_are_named() {
        let values = |n: i32| HeatValues::Linear((0..n).map(f64::from).collect());
        let many = map(axis("x", values(3000)), axis("y", values(2)), vec![Some(1.0); 6000]);
        let texts = canvas::svg(&many).unwrap().matches("<text").count();
        assert!((10..50).contains(&texts), "{texts}");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let message = |map: HeatMap| canvas::svg(&map).unwrap_err().to_string();
        let text = message(HeatMap { cells: vec![], ..one(None) });
        assert_eq!(text, "cannot draw the chart: there are 0 cells instead of 1 × 1");
        let x = axis("rate", HeatValues::Log(vec![0.0, 1.0]));
        let text = message(HeatMap { x, ..one(None) });
        assert!(text.contains(r#"the values of "rate" must be finite"#), "{text}");
        assert!(matches!(one(None).save(Path::new("a.pdf")), Err(PlotError::Extension { .. })));
    }
}
