//! Faults that are seeded into kernels: a suite that misses one proves nothing. Natively only: all pipelines of the
//! thread are edited while a group runs, so its futures must not be pending.

use super::{Depth, GROUPS, Rig, SAME_BITS};
use crate::Arithmetic;
use crate::gpu::seeded;
use crate::regression::device::{Gpu, block_on};
use serde::Serialize;
use std::collections::HashMap;

/// A fault, and the checks that must catch it.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The fault.
    pub name: &'static str,
    /// The group of the suite that runs with it.
    pub(super) group: &'static str,
    /// A part of the names of the cases that run with it; see [`Depth::Least`].
    cases: &'static str,
    edits: &'static [seeded::Edit],
    /// The arithmetic of the kernels.
    arithmetic: Arithmetic,
    /// Whether it depends on the order in which a workgroup's threads happen to run.
    is_race: bool,
}

const fn fault(
    name: &'static str,
    group: &'static str,
    cases: &'static str,
    edits: &'static [seeded::Edit],
) -> Fault {
    Fault { name, group, cases, edits, arithmetic: Arithmetic::Fast, is_race: false }
}

const fn strict(
    name: &'static str,
    group: &'static str,
    cases: &'static str,
    edits: &'static [seeded::Edit],
) -> Fault {
    Fault { arithmetic: Arithmetic::Strict, ..fault(name, group, cases, edits) }
}

const fn race(
    name: &'static str,
    group: &'static str,
    cases: &'static str,
    edits: &'static [seeded::Edit],
) -> Fault {
    Fault { is_race: true, ..fault(name, group, cases, edits) }
}

/// The outcome of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultOutcome {
    /// The fault.
    pub fault: &'static str,
    /// The checks that failed with it and pass without, as `kernel: case`.
    pub caught_by: Vec<String>,
    /// Whether the fault is a race that this device may never show.
    pub may_not_show: bool,
}

impl Fault {
    /// Whether it is one of strict arithmetic, which bits show.
    pub fn is_of_bits(&self) -> bool {
        self.arithmetic.is_reproducible()
    }
}

impl FaultOutcome {
    /// Whether no check caught it.
    pub fn is_missed(&self) -> bool {
        self.caught_by.is_empty() && !self.may_not_show
    }
}

