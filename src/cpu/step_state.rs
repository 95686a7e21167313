//! The step's state: the counter and the powers that correct the moments' bias, one state for every
//! tensor.
//!
//! The twin of `shaders/step_state.wgsl`, word for word: its bytes are those of the device's buffers.

use super::integer::{float_from_fixed, float_from_u64, reciprocal};
use super::rectification::{self, Rectification};
use super::{Number, Step};
use crate::rule::StepForm;
use crate::{Arithmetic, Rule};

/// The state of a tensor between steps, besides its moments.
///
/// The bias correction 1 − βᵗ is 64-bit fixed point, advanced by integer arithmetic:
/// `1 − βᵗ = β · (1 − βᵗ⁻¹) + (1 − β)`. Truncation loses less than 2⁻⁶⁴ a step and earlier losses
/// decay with β, so the total stays below 2⁻⁶⁴ / (1 − β): within one ulp of f32 for β up to 1 − 1e-7
/// and any t.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StepState {
    /// Steps taken.
    pub t: u64,
    /// 1 − beta1ᵗ, in units of 2⁻⁶⁴; in NAdam 1 − mu₁ · … · muₜ.
    pub bias_correction1: u64,
    /// 1 − beta2ᵗ, in units of 2⁻⁶⁴.
    pub bias_correction2: u64,
    /// 0.96^(t · momentum_decay) in NAdam, in units of 2⁻⁶⁴.
    pub momentum_decay: u64,
    /// 1 where the tensor is frozen.
    pub frozen: u32,
    /// Micro-batches whose gradients wait in the accumulator.
    pub pending: u32,
}

/// The constants by which the state of a tensor advances, in the layout of the device's buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RuleConstants {
    beta1: u64,
    one_minus_beta1: u64,
    beta2: u64,
    one_minus_beta2: u64,
    momentum_decay: u64,
    /// The first step that RAdam rectifies.
    rectified_from: u64,
    form: u32,
    hat: u32,
    lr_decay: f32,
    weight_decay: f32,
    eps: f32,
    rho_infinity: f32,
    rho_offset: f32,
    half_log: f32,
    rectification: f32,
    reserved: u32,
}

/// Values of `form`, which are those of `shaders/step_state.wgsl`.
const PLAIN: u32 = 0;
const NADAM: u32 = 1;
const RADAM: u32 = 2;

impl RuleConstants {
    /// Those of `rule`, which must be valid.
    pub fn new(rule: &Rule) -> Self {
        let (mut beta1, beta2) = rule.bias_corrected_betas();
        let (form, mut momentum_decay) = match rule.step_form() {
            StepForm::Plain => (PLAIN, 0),
            StepForm::RAdam => (RADAM, 0),
            StepForm::NAdam(decay) => (NADAM, nadam_decay(decay)),
        };
        if rule.step_form() == StepForm::NAdam(Some(0.0)) {
            // 0.96⁰ has no form of its own: mu is half of beta1 in every step.
            (beta1, momentum_decay) = (beta1 / 2.0, 0);
        }
        let rectification = Rectification::<f32>::new(beta2);
        let rectified_from = if form == RADAM { rectification::first_step(beta2) } else { 0 };
        let (beta1, one_minus_beta1) = fixed_point(beta1);
        let (beta2, one_minus_beta2) = fixed_point(beta2);
        RuleConstants {
            beta1,
            one_minus_beta1,
            beta2,
            one_minus_beta2,
            momentum_decay,
            rectified_from,
            form,
            hat: u32::from(rule.eps_is_hat()),
            lr_decay: rule.lr_decay() as f32,
            weight_decay: rule.common_terms().decoupled as f32,
            eps: rule.eps_outside() as f32,
            rho_infinity: rectification.rho_infinity,
            rho_offset: rectification.rho_offset,
            half_log: rectification.half_log,
            rectification: rectification.scale,
            reserved: 0,
        }
    }

    fn rectification<R: Number>(&self) -> Rectification<R> {
        let RuleConstants { rho_infinity, rho_offset, half_log, rectification: scale, .. } = *self;
        let number = |x: f32| R::of(x.into());
        Rectification {
            rho_infinity: number(rho_infinity),
            rho_offset: number(rho_offset),
            half_log: number(half_log),
            scale: number(scale),
        }
    }

