//! The variants of the rules that the suite runs.

use crate::Rule;

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
    Rule::variants().into_iter().filter(|(_, rule)| first(rule)).collect()
}
