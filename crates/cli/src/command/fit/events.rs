//! The events of a run: progress bar, log, points of the plot, checkpoints and notes.

use super::Fit;
use super::checkpoints::CheckpointWriter;
use crate::command::log::Log;
use crate::command::progress::Bar;
use crate::command::{Failure, output};
use wgpu_optim::regression::device::Gpu;
use wgpu_optim::regression::reference;
use wgpu_optim::regression::reference::gradient::Rows;
use wgpu_optim::regression::train::{
    DataPlacement, Location, MemoryRetry, Observer, Placement, Progress, RunState, TrainError,
};

/// The observer of one run.
pub struct Events<'a> {
    fit: &'a Fit<'a>,
    index: usize,
    log: Option<&'a mut Log>,
    checkpoints: Option<&'a CheckpointWriter>,
    last_reported: &'a mut u64,
    points: &'a mut Vec<(f64, f64)>,
    /// All rows, if the loss over them comes from the parameters after each update.
    rows: Option<(Vec<f64>, Vec<f64>)>,
    bar: Option<Bar>,
}

impl<'a> Events<'a> {
    pub fn new(
        fit: &'a Fit<'a>,
        index: usize,
        log: Option<&'a mut Log>,
        checkpoints: Option<&'a CheckpointWriter>,
        (last_reported, points): (&'a mut u64, &'a mut Vec<(f64, f64)>),
    ) -> Result<Self, Failure> {
        let rows = fit.plans[index].trace.then(|| fit.problem.materialize::<f64>()).transpose()?;
        Ok(Events { fit, index, log, checkpoints, last_reported, points, rows, bar: None })
    }

    /// Removes the progress bar.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }

    /// The loss over all rows, from the parameters after an update.
    fn traced(&self, progress: &Progress) -> Option<f64> {
        let Fit { model, plans, eval_every, .. } = self.fit;
        let ((x, aux), params) = (self.rows.as_ref()?, progress.params?);
        if !progress.update.is_multiple_of(*eval_every) {
            return None;
        }
        let rows = Rows { x, aux }.part(model, 0, plans[self.index].rows as usize);
        Some(reference::evaluate(model, rows, params, 0.0).mean_loss())
    }
}

impl Observer for Events<'_> {
    fn placed(&mut self, placement: &DataPlacement) {
        let Fit { problem, arguments, .. } = self.fit;
        let requested = arguments.synthetic.is_virtual || problem.is_streamed();
        let (Location::Device(Placement::Streamed { chunk }), false) = (placement.location, requested)
        else {
            return;
        };
        let hint =
            if problem.generator().is_some() { " (--on-the-fly generates them there)" } else { "" };
        output::note(&format!(
            "The rows do not fit into the available memory: they are streamed through two buffers of {chunk} \
             bytes{hint}."
        ));
    }

    fn retrying(&mut self, MemoryRetry { needed, chunk }: &MemoryRetry) {
        output::note(&format!(
            "Out of device memory ({needed} bytes): retrying with double-buffered chunks of {chunk} bytes."
        ));
    }

    fn started(&mut self, _: Option<&Gpu>) -> Result<(), String> {
        // Until here nothing is trained, and Ctrl-C ends the program at once.
        self.fit.signals.listen().map_err(|failure| failure.to_string())?;
        let plan = &self.fit.plans[self.index];
        self.bar = Some(Bar::new(plan.recipe.rule.name(), plan.batches.updates()));
        Ok(())
    }

    fn progress(&mut self, progress: Progress) -> Result<(), String> {
        let Progress { update, batch_loss, rows_per_second, .. } = progress;
        if let Some(bar) = &mut self.bar {
            bar.set(update, batch_loss, rows_per_second);
        }
        // Updates are made again after a lost device, and after a checkpoint that is behind the log.
        if update <= *self.last_reported {
            return Ok(());
        }
        let fit = self.fit;
        let loss = self.traced(&progress).or(progress.loss);
        if fit.plots {
            let point = fit.plotted(update, batch_loss, loss);
            self.points.extend(point.map(|loss| (update as f64, loss)));
        }
        let due = update.is_multiple_of(fit.log_every) || loss.is_some();
        if let Some(log) = self.log.as_mut().filter(|_| due) {
            log.add(fit.plans[self.index].recipe.rule.name(), &progress, loss);
        }
        *self.last_reported = update;
        Ok(())
    }

    fn save(&mut self, state: &RunState) -> Result<(), String> {
        if let Some(checkpoints) = self.checkpoints {
            checkpoints.save(self.index, state);
        }
        Ok(())
    }

    fn device_lost(&mut self, gpu: &Gpu, _: &TrainError) {
        self.finish();
        let reason = gpu.lost().unwrap_or("unknown");
        output::note(&format!("warning: {} was lost: {reason}", gpu.info.name));
    }

    fn device_reopened(&mut self, _: &Gpu, update: u64) {
        output::note(&format!("Resuming on it after update {update}"));
    }
}
