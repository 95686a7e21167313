//! The colours of a heat map, and the colour bar.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{BoldPoints, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::frame::Frame;
use crate::command::plot::axis::Axis;
use crate::command::plot::canvas::{PlotError, px, write, write_upwards};

/// Ten evenly spaced colours of van der Walt and Smith's viridis (CC0), from low to high. Its lightness rises evenly, so
/// that equal steps look equal, also in grey and with colour blindness.
const VIRIDIS: [[u8; 3]; 10] = [
    [68, 1, 84],
    [72, 40, 120],
    [62, 73, 137],
    [49, 104, 142],
    [38, 130, 142],
    [31, 158, 137],
    [53, 183, 121],
    [110, 206, 88],
    [181, 222, 43],
    [253, 231, 37],
];

/// The colour for a fraction from zero to one.
pub fn viridis(fraction: f64) -> RGBColor {
    let at = fraction.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let low = (at as usize).min(VIRIDIS.len() - 2);
    let [red, green, blue] = [0, 1, 2].map(|k| {
        let (from, to) = (f64::from(VIRIDIS[low][k]), f64::from(VIRIDIS[low + 1][k]));
        (from + (at - low as f64) * (to - from)).round() as u8
    });
    RGBColor(red, green, blue)
}

/// Draws a vertical bar of all colours, with ticks to the right and the label at `label_x`.
pub fn draw_bar<DB: DrawingBackend>(
    root: &DrawingArea<DB, Shift>,
    bar: &Frame,
    axis: &Axis,
    (label, label_x): (&str, i32),
) -> Result<(), PlotError> {
    let steps = bar.y.len() as i32 / px(1);
    for step in 0..steps {
        let fraction = |step| f64::from(step) / f64::from(steps);
        let y = bar.up(fraction(step + 1))..bar.up(fraction(step));
        Frame { y, ..bar.clone() }.fill(root, viridis(fraction(step)))?;
    }
    bar.outline(root, BLACK, px(1))?;
    for at in axis.key_points(BoldPoints(0)) {
        let (x, y) = (bar.x.end + px(1), bar.up(axis.fraction(at)));
        Frame { x: x..x + px(4), y: y - px(1) / 2..y + px(1) / 2 }.fill(root, BLACK)?;
        write(root, &axis.format_ext(&at), 17, (x + px(8), y), (HPos::Left, VPos::Center))?;
    }
    write_upwards(root, label, 19, (label_x, bar.centre().1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_between_those_of_the_table_and_get_lighter() {
        assert_eq!(viridis(0.0), RGBColor(68, 1, 84));
        assert_eq!(viridis(1.0), RGBColor(253, 231, 37));
        assert_eq!(viridis(0.5), RGBColor(35, 144, 140));
        assert_eq!([viridis(-1.0), viridis(7.0)], [viridis(0.0), viridis(1.0)]);
        let luminance =
            |RGBColor(r, g, b)| 2126 * u32::from(r) + 7152 * u32::from(g) + 722 * u32::from(b);
        assert!((0..100).all(|i| {
            luminance(viridis(f64::from(i) / 100.0)) < luminance(viridis(f64::from(i + 1) / 100.0))
        }));
    }
}
