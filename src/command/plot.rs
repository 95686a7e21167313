//! Charts of a run as SVG or PNG, drawn without any font or library of the system.

use std::error::Error;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width and height of every chart, in pixels.
const SIZE: (u32, u32) = (1000, 640);
/// Plotters rounds each coordinate to a whole unit and leaves the edges of wide lines jagged, so
/// a chart is drawn with this many units to a pixel: the SVG scales them down through its view
/// box, the PNG averages them.
const SCALE: u32 = 4;
/// A longer series is thinned to about this many points, two for each of as many pixel columns
/// as a chart has.
const MAX_POINTS: usize = 2000;
/// Beyond this the length of an axis, or a step on it, would overflow or lose its digits.
const HUGE: f64 = 1e300;

/// How much too high plotters places text that is centred on a point, in pixels of a PNG.
const DROP: i32 = px(2);

/// Okabe and Ito's palette, told apart with every common kind of colour blindness. Yellow comes
/// last because it is faint on white.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(240, 228, 66),
];
const TEXT: RGBColor = RGBColor(34, 34, 34);
const AXIS: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(217, 217, 217);
const MINOR_GRID: RGBColor = RGBColor(240, 240, 240);

/// The generic family is what a browser reads in the SVG; the PNG looks the same name up among
/// the registered fonts.
static FONT_REGISTERED: LazyLock<bool> = LazyLock::new(|| {
    let font = epaint_default_fonts::UBUNTU_LIGHT;
    register_font(FontFamily::SansSerif.as_str(), FontStyle::Normal, font).is_ok()
});

/// Why a chart was not written.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The extension names no format that can be written.
    #[error("cannot draw {path:?}: the file name must end in .svg or .png")]
    Extension {
        /// The path as given.
        path: PathBuf,
    },
    /// The drawing library failed.
    #[error("cannot draw the chart: {0}")]
    Draw(String),
    /// The file could not be written.
    #[error("cannot write {path:?}: {error}")]
    Io {
        /// The chart's path, or that of the temporary file beside it.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

impl<E: Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::Draw(error.to_string())
    }
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A line through the points, whose x must not decrease. It is broken where y is not finite.
    Line,
    /// A dot for each point.
    Points,
}

/// One set of points of a chart.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub label: String,
    /// How it is drawn.
    pub mark: Mark,
    /// The points, as (x, y).
    pub points: Vec<(f64, f64)>,
}

/// A chart of any number of series over common axes.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The line above the chart.
    pub title: String,
    /// What x is.
    pub x_label: String,
    /// What y is.
    pub y_label: String,
    /// Whether y is on a logarithmic axis. Values at or below zero are then drawn at the smallest
    /// positive one, since a loss that reached zero should not vanish from the chart.
    pub log_y: bool,
    /// What is drawn, in this order. A single series gets no legend.
    pub series: Vec<Series>,
}

enum Format {
    Svg,
    Png,
}

fn format_of(path: &Path) -> Result<Format, PlotError> {
    match path.extension() {
        Some(e) if e.eq_ignore_ascii_case("svg") => Ok(Format::Svg),
        Some(e) if e.eq_ignore_ascii_case("png") => Ok(Format::Png),
        _ => Err(PlotError::Extension { path: path.into() }),
    }
}

/// Refuses a path that [`Chart::save`] would refuse for its extension, so that a command can do so
/// before a long run.
pub fn check_extension(path: &Path) -> Result<(), PlotError> {
    format_of(path).map(|_| ())
}

