//! The derived bounds of a step against bounds counted by hand.
//!
//! With u = 2⁻²⁴ the relative error of a constant is at most u, of a product or a sum 2u, of a quotient 5u, of a root 9u,
//! and of a bias correction 1.02u. Hence, relative to each term of a sum:
//!
//! ```text
//! SGD:         u for lr, 2u for the product                                               3u
//! momentum:    3u for its product, 2u for the sum                                         5u
//! exp_avg:     3u for each product, 2u for their sum                                      5u
//! exp_avg_sq:  2u for the square, 3u for its product, 2u for the sum                      7u
//! Adam:        numerator 4.02u for step_size + 5u + 2u; denominator (7u + 3.02u) / 2
//!              + 9u for the root + 2u for the sum with eps; 5u for the quotient       32.03u
//! RMSprop:     numerator 3u; denominator 7u / 2 + 9u + 2u; 5u for the quotient         22.5u
//! decoupled:   4u for lr · weight_decay, 2u for its product with p, 2u for the sum         8u
//!              with the rule's own change, and 2u of that change
//! coupled:     3u for weight_decay · p, 2u for the sum with g, and 2u of g
//! ```
//!
//! No constant of these tests has an error of u: Adam stays below 32u.

use crate::common;

use common::{Random, assert_within};
use wgpu_optim::cpu::{self, Bounded, exact_step, one_minus_power};
use wgpu_optim::{Adam, RmsProp, Rule, Sgd};

/// Half an ulp of one.
const U: f64 = 1.0 / (1 << 24) as f64;
/// Smaller numbers may be flushed to zero.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// The inputs of a step of one element.
struct Element {
    t: u64,
    param: f64,
    grad: f64,
    moments: Vec<f64>,
}

/// Elements with a wide range of magnitudes. All moments except momenta are averages of squares.
fn elements(rule: &Rule) -> Vec<Element> {
    let mut random = Random(12);
    let moment = |random: &mut Random, name: &str| match name {
        "exp_avg" | "momentum_buffer" => random.wide().into(),
        _ => random.wide().abs().into(),
    };
    let element = |i: usize| {
        let (param, grad) = (random.wide().into(), random.wide().into());
        let names = rule.moments().iter();
        let moments = names.map(|name| moment(&mut random, name)).collect();
        Element { t: [1, 2, 3, 10, 1_000, 100_000][i % 6], param, grad, moments }
    };
    (0..6_000).map(element).collect()
}

/// Asserts that derived bounds are at most those of `by_hand`, a function of the rule, the element, and the parameter and
/// moments after the step.
#[track_caller]
fn assert_no_looser(
    rule: impl Into<Rule>,
    elements: impl Fn(&Rule) -> Vec<Element>,
    by_hand: impl Fn(&Element, &[f64]) -> Vec<f64>,
) {
    let rule = rule.into();
    let count = 1 + rule.moments().len();
    let (mut derived, mut allowed) = (vec![vec![]; count], vec![vec![]; count]);
    for element in elements(&rule) {
        let exactly = |x: &f64| [Bounded::exactly(*x as f32)];
        let mut param = exactly(&element.param);
        let mut moments: Vec<_> = element.moments.iter().map(exactly).collect();
        let mut slices: Vec<&mut [Bounded]> = moments.iter_mut().map(|m| m.as_mut_slice()).collect();
        let step = exact_step(&rule, element.t, rule.lr());
        cpu::update(&rule, &step, &mut param, &exactly(&element.grad), &mut slices);
        let after: Vec<Bounded> = [param].into_iter().chain(moments).flatten().collect();
        let values: Vec<f64> = after.iter().map(|b| b.value).collect();
        for (k, bound) in by_hand(&element, &values).into_iter().enumerate() {
            derived[k].push(after[k].error);
            // These sums are in f64.
            allowed[k].push(bound * (1.0 + 4.0 * f64::EPSILON));
        }
    }
    let names = std::iter::once("params").chain(rule.moments().iter().copied());
    for ((name, derived), allowed) in names.zip(&derived).zip(&allowed) {
        assert_within(&format!("{rule:?}: {name}"), derived, &vec![0.0; derived.len()], allowed);
    }
}

/// Learning rates, and pairs of decay rates.
fn constants() -> impl Iterator<Item = (f64, (f64, f64))> {
    let pairs = [(0.9, 0.999), (0.8, 0.99), (0.5, 0.9), (0.95, 0.9999)];
    [1e-4, 1e-3, 0.02, 0.3].into_iter().flat_map(move |lr| pairs.map(|pair| (lr, pair)))
}

#[test]
fn sgd_is_held_to_the_three_roundings_of_its_change() {
    for (lr, _) in constants() {
        let sgd = Sgd { lr, ..Sgd::default() };
        assert_no_looser(sgd, elements, |e, after| {
            vec![2.0 * U * after[0].abs() + 3.0 * U * lr * e.grad.abs()]
        });
        let weight_decay = 0.1;
        for decoupled_weight_decay in [false, true] {
            let sgd = Sgd { weight_decay, decoupled_weight_decay, ..sgd };
            assert_no_looser(sgd, elements, |e, after| {
                let change = 5.0 * e.grad.abs() + 8.0 * weight_decay * e.param.abs();
                vec![2.0 * U * after[0].abs() + U * lr * change]
            });
        }
    }
}

