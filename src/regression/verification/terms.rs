//! The terms of an update that a check covers: an error in a term whose input is zero would not be visible.

use super::ObservedStep;
use crate::regression::train::Recipe;
use crate::{Penalty, Rule};

/// The input that must not be zero for a check to cover a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Gradient,
    LearningRate,
    Params,
    /// The moment with this index, before the update.
    Moment(usize),
    /// An update after the first, which is a special case.
    Later,
}

/// The terms of a recipe's update by PyTorch's names, without the average.
fn terms(recipe: &Recipe) -> Vec<(&'static str, Needs)> {
    use Needs::*;
    let (rule, frame) = (&recipe.rule, recipe.rule.frame());
    let moment = |name: &str| {
        let place = rule.moments().iter().position(|moment| *moment == name);
        Moment(place.unwrap_or_default())
    };
    let mut terms = vec![("lr", LearningRate)];
    match rule {
        Rule::Sgd(sgd) if sgd.momentum != 0.0 => {
            terms.push(("momentum", moment("momentum_buffer")));
            terms.extend((sgd.dampening != 0.0).then_some(("dampening", Later)));
            terms.extend(sgd.nesterov.then_some(("nesterov", moment("momentum_buffer"))));
        }
        Rule::Sgd(_) => {}
        Rule::RmsProp(rmsprop) => {
            terms.push(("alpha", moment("square_avg")));
            terms.extend(rmsprop.centered.then_some(("centered", moment("grad_avg"))));
            let momentum = rmsprop.momentum != 0.0;
            terms.extend(momentum.then_some(("momentum", moment("momentum_buffer"))));
        }
        Rule::Adam(_) | Rule::NAdam(_) => {
            terms.extend([("beta1", moment("exp_avg")), ("beta2", moment("exp_avg_sq"))]);
            let amsgrad = matches!(rule, Rule::Adam(adam) if adam.amsgrad);
            terms.extend(amsgrad.then_some(("amsgrad", moment("max_exp_avg_sq"))));
            terms.extend(matches!(rule, Rule::NAdam(_)).then_some(("momentum_decay", Later)));
        }
        Rule::Adamax(_) => {
            terms.extend([("beta1", moment("exp_avg")), ("beta2", moment("exp_inf"))]);
        }
        Rule::Adagrad(adagrad) => {
            terms.push(("sum", moment("sum")));
            terms.extend((adagrad.lr_decay != 0.0).then_some(("lr_decay", Later)));
        }
        Rule::Lion(_) => {
            terms.extend([("beta1", moment("exp_avg")), ("beta2", moment("exp_avg"))]);
        }
    }
    let (beta1, beta2) = rule.bias_corrected_betas();
    terms.extend((beta1 != 0.0 || beta2 != 0.0).then_some(("bias_correction", Later)));
    let decay = frame.coupled != 0.0 || frame.decoupled != 0.0;
    terms.extend(decay.then_some(("weight_decay", Params)));
    terms.extend(frame.maximize.then_some(("maximize", Gradient)));
    terms.extend((recipe.penalty != Penalty::default()).then_some(("penalty", Params)));
    terms
}

/// The terms of a recipe, including the average.
pub fn names(recipe: &Recipe) -> Vec<&'static str> {
    let average = recipe.average.map(|_| AVERAGE);
    terms(recipe).into_iter().map(|(name, _)| name).chain(average).collect()
}

/// The name of the parameters' moving average.
pub const AVERAGE: &str = "average";

/// The terms that the check of an update covers, without the average.
pub fn seen<'a>(recipe: &Recipe, step: &'a ObservedStep) -> impl Iterator<Item = &'static str> + 'a {
    let alive = |values: &[f32]| values.iter().any(|&value| value != 0.0);
    let holds = move |needs: Needs| match needs {
        Needs::Gradient => alive(&step.gradient.grads),
        Needs::LearningRate => step.lr != 0.0,
        Needs::Params => alive(&step.before.params),
        Needs::Moment(place) => step.before.moments.get(place).is_some_and(|moment| alive(moment)),
        Needs::Later => step.t > 1,
    };
    terms(recipe).into_iter().filter(move |(_, needs)| holds(*needs)).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regression::Batch;
    use crate::regression::verification::{ObservedGradient, Snapshot};
    use crate::{Adam, Loss, Model};

    fn step(t: u64, state: f32) -> ObservedStep {
        let snapshot = Snapshot { params: vec![state; 2], moments: vec![vec![state; 2]; 2] };
        let gradient =
            ObservedGradient { batch: Batch::new(0, 1), depths: (1, 1), grads: vec![1.0; 2], loss: 1.0 };
        ObservedStep { t, lr: 0.1, before: snapshot.clone(), gradient, sample: None, after: snapshot }
    }

    #[test]
    fn the_first_update_from_zeros_shows_no_decay_and_no_moments() {
        let adam = Adam { maximize: true, weight_decay: 0.5, ..Adam::adamw() };
        let recipe = Recipe { average: Some(0.9), ..Recipe::new(Model::new(1, Loss::Mse), adam.into()) };
        let all = ["lr", "beta1", "beta2", "bias_correction", "weight_decay", "maximize", "average"];
        assert_eq!(names(&recipe), all);
        assert_eq!(seen(&recipe, &step(1, 0.0)).collect::<Vec<_>>(), ["lr", "maximize"]);
        assert_eq!(seen(&recipe, &step(9, 0.5)).collect::<Vec<_>>(), all[..6]);
        assert_eq!(seen(&recipe, &ObservedStep { lr: 0.0, ..step(9, 0.5) }).next(), Some("beta1"));
    }
}
