use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Runs shorter than this show no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A progress bar on standard error, shown if that is a terminal and the run takes more than a second.
pub struct Bar {
    bar: ProgressBar,
    shown: bool,
    started: Instant,
}

impl Bar {
    pub fn new(name: &str, updates: u64) -> Self {
        Self::of(name, updates, "updates")
    }

    /// Creates a bar of `count` units, named `what`.
    pub fn of(name: &str, count: u64, what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::hidden());
        let template =
            &format!("{{prefix:>9}} {{wide_bar}} {{pos}}/{{len}} {what}, {{eta}} left, {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_string());
        Bar { bar, shown: false, started: Instant::now() }
    }

    pub fn set(&mut self, update: u64, loss: f64, rows_per_second: f64) {
        self.tell(update, || format!("loss {loss:.4e}, {:.1} M rows/s", rows_per_second / 1e6));
    }

    /// Sets the number of completed units, and the message.
    pub fn tell(&mut self, done: u64, message: impl FnOnce() -> String) {
        if !self.shown && self.started.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            self.shown = true;
        }
        if self.shown {
            self.bar.set_position(done);
            self.bar.set_message(message());
        }
    }

    /// Sets the total number of units.
    pub fn lengthen(&self, count: u64) {
        self.bar.set_length(count);
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