/// All faults.
pub const FAULTS: &[Fault] = &[
    fault(
        "last row of a batch dropped",
        "gradients",
        "sgd",
        &[
            ("let within = i < segment.rows;", "let within = i + 1u < segment.rows;"),
            (
                "let rows = min(ROWS, segment.rows - first);",
                "let rows = min(ROWS, segment.rows - first - 1u);",
            ),
            (
                "i < segment.rows; i += segment.partials)",
                "i + 1u < segment.rows; i += segment.partials)",
            ),
        ],
    ),
    fault(
        "mean over one row too few",
        "gradients",
        "sgd",
        &[(
            "var scale = segment.gradient_scale;",
            "var scale = segment.gradient_scale * (f32(segment.rows) / (f32(segment.rows) - 1.0));",
        )],
    ),
    fault(
        "one partial sum counted twice",
        "gradients",
        "sgd",
        &[(
            "tree[local] = sum;\n    if WEIGHTED",
            "tree[local] = sum + select(vec4f(), partials[partial_at(0u, column)], lane == 0u && column < PARTIAL);\n    if WEIGHTED",
        )],
    ),
    fault(
        "segment of a batch counted twice",
        "gradients",
        "segments",
        &[("total = so_far[left + column] + total;", "total = so_far[left + column] * 2.0 + total;")],
    ),
    fault(
        "second level of the tree of segments dropped",
        "gradients",
        "segments",
        &[("select(carried, segment.index, last)", "select(carried, segment.index, last) & ~2u")],
    ),
    race(
        "barrier skipped while partial sums are added",
        "gradients",
        "sgd",
        &[("half /= 2u) {\n        workgroupBarrier();", "half /= 2u) {")],
    ),
    // llvmpipe runs the vectors of a workgroup in turn and does not need the barrier after it.
    race(
        "barrier skipped while a score is added",
        "gradients",
        "sgd",
        &[("half >= 4u; half /= 2u) {\n            workgroupBarrier();", "half >= 4u; half /= 2u) {")],
    ),
    fault("rows shuffled by one round too few", "gradients", "sgd", &[("round < 6u", "round < 5u")]),
    fault(
        "random numbers by one round too few",
        "synthetic",
        "sgd",
        &[("return philox_round(counter, problem.key + 9u * step);", "return counter;")],
    ),
    fault(
        "penalty on the intercept",
        "descents",
        "sgd",
        &[("let penalized = i < PENALIZED;", "let penalized = true;")],
    ),
    fault(
        "sum of the other half read too early",
        "gradients",
        "sgd",
        &[(
            "tree[local] += tree[local + half * COLUMNS];",
            "tree[local] += select(tree[local + half * COLUMNS], vec4f(), half == LANES / 2u);",
        )],
    ),
    race(
        "barrier skipped between updates of one dispatch",
        "descents",
        "sgd",
        &[(
            "differentiate_rows(batch, local);\n        workgroupBarrier();",
            "differentiate_rows(batch, local);",
        )],
    ),
    fault(
        "last element of a tail not written",
        "updates",
        "sgd",
        &[(
            "lane < lanes(i); lane += 1u) {\n        params[first() + lane] = ",
            "lane + 1u < lanes(i); lane += 1u) {\n        params[first() + lane] = ",
        )],
    ),
    fault(
        "last vector not updated",
        "updates",
        "sgd",
        &[("if first >= count() {", "if first + 1u >= count() {")],
    ),
    // Among the checked sizes only pieces have whole quanta of vectors.
    fault(
        "one piece of a span not updated",
        "updates",
        "sgd",
        &[("if first >= count() {", "if first >= count() || (count() > 66u && count() % 4u == 0u) {")],
    ),
    fault(
        "second moment of another parameter",
        "updates",
        "adam",
        &[("load_state(EXP_AVG_SQ, i)", "load_state(EXP_AVG_SQ, i ^ 1u)")],
    ),
    fault(
        "beta2 in the place of beta1",
        "updates",
        "adam",
        &[("blend(step.hyper.beta1,", "blend(step.hyper.beta2,")],
    ),
    fault(
        "no bias correction of the first moment",
        "updates",
        "adam",
        &[(
            "steps[tensor].step_size = mul_f32(lr, reciprocal(state.bias_correction1));",
            "steps[tensor].step_size = lr;",
        )],
    ),
    fault(
        "no bias correction of the second moment",
        "updates",
        "adam",
        &[(
            "let inv_bias_correction2 = reciprocal(state.bias_correction2);",
            "let inv_bias_correction2 = 1.0;",
        )],
    ),
    fault(
        "weight decay forgotten",
        "updates",
        "weight decay",
        &[("add_f32(step.weight_decay, select(", "add_f32(0.0, select(")],
    ),
    fault(
        "decoupled decay of the wrong sign while maximizing",
        "updates",
        "decoupled decay, maximize",
        &[("scale(step.decay, param)", "scale(select(1.0, -1.0, MAXIMIZE) * step.decay, param)")],
    ),
    fault(
        "coupled decay of the wrong sign while maximizing",
        "updates",
        "weight decay, maximize",
        &[(
            "add_f32(step.weight_decay, select(",
            "add_f32(select(1.0, -1.0, MAXIMIZE) * step.weight_decay, select(",
        )],
    ),
    fault(
        "moments left alone at a learning rate of 0",
        "updates",
        "adam",
        &[(
            "let param = load_param(i);\n    let penalized",
            "if step.lr == 0.0 { return; }\n    let param = load_param(i);\n    let penalized",
        )],
    ),
    fault(
        "first step dampened",
        "updates",
        "dampening",
        &[(
            "select(step.hyper.one_minus_dampening, 1.0, (step.flags & FIRST) != 0u)",
            "step.hyper.one_minus_dampening",
        )],
    ),
    fault(
        "steps counted in f32",
        "step state",
        "sgd",
        &[("state.t = add64(state.t, ONE);", "state.t = vec2u(u32(f32(state.t.x) + 1.0), state.t.y);")],
    ),
    fault(
        "steps counted in 32 bits",
        "step state",
        "sgd",
        &[("state.t = add64(state.t, ONE);", "state.t.x += 1u;")],
    ),
    fault(
        "tensors from the 4097th on not advanced",
        "step state",
        "sgd",
        &[(
            "if tensor < arrayLength(&states) {\n        advance_tensor(tensor);",
            "if tensor < min(arrayLength(&states), 4096u) {\n        advance_tensor(tensor);",
        )],
    ),
    fault(
        "tensors from the 1025th on advanced as another",
        "step state",
        "sgd",
        &[(
            "if tensor < arrayLength(&states) {\n        advance_tensor(tensor);",
            "if tensor < arrayLength(&states) {\n        advance_tensor(tensor % 1024u);",
        )],
    ),
    fault(
        "rows of another batch where fewer updates are prepared than may be",
        "descents",
        "sgd",
        &[("(order * part.prepared + update)", "(order * MAX_UPDATES + update)")],
    ),
    fault(
        "steps skipped in a row counted on behind one that is taken",
        "conditioning",
        "NaN",
        &[("control.skipped_in_a_row = 0u;", "")],
    ),
    fault(
        "learning rate of the step before",
        "step state",
        "sgd",
        &[(
            "let position = min(groups[g].position, last);",
            "let position = min(max(groups[g].position, 1u) - 1u, last);",
        )],
    ),
    fault(
        "gradient accumulated twice",
        "conditioning",
        "three micro-batches",
        &[(
            "add(gradient, load_state(ACCUMULATOR, i))",
            "add(gradient, 2.0 * load_state(ACCUMULATOR, i))",
        )],
    ),
    fault(
        "NaN taken for a number",
        "conditioning",
        "NaN",
        &[("any(largest >= vec4u(0x7f800000u))", "any(largest == vec4u(0x7f800000u))")],
    ),
    fault(
        "norm without the last workgroup",
        "conditioning",
        "clip norm of PyTorch",
        &[("unit < arrayLength(&partials)", "unit + 1u < arrayLength(&partials)")],
    ),
    fault(
        "average that begins at zero",
        "conditioning",
        "average",
        &[("select(average, updated, (step.flags & FIRST) != 0u)", "average")],
    ),
    // The faults of a driver that strict arithmetic is there to rule out.
    strict(
        "a sum without a fence",
        "primitives",
        "designed",
        &[("return fence(a + b);", "return a + b;")],
    ),
    strict(
        "a product and a sum contracted into one rounding",
        "primitives",
        "sums",
        // The sum of a product with its error, by Dekker's product: about what a fused operation gives.
        &[(
            "result(5u, i, add(mul(a, b), c));",
            "let high_a = bitcast<vec4f>(bitcast<vec4u>(a) & vec4u(0xfffff000u));
    let high_b = bitcast<vec4f>(bitcast<vec4u>(b) & vec4u(0xfffff000u));
    let error = ((high_a * high_b - a * b) + high_a * (b - high_b) + (a - high_a) * high_b)
        + (a - high_a) * (b - high_b);
    result(5u, i, add(add(mul(a, b), c), error));",
        )],
    ),
    strict(
        "a root that is not corrected",
        "primitives",
        "numbers",
        &[("found += select(vec4u(), vec4u(1u), rest > found);", "")],
    ),
    strict(
        "a quotient that is one unit off",
        "primitives",
        "quotients",
        &[("2u * rest > divisor", "2u * rest > divisor + 1u")],
    ),
    strict(
        "a product and a sum of a rule contracted into one rounding",
        "updates",
        "lion",
        &[(
            "return add(scale(a, x), scale(b, y));",
            "let factor = vec4f(a);
    let high_a = bitcast<vec4f>(bitcast<vec4u>(factor) & vec4u(0xfffff000u));
    let high_x = bitcast<vec4f>(bitcast<vec4u>(x) & vec4u(0xfffff000u));
    let error = ((high_a * high_x - factor * x) + high_a * (x - high_x) + (factor - high_a) * high_x)
        + (factor - high_a) * (x - high_x);
    return add(scale(a, x), add(scale(b, y), error));",
        )],
    ),
    strict(
        "lanes of the norm added in another order",
        "conditioning",
        "norm of 2^±1",
        &[(
            "return add_f32(add_f32(v.x, v.y), add_f32(v.z, v.w));",
            "return ((v.x + v.y) + v.z) + v.w;",
        )],
    ),
];

