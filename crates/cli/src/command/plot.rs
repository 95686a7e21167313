//! Charts as SVG or PNG, without fonts or libraries of the system.

mod axis;
mod canvas;
pub mod heat;

use std::path::Path;
use wgpu_optim::regression::data::text::printable;

use plotters::element::DashedPathElement;
use plotters::prelude::*;

use axis::Axis;
pub use canvas::{Picture, PlotError, check_extension, svg};
use canvas::{SCALE, font, px};

/// Approximate maximum number of points of a series.
const MAX_POINTS: usize = 2000;
/// Values beyond this are dropped, because the length of an axis could overflow.
const HUGE: f64 = 1e300;

/// Okabe and Ito's palette without yellow, distinguishable with every common kind of colour blindness.
const PALETTE: [(u8, u8, u8); 7] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (0, 0, 0),
];
const GRID: RGBColor = RGBColor(217, 217, 217);
const MINOR_GRID: RGBColor = RGBColor(240, 240, 240);

/// Style of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A line through the points in order, interrupted where y is not finite.
    Line,
    /// A dot for each point.
    Points,
    /// A line with a dot for each point.
    Joined,
    /// A thin line with rings, in the colour of the previous series, not in the legend.
    Faint,
    /// Black dashes, as a reference for the other series.
    Reference,
}

/// A series of points.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name in the legend.
    pub label: String,
    /// Style.
    pub mark: Mark,
    /// The points, as (x, y).
    pub points: Vec<(f64, f64)>,
}

/// A chart of any number of series over common axes.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Title above the chart.
    pub title: String,
    /// Label of the x axis.
    pub x_label: String,
    /// Label of the y axis.
    pub y_label: String,
    /// Whether the x axis is logarithmic; points with x ≤ 0 are then dropped.
    pub log_x: bool,
    /// Whether the y axis is logarithmic. Values ≤ 0 are then drawn at the smallest positive value, so that a loss that
    /// reaches zero stays visible.
    pub log_y: bool,
    /// Series, in drawing order. A single series gets no legend.
    pub series: Vec<Series>,
}

impl Chart {
    /// Writes the chart atomically, as SVG or PNG by the extension of `path`.
    pub fn save(&self, path: &Path) -> Result<(), PlotError> {
        canvas::save(self, path)
    }

    /// The coordinates of a series: on a log axis y is the logarithm; NaN interrupts a line.
    fn drawn_points(&self, series: &Series) -> Vec<(f64, f64)> {
        let all = self.series.iter().flat_map(|s| &s.points).map(|p| p.1);
        let floor = all.filter(|y| *y > 0.0).fold(HUGE, f64::min);
        let on_axis = |p: &&(f64, f64)| p.0.abs() < HUGE && (p.0 > 0.0 || !self.log_x);
        let points = series.points.iter().filter(on_axis).map(|&(x, y)| {
            let x = if self.log_x { x.log10() } else { x };
            match self.log_y {
                true if y.abs() < HUGE && floor < HUGE => (x, y.max(floor).log10()),
                false if y.abs() < HUGE => (x, y),
                _ => (x, f64::NAN),
            }
        });
        match series.mark {
            Mark::Line | Mark::Joined | Mark::Faint | Mark::Reference => thin(points.collect()),
            Mark::Points => points.step_by(series.points.len().div_ceil(MAX_POINTS).max(1)).collect(),
        }
    }
}

impl Picture for Chart {
    const SIZE: (u32, u32) = (1000, 640);

    fn draw<DB: DrawingBackend>(&self, backend: DB, piece: usize) -> Result<(), PlotError> {
        let root = canvas::paper(backend)?;
        let points: Vec<_> = self.series.iter().map(|s| self.drawn_points(s)).collect();
        let finite = || points.iter().flatten().filter(|p| !p.1.is_nan());
        let x_axis = Axis::new(finite().map(|p| p.0), self.log_x);
        let y_axis = Axis::new(finite().map(|p| p.1), self.log_y);
        let mut chart = ChartBuilder::on(&root)
            .caption(&*printable(&self.title), font(25))
            .margin(px(14))
            .margin_right(px(30))
            .x_label_area_size(px(56))
            .y_label_area_size(px(96))
            .build_cartesian_2d(x_axis.clone(), y_axis.clone())?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(SCALE))
            .light_line_style(MINOR_GRID.stroke_width(SCALE))
            .axis_style(BLACK.stroke_width(SCALE))
            .set_all_tick_mark_size(px(4))
            .label_style(font(17))
            .axis_desc_style(font(19))
            .x_desc(&*printable(&self.x_label))
            .y_desc(&*printable(&self.y_label))
            .draw()?;

