//! Kernels over rows, composed like those of [`crate::gpu::shader`].

mod all;

use crate::Loss;
use crate::gpu::shader::{Module, module, shader_file};

pub use all::all;

/// Makes the features of a synthetic problem's rows.
pub fn synthetic_features() -> Module {
    module!(
        "synthetic features",
        "integer.wgsl",
        "synthetic/generator.wgsl",
        "synthetic/in_order.wgsl",
        "synthetic/features.wgsl",
    )
}

/// Makes their targets.
pub fn synthetic_targets() -> Module {
    module!(
        "synthetic targets",
        "integer.wgsl",
        "synthetic/generator.wgsl",
        "synthetic/response.wgsl",
        "synthetic/in_order.wgsl",
        "synthetic/targets.wgsl",
    )
}

/// Where a kernel's rows are: stored, or made where they are needed.
fn rows(stored: bool) -> Vec<&'static str> {
    if stored {
        return vec![shader_file!("gradient/stored.wgsl")];
    }
    vec![
        shader_file!("integer.wgsl"),
        shader_file!("synthetic/generator.wgsl"),
        shader_file!("gradient/virtual.wgsl"),
    ]
}

/// Makes the targets of the rows of a segment.
pub fn virtual_targets() -> Module {
    module!(
        "targets of a segment",
        "integer.wgsl",
        "synthetic/generator.wgsl",
        "synthetic/response.wgsl",
        "gradient/order.wgsl",
        "gradient/in_batch_order.wgsl",
        "synthetic/targets.wgsl",
    )
}

/// A kernel over rows; `parts` come between what all of them share and its own file.
fn over_rows(name: &'static str, stored: bool, parts: Vec<&'static str>, own: &'static str) -> Module {
    let mut module = module!(name, "gradient/order.wgsl", "gradient/batch.wgsl", "gradient/model.wgsl");
    module.files.extend(rows(stored));
    module.files.extend(parts);
    module.files.push(own);
    module
}

/// A loss, and how several outputs are differentiated by it.
fn outputs(of: &Loss) -> Vec<&'static str> {
    let mut files = of.shader().to_vec();
    if !matches!(of, Loss::Softmax { .. }) {
        files.push(shader_file!("gradient/independent_outputs.wgsl"));
    }
    files
}

/// The partial sums of one output in one pass over X.
pub fn gradient_one_pass(of: &Loss, stored: bool) -> Module {
    let own = shader_file!("gradient/one_pass.wgsl");
    over_rows("gradient in one pass", stored, of.shader().to_vec(), own)
}

/// The partial sums of several outputs in one pass over X.
pub fn gradient_tiles(of: &Loss, stored: bool) -> Module {
    let own = shader_file!("gradient/tiles.wgsl");
    over_rows("gradient of several outputs", stored, outputs(of), own)
}

/// The scores of a run that is too wide for one pass.
pub fn gradient_scores(stored: bool) -> Module {
    over_rows("scores", stored, vec![], shader_file!("gradient/scores.wgsl"))
}

/// Derivatives in the place of a run's scores.
pub fn gradient_derivatives(of: &Loss, stored: bool) -> Module {
    let own = shader_file!("gradient/derivatives.wgsl");
    over_rows("derivatives", stored, outputs(of), own)
}

/// The gradient's partial sums from a run's derivatives.
pub fn gradient_columns(stored: bool) -> Module {
    let own = shader_file!("gradient/columns.wgsl");
    over_rows("gradient by columns", stored, vec![], own)
}

/// Adds up partial sums, and stores the gradient.
pub fn gradient_reduce() -> Module {
    module!(
        "gradient sum",
        "gradient/order.wgsl",
        "gradient/batch.wgsl",
        "gradient/reduce.wgsl",
        "gradient/store.wgsl",
    )
}

/// Adds up partial sums, and steps a rule with the gradient; with another file in the rule's place where one
/// is given.
pub fn gradient_descend(name: &'static str, rule_file: &'static str) -> Module {
    let mut module = module!(
        name,
        "gradient/order.wgsl",
        "gradient/batch.wgsl",
        "gradient/reduce.wgsl",
        "arithmetic.wgsl",
        "step.wgsl",
        "gradient/descend.wgsl",
        "accumulation.wgsl",
        "update.wgsl",
    );
    module.files.push(rule_file);
    module
}

/// Many updates in one dispatch: by a thread for each model that is fitted, or a workgroup; from rows that are
/// packed, or padded.
pub fn gradient_epochs(
    name: &'static str,
    of: &Loss,
    rule_file: &'static str,
    packed: bool,
    per_thread: bool,
) -> Module {
    let mut module = module!(name, "gradient/order.wgsl", "gradient/batch.wgsl", "gradient/model.wgsl");
    module.files.push(if packed {
        shader_file!("gradient/packed.wgsl")
    } else {
        shader_file!("gradient/stored.wgsl")
    });
    module.files.extend(of.shader());
    let step = module!(
        name,
        "gradient/epochs/epochs.wgsl",
        "arithmetic.wgsl",
        "step.wgsl",
        "accumulation.wgsl",
        "update.wgsl",
    );
    module.files.extend(step.files);
    module.files.push(rule_file);
    module.files.push(if per_thread {
        shader_file!("gradient/epochs/per_thread.wgsl")
    } else {
        shader_file!("gradient/epochs/per_workgroup.wgsl")
    });
    module
}

/// Adds up what evaluates a model.
pub fn evaluation_sum() -> Module {
    module!(
        "evaluation sum",
        "gradient/order.wgsl",
        "gradient/batch.wgsl",
        "gradient/reduce.wgsl",
        "gradient/evaluate.wgsl",
    )
}
