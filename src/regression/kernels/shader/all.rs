//! Every kernel over rows, by the name of its file.

use super::*;
use crate::gpu::shader::{Composed, rules};

/// Every kernel over rows, once for each set of files that it is composed of; what overrides set is no difference.
pub fn all() -> Vec<Composed> {
    let mut all = vec![
        Composed::new("gradient_reduce", gradient_reduce()),
        Composed::new("evaluation_sum", evaluation_sum()),
        Composed::new("synthetic_features", synthetic_features()),
        Composed::new("synthetic_targets", synthetic_targets()),
        Composed::new("virtual_targets", virtual_targets()),
    ];
    all.extend(gradients(true));
    all.extend(gradients(false));
    all.extend(descents());
    all.extend(epochs());
    all
}

/// A loss for every file of `shaders/loss/`.
fn losses() -> Vec<Loss> {
    let mut losses = Loss::ALL.to_vec();
    losses.dedup_by_key(|loss| loss.shader());
    losses
}

/// Whether a loss is one of a single score; the others' kernels are those of several outputs.
fn of_one_output(loss: &Loss) -> bool {
    !matches!(loss, Loss::Softmax { .. })
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
        let module = gradient_descend(rule.name(), rule.shader().source);
        all.push(Composed::stepping(format!("descend_{name}"), module, &rule));
    }
    all
}

fn epochs() -> Vec<Composed> {
    let mut all = Vec::new();
    for (way, per_thread) in [("per_thread", true), ("per_workgroup", false)] {
        for (suffix, packed) in [("", false), ("_packed", true)] {
            for loss in losses().iter().filter(|loss| of_one_output(loss)) {
                for (name, rule) in rules() {
                    let module =
                        gradient_epochs(rule.name(), loss, rule.shader().source, packed, per_thread);
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
        let shader = [include_str!("../../../gpu/shader.rs"), include_str!("../shader.rs")].concat();
        let own = include_str!("all.rs").split_once("#[cfg(test)]").unwrap().0;
        let all = [include_str!("../../../gpu/shader/all.rs"), own].concat();
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
                if path.is_dir() { files(&path) } else { vec![std::fs::read_to_string(path).unwrap()] }
            };
            folder.read_dir().unwrap().flat_map(of).collect()
        }
        let all = crate::gpu::shader::all().into_iter().chain(all());
        let used: HashSet<&str> = all.flat_map(|composed| composed.module.files).collect();
        let there = files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders"));
        assert_eq!(there.iter().filter(|file| !used.contains(file.as_str())).count(), 0);
    }

    #[test]
    fn no_two_have_one_name_or_the_same_files() {
        let all: Vec<Composed> = crate::gpu::shader::all().into_iter().chain(all()).collect();
        let names: HashSet<&str> = all.iter().map(|composed| composed.name.as_str()).collect();
        let files: HashSet<_> = all.iter().map(|composed| &composed.module.files).collect();
        assert_eq!((names.len(), files.len()), (all.len(), all.len()));
    }
}
