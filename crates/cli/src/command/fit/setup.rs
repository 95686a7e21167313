//! Resolves the arguments of a fit.

use super::arguments::{
    Arguments, LossName, ModelArguments, PenaltyName, RateName, SyntheticArguments, TrainingArguments,
};
use crate::command;
use crate::command::Failure;
use crate::command::data::Rest;
use crate::command::output;
use std::path::Path;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::kernels::GradientLayout;
use wgpu_optim::regression::reference::synthetic::{Options, Response};
use wgpu_optim::regression::train::{CHUNK, EarlyStopping, Shuffle};
use wgpu_optim::schedule::{CosineAnnealing, Exponential, Linear, Step};
use wgpu_optim::{Loss, Model, Penalty, Rule, Schedule};

fn input(message: impl Into<String>) -> Failure {
    Failure::Input(message.into())
}

impl ModelArguments {
    /// The loss; the number of classes of a softmax comes from the data.
    pub fn loss(&self) -> Result<Loss, Failure> {
        let given = [
            ("--epsilon", self.epsilon, LossName::Huber),
            ("--quantile", self.quantile, LossName::Quantile),
        ];
        for (flag, value, loss) in given {
            if value.is_some() && self.loss != loss {
                return Err(input(format!("{flag} requires --loss {}", command::value_name(&loss))));
            }
        }
        let loss = match self.loss {
            LossName::Mse => Loss::Mse,
            LossName::SquaredError => Loss::SquaredError,
            LossName::Huber => Loss::Huber { epsilon: self.epsilon.unwrap_or(0.1) },
            LossName::Quantile => Loss::Quantile { quantile: self.quantile.unwrap_or(0.5) },
            LossName::Logistic => Loss::Logistic,
            LossName::SquaredHinge => Loss::SquaredHinge,
            LossName::Poisson => Loss::Poisson,
            LossName::Softmax => Loss::Softmax { classes: 2 },
        };
        loss.validate()?;
        Ok(loss)
    }

    /// The penalty. It takes `--alpha`, and leaves that of RMSprop in its place.
    pub fn penalty(&self, rule_alpha: &mut Option<f64>) -> Result<Penalty, Failure> {
        if self.penalty == PenaltyName::None {
            for (flag, given) in [
                ("--l1-ratio", self.l1_ratio.is_some()),
                ("--rmsprop-alpha", self.rmsprop_alpha.is_some()),
            ] {
                if given {
                    return Err(input(format!("{flag} requires a --penalty")));
                }
            }
            return Ok(Penalty::default());
        }
        if self.l1_ratio.is_some() && self.penalty != PenaltyName::ElasticNet {
            return Err(input("--l1-ratio requires --penalty elasticnet"));
        }
        // scikit-learn's default.
        let alpha = std::mem::replace(rule_alpha, self.rmsprop_alpha).unwrap_or(1e-4);
        let penalty = match self.penalty {
            PenaltyName::L1 => Penalty::l1(alpha),
            PenaltyName::ElasticNet => Penalty { alpha, l1_ratio: self.l1_ratio.unwrap_or(0.15) },
            _ => Penalty::l2(alpha),
        };
        penalty.validate()?;
        Ok(penalty)
    }
}