impl Chart {
    /// Writes the chart as SVG or PNG by the extension of `path`, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), PlotError> {
        let size = (SIZE.0 * SCALE, SIZE.1 * SCALE);
        match format_of(path)? {
            Format::Svg => {
                let mut svg = String::new();
                self.draw(SVGBackend::with_string(&mut svg, size), false)?;
                let drawn = format!(r#"width="{}" height="{}""#, size.0, size.1);
                // Round joins because a noisy line is full of sharp ones.
                let (width, height) = SIZE;
                let shown = format!(r#"width="{width}" height="{height}" stroke-linejoin="round""#);
                let svg = svg.replacen(&drawn, &shown, 1);
                replace(path, ".svg", |temp| std::fs::write(temp, &svg).map_err(io_error(temp)))
            }
            Format::Png => {
                let mut pixels = vec![0; (size.0 * size.1 * 3) as usize];
                self.draw(BitMapBackend::with_buffer(&mut pixels, size), true)?;
                let image = BitMapElement::with_owned_buffer((0, 0), SIZE, shrink(&pixels));
                replace(path, ".png", |temp| {
                    let file = BitMapBackend::new(temp, SIZE).into_drawing_area();
                    file.draw(&image.ok_or_else(|| PlotError::Draw("wrong image size".into()))?)?;
                    Ok(file.present()?)
                })
            }
        }
    }

    /// The points as they are drawn: y as its logarithm on a log axis, NaN where a line breaks.
    fn drawn_points(&self) -> Vec<Vec<(f64, f64)>> {
        let ys = self.series.iter().flat_map(|s| s.points.iter().map(|p| p.1));
        let floor = ys.filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min).max(1.0 / HUGE);
        let place = |&(x, y): &(f64, f64)| match self.log_y {
            _ if y.is_nan() || y.abs() > HUGE => (x, f64::NAN),
            false => (x, y),
            true if floor > HUGE => (x, f64::NAN),
            true => (x, y.max(floor).log10()),
        };
        let drawn = |s: &Series| {
            let points = s.points.iter().filter(|p| p.0.abs() <= HUGE);
            thin(points.map(place).collect(), s.mark)
        };
        self.series.iter().map(drawn).collect()
    }

    /// Pixels, unlike SVG, need lines in pieces with joints between them, since plotters fills the
    /// outline of a whole line by the even-odd rule, which leaves holes where a noisy one overlaps
    /// itself, and text moved down by [`DROP`].
    fn draw<DB: DrawingBackend>(&self, backend: DB, pixels: bool) -> Result<(), PlotError> {
        if !*FONT_REGISTERED {
            return Err(PlotError::Draw("the embedded font is not readable".into()));
        }
        let drop = if pixels { DROP } else { 0 };
        let root = backend.into_drawing_area();
        root.fill(&WHITE)?;
        let (title_style, text_style, tick_style) = (font(25), font(19), font(17));
        let points = self.drawn_points();
        let drawable = || points.iter().flatten().filter(|p| !p.1.is_nan());
        let scatter = self.series.iter().any(|s| s.mark == Mark::Points);
        let whole = drawable().all(|p| p.0.fract() == 0.0);
        let x_range = x_range(bounds(drawable().map(|p| p.0)), scatter);
        let y_range = y_range(bounds(drawable().map(|p| p.1)), self.log_y);
        let y_axis = if self.log_y { Axis::log(y_range) } else { Axis::linear(y_range, 9, false) };

        let left = px(44) + widest(&root, y_axis.texts(), &tick_style)?;
        let mut most_ticks = 10;
        let (x_axis, right) = loop {
            let axis = Axis::linear(x_range.clone(), most_ticks, whole);
            let label = widest(&root, axis.texts(), &tick_style)?;
            let room = px(SIZE.0 as i32) - left - label;
            if most_ticks <= 2 || axis.ticks.len() as i32 * (label + px(20)) <= room {
                break (axis, px(16).max(label / 2 + px(4)));
            }
            most_ticks -= 1;
        };
        let title = fit(&root, &self.title, &title_style, px(SIZE.0 as i32 - 40))?;
        let title_style = title_style.pos(Pos::new(HPos::Center, VPos::Top));
        root.draw_text(&title, &title_style, (px(SIZE.0 as i32) / 2, px(16)))?;
        let mut chart = ChartBuilder::on(&root)
            .margin_top(px(54))
            .margin_right(right)
            .margin_bottom(px(12))
            .margin_left(px(10))
            .x_label_area_size(px(56))
            .y_label_area_size(left)
            .build_cartesian_2d(x_axis, y_axis)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(SCALE))
            .light_line_style(MINOR_GRID.stroke_width(SCALE))
            .axis_style(AXIS.stroke_width(SCALE))
            .set_all_tick_mark_size(px(4))
            .y_label_offset(drop)
            .label_style(tick_style)
            .axis_desc_style(text_style.clone())
            .x_desc(fit(&root, &self.x_label, &text_style, px(800))?)
            .y_desc(fit(&root, &self.y_label, &text_style, px(500))?)
            .draw()?;

