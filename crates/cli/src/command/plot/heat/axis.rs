//! The axes of a heat map: positions and labels of the cells.

use crate::command::plot::PlotError;

/// An axis of a heat map.
#[derive(Clone, Debug)]
pub struct HeatAxis {
    /// Name of the setting.
    pub label: String,
    /// Value of every cell.
    pub values: HeatValues,
}

/// The values along an axis.
#[derive(Clone, Debug)]
pub enum HeatValues {
    /// Increasing numbers, on a linear scale.
    Linear(Vec<f64>),
    /// Increasing positive numbers, on a logarithmic scale.
    Log(Vec<f64>),
    /// Names, in cells of equal size.
    Names(Vec<String>),
}

impl HeatAxis {
    /// The number of cells.
    pub fn len(&self) -> usize {
        match &self.values {
            HeatValues::Linear(values) | HeatValues::Log(values) => values.len(),
            HeatValues::Names(names) => names.len(),
        }
    }

    /// The label of cell `i`, with this number of digits.
    pub fn text(&self, i: usize, digits: usize) -> String {
        match &self.values {
            HeatValues::Linear(values) | HeatValues::Log(values) => short(values[i], digits),
            HeatValues::Names(names) => names[i].clone(),
        }
    }

    /// The boundaries of the cells, from zero to one, half-way between neighbours: one more than cells.
    pub fn edges(&self) -> Result<Vec<f64>, PlotError> {
        let at: Vec<f64> = match &self.values {
            HeatValues::Linear(values) => values.clone(),
            HeatValues::Log(values) => values.iter().map(|value| value.log10()).collect(),
            HeatValues::Names(names) => (0..names.len()).map(|i| i as f64).collect(),
        };
        let step = |i: usize| at[i + 1] - at[i];
        let cells = at.len();
        if cells == 0 || at.iter().any(|at| !at.is_finite()) || (1..cells).any(|i| step(i - 1) <= 0.0) {
            let what = format!("the values of {:?} must be finite and increase", self.label);
            return Err(PlotError::Data { what });
        }
        let (first, last) = if cells > 1 { (step(0), step(cells - 2)) } else { (1.0, 1.0) };
        let (start, end) = (at[0] - 0.5 * first, at[cells - 1] + 0.5 * last);
        let inner = at.windows(2).map(|pair| 0.5 * pair[0] + 0.5 * pair[1]);
        let edges = std::iter::once(start).chain(inner).chain([end]);
        Ok(edges.map(|edge| (edge - start) / (end - start)).collect())
    }
}

/// A number with this number of digits, but with all digits of an integer.
pub fn short(value: f64, digits: usize) -> String {
    let whole = value.fract() == 0.0 && value.abs() < 1e7;
    let places = digits.saturating_sub(1);
    let rounded = if whole { value } else { format!("{value:.places$e}").parse().unwrap_or(value) };
    let plain = rounded == 0.0 || (1e-4..1e7).contains(&rounded.abs());
    if plain { format!("{rounded}") } else { format!("{rounded:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(values: HeatValues) -> Result<Vec<f64>, PlotError> {
        HeatAxis { label: "a".into(), values }.edges()
    }

    #[test]
    fn cells_end_half_way_to_their_neighbours() {
        use HeatValues::{Linear, Log, Names};
        assert_eq!(edges(Linear(vec![1.0, 2.0, 5.0])).unwrap(), [0.0, 1.0 / 6.0, 0.5, 1.0]);
        let even = [0.0, 0.25, 0.5, 0.75, 1.0];
        assert_eq!(edges(Names(vec![String::new(); 4])).unwrap(), even);
        let log = edges(Log(vec![1e-3, 1e-2, 1e-1, 1.0])).unwrap();
        assert!(log.iter().zip(even).all(|(a, b)| (a - b).abs() < 1e-15), "{log:?}");
        for alone in [Linear(vec![-3.0]), Log(vec![1e-3]), Names(vec!["n".into()])] {
            assert_eq!(edges(alone).unwrap(), [0.0, 1.0]);
        }
    }

    #[test]
    fn values_that_do_not_increase_are_refused() {
        use HeatValues::{Linear, Log};
        for values in [vec![], vec![1.0, 1.0], vec![2.0, 1.0], vec![f64::NAN], vec![1.0, f64::INFINITY]]
        {
            let error = edges(Linear(values.clone())).unwrap_err();
            assert!(matches!(error, PlotError::Data { .. }), "{values:?}");
            edges(Log(values)).unwrap_err();
        }
        edges(Log(vec![0.0, 1.0])).unwrap_err();
        edges(Log(vec![-1.0])).unwrap_err();
    }

    #[test]
    fn numbers_are_short() {
        let texts = [65536.0, 0.0, -2.5, 1.0 / 3.0, 1e-4, 3.16227e-5, 12_345_678.0, 1234.567, 1e-300];
        let short = texts.map(|value| short(value, 3));
        assert_eq!(short[..5], ["65536", "0", "-2.5", "0.333", "0.0001"]);
        assert_eq!(short[5..], ["3.16e-5", "1.23e7", "1230", "1e-300"]);
        assert_eq!(super::short(1234.567, 5), "1234.6");
    }
}
