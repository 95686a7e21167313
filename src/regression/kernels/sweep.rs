//! Many settings of rules, trained side by side on the same rows.

use super::descent::DescentOptions;
use super::small_batch::{Fit, SmallBatchKernel, share_a_kernel};
use super::{DeviceDataset, GradientLayout};
use crate::gpu::Span;
use crate::gpu::bindings::{buffer_with, check_limit};
use crate::gpu::span::Limits;
use crate::regression::Batch;
use crate::{Error, Model, Penalty, Rule};
use wgpu::{BufferUsages, ComputePass, Device, Queue};

/// Everything that a [`Sweep`] depends on but the rows and the settings.
#[derive(Clone, Copy, Debug)]
pub struct SweepOptions {
    /// The model.
    pub model: Model,
    /// The penalty on weights; intercepts have none.
    pub penalty: Penalty,
    /// Orders of the rows: each setting is trained once in each of them.
    pub orders: usize,
    /// The most rows of a batch.
    pub max_batch: u64,
    /// The most updates that are prepared at a time.
    pub max_updates: u32,
    /// Whether batches may be those of a [`Window`](crate::Window).
    pub shuffled: bool,
}

/// Every setting in every order of the rows, from the same start: a thread or a workgroup for each, as in a
/// [`SmallBatchKernel`], with the same bits as if it were trained by itself.
#[derive(Debug)]
pub struct Sweep {
    parts: Vec<Part>,
    settings: Vec<Rule>,
    shape: GradientLayout,
    orders: usize,
}

/// Settings that one kernel serves.
#[derive(Debug)]
struct Part {
    settings: Vec<usize>,
    epochs: SmallBatchKernel,
}

impl Sweep {
    /// Models that start with the parameters in `start`, in the order of the [`Model`].
    ///
    /// # Errors
    /// Those of [`SmallBatchKernel::new`]; [`Error::Length`] for another number of parameters; [`Error::Shape`] for
    /// no orders.
    pub fn new(
        device: &Device,
        samples: &DeviceDataset,
        settings: &[Rule],
        start: &[f32],
        options: SweepOptions,
    ) -> Result<Self, Error> {
        let SweepOptions { model, penalty, orders, max_batch, max_updates, shuffled } = options;
        let shape = GradientLayout::new(&model)?;
        if start.len() != model.params() {
            let (what, actual) = ("the parameters to start with".into(), start.len() as u64);
            return Err(Error::Length { what, actual, expected: model.params() as u64 });
        }
        if orders == 0 {
            let (what, range) = ("the number of orders", "at least 1");
            return Err(Error::Shape { what, value: 0, range });
        }
        // Checked before the host allocates as much.
        let limits = Limits::of(device);
        let hint = " for this number of settings and orders of rows";
        let (limit, available) = ("max_storage_buffer_binding_size", limits.max_binding);
        let fits = (settings.len() as u64).saturating_mul(orders as u64);
        check_limit(limit, available, fits.saturating_mul(4 * shape.padded_len()), hint)?;
        settings.iter().try_for_each(Rule::validate)?;
        let mut kinds: Vec<Vec<usize>> = Vec::new();
        for (i, rule) in settings.iter().enumerate() {
            let known =
                |kind: &&mut Vec<usize>| share_a_kernel(device, &penalty, &settings[kind[0]], rule);
            match kinds.iter_mut().rev().find(known) {
                Some(kind) => kind.push(i),
                None => kinds.push(vec![i]),
            }
        }
        let start = shape.pad(start);
        let part = |kind: Vec<usize>| {
            let rules: Vec<Rule> = kind.iter().map(|&i| settings[i]).collect();
            let all = start.repeat(rules.len() * orders);
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
            let params = buffer_with(device, "parameters", usage, bytemuck::cast_slice(&all));
            let rule = rules[0];
            let (average, max_batches) = (None, max_updates);
            let options =
                DescentOptions { model, rule, penalty, average, max_batch, max_batches, shuffled };
            let params = Span::whole(&params);
            let epochs =
                SmallBatchKernel::of_settings(device, samples, &params, rules, orders, options, false)?;
            Ok(Part { settings: kind, epochs })
        };
        let parts = kinds.into_iter().map(part).collect::<Result<_, Error>>()?;
        Ok(Sweep { parts, settings: settings.to_vec(), shape, orders })
    }