    /// These constants as the kernels of an arithmetic read them.
    pub(crate) fn in_arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        for constant in [
            &mut self.lr_decay,
            &mut self.weight_decay,
            &mut self.eps,
            &mut self.rho_infinity,
            &mut self.rho_offset,
            &mut self.half_log,
            &mut self.rectification,
        ] {
            *constant = arithmetic.constant(*constant);
        }
        self
    }

    /// 1 − mu, and the sum that follows on `bias_correction1` with it.
    fn next_product(&self, momentum_decay: u64, bias_correction1: u64) -> (u64, u64) {
        let one_minus_mu = self.one_minus_beta1 + (mul_high(self.beta1, momentum_decay) >> 1);
        let mu = one_minus_mu.wrapping_neg();
        (one_minus_mu, mul_high(bias_correction1, mu) + one_minus_mu)
    }
}

impl Default for StepState {
    /// The state before the first step.
    fn default() -> Self {
        StepState {
            t: 0,
            bias_correction1: 0,
            bias_correction2: 0,
            momentum_decay: u64::MAX,
            frozen: 0,
            pending: 0,
        }
    }
}

impl StepState {
    /// The state after `t` steps of `rule`, which must be valid: the bits that `t` steps would give. It
    /// takes those steps until nothing changes any more, which is some 44 / (1 − beta) of them, and in NAdam as many as
    /// 44 / (1 − 0.96^momentum_decay), if that is more.
    pub fn after(rule: &Rule, t: u64) -> Self {
        let constants = RuleConstants::new(rule);
        let mut state = StepState::default();
        while state.t < t {
            let before = state;
            state.count(&constants);
            // Once only the counter changes, all later states are known.
            if (StepState { t: before.t, ..state }) == before {
                state.t = t;
            }
        }
        state
    }

    /// Counts a step, and brings the powers to it.
    fn count(&mut self, rule: &RuleConstants) {
        self.t = self.t.wrapping_add(1);
        self.momentum_decay = mul_high(self.momentum_decay, rule.momentum_decay);
        self.bias_correction1 = match rule.form {
            NADAM => rule.next_product(self.momentum_decay, self.bias_correction1).1,
            _ => mul_high(self.bias_correction1, rule.beta1) + rule.one_minus_beta1,
        };
        self.bias_correction2 = mul_high(self.bias_correction2, rule.beta2) + rule.one_minus_beta2;
    }

    /// Advances by one step with learning rate `lr` and returns its constants.
    pub fn advance(&mut self, rule: &RuleConstants, lr: f32) -> Step<f32> {
        self.advance_in(rule, lr)
    }

    /// [`advance`](Self::advance) in the arithmetic of a number: of f32, or of [`Strict`](super::Strict).
    pub fn advance_in<R: Number>(&mut self, rule: &RuleConstants, lr: R) -> Step<R> {
        // Exact: R has the numbers of f32.
        let number = |x: f32| R::of(x.into());
        self.count(rule);
        let mut lr = lr;
        if rule.lr_decay != 0.0 {
            let before = number(float_from_u64(self.t.wrapping_sub(1)));
            lr = lr / (R::of(1.0) + before * number(rule.lr_decay));
        }
        let mut step_size = lr * number(reciprocal(self.bias_correction1));
        let mut gradient_size = R::of(0.0);
        if rule.form == NADAM {
            let decay = mul_high(self.momentum_decay, rule.momentum_decay);
            let (one_minus_next, next) = rule.next_product(decay, self.bias_correction1);
            let mu = number(float_from_fixed(one_minus_next.wrapping_neg()));
            step_size = lr * mu * number(reciprocal(next));
            let one_minus_mu = rule.one_minus_beta1 + (mul_high(rule.beta1, self.momentum_decay) >> 1);
            let one_minus_mu = number(float_from_fixed(one_minus_mu));
            gradient_size = lr * one_minus_mu * number(reciprocal(self.bias_correction1));
        }
        let inv_bias_correction2 = number(reciprocal(self.bias_correction2));
        let unrectified = self.t < rule.rectified_from;
        if rule.form == RADAM && !unrectified {
            let constants: Rectification<R> = rule.rectification();
            let power = number(float_from_fixed(self.bias_correction2.wrapping_neg()));
            let rho = constants.rho(number(float_from_u64(self.t)), power, inv_bias_correction2);
            step_size = step_size * constants.factor(rho);
        }
        let eps = number(rule.eps);
        let eps = if rule.hat == 1 { eps * inv_bias_correction2.root() } else { eps };
        let (decay, first) = (lr * number(rule.weight_decay), self.t == 1);
        Step { lr, step_size, gradient_size, inv_bias_correction2, eps, decay, first, unrectified }
    }
}

