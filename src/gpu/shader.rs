//! Kernels as concatenations of WGSL files that agree on function names.
//!
//! Nothing is edited on the way: what a module's [`source`](Module::source) prints is what the files say,
//! and constants are pipeline overrides.

mod all;

use crate::{Arithmetic, Rule};

#[cfg(feature = "regression")]
pub(crate) use all::rules;
pub use all::{Composed, all};

/// A kernel's files, in order.
#[derive(Clone, Debug)]
pub struct Module {
    /// The name of the kernel in labels and error messages.
    pub name: &'static str,
    pub(crate) files: Vec<&'static str>,
}

impl Module {
    /// The whole WGSL source.
    pub fn source(&self) -> String {
        self.files.join("\n")
    }

    /// This kernel with the files of an arithmetic.
    pub(crate) fn computed(mut self, arithmetic: Arithmetic) -> Self {
        let rounded = |file| vec![file, shader_file!("arithmetic/quotient.wgsl")];
        let mut files = match arithmetic {
            Arithmetic::Fast => vec![shader_file!("arithmetic/plain.wgsl")],
            Arithmetic::Strict => rounded(shader_file!("arithmetic/strict.wgsl")),
            Arithmetic::Exact => rounded(shader_file!("arithmetic/exact.wgsl")),
        };
        files.push(shader_file!("arithmetic/combinations.wgsl"));
        self.files.splice(..0, files);
        self
    }

    /// Those of `constants` that the source has overrides for.
    pub fn declared(&self, mut constants: Vec<(&'static str, f64)>) -> Vec<(&'static str, f64)> {
        constants.retain(|(name, _)| {
            let declaration = format!("override {name}:");
            self.files.iter().any(|file| file.contains(&declaration))
        });
        constants
    }
}

/// A module of files of `shaders/`.
macro_rules! module {
    ($name:expr, $($file:literal),+ $(,)?) => {
        $crate::gpu::shader::Module {
            name: $name,
            files: vec![$($crate::gpu::shader::shader_file!($file)),+],
        }
    };
}

pub(crate) use crate::wgsl::shader_file;
#[cfg(feature = "regression")]
pub(crate) use module;

/// How the tensors that one dispatch updates lie in its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Vectors of four of one tensor.
    Span,
    /// The last elements of a tensor, which fill no vector.
    Tail,
    /// Vectors of four of many tensors, each of which starts at a multiple of 64 elements.
    Arena,
}

impl Layout {
    /// Which step a vector belongs to, and how it is loaded and stored.
    fn files(self) -> Vec<&'static str> {
        let step = match self {
            Layout::Span | Layout::Tail => shader_file!("step/one.wgsl"),
            Layout::Arena => shader_file!("step/table.wgsl"),
        };
        let mut files = vec![step, shader_file!("storage/f32.wgsl")];
        match self {
            Layout::Span | Layout::Arena => {
                files.extend([shader_file!("storage/vectors.wgsl"), shader_file!("storage/span.wgsl")]);
            }
            Layout::Tail => files.push(shader_file!("storage/f32_tail.wgsl")),
        }
        files
    }
}

/// One step of `rule`.
pub fn update(rule: &Rule, layout: Layout, arithmetic: Arithmetic) -> Module {
    update_with(rule.name(), rule.shader().source, layout, arithmetic)
}

/// [`update`] with another file in the place of the rule's.
pub(crate) fn update_with(
    name: &'static str,
    rule_file: &'static str,
    layout: Layout,
    arithmetic: Arithmetic,
) -> Module {
    let mut module = module!(name, "step.wgsl");
    module.files.extend(layout.files());
    module.files.extend(module!(name, "accumulation.wgsl", "update.wgsl").files);
    module.files.push(rule_file);
    module.files.extend(module!(name, "update_all.wgsl").files);
    module.computed(arithmetic)
}

/// Measures the gradients ahead of a step.
pub fn gradient_norm(layout: Layout, arithmetic: Arithmetic) -> Module {
    let name = "gradient norm";
    let mut module = module!(name, "step.wgsl");
    module.files.extend(layout.files());
    module.files.extend(module!(name, "accumulation.wgsl", "gradient_norm.wgsl").files);
    module.computed(arithmetic)
}

/// Decides on a step and advances every tensor's state.
pub fn step_state(arithmetic: Arithmetic) -> Module {
    module!("step state", "integer.wgsl", "step.wgsl", "step_state.wgsl").computed(arithmetic)
}

/// Computes every root, and drawn quotients.
pub fn exhaustive(arithmetic: Arithmetic) -> Module {
    module!("exhaustive", "integer.wgsl", "arithmetic/exhaustive.wgsl").computed(arithmetic)
}

/// Computes every primitive of an arithmetic.
pub fn probe(arithmetic: Arithmetic) -> Module {
    module!("primitives", "arithmetic/probe.wgsl").computed(arithmetic)
}