#[test]
fn momentum_is_held_to_the_roundings_of_its_buffer() {
    for (lr, (momentum, _)) in constants() {
        let sgd = Sgd { lr, momentum, ..Sgd::default() };
        let buffer = |e: &Element| 6.0 * U * (momentum * e.moments[0].abs() + e.grad.abs());
        let params = |after: &[f64], buffer, units: f64| {
            2.0 * U * after[0].abs() + lr * buffer + units * U * lr * after[1].abs()
        };
        assert_no_looser(sgd, elements, |e, after| vec![params(after, buffer(e), 3.0), buffer(e)]);

        let sgd = Sgd { weight_decay: 0.1, ..sgd };
        assert_no_looser(sgd, elements, |e, after| {
            let buffer = buffer(e) + 7.0 * U * 0.1 * e.param.abs();
            vec![params(after, buffer, 3.0), buffer]
        });
        let sgd = Sgd { decoupled_weight_decay: true, ..sgd };
        assert_no_looser(sgd, elements, |e, after| {
            let decay = 8.0 * U * lr * 0.1 * e.param.abs();
            vec![params(after, buffer(e), 5.0) + decay, buffer(e)]
        });
    }
}

#[test]
fn rmsprop_is_held_to_24_roundings() {
    for (lr, (momentum, alpha)) in constants() {
        let rmsprop = RmsProp { lr, alpha, ..RmsProp::default() };
        let direction = |e: &Element, after: &[f64]| e.grad.abs() / (after[1].sqrt() + 1e-8);
        let square_avg = |after: &[f64]| 8.0 * U * after[1] + TINY;
        assert_no_looser(rmsprop, elements, |e, after| {
            let change = 24.0 * U * lr * direction(e, after);
            vec![2.0 * U * after[0].abs() + change, square_avg(after)]
        });
        let decoupled = RmsProp { weight_decay: 0.1, decoupled_weight_decay: true, ..rmsprop };
        assert_no_looser(decoupled, elements, |e, after| {
            let change = 26.0 * U * lr * direction(e, after) + 8.0 * U * lr * 0.1 * e.param.abs();
            vec![2.0 * U * after[0].abs() + change, square_avg(after)]
        });
        assert_no_looser(RmsProp { momentum, ..rmsprop }, elements, |e, after| {
            let buffer = U * (6.0 * momentum * e.moments[1].abs() + 24.0 * direction(e, after));
            let change = lr * buffer + 3.0 * U * lr * after[2].abs();
            vec![2.0 * U * after[0].abs() + change, square_avg(after), buffer]
        });
    }
}

#[test]
fn adam_is_held_to_32_roundings() {
    for (lr, betas) in constants() {
        let adam = Adam { lr, betas, ..Adam::default() };
        let average = |e: &Element| betas.0 * e.moments[0].abs() + (1.0 - betas.0) * e.grad.abs();
        let change = |e: &Element, after: &[f64]| {
            let [correction1, correction2] = [betas.0, betas.1].map(|beta| one_minus_power(beta, e.t));
            lr * average(e) / (correction1 * ((after[2] / correction2).sqrt() + 1e-8))
        };
        let moments = |e: &Element, after: &[f64]| [8.0 * U * average(e), 8.0 * U * after[2] + TINY];
        assert_no_looser(adam, elements, |e, after| {
            let params = 2.0 * U * after[0].abs() + 32.0 * U * change(e, after) + TINY;
            [vec![params], moments(e, after).to_vec()].concat()
        });
        let adamw = Adam { weight_decay: 0.1, decoupled_weight_decay: true, ..adam };
        assert_no_looser(adamw, elements, |e, after| {
            let change = 34.0 * U * change(e, after) + 8.0 * U * lr * 0.1 * e.param.abs();
            let params = 2.0 * U * after[0].abs() + change + TINY;
            [vec![params], moments(e, after).to_vec()].concat()
        });
    }
}

/// Both products and their sum may be flushed to zero, and so may their inputs: the moment when it is read, and the square.
#[test]
fn squares_too_small_for_f32_are_held_to_four_of_its_smallest_numbers() {
    let tiny = |rule: &Rule| {
        let mut elements = elements(rule);
        for e in &mut elements {
            e.grad *= 2f64.powi(-70);
            *e.moments.last_mut().unwrap() *= 2f64.powi(-110);
        }
        elements
    };
    for (lr, betas) in constants() {
        let adam = Adam { lr, betas, ..Adam::default() };
        assert_no_looser(adam, tiny, |_, after| {
            vec![f64::INFINITY, f64::INFINITY, 8.0 * U * after[2] + 4.0 * TINY]
        });
    }
}
