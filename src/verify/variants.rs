//! The variants of the rules that the suite runs.

use crate::Rule;

/// The first variant of every rule's kernel.
pub fn plain() -> Vec<(&'static str, Rule)> {
    let mut seen = Vec::new();
    let mut variants = Rule::variants();
    variants.retain(|(_, rule)| {
        let name = rule.name();
        let new = !seen.contains(&name);
        seen.push(name);
        new
    });
    variants
}