        let mut fresh = 0;
        // Black is reserved for a reference.
        let colours = PALETTE.len() - usize::from(self.series.iter().any(|s| s.mark == Mark::Reference));
        for (series, points) in self.series.iter().zip(&points) {
            let faint = series.mark == Mark::Faint;
            let which = if faint { usize::max(fresh, 1) - 1 } else { fresh };
            fresh = which + usize::from(series.mark != Mark::Reference);
            let (r, g, b) = PALETTE[which % colours];
            let colour = if series.mark == Mark::Reference { BLACK } else { RGBColor(r, g, b) };
            let width = if faint { SCALE } else { 3 * SCALE / 2 };
            let line = colour.stroke_width(width);
            let dot_style = if faint { line } else { colour.filled() };
            // When colours repeat, dots become triangles.
            let (round, half) = (which < colours, px(4));
            let dot = |p: &(f64, f64)| match round {
                true => Circle::new(*p, half, dot_style).into_dyn(),
                false => TriangleMarker::new(*p, px(5), dot_style).into_dyn(),
            };
            let path = |p: &[(f64, f64)]| match series.mark {
                Mark::Reference => {
                    let points: Vec<_> = p.into();
                    DashedPathElement::new(points, px(9), px(6), line).into_dyn()
                }
                _ => PathElement::new(p, line).into_dyn(),
            };
            let joined = series.mark != Mark::Points;
            let dotted = matches!(series.mark, Mark::Joined | Mark::Faint);
            let marks = points.split(|p| p.1.is_nan()).flat_map(|run| match run {
                // A point between two gaps would be invisible as a line.
                [_, _, ..] if joined => {
                    let piece = if series.mark == Mark::Reference { usize::MAX } else { piece };
                    let lines = run.windows(piece.min(run.len())).map(path);
                    lines.chain(run.iter().filter(|_| dotted).map(dot)).collect()
                }
                _ => run.iter().map(dot).collect::<Vec<_>>(),
            });
            let reference = series.mark == Mark::Reference;
            let key = move |(x, y)| match (reference, round) {
                (true, _) => {
                    let ends = [(x, y), (x + px(28), y)];
                    DashedPathElement::new(ends, px(7), px(4), line).into_dyn()
                }
                (_, true) => {
                    Rectangle::new([(x, y - px(2)), (x + px(28), y + px(2))], colour.filled()).into_dyn()
                }
                _ => TriangleMarker::new((x + px(14), y), px(7), colour.filled()).into_dyn(),
            };
            let drawn = chart.draw_series(marks)?;
            if !faint {
                drawn.label(&*printable(&series.label)).legend(key);
            }
        }
        if self.series.len() > 1 {
            let high = finite().filter(|p| y_axis.fraction(p.1) > 0.75);
            let to_the_right: f64 = high.map(|p| x_axis.fraction(p.0) - 0.5).sum();
            use SeriesLabelPosition::{LowerLeft, LowerRight, UpperLeft, UpperRight};
            let mut corner = if to_the_right > 0.0 { UpperLeft } else { UpperRight };
            if self.series.len() > PALETTE.len() {
                // The legend goes into the corner where it hides the fewest points.
                let hidden = |right: bool, upper: bool| {
                    let in_it = finite().filter(|p| {
                        let (x, y) = (x_axis.fraction(p.0), y_axis.fraction(p.1));
                        (if right { x > 0.75 } else { x < 0.25 }) && (y > 0.5) == upper
                    });
                    in_it.count()
                };
                let corners = [
                    (UpperRight, true, true),
                    (UpperLeft, false, true),
                    (LowerRight, true, false),
                    (LowerLeft, false, false),
                ];
                let free = corners.into_iter().min_by_key(|&(_, right, upper)| hidden(right, upper));
                corner = free.map_or(corner, |(free, ..)| free);
            }
            let legend = &mut chart.configure_series_labels();
            legend.position(corner).margin(px(10)).legend_area_size(px(38));
            legend.label_font(font(19)).background_style(WHITE.mix(0.85)).draw()?;
        }
        Ok(root.present()?)
    }
}