/// Seeds faults into the kernels of one device.
#[derive(Debug)]
pub struct FaultSeeder<'a> {
    gpu: &'a Gpu,
    seed: u64,
    /// The checks that failed without a fault, by group and cases.
    without: HashMap<(&'static str, &'static str), Vec<String>>,
}

impl<'a> FaultSeeder<'a> {
    /// `seed` determines all inputs.
    pub fn new(gpu: &'a Gpu, seed: u64) -> Self {
        FaultSeeder { gpu, seed, without: HashMap::new() }
    }

    /// Runs the group of a fault with the faulty kernels.
    pub fn seed(&mut self, fault: &Fault) -> FaultOutcome {
        let (failing, seeded) = seeded::with(fault.edits, || self.failing(fault));
        // Software runs the vectors of a workgroup in turn; hardware may have all its threads in one of them.
        let software = self.gpu.info.device_type == wgpu::DeviceType::Cpu;
        let may_not_show = fault.is_race && !software;
        if !seeded {
            // The edit did not reach every kernel that it should: the fault counts as missed.
            return FaultOutcome { fault: fault.name, caught_by: Vec::new(), may_not_show: false };
        }
        let at = (fault.group, fault.cases);
        if !self.without.contains_key(&at) {
            self.without.insert(at, self.failing(fault));
        }
        let without = &self.without[&at];
        let caught_by = failing.into_iter().filter(|name| !without.contains(name)).collect();
        FaultOutcome { fault: fault.name, caught_by, may_not_show }
    }

    fn failing(&self, fault: &Fault) -> Vec<String> {
        let FaultSeeder { gpu, seed, .. } = *self;
        let depth = Depth::Least { cases: fault.cases };
        let rig = Rig { gpu, depth, seed, arithmetic: fault.arithmetic };
        let groups = if rig.compares_bits() { SAME_BITS } else { GROUPS };
        let groups = groups.iter().filter(|group| group.name == fault.group);
        let checks = groups.flat_map(|group| block_on(super::run_on(&rig, group)));
        // A case that failed to run has compared nothing.
        let failed = checks.filter(|check| !check.pass && check.error.is_none());
        failed.map(|check| format!("{}: {}", check.kernel, check.case)).collect()
    }
}
