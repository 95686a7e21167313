//! One step of any rule: the frame that the rules share, the twin of `shaders/update.wgsl`.

use super::Number;
use crate::rule::{UpdateRule, with_rule};
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
    /// The eps that is added outside the root.
    pub eps: R,
    /// lr · weight_decay where that is decoupled.
    pub decay: R,
    /// Whether this is the tensor's first step.
    pub first: bool,
    /// In RAdam, whether the step is momentum alone, because the variance cannot be rectified yet; else false.
    pub unrectified: bool,
}

/// The definition of a rule: its own formula, written once for every number.
pub(crate) trait Definition: UpdateRule {
    /// The constants of the formula, in the order of `struct Hyper` in its shader.
    fn hyper_words<R: Number>(&self) -> Vec<R>;

    /// Updates all elements: `each!` with the formula.
    fn update<R: Number>(&self, slices: Slices<R>);
}

/// The change of a parameter by a rule.
#[derive(Clone, Copy, Debug)]
pub struct Change<R> {
    /// The amount that is subtracted from the parameter.
    pub by: R,
    /// The divisor of the gradient.
    pub denominator: R,
}

impl<R: Number> Change<R> {
    /// A change in which nothing was divided by.
    #[inline(always)]
    pub fn by(by: R) -> Self {
        Change { by, denominator: R::of(1.0) }
    }
}

/// Updates all elements: from the gradient and the moments, which it updates, the formula of a rule makes the
/// [`Change`] of the parameter.
///
/// A macro and no function of a closure, because closures that are not inlined are compiled without the
/// SIMD that was found; and blocks of a fixed length, because their loops are vectorized whatever is in them. The loop
/// stands twice, with and without the terms around a formula: compilers do not take all of them out of the loop.
macro_rules! each {
    ($slices:expr, |$gradient:ident, [$($moment:ident),*]| $change:expr) => {{
        let slices = $slices;
        if slices.common.is_plain() {
            each!(@loop true, slices, |$gradient, [$($moment),*]| $change)
        } else {
            each!(@loop false, slices, |$gradient, [$($moment),*]| $change)
        }
    }};
    (@loop $plain:literal, $slices:ident, |$gradient:ident, [$($moment:ident),*]| $change:expr) => {{
        use $crate::cpu::prefetch::{BLOCK, ahead};
        let $crate::cpu::update::Slices { common, params, grads, moments } = $slices;
        let [$($moment),*] = $crate::cpu::update::first(moments);
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
                let param = params[i].loaded();
                let $gradient = common.gradient::<$plain>(grads[i].loaded(), param);
                $(let $moment = &mut $moment[i];)*
                $(*$moment = $moment.loaded();)*
                params[i] = common.updated::<$plain>(param, $change).stored();
                $(*$moment = $moment.stored();)*
            }
        }
        for (param, &grad) in last_params.iter_mut().zip(last_grads) {
            let loaded = param.loaded();
            let $gradient = common.gradient::<$plain>(grad.loaded(), loaded);
            $(let $moment = $moment.1.next().expect("as many as params");)*
            $(*$moment = $moment.loaded();)*
            *param = common.updated::<$plain>(loaded, $change).stored();
            $(*$moment = $moment.stored();)*
        }
    }};
}
pub(super) use each;

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
    // Local copies: the compiler would reload values that a store through `params` might change.
    let (rule, step) = (&{ *rule }, &{ *step });
    let slices = Slices { common: CommonTerms::new(rule, penalty, step), params, grads, moments };
    with_rule!(rule, rule => rule.update(slices))
}

/// The elements that a rule updates, and the terms around its formula.
pub(crate) struct Slices<'a, 'b, R> {
    pub common: CommonTerms<'a, R>,
    pub params: &'a mut [R],
    pub grads: &'a [R],
    pub moments: &'a mut [&'b mut [R]],
}

impl<'a, R> Slices<'a, '_, R> {
    /// The constants of the step.
    #[inline(always)]
    pub fn step(&self) -> &'a Step<R> {
        self.common.step
    }
}

/// The constants of a rule's own formula in the order of `struct Hyper` in its shader.
pub(crate) fn hyper_words<R: Number>(rule: &Rule) -> Vec<R> {
    with_rule!(rule, rule => rule.hyper_words())
}

/// The first N moments.
#[inline(always)]
pub(super) fn first<'a, R, const N: usize>(moments: &'a mut [&mut [R]]) -> [&'a mut [R]; N] {
    let mut moments = moments.iter_mut();
    std::array::from_fn(|_| &mut **moments.next().expect("a slice for every moment of the rule"))
}

/// The terms around every rule's own formula.
pub(crate) struct CommonTerms<'a, R> {
    step: &'a Step<R>,
    maximize: bool,
    coupled: Option<R>,
    decoupled: bool,
    l1_factor: Option<R>,
}

impl<'a, R: Number> CommonTerms<'a, R> {
    #[inline(always)]
    fn new(rule: &Rule, penalty: &Penalty, step: &'a Step<R>) -> Self {
        let terms = rule.common_terms();
        let some = |x: f64| (x != 0.0).then(|| R::of(x));
        let coupled = match (some(terms.coupled), some(penalty.l2_factor())) {
            (Some(weight_decay), Some(l2_factor)) => Some(weight_decay + l2_factor),
            (one, other) => one.or(other),
        };
        CommonTerms {
            step,
            maximize: terms.maximize,
            coupled,
            decoupled: terms.decoupled != 0.0,
            l1_factor: some(penalty.proximal_factor(rule)),
        }
    }

    /// Whether there are no terms around the formula.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        !self.maximize && self.coupled.is_none() && !self.decoupled && self.l1_factor.is_none()
    }

    /// The gradient that the formula takes. `PLAIN`: without further terms.
    #[inline(always)]
    pub fn gradient<const PLAIN: bool>(&self, grad: R, param: R) -> R {
        if PLAIN {
            return grad;
        }
        let gradient = if self.maximize { -grad } else { grad };
        match self.coupled {
            Some(weight_decay) => gradient + weight_decay * param,
            None => gradient,
        }
    }

    /// The parameter after the step. `PLAIN`: without further terms.
    #[inline(always)]
    pub fn updated<const PLAIN: bool>(&self, param: R, Change { by, denominator }: Change<R>) -> R {
        if PLAIN {
            return param - by;
        }
        let by = if self.decoupled { by + self.step.decay * param } else { by };
        let updated = param - by;
        match self.l1_factor {
            Some(l1_factor) => {
                let most = self.step.lr * l1_factor / denominator;
                updated - updated.smaller(most).larger(-most)
            }
            None => updated,
        }
    }
}