/// The constants of step `t` (from 1) by their definition, in f64 or with their bounds.
pub fn exact_step<R: Number>(rule: &Rule, t: u64, lr: f64) -> Step<R> {
    let (beta1, beta2) = rule.bias_corrected_betas();
    let mut lr = R::of(lr);
    if rule.lr_decay() != 0.0 {
        lr = lr / (R::of(1.0) + R::of(t.saturating_sub(1) as f64) * R::of(rule.lr_decay()));
    }
    let inv_bias_correction2 = R::near(1.0 / one_minus_power(beta2, t));
    let plain = lr * R::near(1.0 / one_minus_power(beta1, t));
    let mut unrectified = false;
    let (step_size, gradient_size) = match rule.step_form() {
        StepForm::Plain => (plain, R::of(0.0)),
        StepForm::NAdam(momentum_decay) => nadam_sizes(beta1, momentum_decay, t, lr),
        StepForm::RAdam => {
            unrectified = t < rectification::first_step(beta2);
            let factor = match unrectified {
                true => R::of(1.0),
                false => {
                    let constants = Rectification::new(beta2);
                    let power = R::near(rectification::power(beta2, t));
                    constants.factor(constants.rho(R::near(t as f64), power, inv_bias_correction2))
                }
            };
            (plain * factor, R::of(0.0))
        }
    };
    let eps = R::of(rule.eps_outside());
    let eps = if rule.eps_is_hat() { eps * inv_bias_correction2.root() } else { eps };
    let decay = lr * R::of(rule.common_terms().decoupled);
    let first = t == 1;
    Step { lr, step_size, gradient_size, inv_bias_correction2, eps, decay, first, unrectified }
}

/// NAdam's factors of `exp_avg` and of the gradient.
fn nadam_sizes<R: Number>(beta1: f64, momentum_decay: Option<f64>, t: u64, lr: R) -> (R, R) {
    let one_minus_mu = |t: u64| {
        let decay = momentum_decay.map_or(0.0, |decay| 0.96f64.powf(t as f64 * decay));
        (1.0 - beta1) + beta1 * 0.5 * decay
    };
    // ln Π mu. Below −745 the product underflows f64.
    let mut log = 0.0;
    for s in 1..=t {
        log += (-one_minus_mu(s)).ln_1p();
        if log < -745.0 {
            break;
        }
    }
    let next = one_minus_mu(t + 1);
    let product_next = log + (-next).ln_1p();
    let step_size = lr * R::near(1.0 - next) * R::near(-1.0 / product_next.exp_m1());
    let gradient_size = lr * R::near(one_minus_mu(t)) * R::near(-1.0 / log.exp_m1());
    (step_size, gradient_size)
}

/// 1 − βᵗ in f64, without cancellation where βᵗ is close to one.
pub fn one_minus_power(beta: f64, t: u64) -> f64 {
    // 1 − β is exact in f64 for β ≥ 1/2, so ln β keeps all its digits close to one.
    -(t as f64 * (-(1.0 - beta)).ln_1p()).exp_m1()
}

/// 0.96^momentum_decay in units of 2⁻⁶⁴.
fn nadam_decay(momentum_decay: Option<f64>) -> u64 {
    momentum_decay.map_or(0, |decay| (0.96f64.powf(decay) * 2f64.powi(64)) as u64)
}

