//! Parsing of sizes.

use std::str::FromStr;

/// A requested size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Number of parameters of a step, or of elements of X with 64 features.
    Numbers(u64),
    /// Rows and features of X.
    Shape(u64, u32),
}

/// Maximum memory of a device in bytes, and maximum number of elements of a benchmark.
pub const MAX: u64 = 1 << 40;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.split_once(['x', '×']) {
            None => Ok(Size::Numbers(number(text)?)),
            Some((rows, features)) => {
                let (rows, features) = (number(rows)?, number(features)?);
                let least = u64::from(wgpu_optim::regression::kernels::GradientLayout::MAX_FEATURES);
                let features = u32::try_from(features).ok().filter(|&f| u64::from(f) <= least);
                let features = features
                    .ok_or_else(|| format!("`{text}`: more than {least} features are not supported"))?;
                Ok(Size::Shape(rows, features))
            }
        }
    }
}

/// Parses a number such as `4096`, `2^12` or `1e6`.
///
/// # Errors
/// A message with the text.
pub fn number(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let not = || format!("`{text}` is not a size: write 4096, 2^12, 1e6 or 2^20x64 (rows x features)");
    let value = match text.split_once('^') {
        Some((base, exponent)) => {
            let base: u64 = base.parse().map_err(|_| not())?;
            base.checked_pow(exponent.parse().map_err(|_| not())?)
        }
        None => match text.parse::<u64>() {
            Ok(value) => Some(value),
            Err(_) => {
                let value: f64 = text.parse().map_err(|_| not())?;
                // Only integers that f64 represents exactly.
                (value.fract() == 0.0 && (0.0..1e18).contains(&value)).then_some(value as u64)
            }
        },
    };
    let in_range = value.filter(|value| (1..=MAX).contains(value));
    in_range.ok_or_else(|| format!("`{text}` is out of range: a size must be from 1 to 2^40"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Result<Size, String> {
        text.parse()
    }

    #[test]
    fn sizes_are_read_in_every_form() {
        for (text, numbers) in [("4096", 4096), ("2^24", 1 << 24), ("1e6", 1_000_000), (" 10^3 ", 1000)]
        {
            assert_eq!(size(text), Ok(Size::Numbers(numbers)));
        }
        assert_eq!(size("2^20x64"), Ok(Size::Shape(1 << 20, 64)));
        assert_eq!(size("1e3×7"), Ok(Size::Shape(1000, 7)));
    }

    #[test]
    fn other_sizes_are_refused_by_name() {
        for text in
            ["", "x", "0", "-1", "1.5", "2^64", "2^41", "inf", "nan", "4096x", "3x2x1", "1e30", "8x2^21"]
        {
            let error = size(text).unwrap_err();
            assert!(error.contains(text.trim()) || error.contains('`'), "{text}: {error}");
        }
    }
}
