//! Kernels over rows, composed like those of [`crate::gpu::shader`].

mod all;

use crate::gpu::shader::{Module, module, shader_file};
use crate::{Arithmetic, Loss};

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

/// The files of stored rows, or of rows that are generated where they are read.
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

/// The files that every kernel begins with that reads rows.
fn model(name: &'static str) -> Module {
    module!(
        name,
        "gradient/order.wgsl",
        "gradient/batch.wgsl",
        "storage/f32.wgsl",
        "gradient/model.wgsl",
    )
    .computed(Arithmetic::Fast)
}

/// A kernel over rows; `parts` come between the files that all of them share and its own file.
fn over_rows(name: &'static str, stored: bool, parts: Vec<&'static str>, own: &'static str) -> Module {
    let mut module = model(name);
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

/// The scores of rows that are too wide for one pass.
pub fn gradient_scores(stored: bool) -> Module {
    over_rows("scores", stored, vec![], shader_file!("gradient/scores.wgsl"))
}

/// Derivatives in place of the scores.
pub fn gradient_derivatives(of: &Loss, stored: bool) -> Module {
    let own = shader_file!("gradient/derivatives.wgsl");
    over_rows("derivatives", stored, outputs(of), own)
}

/// The gradient's partial sums from the derivatives.
pub fn gradient_columns(stored: bool) -> Module {
    let own = shader_file!("gradient/columns.wgsl");
    over_rows("gradient by columns", stored, vec![], own)
}

/// Adds up partial sums, and stores the gradient.
pub fn gradient_reduce() -> Module {
    let name = "gradient sum";
    module!(
        name,
        "gradient/order.wgsl",
        "gradient/batch.wgsl",
        "gradient/reduce.wgsl",
        "storage/f32.wgsl",
        "gradient/store.wgsl",
    )
    .computed(Arithmetic::Fast)
}

/// Adds up partial sums, and steps a rule with the gradient.
pub fn gradient_descend(name: &'static str, rule_file: &'static str) -> Module {
    let mut module = module!(
        name,
        "gradient/order.wgsl",
        "gradient/batch.wgsl",
        "gradient/reduce.wgsl",
        "step.wgsl",
        "storage/f32.wgsl",
        "storage/vectors.wgsl",
        "storage/one_gradient.wgsl",
        "gradient/descend.wgsl",
        "accumulation.wgsl",
        "update.wgsl",
    )
    .computed(Arithmetic::Fast);
    module.files.push(rule_file);
    module
}

/// Many updates in one dispatch: a thread or a workgroup for each model that is fitted; from packed or padded rows.
pub fn gradient_epochs(
    name: &'static str,
    of: &Loss,
    rule_file: &'static str,
    packed: bool,
    per_thread: bool,
) -> Module {
    let mut module = model(name);
    module.files.push(if packed {
        shader_file!("gradient/packed.wgsl")
    } else {
        shader_file!("gradient/stored.wgsl")
    });
    module.files.extend(of.shader());
    let step =
        module!(name, "gradient/epochs/epochs.wgsl", "step.wgsl", "accumulation.wgsl", "update.wgsl",);
    module.files.extend(step.files);
    module.files.push(rule_file);
    if per_thread {
        module.files.push(shader_file!("gradient/epochs/per_thread.wgsl"));
    } else {
        module.files.push(shader_file!("storage/one_gradient.wgsl"));
        module.files.push(shader_file!("gradient/epochs/per_workgroup.wgsl"));
    }
    module
}

/// Adds up the evaluation of a model.
pub fn evaluation_sum() -> Module {
    module!(
        "evaluation sum",
        "gradient/order.wgsl",
        "gradient/batch.wgsl",
        "gradient/reduce.wgsl",
        "gradient/evaluate.wgsl",
    )
}
