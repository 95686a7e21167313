//! What would be wrong with a kernel, seeded into it: a suite that does not find it is no proof.

use super::{Depth, GROUPS, Rig};
use crate::gpu::{Gpu, seeded};
use serde::Serialize;
use std::collections::HashMap;

/// A fault, and where it shows.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What is wrong.
    pub name: &'static str,
    /// The group of the suite that is run with it.
    group: &'static str,
    /// What the names of the rules' variants that are run with it have in common.
    rules: &'static str,
    edits: &'static [seeded::Edit],
}

/// What became of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caught {
    /// What was wrong.
    pub fault: &'static str,
    /// The checks that failed with it and pass without, as `kernel: case`.
    pub caught_by: Vec<String>,
}

/// Every fault that is seeded.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "last row of a batch dropped",
        group: "gradients",
        rules: "sgd",
        edits: &[
            ("let within = i < run.rows;", "let within = i + 1u < run.rows;"),
            ("let rows = min(ROWS, run.rows - first);", "let rows = min(ROWS, run.rows - first - 1u);"),
            ("i < run.rows; i += groups.x)", "i + 1u < run.rows; i += groups.x)"),
        ],
    },
    Fault {
        name: "mean over one row too few",
        group: "gradients",
        rules: "sgd",
        edits: &[(
            "var scale = run.gradient_scale;",
            "var scale = run.gradient_scale * (f32(run.rows) / (f32(run.rows) - 1.0));",
        )],
    },
    Fault {
        name: "one partial sum counted twice",
        group: "gradients",
        rules: "sgd",
        edits: &[(
            "tree[local] = sum;\n    if WEIGHTED",
            "tree[local] = sum + select(vec4f(), partials[partial_at(0u, column)], lane == 0u && column < PARTIAL);\n    if WEIGHTED",
        )],
    },
    Fault {
        name: "barrier skipped while partial sums are added",
        group: "gradients",
        rules: "sgd",
        edits: &[("half /= 2u) {\n        workgroupBarrier();", "half /= 2u) {")],
    },
    Fault {
        name: "barrier skipped while a score is added",
        group: "gradients",
        rules: "sgd",
        // The barrier behind it is one that llvmpipe, which runs a workgroup's vectors in turn, does without.
        edits: &[(
            "half >= 4u; half /= 2u) {\n            workgroupBarrier();",
            "half >= 4u; half /= 2u) {",
        )],
    },
    Fault {
        name: "rows shuffled by one round too few",
        group: "gradients",
        rules: "sgd",
        edits: &[("round < 6u", "round < 5u")],
    },
    Fault {
        name: "random numbers by one round too few",
        group: "synthetic",
        rules: "sgd",
        edits: &[("return philox_round(counter, problem.key + 9u * step);", "return counter;")],
    },
    Fault {
        name: "penalty on the intercept",
        group: "descents",
        rules: "sgd",
        edits: &[("let penalized = i < PENALIZED;", "let penalized = true;")],
    },
    Fault {
        name: "barrier skipped between updates of one dispatch",
        group: "descents",
        rules: "sgd",
        edits: &[(
            "differentiate_rows(batch, local);\n        workgroupBarrier();",
            "differentiate_rows(batch, local);",
        )],
    },
    Fault {
        name: "last element of a tail not written",
        group: "updates",
        rules: "sgd",
        edits: &[(
            "lane < lanes(i); lane += 1u) {\n        params[first() + lane] = ",
            "lane + 1u < lanes(i); lane += 1u) {\n        params[first() + lane] = ",
        )],
    },
    Fault {
        name: "last vector not updated",
        group: "updates",
        rules: "sgd",
        edits: &[("if first >= count() {", "if first + 1u >= count() {")],
    },
    Fault {
        name: "one piece of a span not updated",
        group: "updates",
        rules: "sgd",
        // Of the sizes that are checked only pieces have whole quanta of so many vectors.
        edits: &[(
            "if first >= count() {",
            "if first >= count() || (count() > 66u && count() % 4u == 0u) {",
        )],
    },
    Fault {
        name: "second moment of another parameter",
        group: "updates",
        rules: "adam",
        edits: &[("load_state(EXP_AVG_SQ, i)", "load_state(EXP_AVG_SQ, i ^ 1u)")],
    },
    Fault {
        name: "beta2 in the place of beta1",
        group: "updates",
        rules: "adam",
        edits: &[("keep(step.hyper.beta1 *", "keep(step.hyper.beta2 *")],
    },
    Fault {
        name: "no bias correction of the first moment",
        group: "updates",
        rules: "adam",
        edits: &[(
            "steps[tensor].step_size = lr * reciprocal(state.bias_correction1);",
            "steps[tensor].step_size = lr;",
        )],
    },
    Fault {
        name: "no bias correction of the second moment",
        group: "updates",
        rules: "adam",
        edits: &[(
            "let inv_bias_correction2 = reciprocal(state.bias_correction2);",
            "let inv_bias_correction2 = 1.0;",
        )],
    },
    Fault {
        name: "weight decay forgotten",
        group: "updates",
        rules: "weight decay",
        edits: &[("(step.weight_decay + select(", "(select(")],
    },
    Fault {
        name: "first step dampened",
        group: "updates",
        rules: "dampening",
        edits: &[(
            "select(step.hyper.one_minus_dampening, 1.0, (step.flags & FIRST) != 0u)",
            "step.hyper.one_minus_dampening",
        )],
    },
    Fault {
        name: "steps counted in f32",
        group: "step state",
        rules: "sgd",
        edits: &[(
            "state.t = add64(state.t, ONE);",
            "state.t = vec2u(u32(f32(state.t.x) + 1.0), state.t.y);",
        )],
    },
    Fault {
        name: "steps counted in 32 bits",
        group: "step state",
        rules: "sgd",
        edits: &[("state.t = add64(state.t, ONE);", "state.t.x += 1u;")],
    },
    Fault {
        name: "learning rate of the step before",
        group: "step state",
        rules: "sgd",
        edits: &[(
            "let position = min(groups[g].position, last);",
            "let position = min(max(groups[g].position, 1u) - 1u, last);",
        )],
    },
    Fault {
        name: "gradient accumulated twice",
        group: "conditioning",
        rules: "sgd",
        edits: &[(
            "gradient += load_state(ACCUMULATOR, i);",
            "gradient += 2.0 * load_state(ACCUMULATOR, i);",
        )],
    },
    Fault {
        name: "NaN taken for a number",
        group: "conditioning",
        rules: "sgd",
        edits: &[("any(largest >= vec4u(0x7f800000u))", "any(largest == vec4u(0x7f800000u))")],
    },
    Fault {
        name: "norm without the last workgroup",
        group: "conditioning",
        rules: "sgd",
        edits: &[("index < arrayLength(&partials)", "index + 1u < arrayLength(&partials)")],
    },
    Fault {
        name: "average that begins at zero",
        group: "conditioning",
        rules: "sgd",
        edits: &[("select(average, updated, (step.flags & FIRST) != 0u)", "average")],
    },
];