        let mut covered = Vec::new();
        for ((series, points), colour) in self.series.iter().zip(&points).zip(PALETTE.iter().cycle()) {
            let line = colour.stroke_width(3 * SCALE / 2);
            let dots = |run: &[(f64, f64)], size| {
                let dot = |p: &(f64, f64)| Circle::new(*p, size, colour.filled());
                run.iter().map(dot).collect::<Vec<_>>()
            };
            for run in points.split(|p| p.1.is_nan()) {
                let places = run.iter().map(|p| chart.backend_coord(p));
                if series.mark == Mark::Points {
                    covered.extend(places);
                    chart.draw_series(dots(run, px(4)))?;
                    continue;
                }
                covered.extend(along(&places.collect::<Vec<_>>()));
                if pixels {
                    let pieces = run.windows(2).map(|p| PathElement::new(p.to_vec(), line));
                    chart.draw_series(pieces)?;
                    chart.draw_series(dots(run, px(1)))?;
                } else if run.len() > 1 {
                    chart.draw_series([PathElement::new(run, line)])?;
                }
                if run.len() == 1 {
                    // A point between two breaks is no line and would not be seen.
                    chart.draw_series(dots(run, px(3)))?;
                }
            }
        }
        if self.series.len() > 1 {
            let plot = chart.plotting_area().get_pixel_range();
            self.draw_legend(&root, plot, drop, &covered)?;
        }
        Ok(root.present()?)
    }

    /// Draws the legend in the corner of the plot with the fewest `covered` places.
    fn draw_legend<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        (plot_x, plot_y): (Range<i32>, Range<i32>),
        drop: i32,
        covered: &[(i32, i32)],
    ) -> Result<(), PlotError> {
        let style = font(19).pos(Pos::new(HPos::Left, VPos::Center));
        let labels = self.series.iter().map(|s| fit(root, &s.label, &style, px(360)));
        let labels = labels.collect::<Result<Vec<_>, _>>()?;
        let width = widest(root, labels.iter().map(String::as_str), &style)? + px(58);
        let height = px(24) * labels.len() as i32 + px(12);
        let (near, far) = (plot_x.start + px(12), plot_x.end - px(12) - width);
        let (high, low) = (plot_y.start + px(12), plot_y.end - px(12) - height);
        // The earliest of equals is taken, and most curves of a training run fall.
        let corners = [(far, high), (near, high), (far, low), (near, low)];
        let overlap = |&(left, top): &(i32, i32)| {
            let (wide, tall) = (left - px(6)..left + width + px(6), top - px(6)..top + height + px(6));
            covered.iter().filter(|p| wide.contains(&p.0) && tall.contains(&p.1)).count()
        };
        let (left, top) = corners.into_iter().min_by_key(overlap).unwrap_or(corners[0]);
        let area = [(left, top), (left + width, top + height)];
        root.draw(&Rectangle::new(area, WHITE.mix(0.9).filled()))?;
        // A path, because the SVG of a rectangle lacks the width of its border.
        let (right, bottom) = (left + width, top + height);
        let frame = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        root.draw(&PathElement::new(frame.to_vec(), GRID.stroke_width(SCALE)))?;
        let colours = PALETTE.iter().cycle();
        for (((series, label), colour), row) in self.series.iter().zip(&labels).zip(colours).zip(0..) {
            let y = top + px(18) + px(24) * row;
            if series.mark == Mark::Line {
                let key = vec![(left + px(10), y), (left + px(38), y)];
                root.draw(&PathElement::new(key, colour.stroke_width(3 * SCALE)))?;
            } else {
                root.draw(&Circle::new((left + px(24), y), px(4), colour.filled()))?;
            }
            root.draw_text(label, &style, (left + px(48), y + drop))?;
        }
        Ok(())
    }
}

const fn px(pixels: i32) -> i32 {
    pixels * SCALE as i32
}

fn font(size: i32) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::SansSerif, f64::from(px(size)), FontStyle::Normal);
    TextStyle::from(font).color(&TEXT)
}

/// The width of the widest text. Browsers choose their own font, and many are wider than the
/// embedded one, so that some room is added.
fn widest<'a, DB: DrawingBackend>(
    root: &DrawingArea<DB, Shift>,
    texts: impl IntoIterator<Item = &'a str>,
    style: &TextStyle,
) -> Result<i32, PlotError> {
    let mut most = 0;
    for text in texts {
        most = most.max(root.estimate_text_size(text, style)?.0 as i32 * 9 / 8);
    }
    Ok(most)
}

/// `text`, shortened where it is wider than `most`.
fn fit<DB: DrawingBackend>(
    root: &DrawingArea<DB, Shift>,
    text: &str,
    style: &TextStyle,
    most: i32,
) -> Result<String, PlotError> {
    // A control character would make the SVG malformed.
    let whole = text.replace(char::is_control, " ");
    let mut fitted = whole.clone();
    let mut kept: Vec<char> = whole.chars().collect();
    while widest(root, [fitted.as_str()], style)? > most && kept.pop().is_some() {
        fitted = kept.iter().chain(['…'].iter()).collect();
    }
    Ok(fitted)
}

