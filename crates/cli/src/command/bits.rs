//! `--bits`: the device's own arithmetic, or one with the same bits on every device.

use clap::ValueEnum;
use serde::Serialize;
use std::fmt::{Display, Formatter};
use wgpu_optim::Arithmetic;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Bits {
    /// The device's own arithmetic: results differ between devices, within their bounds
    Fast,
    /// Strict arithmetic: the same bits on every device and on the processor
    Same,
}

impl Bits {
    pub fn arithmetic(self) -> Arithmetic {
        match self {
            Bits::Fast => Arithmetic::Fast,
            Bits::Same => Arithmetic::Strict,
        }
    }
}

impl Display for Bits {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Bits::Fast => "fast",
            Bits::Same => "same",
        })
    }
}
