//! Rendering of pictures to SVG or PNG files, without fonts or libraries of the system.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::command::output;
use wgpu_optim::checkpoint::{Disk, Files, PendingFile};

/// Units per pixel. Plotters draws at whole units with hard edges; the view box of the SVG scales the units down, and
/// the PNG averages them.
pub const SCALE: u32 = 4;

/// The last chunk of a PNG file.
const END_OF_PNG: &[u8] = b"\0\0\0\0IEND\xaeB`\x82";

/// An error of writing a chart.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The extension is not one of a supported format.
    #[error("cannot draw {path:?}: the file name must end in .svg or .png")]
    Extension {
        /// The path as given.
        path: PathBuf,
    },
    /// The data are inconsistent.
    #[error("cannot draw the chart: {what}")]
    Data {
        /// The inconsistency.
        what: String,
    },
    /// The drawing library failed.
    #[error("cannot draw the chart: {0}")]
    Draw(String),
    /// The file could not be written.
    #[error("cannot write {path:?}: {error}")]
    Io {
        /// The path as given.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

impl<E: Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::Draw(error.to_string())
    }
}

/// A picture that can be drawn.
pub trait Picture {
    /// Width and height in pixels.
    const SIZE: (u32, u32);
    /// Width and height in units.
    const DRAWN: (u32, u32) = (Self::SIZE.0 * SCALE, Self::SIZE.1 * SCALE);

    /// Draws the picture, with lines in pieces of at most `piece` points: two for pixels, because plotters fills the
    /// outline of longer lines by the even-odd rule, with holes where they overlap themselves.
    fn draw<DB: DrawingBackend>(&self, backend: DB, piece: usize) -> Result<(), PlotError>;
}

fn is_svg(path: &Path) -> Result<bool, PlotError> {
    match path.extension() {
        Some(e) if e.eq_ignore_ascii_case("svg") => Ok(true),
        Some(e) if e.eq_ignore_ascii_case("png") => Ok(false),
        _ => Err(PlotError::Extension { path: path.into() }),
    }
}

/// Checks the extension of a path for [`save`], so that commands can report errors before a long run.
pub fn check_extension(path: &Path) -> Result<(), PlotError> {
    is_svg(path).map(|_| ())
}

/// Writes a picture atomically, as SVG or PNG by the extension of `path`.
pub fn save<P: Picture>(picture: &P, path: &Path) -> Result<(), PlotError> {
    let is_svg = is_svg(path)?;
    let io_error = |error| PlotError::Io { path: path.into(), error };
    let folder = output::folder_of(path);
    let mut temp = Disk.begin_with_suffix(folder, ".png").map_err(io_error)?;
    if is_svg {
        temp.write_all(svg(picture)?.as_bytes()).map_err(io_error)?;
    } else {
        let mut pixels = vec![0; (P::DRAWN.0 * P::DRAWN.1 * 3) as usize];
        picture.draw(BitMapBackend::with_buffer(&mut pixels, P::DRAWN), 2)?;
        let image = BitMapElement::with_owned_buffer((0, 0), P::SIZE, shrink(&pixels, P::SIZE.0));
        let file = BitMapBackend::new(temp.path(), P::SIZE).into_drawing_area();
        file.draw(&image.ok_or_else(|| PlotError::Draw("wrong image size".into()))?)?;
        file.present()?;
        // The drawing library does not report whether it wrote the last bytes.
        if !std::fs::read(temp.path()).map_err(io_error)?.ends_with(END_OF_PNG) {
            return Err(io_error(io::Error::new(
                io::ErrorKind::WriteZero,
                "the file was not written completely",
            )));
        }
    }
    temp.sync().map_err(io_error)?;
    Box::new(temp).rename(path).map_err(io_error)?;
    Disk.sync_folder(folder).map_err(io_error)
}

/// Renders a picture as SVG text.
pub fn svg<P: Picture>(picture: &P) -> Result<String, PlotError> {
    let mut svg = String::new();
    picture.draw(SVGBackend::with_string(&mut svg, P::DRAWN), usize::MAX)?;
    let size = |(width, height)| format!(r#"width="{width}" height="{height}""#);
    // Round joins, because noisy lines have many sharp corners.
    let shown = size(P::SIZE) + r#" stroke-linejoin="round""#;
    Ok(svg.replacen(&size(P::DRAWN), &shown, 1))
}

/// Creates a white drawing area, and registers the font.
pub fn paper<DB: DrawingBackend>(backend: DB) -> Result<DrawingArea<DB, Shift>, PlotError> {
    // For SVG, browsers use their own font of this name.
    let family = FontFamily::SansSerif;
    register_font(family.as_str(), FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| PlotError::Draw("the embedded font is not readable".into()))?;
    let paper = backend.into_drawing_area();
    paper.fill(&WHITE)?;
    Ok(paper)
}

/// The font, black, with a height in pixels.
pub fn font(size: i32) -> TextStyle<'static> {
    TextStyle::from((FontFamily::SansSerif, px(size)).into_font())
}

/// Writes a line of text with a height in pixels, aligned at `at`.
pub fn write<DB: DrawingBackend>(
    on: &DrawingArea<DB, Shift>,
    text: &str,
    size: i32,
    at: (i32, i32),
    (side, line): (HPos, VPos),
) -> Result<(), PlotError> {
    // The PNG backend centres text slightly higher than SVG; this offset is a compromise.
    let lowered = if matches!(line, VPos::Center) { px(size) / 15 } else { 0 };
    Ok(on.draw_text(text, &font(size).pos(Pos::new(side, line)), (at.0, at.1 + lowered))?)
}

/// Writes a line of text upwards, centred at `at`.
pub fn write_upwards<DB: DrawingBackend>(
    on: &DrawingArea<DB, Shift>,
    text: &str,
    size: i32,
    at: (i32, i32),
) -> Result<(), PlotError> {
    let style = font(size).pos(Pos::new(HPos::Center, VPos::Center));
    Ok(on.draw_text(text, &style.transform(FontTransform::Rotate270), at)?)
}

/// Converts pixels to units.
pub const fn px(pixels: i32) -> i32 {
    pixels * SCALE as i32
}

/// Averages each square of `SCALE`² units of a picture of this width.
fn shrink(pixels: &[u8], width: u32) -> Vec<u8> {
    let (scale, width) = (SCALE as usize, width as usize);
    let average = |i: usize| {
        let (x, y, channel) = (i / 3 % width, i / 3 / width, i % 3);
        let pixel = |k| (y * scale + k / scale) * width * scale + x * scale + k % scale;
        let sum: usize = (0..scale * scale).map(|k| usize::from(pixels[3 * pixel(k) + channel])).sum();
        (sum / (scale * scale)) as u8
    };
    (0..pixels.len() / (scale * scale)).map(average).collect()
}
