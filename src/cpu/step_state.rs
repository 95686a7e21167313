//! The step's state: the counter, the bias corrections and the position in the learning-rate table.
//!
//! The twin of `shaders/step_state.wgsl`, word for word: its bytes are what the device's buffer holds.

use super::integer::reciprocal;
use super::{Real, Step};
use crate::Rule;

/// What the optimizer remembers between steps besides the moments.
///
/// The bias correction 1 − βᵗ is 64-bit fixed point, advanced by integer arithmetic:
/// `1 − βᵗ = β · (1 − βᵗ⁻¹) + (1 − β)`. Truncation loses less than 2⁻⁶⁴ a step and earlier losses
/// decay with β, so the total stays below 2⁻⁶⁴ / (1 − β): within one ulp of f32 for β up to 1 − 1e-7
/// and any t.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct StepState {
    /// Steps taken.
    pub t: u64,
    /// 1 − beta1ᵗ, in units of 2⁻⁶⁴.
    pub bias_correction1: u64,
    /// 1 − beta2ᵗ, in units of 2⁻⁶⁴.
    pub bias_correction2: u64,
    beta1: u64,
    beta2: u64,
    one_minus_beta1: u64,
    one_minus_beta2: u64,
    /// The entry of the learning-rate table that the next step takes; the last entry holds.
    pub lr_position: u32,
    reserved: u32,
}

/// What one step needs to know, as the device's uniform buffer holds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct StepConstants {
    /// This step's learning rate.
    pub lr: f32,
    /// lr / (1 − beta1ᵗ).
    pub step_size: f32,
    /// 1 / (1 − beta2ᵗ).
    pub inv_bias_correction2: f32,
    /// 1 in the first step, else 0.
    pub first: u32,
}

impl StepState {
    /// The state before the first step of `rule`, which must be valid.
    pub fn new(rule: &Rule) -> Self {
        let (beta1, beta2) = rule.bias_corrected_betas();
        let (beta1, one_minus_beta1) = fixed_point(beta1);
        let (beta2, one_minus_beta2) = fixed_point(beta2);
        StepState {
            t: 0,
            bias_correction1: 0,
            bias_correction2: 0,
            beta1,
            beta2,
            one_minus_beta1,
            one_minus_beta2,
            lr_position: 0,
            reserved: 0,
        }
    }

    /// Advances by one step and returns its constants.
    ///
    /// # Panics
    /// If `learning_rates` is empty.
    pub fn advance(&mut self, learning_rates: &[f32]) -> StepConstants {
        self.t = self.t.wrapping_add(1);
        self.bias_correction1 = mul_high(self.bias_correction1, self.beta1) + self.one_minus_beta1;
        self.bias_correction2 = mul_high(self.bias_correction2, self.beta2) + self.one_minus_beta2;

        let last = learning_rates.len() - 1;
        let position = (self.lr_position as usize).min(last);
        let lr = learning_rates[position];
        self.lr_position = (position + 1).min(last) as u32;

        StepConstants {
            lr,
            step_size: lr * reciprocal(self.bias_correction1),
            inv_bias_correction2: reciprocal(self.bias_correction2),
            first: u32::from(self.t == 1),
        }
    }
}

impl StepConstants {
    /// The same constants for the f32 path.
    pub fn step(&self) -> Step<f32> {
        Step {
            lr: self.lr,
            step_size: self.step_size,
            inv_bias_correction2: self.inv_bias_correction2,
            first: self.first == 1,
        }
    }
}

/// The constants of step `t` (from 1) by their definition, in f64.
pub fn exact_step<R: Real>(rule: &Rule, t: u64, lr: f64) -> Step<R> {
    let (beta1, beta2) = rule.bias_corrected_betas();
    Step {
        lr: R::of(lr),
        step_size: R::of(lr / one_minus_power(beta1, t)),
        inv_bias_correction2: R::of(1.0 / one_minus_power(beta2, t)),
        first: t == 1,
    }
}

/// 1 − βᵗ in f64, without cancellation where βᵗ is close to one.
pub fn one_minus_power(beta: f64, t: u64) -> f64 {
    // 1 − β is exact in f64 for β ≥ 1/2, so ln β keeps all its digits close to one.
    -(t as f64 * (-(1.0 - beta)).ln_1p()).exp_m1()
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
    use crate::Adam;

    const BETAS: [f64; 7] = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0 - 1e-7];

    fn ulp(x: f64) -> f64 {
        2f64.powi(x.log2().floor() as i32 - 23)
    }

    fn state(beta: f64) -> StepState {
        StepState::new(&Adam { betas: (beta, beta), ..Adam::default() }.into())
    }

    /// 1 − βᵗ as f32, and its reciprocal as the kernels read it, are within one ulp of f64.
    fn assert_close(state: &StepState, beta: f64) {
        let t = state.t;
        let exact = one_minus_power(beta, t);
        let rounded = (state.bias_correction1 as f64 / 2f64.powi(64)) as f32;
        assert!((f64::from(rounded) - exact).abs() <= ulp(exact), "beta {beta}, t {t}: {rounded}");
        let inverse = f64::from(reciprocal(state.bias_correction1));
        let error = (inverse - 1.0 / exact).abs();
        assert!(error <= ulp(1.0 / exact), "beta {beta}, t {t}: reciprocal {inverse}");
    }

    /// Every step up to 2³²: once a state does not change any more, all later ones are equal, so the
    /// walk ends there and 2³² is compared with the last one.
    #[test]
    fn bias_correction_is_within_an_ulp_for_every_t_up_to_two_to_the_32() {
        for beta in BETAS {
            let mut state = state(beta);
            loop {
                let before = state;
                state.advance(&[1.0]);
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

    #[test]
    fn the_last_learning_rate_holds() {
        let mut state = state(0.5);
        let rates: Vec<f32> = (0..5).map(|_| state.advance(&[3.0, 2.0, 1.0]).lr).collect();
        assert_eq!(rates, [3.0, 2.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn only_the_first_step_is_first() {
        let mut state = state(0.9);
        assert_eq!(state.advance(&[1.0]).first, 1);
        assert_eq!(state.advance(&[1.0]).first, 0);
        state.t = u64::from(u32::MAX);
        state.advance(&[1.0]);
        assert_eq!(state.t, 1 << 32);
        assert_eq!(state.advance(&[1.0]).first, 0);
    }

    #[test]
    fn a_rule_without_bias_correction_steps_by_lr() {
        let mut state = StepState::new(&crate::RmsProp::default().into());
        let constants = state.advance(&[0.25]);
        assert_eq!((constants.step_size, constants.inv_bias_correction2), (0.25, 1.0));
    }
}
