//! Every path through the rules' kernels.

use crate::rule::{AmsgradOf, EpsPlacement};
use crate::{Adagrad, Adam, Adamax, Lion, NAdam, RmsProp, Rule, Sgd};

/// Each rule in each of its variants, by name. Each kind of weight decay meets maximization in every rule, and
/// whatever else of the rule changes the sign or the place of a term.
pub fn rules() -> Vec<(&'static str, Rule)> {
    let sgd = Sgd { lr: 0.125, ..Sgd::default() };
    let momentum = Sgd { lr: 0.03, momentum: 0.9, ..sgd };
    let nesterov = Sgd { nesterov: true, ..momentum };
    let rmsprop = RmsProp { lr: 0.01, alpha: 0.95, eps: 1e-6, ..RmsProp::default() };
    let centered = RmsProp { centered: true, ..rmsprop };
    let both = RmsProp { momentum: 0.9, ..centered };
    let adam = Adam { lr: 0.02, betas: (0.8, 0.99), eps: 1e-7, ..Adam::default() };
    let amsgrad = Adam { amsgrad: true, ..adam };
    let nadam = NAdam { lr: 0.02, betas: (0.8, 0.99), ..NAdam::default() };
    let adamax = Adamax { lr: 0.02, ..Adamax::default() };
    let adagrad = Adagrad { lr: 0.03, ..Adagrad::default() };
    let lion = Lion { lr: 0.02, ..Lion::default() };
    let weight_decay = 0.1;
    let decoupled_weight_decay = true;
    let (maximize, lr_in_momentum) = (true, true);
    vec![
        ("sgd", sgd.into()),
        ("sgd, weight decay, maximize", Sgd { weight_decay, maximize, ..sgd }.into()),
        (
            "sgd, decoupled decay, maximize",
            Sgd { weight_decay, decoupled_weight_decay, maximize, ..sgd }.into(),
        ),
        ("momentum", momentum.into()),
        ("momentum, dampening, weight decay", Sgd { dampening: 0.3, weight_decay, ..momentum }.into()),
        ("nesterov", nesterov.into()),
        ("nesterov, weight decay, maximize", Sgd { weight_decay, maximize, ..nesterov }.into()),
        (
            "nesterov, lr in momentum, decoupled decay, maximize",
            Sgd { lr_in_momentum, weight_decay, decoupled_weight_decay, maximize, ..nesterov }.into(),
        ),
        ("rmsprop", rmsprop.into()),
        (
            "rmsprop, bias correction, weight decay, maximize",
            RmsProp { bias_correction: true, weight_decay, maximize, ..rmsprop }.into(),
        ),
        (
            "rmsprop of optax, momentum, decoupled decay",
            RmsProp {
                initial_accumulator: 1.0,
                momentum: 0.5,
                weight_decay,
                decoupled_weight_decay,
                ..RmsProp::optax()
            }
            .into(),
        ),
        ("rmsprop, centered", centered.into()),
        (
            "rmsprop, centered, eps inside, unclamped, weight decay",
            RmsProp {
                clamp_variance: false,
                eps_placement: EpsPlacement::Inside,
                eps: 0.1,
                weight_decay,
                ..centered
            }
            .into(),
        ),
        ("rmsprop, centered, momentum", both.into()),
        (
            "rmsprop, centered, lr in momentum, decoupled decay, maximize",
            RmsProp { lr_in_momentum, weight_decay, decoupled_weight_decay, maximize, ..both }.into(),
        ),
        ("adam", adam.into()),
        ("adamw", Adam { weight_decay: 0.3, decoupled_weight_decay, ..adam }.into()),
        (
            "adam, eps hat, weight decay, maximize",
            Adam { eps_placement: EpsPlacement::Hat, weight_decay, maximize, ..adam }.into(),
        ),
        (
            "adam, eps inside, decoupled decay, maximize",
            Adam {
                eps_placement: EpsPlacement::Inside,
                weight_decay,
                decoupled_weight_decay,
                maximize,
                ..adam
            }
            .into(),
        ),
        ("amsgrad", amsgrad.into()),
        ("amsgrad, weight decay, maximize", Adam { weight_decay, maximize, ..amsgrad }.into()),
        (
            "amsgrad of corrected, decoupled decay, maximize",
            Adam {
                amsgrad_of: AmsgradOf::Corrected,
                weight_decay,
                decoupled_weight_decay,
                maximize,
                ..amsgrad
            }
            .into(),
        ),
        ("nadam, weight decay", NAdam { weight_decay, ..nadam }.into()),
        (
            "nadam, no momentum decay, decoupled decay, maximize",
            NAdam { momentum_decay: None, weight_decay, decoupled_weight_decay, maximize, ..nadam }
                .into(),
        ),
        ("adamax, weight decay", Adamax { weight_decay, ..adamax }.into()),
        (
            "adamax, eps outside, decoupled decay, maximize",
            Adamax {
                eps_placement: EpsPlacement::Outside,
                weight_decay,
                decoupled_weight_decay,
                maximize,
                ..adamax
            }
            .into(),
        ),
        ("adagrad, lr decay", Adagrad { lr_decay: 0.01, ..adagrad }.into()),
        (
            "adagrad, initial accumulator, eps inside, weight decay, maximize",
            Adagrad {
                initial_accumulator: 0.1,
                eps_placement: EpsPlacement::Inside,
                weight_decay,
                maximize,
                ..adagrad
            }
            .into(),
        ),
        (
            "adagrad, lr decay, decoupled decay, maximize",
            Adagrad { lr_decay: 0.01, weight_decay, decoupled_weight_decay, maximize, ..adagrad }.into(),
        ),
        ("lion", lion.into()),
        (
            "lion, weight decay, maximize",
            Lion { weight_decay, decoupled_weight_decay: false, maximize, ..lion }.into(),
        ),
        (
            "lion, decoupled decay, maximize",
            Lion { weight_decay, decoupled_weight_decay, maximize, ..lion }.into(),
        ),
    ]
}

/// The first variant of every rule's kernel.
pub fn plain() -> Vec<(&'static str, Rule)> {
    let mut seen = Vec::new();
    let first = |rule: &Rule| {
        let name = rule.name();
        let new = !seen.contains(&name);
        seen.push(name);
        new
    };
    let mut first = first;
    rules().into_iter().filter(|(_, rule)| first(rule)).collect()
}
