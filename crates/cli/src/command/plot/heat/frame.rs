//! Rectangles of a picture.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::command::plot::PlotError;
use crate::command::plot::canvas::{SCALE, px};

/// The colours of cells without a value: fill and cross.
const MISSING: RGBColor = RGBColor(232, 232, 232);
const CROSS: RGBColor = RGBColor(130, 130, 130);

/// A rectangle, in units.
#[derive(Clone)]
pub struct Frame {
    pub x: Range<i32>,
    pub y: Range<i32>,
}

impl Frame {
    /// The x coordinate at a fraction of the width.
    pub fn across(&self, fraction: f64) -> i32 {
        self.x.start + (f64::from(self.x.end - self.x.start) * fraction).round() as i32
    }

    /// The y coordinate at a fraction of the height, from the bottom.
    pub fn up(&self, fraction: f64) -> i32 {
        self.y.end - (f64::from(self.y.end - self.y.start) * fraction).round() as i32
    }

    pub fn centre(&self) -> (i32, i32) {
        ((self.x.start + self.x.end) / 2, (self.y.start + self.y.end) / 2)
    }

    /// The rectangle with every side moved outwards, or inwards for a negative distance.
    pub fn grown(&self, by: i32) -> Self {
        Frame { x: self.x.start - by..self.x.end + by, y: self.y.start - by..self.y.end + by }
    }

    /// The rectangle without half of the white line between neighbours, if it is large enough.
    pub fn apart(&self) -> Self {
        let small = self.x.len().min(self.y.len()) < px(8) as usize;
        if small { self.clone() } else { self.grown(-(SCALE as i32) / 2) }
    }

    pub fn fill<DB: DrawingBackend>(
        &self,
        on: &DrawingArea<DB, Shift>,
        colour: RGBColor,
    ) -> Result<(), PlotError> {
        let corners = [(self.x.start, self.y.start), (self.x.end, self.y.end)];
        Ok(on.draw(&Rectangle::new(corners, colour.filled()))?)
    }

    /// Draws a line around the rectangle, outside.
    pub fn outline<DB: DrawingBackend>(
        &self,
        on: &DrawingArea<DB, Shift>,
        colour: RGBColor,
        width: i32,
    ) -> Result<(), PlotError> {
        let outer = self.grown(width);
        let sides = [
            Frame { y: outer.y.start..self.y.start, ..outer.clone() },
            Frame { y: self.y.end..outer.y.end, ..outer.clone() },
            Frame { x: outer.x.start..self.x.start, ..self.clone() },
            Frame { x: self.x.end..outer.x.end, ..self.clone() },
        ];
        sides.iter().try_for_each(|side| side.fill(on, colour))
    }

    /// Draws the rectangle grey and crossed out.
    pub fn cross_out<DB: DrawingBackend>(&self, on: &DrawingArea<DB, Shift>) -> Result<(), PlotError> {
        self.fill(on, MISSING)?;
        let arm = (self.x.len().min(self.y.len()) as i32 * 3 / 10).min(px(12));
        let (x, y) = self.centre();
        for slope in [-1, 1] {
            let ends = [(x - arm, y - slope * arm), (x + arm, y + slope * arm)];
            on.draw(&PathElement::new(ends, CROSS.stroke_width(3 * SCALE / 2)))?;
        }
        Ok(())
    }
}
