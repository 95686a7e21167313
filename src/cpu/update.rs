//! One step of any rule: the frame that the rules share, the twin of `shaders/update.wgsl`.

use super::prefetch::{BLOCK, ahead};
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

/// Goes through all elements: from the gradient and the moments, which it updates, a rule's own formula makes
/// what is subtracted from the parameter.
///
/// A macro and no function of a closure, because closures that are not inlined are compiled without the
/// SIMD that was found; and blocks of a fixed length, because their loops are vectorized whatever is in them.
macro_rules! each {
    ($slices:expr, |$gradient:ident, [$($moment:ident),*]| $change:expr) => {{
        let Slices { frame, params, grads, moments } = $slices;
        let [$($moment),*] = first(moments);
        let len = params.len().min(grads.len())$(.min($moment.len()))*;
        let (params, last_params) = params[..len].as_chunks_mut::<BLOCK>();
        let (grads, last_grads) = grads[..len].as_chunks::<BLOCK>();
        $(let $moment = $moment[..len].as_chunks_mut::<BLOCK>();)*
        $(let mut $moment = ($moment.0.iter_mut(), $moment.1.iter_mut());)*
        for (params, grads) in params.iter_mut().zip(grads) {
            $(let $moment = $moment.0.next().expect("as many blocks as params");)*
            ahead(params);
            ahead(grads);
            $(ahead($moment);)*
            for i in 0..BLOCK {
                let $gradient = frame.gradient(grads[i], params[i]);
                $(let $moment = &mut $moment[i];)*
                params[i] = frame.updated(params[i], $change);
            }
        }
        for (param, &grad) in last_params.iter_mut().zip(last_grads) {
            let $gradient = frame.gradient(grad, *param);
            $(let $moment = $moment.1.next().expect("as many as params");)*
            *param = frame.updated(*param, $change);
        }
    }};
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
    let (rule, step) = (&{ *rule }, &{ *step });
    let slices = Slices { frame: CommonTerms::new(rule, penalty, step), params, grads, moments };
    let (_, eps_inside) = rule.eps();
    match rule {
        Rule::Sgd(sgd) if sgd.momentum == 0.0 => each!(slices, |g, []| sgd::change(step, g)),
        Rule::Sgd(sgd) => {
            let hyper = sgd::Hyper::new(sgd);
            each!(slices, |g, [b]| sgd::change_with_momentum(sgd, &hyper, step, g, b));
        }
        Rule::RmsProp(rmsprop) => {
            let hyper = rmsprop::Hyper::new(rmsprop, eps_inside);
            macro_rules! change {
                ($g:ident, $v:ident, $m:expr, $b:expr) => {
                    rmsprop::change(rmsprop, &hyper, step, $g, $v, $m, $b)
                };
            }
            match (rmsprop.centered, rmsprop.momentum != 0.0) {
                (false, false) => each!(slices, |g, [v]| change!(g, v, None, None)),
                (true, false) => each!(slices, |g, [v, m]| change!(g, v, Some(m), None)),
                (false, true) => each!(slices, |g, [v, b]| change!(g, v, None, Some(b))),
                (true, true) => each!(slices, |g, [v, m, b]| change!(g, v, Some(m), Some(b))),
            }
        }
        Rule::Adam(adam) => {
            let hyper = adam::Hyper::new(adam.betas, eps_inside);
            if adam.amsgrad {
                each!(slices, |g, [m, v, max]| adam::change(adam, &hyper, step, g, m, v, Some(max)));
            } else {
                each!(slices, |g, [m, v]| adam::change(adam, &hyper, step, g, m, v, None));
            }
        }
        Rule::NAdam(nadam) => {
            let hyper = adam::Hyper::new(nadam.betas, eps_inside);
            each!(slices, |g, [m, v]| nadam::change(&hyper, step, g, m, v));
        }
        Rule::Adamax(adamax) => {
            let hyper = adamax::Hyper::new(adamax, eps_inside);
            each!(slices, |g, [m, norm]| adamax::change(&hyper, step, g, m, norm));
        }
        Rule::Adagrad(adagrad) => {
            let hyper = adagrad::Hyper::new(adagrad, eps_inside);
            each!(slices, |g, [sum]| adagrad::change(adagrad, &hyper, step, g, sum));
        }
        Rule::Lion(lion) => {
            let hyper = lion::Hyper::new(lion);
            each!(slices, |g, [m]| lion::change(&hyper, step, g, m));
        }
    }
}

/// What is gone through.
struct Slices<'a, 'b, R> {
    frame: CommonTerms<'a, R>,
    params: &'a mut [R],
    grads: &'a [R],
    moments: &'a mut [&'b mut [R]],
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

/// What is around every rule's own formula.
struct CommonTerms<'a, R> {
    step: &'a Step<R>,
    maximize: bool,
    coupled: Option<R>,
    decoupled: bool,
    shrinking: Option<R>,
}

impl<'a, R: Number> CommonTerms<'a, R> {
    #[inline(always)]
    fn new(rule: &Rule, penalty: &Penalty, step: &'a Step<R>) -> Self {
        let frame = rule.frame();
        let some = |x: f64| (x != 0.0).then(|| R::of(x));
        CommonTerms {
            step,
            maximize: frame.maximize,
            coupled: some(frame.coupled + penalty.squares()),
            decoupled: frame.decoupled != 0.0,
            shrinking: some(penalty.shrinking(rule)),
        }
    }

    /// What the rule is given for a gradient.
    #[inline(always)]
    fn gradient(&self, grad: R, param: R) -> R {
        let gradient = if self.maximize { -grad } else { grad };
        match self.coupled {
            Some(weight_decay) => gradient + weight_decay * param,
            None => gradient,
        }
    }

    /// The parameter behind the step.
    #[inline(always)]
    fn updated(&self, param: R, Change { by, denominator }: Change<R>) -> R {
        let by = if self.decoupled { by + self.step.decay * param } else { by };
        let updated = param - by;
        match self.shrinking {
            Some(shrinking) => {
                let most = self.step.lr * shrinking / denominator;
                updated - updated.smaller(most).larger(-most)
            }
            None => updated,
        }
    }
}
