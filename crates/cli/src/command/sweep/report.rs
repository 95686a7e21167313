//! Reports of a sweep: a table, JSON, a CSV file of every fit, and a heat map.

use super::draw::Checks;
use super::grid::{Dimension, Setting};
use crate::command::device::Description;
use crate::command::plot::heat::{HeatAxis, HeatMap, HeatValues};
use crate::command::{Failure, output};
use serde::Serialize;
use std::path::Path;
use wgpu_optim::regression::Problem;

/// Losses of all fits over all rows.
pub struct Results<'a> {
    pub problem: &'a Problem,
    pub settings: &'a [Setting],
    /// Losses by setting, and within a setting by row order.
    pub losses: &'a [f64],
    pub orders: usize,
    /// Loss before the first update.
    pub initial_loss: f64,
}

/// Results of an optimizer.
#[derive(Serialize)]
pub struct Summary {
    optimizer: String,
    settings: usize,
    fits: usize,
    diverged: usize,
    best: Option<Best>,
}

/// The setting with the lowest loss; over several row orders, with the lowest median.
#[derive(Serialize)]
struct Best {
    loss: f64,
    lowest: f64,
    highest: f64,
    hyper_parameters: Vec<(&'static str, f64)>,
}

#[derive(Serialize)]
pub struct Json<'a> {
    device: &'a Description,
    data: &'a str,
    samples: u64,
    features: usize,
    settings: usize,
    seeds: usize,
    seconds: f64,
    updates_per_second: f64,
    initial_loss: f64,
    optimizers: Vec<Summary>,
    verification: &'a Checks,
}

/// Duration and number of updates.
pub struct Effort {
    pub seconds: f64,
    pub updates: u64,
}

/// An axis of the heat map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Of(Dimension),
    Optimizer,
}

impl Side {
    pub fn named(name: &str) -> Option<Self> {
        if name == "optimizer" { Some(Side::Optimizer) } else { Dimension::named(name).map(Side::Of) }
    }
}

fn name(setting: &Setting) -> String {
    setting.optimizer.name().into()
}