impl TrainingArguments {
    /// The learning rate of every update of a rule.
    pub fn schedule(&self, rule: &Rule, updates: u64, epoch: u64) -> Result<Schedule, Failure> {
        let lr = rule.lr();
        let of = |flags: &[(&'static str, bool)], needed: &[RateName]| match flags
            .iter()
            .find(|(_, given)| *given)
        {
            Some((flag, _)) if !needed.contains(&self.learning_rate) => {
                let names: Vec<String> = needed.iter().map(command::value_name).collect();
                Err(input(format!("{flag} requires --lr-schedule {}", names.join(" or "))))
            }
            _ => Ok(()),
        };
        of(&[("--power-t", self.power_t.is_some())], &[RateName::InvScaling])?;
        of(&[("--final-factor", self.final_factor.is_some())], &[RateName::Linear, RateName::Cosine])?;
        of(&[("--gamma", self.gamma.is_some())], &[RateName::Step, RateName::Exponential])?;
        of(&[("--step-size", self.step_size.is_some())], &[RateName::Step])?;
        let steps = updates.saturating_sub(self.warmup).max(1);
        let factor = self.final_factor.unwrap_or(0.0);
        let schedule = match self.learning_rate {
            RateName::Constant | RateName::Adaptive => Schedule::constant(lr)?,
            RateName::InvScaling => {
                let power = self.power_t.unwrap_or(0.25);
                if !(0.0..=10.0).contains(&power) {
                    return Err(input(format!("--power-t is {power}, and must be from 0 to 10")));
                }
                let name = format!("{lr:?} / (t + 1)^{power:?}");
                Schedule::named(name, move |t| lr / (t as f64 + 1.0).powf(power))
            }
            RateName::Linear => {
                Linear { start_factor: 1.0, end_factor: factor, total_iters: steps }.schedule(lr)?
            }
            RateName::Cosine => CosineAnnealing { t_max: steps, eta_min: factor * lr }.schedule(lr)?,
            RateName::Step => {
                let step_size = self.step_size.unwrap_or((steps / 3).max(1));
                Step { step_size, gamma: self.gamma.unwrap_or(0.1) }.schedule(lr)?
            }
            RateName::Exponential => {
                let gamma = self.gamma.unwrap_or(0.9);
                Exponential { gamma }.schedule(lr)?;
                let name = format!("{lr:?} · {gamma:?}^⌊t / {epoch}⌋");
                Schedule::named(name, move |t| lr * gamma.powf((t / epoch) as f64))
            }
        };
        Ok(if self.warmup > 0 { schedule.warm_up(self.warmup, 0.0)? } else { schedule })
    }

    /// Early stopping, with rows held out of the problem for it.
    pub fn stopping(&self, problem: &mut Problem) -> Result<Option<EarlyStopping>, Failure> {
        let adaptive = self.learning_rate == RateName::Adaptive;
        if !self.early_stopping && self.tol.is_none() && !adaptive {
            return match self.n_iter_no_change {
                Some(_) => Err(input("--n-iter-no-change requires --tol or --early-stopping")),
                None => Ok(None),
            };
        }
        let tol = self.tol.unwrap_or(1e-3);
        if !(0.0..f64::INFINITY).contains(&tol) {
            return Err(input(format!("--tol is {tol}, and must be a number ≥ 0")));
        }
        let n_iter_no_change = self.n_iter_no_change.unwrap_or(5);
        let mut validation_rows = 0;
        if self.early_stopping {
            let fraction = self.validation_fraction.unwrap_or(0.1);
            if !(fraction > 0.0 && fraction < 1.0) {
                let message =
                    format!("--validation-fraction is {fraction}, and must be between 0 and 1");
                return Err(input(message));
            }
            validation_rows = problem.hold_out(fraction, self.shuffle_seed)?;
        }
        Ok(Some(EarlyStopping { tol, n_iter_no_change, validation_rows, adaptive }))
    }

    /// The order of rows.
    pub fn shuffle(&self, model: &Model) -> Result<Option<Shuffle>, Failure> {
        if !self.shuffle {
            return Ok(None);
        }
        // A window is in one chunk, with the auxiliary columns of its rows.
        let aux_columns = model.aux_columns() as u64 * 4;
        let window = GradientLayout::new(model)?.segment_rows().min(CHUNK / aux_columns).max(1);
        Ok(Some(Shuffle { seed: self.shuffle_seed, window }))
    }
}

impl SyntheticArguments {
    fn given(&self) -> [(&'static str, bool); 9] {
        [
            ("--samples", self.samples.is_some()),
            ("--outputs", self.outputs.is_some()),
            ("--noise", self.noise.is_some()),
            ("--outliers", self.outliers.is_some()),
            ("--sparsity", self.sparsity.is_some()),
            ("--condition", self.condition.is_some()),
            ("--balance", self.balance.is_some()),
            ("--seed", self.seed.is_some()),
            ("--on-the-fly", self.is_virtual),
        ]
    }

    fn problem(&self, loss: &Loss, features: u32) -> Result<Problem, Failure> {
        let response = Response::from(loss);
        let linear = response == Response::Linear;
        let outputs = if matches!(loss, Loss::Softmax { .. }) { 10 } else { 1 };
        let options = Options {
            features,
            outputs: self.outputs.unwrap_or(outputs),
            response,
            noise: self.noise.unwrap_or(if linear { 0.1 } else { 0.0 }),
            outliers: self.outliers.unwrap_or(0.0),
            sparsity: self.sparsity.unwrap_or(0.0),
            condition: self.condition.unwrap_or(1.0),
            balance: self.balance,
            seed: self.seed.unwrap_or(1),
        };
        if options.features == 0 {
            return Err(input("synthetic has no features: --features is 0"));
        }
        Ok(Problem::synthetic(self.samples.unwrap_or(1 << 20), &options)?)
    }
}

impl Arguments {
    /// The data, and the model of them.
    pub fn problem(&self) -> Result<(Problem, Model), Failure> {
        let (synthetic, mut file) = (self.synthetic.given(), self.file.given());
        // Streaming to a device is for all data.
        file.extend([("--y", self.y.is_some()), ("--stream", self.placement.stream)]);
        let (wrong, of) = match &self.data[..] {
            "synthetic" => (file, "a file"),
            "blog" => {
                let features = [("--features", !self.features.is_empty())];
                ([&features[..], &synthetic, &file].concat(), "synthetic data or a file")
            }
            _ => (synthetic.to_vec(), "synthetic data"),
        };
        if let Some((flag, _)) = wrong.iter().find(|(_, given)| *given) {
            let message = format!("{flag} requires {of}, and the data are `{}`", self.data);
            return Err(input(message));
        }
        let loss = self.model.loss()?;
        let mut problem = match &self.data[..] {
            "blog" => Problem::blog(),
            "synthetic" => self.synthetic.problem(&loss, self.feature_count()?)?,
            path => self.file_problem(Path::new(path), &loss)?,
        };
        let model = problem.model(loss, self.model.fit_intercept)?;
        Ok((problem, model))
    }

    fn file_problem(&self, path: &Path, loss: &Loss) -> Result<Problem, Failure> {
        let stream = self.placement.stream;
        let rest = Rest {
            features: &self.features,
            y: self.y.as_deref(),
            labels: loss.is_classifier(),
            memory: stream.then_some(0),
        };
        let problem = self.file.problem(path, rest)?;
        if problem.is_streamed() && !stream {
            output::note("The rows do not fit into memory: the file is read again in every epoch.");
        }
        Ok(problem)
    }

    /// The number of features of synthetic data.
    fn feature_count(&self) -> Result<u32, Failure> {
        match &self.features[..] {
            [] => Ok(64),
            [one] => {
                let count = one.parse();
                count.map_err(|_| {
                    input(format!("--features {one}: synthetic data take a number of features"))
                })
            }
            _ => Err(input("--features is given twice, and synthetic data take one number")),
        }
    }
}