/// The upper half of the product of two fractions, truncated.
fn mul_high(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

/// β and 1 − β in units of 2⁻⁶⁴, adding up to one. One itself has no such form: β = 0 takes
/// 1 − 2⁻⁶⁴ for it, which is 1 in f32.
fn fixed_point(beta: f64) -> (u64, u64) {
    let fraction = (beta * 2f64.powi(64)) as u64;
    let complement = if fraction == 0 { u64::MAX } else { fraction.wrapping_neg() };
    (fraction, complement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Bounded;
    use crate::{Adagrad, Adam, NAdam, RAdam};

    const BETAS: [f64; 7] = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0 - 1e-7];

    fn ulp(x: f64) -> f64 {
        2f64.powi(x.log2().floor() as i32 - 23)
    }

    fn constants(beta: f64) -> RuleConstants {
        RuleConstants::new(&Adam { betas: (beta, beta), ..Adam::default() }.into())
    }

    /// 1 − βᵗ as f32, and its reciprocal as the kernels read it, are within one ulp of f64.
    fn assert_close(state: &StepState, beta: f64) {
        let t = state.t;
        let exact = one_minus_power(beta, t);
        let rounded = float_from_fixed(state.bias_correction1);
        let error = (f64::from(rounded) - exact).abs();
        assert!(error <= ulp(exact), "beta {beta}, t {t}: {rounded}");
        let inverse = f64::from(reciprocal(state.bias_correction1));
        let error = (inverse - 1.0 / exact).abs();
        assert!(error <= ulp(1.0 / exact), "beta {beta}, t {t}: reciprocal {inverse}");
    }

    /// Every step up to 2³²: once a state does not change any more, all later ones are equal, so the
    /// walk ends there and 2³² is compared with the last one.
    #[test]
    fn bias_correction_is_within_an_ulp_for_every_t_up_to_two_to_the_32() {
        for beta in BETAS {
            let rule = constants(beta);
            let mut state = StepState::default();
            loop {
                let before = state;
                state.advance(&rule, 1.0);
                if state.t < 10_000 || state.t.is_multiple_of(4_099) {
                    assert_close(&state, beta);
                }
                if state.bias_correction1 == before.bias_correction1 {
                    break;
                }
            }
            assert!(state.t < 1 << 32);
            for t in [state.t, 1 << 31, 1 << 32] {
                assert_close(&StepState { t, ..state }, beta);
            }
        }
    }

    /// Rules whose constants change with t, each in its own way.
    fn changing() -> Vec<Rule> {
        let nadam = NAdam { lr: 0.3, ..NAdam::default() };
        let radam = RAdam { lr: 0.3, ..RAdam::default() };
        vec![
            radam.into(),
            RAdam { betas: (0.99, 0.9), ..radam }.into(),
            RAdam { betas: (0.9, 1.0 - 1e-7), ..RAdam::optax() }.into(),
            RAdam { betas: (0.9, 0.6), ..radam }.into(),
            Adam { lr: 0.3, ..Adam::keras() }.into(),
            nadam.into(),
            NAdam { momentum_decay: None, ..nadam }.into(),
            NAdam { momentum_decay: Some(1.0), betas: (0.99, 0.9), ..nadam }.into(),
            NAdam { momentum_decay: Some(0.0), ..nadam }.into(),
            Adagrad { lr_decay: 1e-3, ..Adagrad::default() }.into(),
            NAdam { betas: (0.0, 0.5), decoupled_weight_decay: true, weight_decay: 0.1, ..nadam }.into(),
        ]
    }

    #[test]
    fn constants_of_every_rule_are_within_the_bounds_of_their_definition() {
        for rule in changing() {
            let constants = RuleConstants::new(&rule);
            let mut state = StepState::default();
            for t in (1..2_000).chain([9_999, 123_456, 1 << 24, (1 << 24) + 3, (1 << 32) + 1]) {
                if state.t + 1 != t {
                    state = StepState::after(&rule, t - 1);
                }
                let step = state.advance(&constants, rule.lr() as f32);
                let exact = exact_step::<Bounded>(&rule, t, f64::from(rule.lr() as f32));
                let pairs = [
                    (step.lr, exact.lr),
                    (step.step_size, exact.step_size),
                    (step.gradient_size, exact.gradient_size),
                    (step.inv_bias_correction2, exact.inv_bias_correction2),
                    (step.eps, exact.eps),
                    (step.decay, exact.decay),
                ];
                for (i, (actual, exact)) in pairs.into_iter().enumerate() {
                    let error = (f64::from(actual) - exact.value).abs();
                    assert!(
                        error <= exact.error,
                        "{rule:?}, step {t}, constant {i}: {actual} {exact:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_state_made_for_any_t_is_the_one_that_the_steps_lead_to() {
        for rule in changing() {
            let constants = RuleConstants::new(&rule);
            let mut state = StepState::default();
            for t in 0..3_000 {
                assert_eq!(StepState::after(&rule, t).bias_correction1, state.bias_correction1);
                state.advance(&constants, 1.0);
            }
        }
        let adam = Adam::default().into();
        assert_eq!(StepState::after(&adam, 1 << 40).t, 1 << 40);
    }

    #[test]
    fn only_the_first_step_is_first() {
        let rule = constants(0.9);
        let mut state = StepState::default();
        assert!(state.advance(&rule, 1.0).first);
        assert!(!state.advance(&rule, 1.0).first);
        state.t = u64::from(u32::MAX);
        state.advance(&rule, 1.0);
        assert_eq!(state.t, 1 << 32);
        assert!(!state.advance(&rule, 1.0).first);
    }

    #[test]
    fn a_rule_without_bias_correction_steps_by_lr() {
        let rule = RuleConstants::new(&crate::RmsProp::default().into());
        let step = StepState::default().advance(&rule, 0.25);
        assert_eq!((step.step_size, step.inv_bias_correction2), (0.25, 1.0));
    }
}
