//! How a picture becomes a file: SVG or PNG, without any font or library of the system.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::command::output;
use wgpu_optim::checkpoint::{Disk, Files, PendingFile};

/// Plotters draws at whole units, with hard edges. A picture therefore has this many units to a
/// pixel: the view box of the SVG scales them down, the PNG averages them.
pub const SCALE: u32 = 4;

/// The last chunk of every PNG.
const END_OF_PNG: &[u8] = b"\0\0\0\0IEND\xaeB`\x82";

/// Why a chart was not written.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The extension names no format that can be written.
    #[error("cannot draw {path:?}: the file name must end in .svg or .png")]
    Extension {
        /// The path as given.
        path: PathBuf,
    },
    /// What is to be drawn does not fit together.
    #[error("cannot draw the chart: {what}")]
    Data {
        /// What does not.
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
        /// What the operating system said.
        error: io::Error,
    },
}

impl<E: Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::Draw(error.to_string())
    }
}

/// Something that can be drawn.
pub trait Picture {
    /// Width and height in pixels.
    const SIZE: (u32, u32);
    /// Width and height in the units that are drawn in.
    const DRAWN: (u32, u32) = (Self::SIZE.0 * SCALE, Self::SIZE.1 * SCALE);

    /// Draws lines in pieces of at most `piece` points: two for pixels, since plotters fills the
    /// outline of a longer one by the even-odd rule, with holes where it overlaps itself.
    fn draw<DB: DrawingBackend>(&self, backend: DB, piece: usize) -> Result<(), PlotError>;
}

fn is_svg(path: &Path) -> Result<bool, PlotError> {
    match path.extension() {
        Some(e) if e.eq_ignore_ascii_case("svg") => Ok(true),
        Some(e) if e.eq_ignore_ascii_case("png") => Ok(false),
        _ => Err(PlotError::Extension { path: path.into() }),
    }
}

/// Refuses a path that [`save`] would refuse for its extension, so that a command can do so before a
/// long run.
pub fn check_extension(path: &Path) -> Result<(), PlotError> {
    is_svg(path).map(|_| ())
}

/// Writes a picture as SVG or PNG by the extension of `path`, whole or not at all.
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
        // The drawing library does not say whether it could write the last bytes.
        if !std::fs::read(temp.path()).map_err(io_error)?.ends_with(END_OF_PNG) {
            return Err(io_error(io::Error::new(
                io::ErrorKind::WriteZero,
                "it was not written to its end",
            )));
        }
    }
    temp.sync().map_err(io_error)?;
    Box::new(temp).rename(path).map_err(io_error)?;
    Disk.sync_folder(folder).map_err(io_error)
}

/// A picture as the text of an SVG file.
pub fn svg<P: Picture>(picture: &P) -> Result<String, PlotError> {
    let mut svg = String::new();
    picture.draw(SVGBackend::with_string(&mut svg, P::DRAWN), usize::MAX)?;
    let size = |(width, height)| format!(r#"width="{width}" height="{height}""#);
    // Round joins because a noisy line is full of sharp ones.
    let shown = size(P::SIZE) + r#" stroke-linejoin="round""#;
    Ok(svg.replacen(&size(P::DRAWN), &shown, 1))
}

/// White paper, and the font for what is written on it.
pub fn paper<DB: DrawingBackend>(backend: DB) -> Result<DrawingArea<DB, Shift>, PlotError> {
    // A browser takes its own font of this name for the SVG.
    let family = FontFamily::SansSerif;
    register_font(family.as_str(), FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| PlotError::Draw("the embedded font is not readable".into()))?;
    let paper = backend.into_drawing_area();
    paper.fill(&WHITE)?;
    Ok(paper)
}

/// The one font, black, of a height in pixels.
pub fn font(size: i32) -> TextStyle<'static> {
    TextStyle::from((FontFamily::SansSerif, px(size)).into_font())
}

/// Writes a line of a height in pixels, `at` being its side or its middle.
pub fn write<DB: DrawingBackend>(
    on: &DrawingArea<DB, Shift>,
    text: &str,
    size: i32,
    at: (i32, i32),
    (side, line): (HPos, VPos),
) -> Result<(), PlotError> {
    // Pixels have a line's middle somewhat above that of its letters, an SVG has it there: between both.
    let lowered = if matches!(line, VPos::Center) { px(size) / 15 } else { 0 };
    Ok(on.draw_text(text, &font(size).pos(Pos::new(side, line)), (at.0, at.1 + lowered))?)
}

/// Writes a line from the bottom to the top, `at` being its middle.
pub fn write_upwards<DB: DrawingBackend>(
    on: &DrawingArea<DB, Shift>,
    text: &str,
    size: i32,
    at: (i32, i32),
) -> Result<(), PlotError> {
    let style = font(size).pos(Pos::new(HPos::Center, VPos::Center));
    Ok(on.draw_text(text, &style.transform(FontTransform::Rotate270), at)?)
}

/// Pixels in the units that are drawn in.
pub const fn px(pixels: i32) -> i32 {
    pixels * SCALE as i32
}

/// Averages each square of `SCALE`² pixels, for a picture of that width.
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
