//! The choice between the device's own arithmetic and one that every device shares.

/// How kernels compute.
///
/// WGSL lets a device contract, reorder and flush, and bounds the error of quotients and roots without fixing their last
/// bit. So the bits of a [`Fast`](Self::Fast) step differ between devices, within the bounds of the definition. The
/// other two fix every bit: a step equals that of [`cpu::Strict`](crate::cpu::Strict) on the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "checkpoint", serde(rename_all = "lowercase"))]
pub enum Arithmetic {
    /// The device's own arithmetic.
    #[default]
    Fast,
    /// The same bits on every device that rounds f32 sums, differences and products to nearest, as all known desktop
    /// hardware does and no specification promises.
    Strict,
    /// The bits of [`Strict`](Self::Strict), by integers alone, on every device; several times slower.
    Exact,
}

impl Arithmetic {
    /// Whether the bits are the same on every device.
    pub fn is_reproducible(self) -> bool {
        self != Arithmetic::Fast
    }

    /// A constant of the host as kernels read it: without numbers that some devices flush.
    pub(crate) fn constant(self, x: f32) -> f32 {
        if self.is_reproducible() { crate::cpu::Strict::new(x).value() } else { x }
    }
}
