use super::*;

fn message(rule: impl Into<Rule>) -> String {
    rule.into().validate().unwrap_err().to_string()
}

/// Every optimizer with the defaults of every library that has it.
fn all() -> Vec<Rule> {
    let presets = [Preset::Torch, Preset::Optax, Preset::Keras];
    Rule::names()
        .flat_map(|named| presets.into_iter().filter_map(|preset| named.preset(preset)))
        .collect()
}

#[test]
fn a_name_is_that_of_its_rule_and_of_one_only() {
    let mut names: Vec<_> = Rule::names().map(|named| named.name).collect();
    for named in Rule::names() {
        assert_eq!(named.preset(Preset::Torch).unwrap().name(), named.name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Rule::names().count());
}

#[test]
fn every_optimizer_is_among_the_variants() {
    for named in Rule::names() {
        assert!(Rule::variants().iter().any(|(_, rule)| rule.name() == named.name), "{}", named.name);
    }
    for (name, rule) in Rule::variants() {
        rule.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_hyper_parameter_is_found_by_its_name() {
    let mut rule = Rule::from(Adam::default());
    *rule.hyper_parameter_mut("eps").unwrap().downcast_mut().unwrap() = 1e-5;
    assert_eq!(rule, Adam { eps: 1e-5, ..Adam::default() }.into());
    assert_eq!(rule.hyper_parameter("betas").unwrap().downcast_ref(), Some(&(0.9, 0.999)));
    assert!(rule.hyper_parameter("alpha").is_none());
}

#[test]
fn defaults_are_valid() {
    for rule in all() {
        rule.validate().unwrap();
    }
}

#[test]
fn an_error_names_field_value_and_range() {
    let text = message(Adam { betas: (0.9, 1.0), ..Adam::default() });
    assert_eq!(text, "adam: beta2 is 1.0, which is outside its range: 0 ≤ value < 1");
    assert!(message(Adam { eps: 0.0, ..Adam::default() }).contains("eps is 0.0"));
    assert!(message(RmsProp { alpha: -0.1, ..RmsProp::default() }).contains("alpha is -0.1"));
}

#[test]
fn nothing_that_is_not_a_number_passes() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
        for rule in all() {
            message(rule.with_lr(bad));
        }
        macro_rules! refused {
            ($($rule:ident: $($field:ident),+;)+) => {
                $($(message($rule { $field: bad, ..$rule::default() });)+)+
            };
        }
        refused! {
            Sgd: momentum, dampening, weight_decay;
            RmsProp: alpha, eps, momentum, initial_accumulator, weight_decay;
            Adam: eps, weight_decay;
            NAdam: eps, weight_decay;
            RAdam: eps, weight_decay;
            Adamax: eps, weight_decay;
            Adagrad: eps, lr_decay, initial_accumulator, weight_decay;
            Lion: weight_decay;
        }
        for betas in [(bad, 0.9), (0.9, bad)] {
            message(Adam { betas, ..Adam::default() });
            message(NAdam { betas, ..NAdam::default() });
            message(RAdam { betas, ..RAdam::default() });
            message(Adamax { betas, ..Adamax::default() });
            message(Lion { betas, ..Lion::default() });
        }
        message(NAdam { momentum_decay: Some(bad), ..NAdam::default() });
    }
}

#[test]
fn a_rule_without_bias_correction_has_no_epsilon_hat() {
    let eps_placement = EpsPlacement::Hat;
    let text = message(Adamax { eps_placement, ..Adamax::default() });
    assert_eq!(text, "adamax: eps_placement is hat, but must be outside or inside");
    message(Adagrad { eps_placement, ..Adagrad::default() });
}

#[test]
fn nesterov_needs_momentum_and_no_dampening() {
    let nesterov = Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() };
    Rule::from(nesterov).validate().unwrap();
    assert!(message(Sgd { momentum: 0.0, ..nesterov }).contains("momentum is 0.0"));
    assert!(message(Sgd { dampening: 0.1, ..nesterov }).contains("dampening is 0.1"));
}

#[test]
fn bytes_are_those_of_one_fused_pass() {
    assert_eq!(Rule::from(Sgd::default()).bytes_per_parameter(), 12);
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    assert_eq!(Rule::from(momentum).bytes_per_parameter(), 20);
    assert_eq!(Rule::from(RmsProp::default()).bytes_per_parameter(), 20);
    assert_eq!(Rule::from(Adam::default()).bytes_per_parameter(), 28);
    let amsgrad = Adam { amsgrad: true, ..Adam::default() };
    assert_eq!(Rule::from(amsgrad).bytes_per_parameter(), 36);
    let both = RmsProp { centered: true, momentum: 0.9, ..RmsProp::default() };
    assert_eq!(Rule::from(both).bytes_per_parameter(), 36);
    assert_eq!(Rule::from(Lion::default()).bytes_per_parameter(), 20);
}
