//! One step of any rule: the frame that the rules share, the twin of `shaders/update.wgsl`.

use super::{Number, adagrad, adam, adamax, lion, nadam, rmsprop, sgd};
use crate::{Penalty, Rule};

/// The constants of one step of one tensor, as the rules read them.
#[derive(Clone, Copy, Debug)]
pub struct Step<R> {
    /// This step's learning rate.
    pub lr: R,
    /// lr / (1 − beta1ᵗ); in NAdam lr · muₜ₊₁ / (1 − muₜ₊₁ · Π mu).
    pub step_size: R,
    /// In NAdam lr · (1 − muₜ) / (1 − Π mu), else 0.
    pub gradient_size: R,
    /// 1 / (1 − beta2ᵗ).
    pub inv_bias_correction2: R,
    /// What is added outside the root.
    pub eps: R,
    /// lr · weight_decay where that is decoupled.
    pub decay: R,
    /// Whether this is the tensor's first step.
    pub first: bool,
}

/// What a rule makes of a gradient.
#[derive(Clone, Copy, Debug)]
pub struct Change<R> {
    /// What is subtracted from the parameter.
    pub by: R,
    /// What the gradient was divided by.
    pub denominator: R,
}

impl<R: Number> Change<R> {
    /// A change in which nothing was divided by.
    #[inline(always)]
    pub fn by(by: R) -> Self {
        Change { by, denominator: R::of(1.0) }
    }
}

/// One step of `rule` over `params`, in place.
///
/// `grads` is as long as `params`; `moments` holds one slice of that length for each of
/// [`Rule::moments`], zero before the first step.
///
/// # Panics
/// If there are fewer moments than the rule has. Elements past the shortest slice are left alone.
#[inline(always)]
pub fn update<R: Number>(
    rule: &Rule,
    step: &Step<R>,
    params: &mut [R],
    grads: &[R],
    moments: &mut [&mut [R]],
) {
    update_penalized(rule, &Penalty::default(), step, params, grads, moments);
}

/// [`update`] of parameters that cost a penalty.
///
/// # Panics
/// As that one does.
#[inline(always)]
pub fn update_penalized<R: Number>(
    rule: &Rule,
    penalty: &Penalty,
    step: &Step<R>,
    params: &mut [R],
    grads: &[R],
    moments: &mut [&mut [R]],
) {
    // Copies of one's own: what a store through `params` might change would be read again and again.
    let (rule, step, penalty) = (&{ *rule }, &{ *step }, &{ *penalty });
    let slices = Slices { rule, penalty, step, params, grads };
    let (_, eps_inside) = rule.eps();
    match rule {
        Rule::Sgd(sgd) if sgd.momentum == 0.0 => slices.each([], |g, []| sgd::change(step, g)),
        Rule::Sgd(sgd) => {
            let hyper = sgd::Hyper::new(sgd);
            slices.each(first(moments), |g, [b]| sgd::change_with_momentum(sgd, &hyper, step, g, b));
        }
        Rule::RmsProp(rmsprop) => {
            let hyper = rmsprop::Hyper::new(rmsprop, eps_inside);
            let change = |g: R, v: &mut R, m: Option<&mut R>, b: Option<&mut R>| {
                rmsprop::change(rmsprop, &hyper, step, g, v, m, b)
            };
            match (rmsprop.centered, rmsprop.momentum != 0.0) {
                (false, false) => slices.each(first(moments), |g, [v]| change(g, v, None, None)),
                (true, false) => slices.each(first(moments), |g, [v, m]| change(g, v, Some(m), None)),
                (false, true) => slices.each(first(moments), |g, [v, b]| change(g, v, None, Some(b))),
                (true, true) => {
                    slices.each(first(moments), |g, [v, m, b]| change(g, v, Some(m), Some(b)));
                }
            }
        }
        Rule::Adam(adam) => {
            let hyper = adam::Hyper::new(adam.betas, eps_inside);
            let change = |g: R, m: &mut R, v: &mut R, max: Option<&mut R>| {
                adam::change(adam, &hyper, step, g, m, v, max)
            };
            if adam.amsgrad {
                slices.each(first(moments), |g, [m, v, max]| change(g, m, v, Some(max)));
            } else {
                slices.each(first(moments), |g, [m, v]| change(g, m, v, None));
            }
        }
        Rule::NAdam(nadam) => {
            let hyper = adam::Hyper::new(nadam.betas, eps_inside);
            slices.each(first(moments), |g, [m, v]| nadam::change(&hyper, step, g, m, v));
        }
        Rule::Adamax(adamax) => {
            let hyper = adamax::Hyper::new(adamax, eps_inside);
            slices.each(first(moments), |g, [m, norm]| adamax::change(&hyper, step, g, m, norm));
        }
        Rule::Adagrad(adagrad) => {
            let hyper = adagrad::Hyper::new(adagrad, eps_inside);
            slices.each(first(moments), |g, [sum]| adagrad::change(adagrad, &hyper, step, g, sum));
        }
        Rule::Lion(lion) => {
            let hyper = lion::Hyper::new(lion);
            slices.each(first(moments), |g, [m]| lion::change(&hyper, step, g, m));
        }
    }
}