/// Averages each square of `SCALE`² pixels.
fn shrink(pixels: &[u8]) -> Vec<u8> {
    let (scale, width) = (SCALE as usize, SIZE.0 as usize);
    let mut shrunk = Vec::with_capacity(pixels.len() / (scale * scale));
    for rows in pixels.chunks_exact(3 * width * scale * scale) {
        let mut sums = vec![0_u32; 3 * width];
        for row in rows.chunks_exact(3 * width * scale) {
            for (at, value) in row.iter().enumerate() {
                sums[at / (3 * scale) * 3 + at % 3] += u32::from(*value);
            }
        }
        let area = SCALE * SCALE;
        shrunk.extend(sums.iter().map(|sum| ((sum + area / 2) / area) as u8));
    }
    shrunk
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> PlotError {
    move |error| PlotError::Io { path: path.into(), error }
}

/// Lets `write` fill a temporary file in the directory of `path`, then renames it.
fn replace(
    path: &Path,
    suffix: &str,
    write: impl FnOnce(&Path) -> Result<(), PlotError>,
) -> Result<(), PlotError> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".plot-").suffix(suffix);
    // A temporary file is for its owner alone, but a chart is a file like any other.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temp = builder.tempfile_in(directory.unwrap_or(Path::new(".")));
    let temp = temp.map_err(io_error(path))?;
    write(temp.path())?;
    temp.as_file().sync_all().map_err(io_error(path))?;
    temp.persist(path).map_err(|e| io_error(path)(e.error))?;
    Ok(())
}

/// At most about [`MAX_POINTS`] of the points: of each column of the chart the lowest and the
/// highest, so that a spike stays visible, and a break where a column has no y at all.
fn thin(mut points: Vec<(f64, f64)>, mark: Mark) -> Vec<(f64, f64)> {
    let Some((first, last)) = bounds(points.iter().map(|p| p.0)) else {
        return points;
    };
    if points.len() <= MAX_POINTS {
        return points;
    }
    // Extremes alone would turn a cloud of dots into its outline, so that most of the dots are
    // taken at even distances, and the extremes only of wider columns.
    let (columns, spread) = match mark {
        Mark::Line => (MAX_POINTS / 2, 0),
        Mark::Points => (MAX_POINTS / 20, MAX_POINTS * 9 / 10),
    };
    let mut thinned = Vec::with_capacity(MAX_POINTS + 2);
    if spread > 0 {
        thinned.extend(points.iter().step_by(points.len().div_ceil(spread)));
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let column = |p: &(f64, f64)| ((p.0 - first) / (last - first) * columns as f64) as usize;
    for group in points.chunk_by(|a, b| column(a) == column(b)) {
        let finite = || group.iter().filter(|p| !p.1.is_nan());
        let low = finite().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = finite().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut kept = [low.unwrap_or(&group[0]), high.unwrap_or(&group[0])];
        kept.sort_by(|a, b| a.0.total_cmp(&b.0));
        thinned.extend(kept);
    }
    thinned
}

/// Places along a line, close enough together that none of it passes a legend unseen.
fn along(places: &[(i32, i32)]) -> impl Iterator<Item = (i32, i32)> {
    places.windows(2).flat_map(|ends| {
        let (x, y) = (ends[1].0 - ends[0].0, ends[1].1 - ends[0].1);
        let steps = x.abs().max(y.abs()) / px(4) + 1;
        (0..=steps).map(move |i| (ends[0].0 + x * i / steps, ends[0].1 + y * i / steps))
    })
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |bounds, v| match bounds {
        None => Some((v, v)),
        Some((low, high)) => Some((v.min(low), v.max(high))),
    })
}

/// Opens an empty range, also one that is empty but for rounding, about its value: by a decade each
/// way on a log axis.
fn open_range(bounds: Option<(f64, f64)>, log: bool) -> (f64, f64) {
    match bounds {
        None if log => (-1.0, 1.0),
        None => (0.0, 1.0),
        Some((low, high)) if high - low > (1e-10 * low.abs().max(high.abs())).max(1.0 / HUGE) => {
            (low, high)
        }
        Some((low, _)) => {
            let near_zero = low.abs() < 1.0 / HUGE;
            let half = if log || near_zero { 1.0 } else { low.abs() / 2.0 };
            (low - half, low + half)
        }
    }
}