/// Reduces points to the lowest and the highest of each of [`MAX_POINTS`] / 2 groups, so that spikes stay visible. NaN
/// counts as the highest, so that gaps stay visible.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points;
    }
    let extremes = |group: &[(f64, f64)]| {
        let order = |a: &usize, b: &usize| group[*a].1.total_cmp(&group[*b].1);
        let low = (0..group.len()).min_by(order).unwrap_or(0);
        let high = (0..group.len()).max_by(order).unwrap_or(0);
        [group[low.min(high)], group[low.max(high)]]
    };
    points.chunks(points.len().div_ceil(MAX_POINTS / 2)).flat_map(extremes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(log_y: bool, series: &[&[(f64, f64)]]) -> Chart {
        let named = |(i, points): (usize, &&[(f64, f64)])| Series {
            label: format!("<{i}>"),
            mark: if i % 2 == 0 { Mark::Line } else { Mark::Points },
            points: points.to_vec(),
        };
        let series = series.iter().enumerate().map(named).collect();
        let [title, x_label, y_label] = ["a & b", "x", "y"].map(String::from);
        Chart { title, x_label, y_label, log_x: false, log_y, series }
    }

    #[test]
    fn other_extensions_are_refused() {
        for name in ["x.pdf", "x", ".svg", "svg"] {
            let error = check_extension(Path::new(name)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(".svg or .png"), "{error}");
            assert!(chart(false, &[]).save(Path::new(name)).is_err());
        }
        check_extension(Path::new("a/x.PNG")).unwrap();
    }

    #[test]
    fn a_picture_has_no_control_characters() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.svg");
        Chart { title: "\u{1b}[31mrows\u{7}".into(), ..chart(true, &[&[(0.0, 1.0)]]) }
            .save(&path)
            .unwrap();
        let svg = std::fs::read_to_string(path).unwrap();
        assert!(svg.contains("\\u{1b}[31mrows\\u{7}") && !svg.contains('\u{1b}'), "{svg}");
    }

    #[test]
    fn both_formats_are_written_over_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let chart = chart(true, &[&[(0.0, 1.0), (1.0, 1e-9)], &[(0.5, 0.0)]]);
        let [svg, png] = ["a.SVG", "a.png"].map(|name| {
            let path = directory.path().join(name);
            std::fs::write(&path, "old").unwrap();
            chart.save(&path).unwrap();
            std::fs::read(path).unwrap()
        });
        let svg = String::from_utf8(svg).unwrap();
        assert!(svg.starts_with(r#"<svg width="1000" height="640" "#) && svg.contains("</svg>"));
        assert!(svg.contains(r#"font-family="sans-serif""#) && svg.contains("&lt;0&gt;"));
        assert!(png.starts_with(b"\x89PNG") && png.ends_with(b"IEND\xaeB`\x82"));
        assert_eq!(png[16..24], [0, 0, 3, 232, 0, 0, 2, 128]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn series_without_extent_are_drawn() {
        let odd: [&[(f64, f64)]; 8] = [
            &[],
            &[(f64::NAN, f64::NAN), (1.0, f64::INFINITY)],
            &[(1.0, 0.5), (2.0, 0.5)],
            &[(7.0, 0.0)],
            &[(1.0, -2.0), (2.0, 0.0)],
            &[(0.0, -1.0), (1e308, 1.0)],
            &[(-9e299, -9e299), (9e299, 9e299)],
            &[(0.0, 1e-310), (1e-310, 2e-310)],
        ];
        for points in odd {
            for log_y in [false, true] {
                assert!(canvas::svg(&chart(log_y, &[points, points])).unwrap().contains("</text>"));
            }
        }
    }

    #[test]
    fn thinning_keeps_extremes_and_gaps() {
        let mut points: Vec<_> = (0..1_000_000).map(|i| (f64::from(i), 1.0)).collect();
        (points[123_456].1, points[654_321].1) = (9.0, -9.0);
        points[400_000..500_000].fill((450_000.0, f64::NAN));
        let thinned = thin(points.clone());
        assert!(thinned.len() <= MAX_POINTS);
        assert!(thinned.contains(&points[123_456]) && thinned.contains(&points[654_321]));
        assert!(thinned.iter().any(|p| p.1.is_nan()));
        assert!(canvas::svg(&chart(false, &[&points, &points])).unwrap().len() < 300_000);
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none/x.svg");
        let error = chart(false, &[]).save(&path).unwrap_err();
        assert!(matches!(error, PlotError::Io { .. }) && error.to_string().contains("x.svg"));
    }
}
