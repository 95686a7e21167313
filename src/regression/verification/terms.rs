//! The terms of an update that a check covers: an error in a term whose input is zero would not be visible.

use super::ObservedStep;
use crate::Penalty;
use crate::regression::train::Recipe;
use crate::rule::TermInput;

/// The terms of a recipe's update by PyTorch's names, without the moving average of the parameters.
fn terms(recipe: &Recipe) -> Vec<(&'static str, TermInput)> {
    let (rule, common) = (&recipe.rule, recipe.rule.common_terms());
    let mut terms = vec![("lr", TermInput::LearningRate)];
    terms.extend(rule.terms());
    let (beta1, beta2) = rule.bias_corrected_betas();
    let corrects = beta1 != 0.0 || beta2 != 0.0;
    terms.extend(corrects.then_some(("bias_correction", TermInput::LaterUpdate)));
    let decay = common.coupled != 0.0 || common.decoupled != 0.0;
    terms.extend(decay.then_some(("weight_decay", TermInput::Params)));
    terms.extend(common.maximize.then_some(("maximize", TermInput::Gradient)));
    terms.extend((recipe.penalty != Penalty::default()).then_some(("penalty", TermInput::Params)));
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
    let moments = recipe.rule.moments();
    let moment = move |name: &str| {
        let place = moments.iter().position(|moment| *moment == name)?;
        step.before.moments.get(place)
    };
    let is_alive = move |input: TermInput| match input {
        TermInput::Gradient => alive(&step.gradient.grads),
        TermInput::LearningRate => step.lr != 0.0,
        TermInput::Params => alive(&step.before.params),
        TermInput::Moment(name) => moment(name).is_some_and(|moment| alive(moment)),
        TermInput::LaterUpdate => step.t > 1,
    };
    terms(recipe).into_iter().filter(move |(_, input)| is_alive(*input)).map(|(name, _)| name)
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