/// Dots at the ends keep a distance from the frame. Lines fill it, from zero on if they start
/// near: a run is counted from its start, though its first update is number one.
fn x_range(bounds: Option<(f64, f64)>, scatter: bool) -> Range<f64> {
    let (low, high) = open_range(bounds, false);
    let pad = (high - low) * 0.03;
    match scatter {
        true => low - pad..high + pad,
        false if low > 0.0 && low < 0.05 * high => 0.0..high,
        false => low..high,
    }
}

/// The vertical range, of logarithms on a log axis. It does not pass zero for the distance only.
fn y_range(bounds: Option<(f64, f64)>, log: bool) -> Range<f64> {
    let (low, high) = open_range(bounds, log);
    let pad = (high - low) * 0.04;
    let floor = if log || low < 0.0 { f64::NEG_INFINITY } else { 0.0 };
    (low - pad).max(floor)..high + pad
}

/// A linear axis, which on a log scale is one of logarithms.
struct Axis {
    range: Range<f64>,
    ticks: Vec<(f64, String)>,
    minor: Vec<f64>,
}

impl Axis {
    /// About `most` ticks at most, at multiples of 1, 2 or 5 times a power of ten.
    fn linear(range: Range<f64>, most: usize, whole: bool) -> Self {
        let raw = (range.end - range.start) / most as f64;
        let power = 10_f64.powi(raw.log10().floor() as i32);
        let step = [1.0, 2.0, 5.0].into_iter().map(|m| m * power).find(|step| *step >= raw);
        let step = step.unwrap_or(10.0 * power).max(if whole { 1.0 } else { 0.0 });
        // The bounds may themselves be multiples, but for rounding.
        let first = (range.start / step - 1e-6).ceil() as i64;
        let last = (range.end / step + 1e-6).floor() as i64;
        let values: Vec<f64> = (first..=last).map(|i| i as f64 * step).collect();

        let largest = values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let exponent = largest.log10().floor() as i32;
        let digits = (step.log10() + 1e-6).floor() as i32;
        let plain = largest == 0.0 || (-3..7).contains(&exponent);
        let text = |v: f64| match plain {
            true => format!("{v:.*}", (-digits).max(0) as usize),
            false if v == 0.0 => "0".into(),
            false => {
                let places = (exponent - digits).max(0) as usize;
                format!("{:.places$}e{exponent}", v / 10_f64.powi(exponent))
            }
        };
        let ticks = values.into_iter().map(|v| (v, text(v))).collect();
        Self { range, ticks, minor: Vec::new() }
    }