/// The constants of a rule's own formula in the order of `struct Hyper` in its shader.
pub(crate) fn hyper_words<R: Number>(rule: &Rule) -> Vec<R> {
    let (_, eps_inside) = rule.eps();
    match rule {
        Rule::Sgd(sgd) => sgd::Hyper::new(sgd).words(),
        Rule::RmsProp(rmsprop) => rmsprop::Hyper::new(rmsprop, eps_inside).words(),
        Rule::Adam(adam) => adam::Hyper::new(adam.betas, eps_inside).words(),
        Rule::NAdam(nadam) => adam::Hyper::new(nadam.betas, eps_inside).words(),
        Rule::Adamax(adamax) => adamax::Hyper::new(adamax, eps_inside).words(),
        Rule::Adagrad(adagrad) => adagrad::Hyper::new(adagrad, eps_inside).words(),
        Rule::Lion(lion) => lion::Hyper::new(lion).words(),
    }
}

/// The first N moments.
#[inline(always)]
fn first<'a, R, const N: usize>(moments: &'a mut [&mut [R]]) -> [&'a mut [R]; N] {
    let mut moments = moments.iter_mut();
    std::array::from_fn(|_| &mut **moments.next().expect("a slice for every moment of the rule"))
}

/// What every rule reads and writes.
struct Slices<'a, R> {
    rule: &'a Rule,
    penalty: &'a Penalty,
    step: &'a Step<R>,
    params: &'a mut [R],
    grads: &'a [R],
}

impl<R: Number> Slices<'_, R> {
    /// What is around a rule's own formula, which is `change`: from the gradient and the moments, which
    /// it updates, to what is subtracted from the parameter.
    #[inline(always)]
    fn each<const N: usize>(self, moments: [&mut [R]; N], change: impl Fn(R, [&mut R; N]) -> Change<R>) {
        let frame = self.rule.frame();
        let coupled = frame.coupled + self.penalty.squares();
        let weight_decay = R::of(coupled);
        let shrinking = self.penalty.shrinking(self.rule);
        let shrinks = shrinking != 0.0;
        let shrinking = R::of(shrinking);
        let len = self.params.len().min(self.grads.len());
        let len = moments.iter().fold(len, |len, moment| len.min(moment.len()));
        // As long as each other, so that no index is checked in the loop.
        let (params, grads) = (&mut self.params[..len], &self.grads[..len]);
        let mut moments = moments.map(|moment| &mut moment[..len]);
        for i in 0..len {
            let param = params[i];
            let mut gradient = if frame.maximize { -grads[i] } else { grads[i] };
            if coupled != 0.0 {
                gradient = gradient + weight_decay * param;
            }
            let Change { by: mut change, denominator } =
                change(gradient, moments.each_mut().map(|moment| &mut moment[i]));
            if frame.decoupled != 0.0 {
                change = change + self.step.decay * param;
            }
            let updated = param - change;
            params[i] = if shrinks {
                let most = self.step.lr * shrinking / denominator;
                updated - updated.smaller(most).larger(-most)
            } else {
                updated
            };
        }
    }
}