impl Results<'_> {
    /// Whether a fit diverged: its loss is not finite, or higher than before the first update.
    fn diverged(&self, loss: f64) -> bool {
        !loss.is_finite() || loss > self.initial_loss
    }

    fn of(&self, setting: usize) -> &[f64] {
        &self.losses[setting * self.orders..][..self.orders]
    }

    /// The median loss of a setting, unless it diverged.
    fn median(&self, setting: usize) -> Option<f64> {
        let mut losses: Vec<f64> = self.of(setting).to_vec();
        losses.iter_mut().for_each(|loss| {
            if self.diverged(*loss) {
                *loss = f64::INFINITY;
            }
        });
        losses.sort_by(f64::total_cmp);
        let middle = losses.len() / 2;
        let median = if losses.len().is_multiple_of(2) {
            0.5 * losses[middle - 1] + 0.5 * losses[middle]
        } else {
            losses[middle]
        };
        median.is_finite().then_some(median)
    }

    /// Whether every fit diverged.
    pub fn all_diverged(&self) -> bool {
        self.losses.iter().all(|&loss| self.diverged(loss))
    }

    fn summaries(&self) -> Vec<Summary> {
        let mut names: Vec<String> = Vec::new();
        for setting in self.settings {
            let name = name(setting);
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        let summary = |optimizer: String| {
            let own: Vec<usize> =
                (0..self.settings.len()).filter(|&i| name(&self.settings[i]) == optimizer).collect();
            let losses = own.iter().flat_map(|&i| self.of(i));
            let diverged = losses.filter(|&&loss| self.diverged(loss)).count();
            let medians = own.iter().filter_map(|&i| Some((i, self.median(i)?)));
            let best = medians.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, loss)| {
                let rule = &self.settings[i].rule;
                let values = Dimension::ALL.iter().filter_map(|d| Some((d.name(), d.of(rule)?)));
                let of = |pick: fn(f64, f64) -> f64| self.of(i).iter().copied().fold(f64::NAN, pick);
                Best {
                    loss,
                    lowest: of(f64::min),
                    highest: of(f64::max),
                    hyper_parameters: values.collect(),
                }
            });
            let (settings, fits) = (own.len(), own.len() * self.orders);
            Summary { optimizer, settings, fits, diverged, best }
        };
        names.into_iter().map(summary).collect()
    }

    pub fn json<'a>(&'a self, device: &'a Description, effort: &Effort, checks: &'a Checks) -> Json<'a> {
        Json {
            device,
            data: &self.problem.name,
            samples: self.problem.rows,
            features: self.problem.features,
            settings: self.settings.len(),
            seeds: self.orders,
            seconds: effort.seconds,
            updates_per_second: effort.updates as f64 / effort.seconds,
            initial_loss: self.initial_loss,
            optimizers: self.summaries(),
            verification: checks,
        }
    }

    /// The best setting of each optimizer; `shown` are the varied dimensions.
    pub fn table(
        &self,
        device: &Description,
        effort: &Effort,
        checks: &Checks,
        shown: &[Dimension],
    ) -> String {
        let mut header = vec!["optimizer", "settings", "diverged", "loss"];
        if self.orders > 1 {
            header.push("over seeds");
        }
        header.extend(shown.iter().map(|dimension| dimension.name()));
        let rows = self.summaries().into_iter().map(|summary| {
            let Summary { optimizer, settings, fits, diverged, best } = summary;
            let none = || "–".to_string();
            let loss = best.as_ref().map_or_else(none, |best| format!("{:.6e}", best.loss));
            let mut row = vec![optimizer, settings.to_string(), format!("{diverged} of {fits}"), loss];
            if self.orders > 1 {
                let span = |best: &Best| format!("{:.2e} to {:.2e}", best.lowest, best.highest);
                row.push(best.as_ref().map_or_else(none, span));
            }
            row.extend(shown.iter().map(|dimension| {
                let values = best.iter().flat_map(|best| &best.hyper_parameters);
                let mut own = values.filter(|(name, _)| *name == dimension.name());
                own.next().map_or_else(none, |(_, value)| format!("{}", short(*value)))
            }));
            row
        });
        let Problem { name, rows: samples, features, .. } = self.problem;
        let (fits, seconds) = (self.losses.len(), effort.seconds);
        let rate = effort.updates as f64 / seconds / 1e6;
        format!(
            "{name}: {samples} rows × {features} features\n{}\n{fits} fits in {seconds:.2} s, {rate:.2} M \
             updates/s; the loss of zero weights is {:.6e}\n{}\n{}",
            device.line(),
            self.initial_loss,
            output::table(&header, 1, rows),
            checks.text(),
        )
    }

    /// Writes the loss of every fit to a CSV file, atomically.
    pub fn csv(&self, path: &Path) -> Result<(), Failure> {
        output::AtomicFile::write(path, |out| {
            write!(out, "optimizer")?;
            Dimension::ALL.iter().try_for_each(|dimension| write!(out, ",{}", dimension.name()))?;
            writeln!(out, ",seed,loss,diverged")?;
            for (i, setting) in self.settings.iter().enumerate() {
                let mut head = name(setting);
                for dimension in Dimension::ALL {
                    let value = dimension.of(&setting.rule);
                    head += &value.map_or(",".into(), |value| format!(",{value:?}"));
                }
                for (seed, &loss) in self.of(i).iter().enumerate() {
                    writeln!(out, "{head},{seed},{loss:?},{}", self.diverged(loss))?;
                }
            }
            Ok(())
        })?
        .name()
    }

    /// The heat map of the loss over two axes, minimized over all other dimensions.
    pub fn map(&self, [x, y]: [Side; 2]) -> Result<HeatMap, Failure> {
        let [columns, rows] = [self.places(x)?, self.places(y)?];
        let mut cells = vec![None::<f64>; columns.count * rows.count];
        for i in 0..self.settings.len() {
            let (Some(column), Some(row)) = (columns.of[i], rows.of[i]) else { continue };
            let cell = &mut cells[row * columns.count + column];
            if let Some(loss) = self.median(i) {
                *cell = Some(cell.map_or(loss, |lowest| lowest.min(loss)));
            }
        }
        let Problem { name, .. } = self.problem;
        let fits = self.losses.len();
        let value_label = if self.orders > 1 { "loss (median of seeds)" } else { "loss" };
        Ok(HeatMap {
            title: format!("{name}: {fits} fits"),
            x: columns.axis,
            y: rows.axis,
            value_label: value_label.into(),
            cells,
        })
    }

    /// The position of each setting along an axis.
    fn places(&self, side: Side) -> Result<Places, Failure> {
        let dimension = match side {
            Side::Of(dimension) => dimension,
            Side::Optimizer => {
                let mut names: Vec<String> = self.settings.iter().map(name).collect();
                names.dedup();
                let place = |setting: &Setting| names.iter().position(|n| *n == name(setting));
                let of = self.settings.iter().map(place).collect();
                let (label, count) = ("optimizer".into(), names.len());
                return Ok(Places {
                    axis: HeatAxis { label, values: HeatValues::Names(names) },
                    of,
                    count,
                });
            }
        };
        // Decays are plotted as 1 − value.
        let from_one = dimension.is_decay();
        let value = |setting: &Setting| {
            let value = dimension.of(&setting.rule)?;
            Some(if from_one { 1.0 - value } else { value })
        };
        let all: Vec<Option<f64>> = self.settings.iter().map(value).collect();
        let mut values: Vec<f64> = all.iter().flatten().copied().collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let name = dimension.name();
        if values.is_empty() {
            let message = format!("no selected optimizer has {name}, an axis of the plot");
            return Err(Failure::Input(message));
        }
        let place = |value: &Option<f64>| {
            value.and_then(|value| values.binary_search_by(|v| v.total_cmp(&value)).ok())
        };
        let of = all.iter().map(place).collect();
        let (label, count) = (if from_one { format!("1 − {name}") } else { name.into() }, values.len());
        let values = if values[0] > 0.0 { HeatValues::Log(values) } else { HeatValues::Linear(values) };
        Ok(Places { axis: HeatAxis { label, values }, of, count })
    }
}

/// A value rounded to five digits.
fn short(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

struct Places {
    axis: HeatAxis,
    of: Vec<Option<usize>>,
    count: usize,
}