    /// Powers of ten; on a short range also some of their multiples, on a very short one the ticks
    /// of a linear axis.
    fn log(range: Range<f64>) -> Self {
        let powers = || range.start.floor() as i32..=range.end.floor() as i32;
        let multiples = |digits: &'static [i32]| {
            let all = powers().flat_map(move |k| digits.iter().map(move |m| (*m, k)));
            let placed = all.map(|(m, k)| (f64::from(m).log10() + f64::from(k), m, k));
            placed.filter(|tick| range.contains(&tick.0))
        };
        const DIGITS: [i32; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let mut minor: Vec<f64> = multiples(&DIGITS).map(|tick| tick.0).collect();
        let decades = multiples(&[1]).count();
        if decades > 12 {
            minor.clear();
        }
        let plain = range.start > -4.0 && range.end < 6.0;
        let text = |m: i32, k: i32| match plain {
            true => format!("{:.*}", (-k).max(0) as usize, f64::from(m) * 10_f64.powi(k)),
            false => format!("{m}e{k}"),
        };
        let ticks: Vec<_> = if decades >= 4 {
            let strides = [1, 2, 5, 10, 20, 50];
            let stride = strides.into_iter().find(|s| decades as i32 / s < 12).unwrap_or(100);
            let kept = multiples(&[1]).filter(|tick| tick.2 % stride == 0);
            kept.map(|(at, _, k)| (at, format!("1e{k}"))).collect()
        } else {
            let few: &[i32] = if multiples(&[1, 2, 5]).count() >= 4 { &[1, 2, 5] } else { &DIGITS };
            multiples(few).map(|(at, m, k)| (at, text(m, k))).collect()
        };
        if ticks.len() >= 4 {
            return Self { range, ticks, minor };
        }
        let values = 10_f64.powf(range.start)..10_f64.powf(range.end);
        let ticks = Self::linear(values, 8, false).ticks;
        let ticks = ticks.into_iter().map(|(at, text)| (at.log10(), text)).collect();
        Self { range, ticks, minor: Vec::new() }
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.ticks.iter().map(|tick| tick.1.as_str())
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range.clone()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => self.minor.clone(),
            false => self.ticks.iter().map(|tick| tick.0).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.0 == *value);
        tick.map(|tick| tick.1.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(log_y: bool, series: &[&[(f64, f64)]]) -> Chart {
        let named = |(i, points): (usize, &&[(f64, f64)])| Series {
            label: format!("<{i}>\n"),
            mark: if i % 2 == 0 { Mark::Line } else { Mark::Points },
            points: points.to_vec(),
        };
        Chart {
            title: "title & more".repeat(20),
            x_label: "x".into(),
            y_label: "y".into(),
            log_y,
            series: series.iter().enumerate().map(named).collect(),
        }
    }

    fn svg(chart: &Chart) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chart.svg");
        chart.save(&path).unwrap();
        std::fs::read_to_string(path).unwrap()
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
    fn both_formats_are_written_over_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let chart = chart(true, &[&[(0.0, 1.0), (1.0, 1e-9)], &[(0.5, 0.0)]]);
        let (svg, png) = (directory.path().join("a.SVG"), directory.path().join("a.png"));
        for path in [&svg, &png] {
            std::fs::write(path, "old").unwrap();
            chart.save(path).unwrap();
        }
        let svg = std::fs::read_to_string(svg).unwrap();
        assert!(svg.starts_with(r#"<svg width="1000" height="640" "#) && svg.contains("</svg>"));
        assert!(svg.contains(r#"font-family="sans-serif""#) && svg.contains("&lt;0&gt;"));
        let png = std::fs::read(png).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.ends_with(b"IEND\xaeB`\x82"));
        assert_eq!(png[16..24], [0, 0, 3, 232, 0, 0, 2, 128]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn series_without_extent_are_drawn() {
        let nan = f64::NAN;
        let odd: [&[(f64, f64)]; 7] = [
            &[],
            &[(nan, nan), (1.0, f64::INFINITY)],
            &[(1.0, 0.5), (2.0, 0.5)],
            &[(7.0, 0.0)],
            &[(0.0, -1.0), (1e308, 1.0)],
            &[(-1e300, -1e300), (1e300, 1e300)],
            &[(0.0, 1e-310), (1e-310, 2e-310)],
        ];
        for points in odd {
            for log_y in [false, true] {
                assert!(svg(&chart(log_y, &[points])).contains("</text>"));
                chart(log_y, &[points, points])
                    .draw(SVGBackend::with_string(&mut String::new(), (4000, 2560)), true)
                    .unwrap();
            }
        }
    }

    #[test]
    fn thinning_keeps_extremes_and_breaks() {
        let mut points: Vec<_> = (0..1_000_000).map(|i| (f64::from(i), 1.0)).collect();
        (points[123_456].1, points[654_321].1) = (9.0, -9.0);
        points[400_000..500_000].fill((450_000.0, f64::NAN));
        for mark in [Mark::Line, Mark::Points] {
            let thinned = thin(points.clone(), mark);
            assert!(thinned.len() <= MAX_POINTS + 2, "{}", thinned.len());
            assert!(thinned.contains(&points[123_456]) && thinned.contains(&points[654_321]));
            assert!(thinned.iter().any(|p| p.1.is_nan()));
        }
        assert!(svg(&chart(false, &[&points])).len() < 60_000);
    }

    #[test]
    fn ticks_are_few_and_round() {
        let texts = |axis: &Axis| axis.texts().map(String::from).collect::<Vec<_>>();
        assert_eq!(texts(&Axis::linear(0.0..2.0, 10, true)), ["0", "1", "2"]);
        assert_eq!(texts(&Axis::linear(-0.1..0.3, 5, false)), ["-0.1", "0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(texts(&Axis::log(-3.1..0.1)), ["1e-3", "1e-2", "1e-1", "1e0"]);
        assert_eq!(texts(&Axis::log(-1.0..1.0)).len(), 6);
        for (low, high) in [(-0.53, 0.48), (-9.3, 0.3), (-0.001, 0.001), (-300.0, 300.0)] {
            let count = texts(&Axis::log(low..high)).len();
            assert!((4..=12).contains(&count), "{low} to {high}: {count}");
        }
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none/x.svg");
        let error = chart(false, &[]).save(&path).unwrap_err();
        assert!(matches!(error, PlotError::Io { .. }) && error.to_string().contains("x.svg"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
