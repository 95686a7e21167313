//! The definition of [`Adagrad`]; the twin of `shaders/update/adagrad.wgsl`.

use super::{Change, Definition, Number, Slices, Step, each};
use crate::Adagrad;
use crate::rule::UpdateRule;

impl Definition for Adagrad {
    fn hyper_words<R: Number>(&self) -> Vec<R> {
        Hyper::new(self).words()
    }

    #[inline(always)]
    fn update<R: Number>(&self, slices: Slices<R>) {
        let (hyper, step) = (Hyper::new(self), slices.step());
        each!(slices, |g, [sum]| change(self, &hyper, step, g, sum));
    }
}

#[derive(Clone, Copy)]
struct Hyper<R> {
    eps_inside: R,
    initial_accumulator: R,
}

impl<R: Number> Hyper<R> {
    pub fn new(rule: &Adagrad) -> Self {
        let initial_accumulator = R::of(rule.initial_accumulator);
        Hyper { eps_inside: R::of(rule.eps_inside()), initial_accumulator }
    }

    pub fn words(&self) -> Vec<R> {
        vec![self.eps_inside, self.initial_accumulator]
    }
}

#[inline(always)]
fn change<R: Number>(
    rule: &Adagrad,
    hyper: &Hyper<R>,
    step: &Step<R>,
    gradient: R,
    sum: &mut R,
) -> Change<R> {
    let starts = step.first && rule.initial_accumulator != 0.0;
    let old = if starts { hyper.initial_accumulator } else { *sum };
    *sum = old + gradient * gradient;
    let denominator = (*sum + hyper.eps_inside).root() + step.eps;
    Change { by: step.lr * gradient / denominator, denominator }
}
