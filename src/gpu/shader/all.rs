//! Every kernel of the optimizer, by the name of its file.

use super::*;

/// A kernel under the name of its file.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The file's name without its suffix: no other kernel has it.
    pub name: String,
    /// The kernel.
    pub module: Module,
    /// The moments by plane of the variant with the most, if the kernel applies a rule.
    pub moments: Option<&'static [&'static str]>,
}

impl Composed {
    /// A kernel without a rule.
    pub fn new(name: impl Into<String>, module: Module) -> Self {
        Composed { name: name.into(), module, moments: None }
    }

    /// A kernel that a rule is part of.
    pub fn stepping(name: String, module: Module, rule: &Rule) -> Self {
        Composed { moments: Some(rule.moments()), ..Self::new(name, module) }
    }
}

/// Every kernel of the optimizer, once for each composition of files, whatever its overrides.
pub fn all() -> Vec<Composed> {
    let kinds = [("", Arithmetic::Fast), ("_strict", Arithmetic::Strict), ("_exact", Arithmetic::Exact)];
    kinds.into_iter().flat_map(|(suffix, arithmetic)| of(suffix, arithmetic)).collect()
}

/// The kernels of one arithmetic.
fn of(suffix: &str, arithmetic: Arithmetic) -> Vec<Composed> {
    let mut all = vec![Composed::new(format!("step_state{suffix}"), step_state(arithmetic))];
    // Of the device's own arithmetic they prove nothing.
    if arithmetic.is_reproducible() {
        all.push(Composed::new(format!("primitives{suffix}"), probe(arithmetic)));
        all.push(Composed::new(format!("exhaustive{suffix}"), exhaustive(arithmetic)));
    }
    for (layout_suffix, layout) in
        [("", Layout::Span), ("_tail", Layout::Tail), ("_arena", Layout::Arena)]
    {
        let suffix = format!("{layout_suffix}{suffix}");
        all.push(Composed::new(format!("gradient_norm{suffix}"), gradient_norm(layout, arithmetic)));
        for (name, rule) in rules() {
            let module = update(&rule, layout, arithmetic);
            all.push(Composed::stepping(format!("{name}{suffix}"), module, &rule));
        }
    }
    all
}

/// A rule for every file of `shaders/update/`, by its name: the variant with the most moments.
pub(crate) fn rules() -> Vec<(&'static str, Rule)> {
    let mut rules: Vec<(&'static str, Rule)> = Vec::new();
    for (_, rule) in Rule::variants() {
        let file = rule.shader().name;
        match rules.iter_mut().find(|(name, _)| *name == file) {
            Some((_, most)) if most.moments().len() >= rule.moments().len() => {}
            Some((_, most)) => *most = rule,
            None => rules.push((file, rule)),
        }
    }
    rules
}