    /// Describes the updates that are to be recorded next: the same number of batches in every order. The queue
    /// copies them before its next submission, so the last ones must have been submitted.
    ///
    /// # Errors
    /// Those of [`SmallBatchKernel::prepare`]; [`Error::Length`] for another number of orders, or of batches in one.
    pub fn prepare(&mut self, queue: &Queue, orders: &[&[Batch]]) -> Result<(), Error> {
        if orders.len() != self.orders {
            let (what, actual) = ("orders".into(), orders.len() as u64);
            return Err(Error::Length { what, actual, expected: self.orders as u64 });
        }
        for Part { settings, epochs } in &mut self.parts {
            let rates: Vec<f32> = settings.iter().map(|&i| self.settings[i].lr() as f32).collect();
            epochs.prepare_orders(queue, orders, |setting, _| rates[setting])?;
        }
        Ok(())
    }

    /// Records all prepared updates of all settings; nothing if there are none.
    pub fn record(&self, pass: &mut ComputePass) {
        self.parts.iter().for_each(|part| part.epochs.record(pass));
    }

    /// The dispatches of all prepared updates of all settings.
    pub fn parts(&self) -> usize {
        self.parts.iter().map(|part| part.epochs.parts()).sum()
    }

    /// Records one of them. All are recorded in order, in any number of submissions.
    pub fn record_part(&self, pass: &mut ComputePass, mut part: usize) {
        for Part { epochs, .. } in &self.parts {
            match part.checked_sub(epochs.parts()) {
                None => return epochs.record_part(pass, part),
                Some(rest) => part = rest,
            }
        }
    }

    /// The parameters, as [`sort`](Self::sort) takes them; usage `COPY_SRC`.
    pub fn params(&self) -> Vec<Span> {
        self.parts.iter().map(|part| part.epochs.params().clone()).collect()
    }

    /// The place of a setting's model in an order.
    ///
    /// # Errors
    /// [`Error::Index`] for a setting or an order that does not exist.
    pub fn fit(&self, setting: usize, order: usize) -> Result<Fit, Error> {
        let (what, count) = ("order", self.orders);
        let index = |what, index, count| Error::Index { what, index, count };
        if order >= count {
            return Err(index(what, order, count));
        }
        for Part { settings, epochs } in &self.parts {
            if let Some(at) = settings.iter().position(|&i| i == setting) {
                return Ok(epochs.fit((order * settings.len() + at) as u64));
            }
        }
        Err(index("setting", setting, self.settings.len()))
    }

    /// The longest chains of additions behind an element of the gradient of `batch` and behind a score, for
    /// error bounds.
    pub fn depths(&self, batch: Batch) -> (u32, u32) {
        self.parts.first().map_or((0, 0), |part| part.epochs.depths(batch))
    }

    /// The layout of rows and parameters.
    pub fn shape(&self) -> &GradientLayout {
        &self.shape
    }

    /// The model's parameters of every setting in every order, those of the first setting first, from the
    /// values of the spans of [`params`](Self::params), one after the other.
    pub fn sort(&self, read: &[f32]) -> Vec<Vec<f32>> {
        let mut sorted = vec![Vec::new(); self.settings.len() * self.orders];
        let mut fits = read.chunks(self.shape.padded_len() as usize);
        for part in &self.parts {
            for order in 0..self.orders {
                for (&setting, fit) in part.settings.iter().zip(&mut fits) {
                    sorted[setting * self.orders + order] = self.shape.unpad(fit);
                }
            }
        }
        sorted
    }
}
