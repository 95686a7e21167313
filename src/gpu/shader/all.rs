//! Every kernel that the library composes, by the name of its file.

use super::*;
use crate::{Adagrad, Adam, Adamax, Lion, NAdam, RmsProp, Sgd};

/// A kernel under the name of its file.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The file's name without its suffix: no other kernel has it.
    pub name: String,
    /// The kernel.
    pub module: Module,
    /// Where a rule is part of it: the moments by plane, all that a variant can have.
    pub moments: Option<&'static [&'static str]>,
}

impl Composed {
    fn new(name: impl Into<String>, module: Module) -> Self {
        Composed { name: name.into(), module, moments: None }
    }

    fn stepping(name: String, module: Module, rule: &Rule) -> Self {
        Composed { moments: Some(rule.moments()), ..Self::new(name, module) }
    }
}

/// Every kernel, once for each set of files that it is composed of; what overrides set is no difference.
pub fn all() -> Vec<Composed> {
    let mut all = vec![
        Composed::new("step_state", step_state()),
        Composed::new("gradient_reduce", gradient_reduce()),
        Composed::new("evaluation_sum", evaluation_sum()),
        Composed::new("synthetic_features", synthetic_features()),
        Composed::new("synthetic_targets", synthetic_targets()),
        Composed::new("virtual_targets", virtual_targets()),
    ];
    all.extend(updates());
    all.extend(gradients(true));
    all.extend(gradients(false));
    all.extend(descents());
    all.extend(epochs());
    all
}

/// A rule of every file, in the variant with the most moments.
fn rules() -> [(&'static str, Rule); 8] {
    let (momentum, centered, amsgrad) = (0.9, true, true);
    [
        ("sgd", Sgd::default().into()),
        ("sgd_momentum", Sgd { momentum, ..Sgd::default() }.into()),
        ("rmsprop", RmsProp { momentum, centered, ..RmsProp::default() }.into()),
        ("adam", Adam { amsgrad, ..Adam::default() }.into()),
        ("nadam", NAdam::default().into()),
        ("adamax", Adamax::default().into()),
        ("adagrad", Adagrad::default().into()),
        ("lion", Lion::default().into()),
    ]
}

/// A loss of every file.
fn losses() -> [Loss; 6] {
    [
        Loss::SquaredError,
        Loss::Huber { epsilon: 0.1 },
        Loss::Quantile { quantile: 0.5 },
        Loss::Logistic,
        Loss::Poisson,
        Loss::Softmax { classes: 2 },
    ]
}

/// Whether a loss is one of a single score; the others' kernels are those of several outputs.
fn of_one_output(loss: &Loss) -> bool {
    !matches!(loss, Loss::Softmax { .. })
}

fn updates() -> Vec<Composed> {
    let mut all = Vec::new();
    for (suffix, layout) in [("", Layout::Span), ("_tail", Layout::Tail), ("_arena", Layout::Arena)] {
        all.push(Composed::new(format!("gradient_norm{suffix}"), gradient_norm(layout)));
        for (name, rule) in rules() {
            all.push(Composed::stepping(format!("{name}{suffix}"), update(&rule, layout), &rule));
        }
    }
    all
}

/// The kernels over rows that are stored, or over those that are made where they are needed.
fn gradients(stored: bool) -> Vec<Composed> {
    let suffix = if stored { "" } else { "_virtual" };
    let mut all = vec![
        Composed::new(format!("gradient_scores{suffix}"), gradient_scores(stored)),
        Composed::new(format!("gradient_columns{suffix}"), gradient_columns(stored)),
    ];
    for loss in losses() {
        let mut add = |kernel: &str, module| {
            let name = format!("gradient_{kernel}_{}{suffix}", loss.name());
            all.push(Composed::new(name, module));
        };
        if of_one_output(&loss) {
            add("one_pass", gradient_one_pass(&loss, stored));
        }
        add("tiles", gradient_tiles(&loss, stored));
        add("derivatives", gradient_derivatives(&loss, stored));
    }
    all
}

fn descents() -> Vec<Composed> {
    let mut all = Vec::new();
    for (name, rule) in rules() {
        let module = gradient_descend(rule.name(), rule_file(&rule));
        all.push(Composed::stepping(format!("descend_{name}"), module, &rule));
    }
    #[cfg(feature = "cli")]
    {
        let rule = RmsProp::default().into();
        let module = gradient_descend("rmsprop", RMSPROP_AS_PUBLISHED);
        all.push(Composed::stepping("descend_rmsprop_as_published".into(), module, &rule));
    }
    all
}

fn epochs() -> Vec<Composed> {
    let mut all = Vec::new();
    for (way, alone) in [("alone", true), ("together", false)] {
        for (suffix, packed) in [("", false), ("_packed", true)] {
            for loss in losses().iter().filter(|loss| of_one_output(loss)) {
                for (name, rule) in rules() {
                    let module = gradient_epochs(rule.name(), loss, rule_file(&rule), packed, alone);
                    let name = format!("epochs_{way}_{}_{name}{suffix}", loss.name());
                    all.push(Composed::stepping(name, module, &rule));
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nothing_that_composes_a_module_is_forgotten() {
        let (shader, all) = (include_str!("../shader.rs"), include_str!("all.rs"));
        let all = all.split_once("#[cfg(test)]").unwrap().0;
        let functions = shader.split("fn ").skip(1).filter_map(|rest| {
            let (name, rest) = rest.split_once('(')?;
            let (signature, _) = rest.split_once('{')?;
            signature.contains("-> Module").then_some(name)
        });
        // These two are what others are made of.
        let functions = functions.filter(|name| !["update_with", "over_rows"].contains(name));
        let forgotten: Vec<_> =
            functions.clone().filter(|name| !all.contains(&format!("{name}("))).collect();
        assert!(functions.count() > 10 && forgotten.is_empty(), "{forgotten:?}");
    }

    #[test]
    fn every_file_of_a_kernel_is_in_one_of_them() {
        fn files(folder: &std::path::Path) -> Vec<String> {
            let of = |entry: std::io::Result<std::fs::DirEntry>| {
                let path = entry.unwrap().path();
                // What benchmarks measure against is no kernel of the library.
                if path.ends_with("bench") {
                    return vec![];
                }
                if path.is_dir() { files(&path) } else { vec![std::fs::read_to_string(path).unwrap()] }
            };
            folder.read_dir().unwrap().flat_map(of).collect()
        }
        let used: HashSet<&str> =
            all().iter().flat_map(|composed| composed.module.files.clone()).collect();
        let there = files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders"));
        let published = usize::from(!cfg!(feature = "cli"));
        assert_eq!(there.iter().filter(|file| !used.contains(file.as_str())).count(), published);
    }

    #[test]
    fn no_two_have_one_name_or_the_same_files() {
        let all = all();
        let names: HashSet<&str> = all.iter().map(|composed| composed.name.as_str()).collect();
        let files: HashSet<_> = all.iter().map(|composed| &composed.module.files).collect();
        assert_eq!((names.len(), files.len()), (all.len(), all.len()));
    }
}