/// Seeds faults into the kernels of one device.
#[derive(Debug)]
pub struct Seeding<'a> {
    gpu: &'a Gpu,
    seed: u64,
    /// For the groups and rules that were run without a fault what failed all the same.
    without: HashMap<(&'static str, &'static str), Vec<String>>,
}

impl<'a> Seeding<'a> {
    /// Inputs are drawn from `seed`.
    pub fn new(gpu: &'a Gpu, seed: u64) -> Self {
        Seeding { gpu, seed, without: HashMap::new() }
    }

    /// Runs the group that a fault shows in with kernels that have it.
    pub fn seed(&mut self, fault: &Fault) -> Caught {
        let (failing, seeded) = seeded::with(fault.edits, || self.failing(fault));
        if seeded == 0 {
            // In no kernel: nothing has caught it, whatever failed.
            return Caught { fault: fault.name, caught_by: Vec::new() };
        }
        let at = (fault.group, fault.rules);
        if !self.without.contains_key(&at) {
            self.without.insert(at, self.failing(fault));
        }
        let without = &self.without[&at];
        let caught_by = failing.into_iter().filter(|name| !without.contains(name)).collect();
        Caught { fault: fault.name, caught_by }
    }

    fn failing(&self, fault: &Fault) -> Vec<String> {
        let Seeding { gpu, seed, .. } = *self;
        let rig = Rig { gpu, depth: Depth::Least { rules: fault.rules }, seed };
        let groups = GROUPS.iter().filter(|group| group.name == fault.group);
        let checks = groups.flat_map(|group| super::run_on(&rig, group));
        let failed = checks.filter(|check| !check.pass);
        failed.map(|check| format!("{}: {}", check.kernel, check.case)).collect()
    }
}
