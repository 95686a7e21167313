//! Descriptions of the kernels' bindings, overrides and entry points, which a parser cannot derive.

/// Content of each binding.
const BINDINGS: &[(&str, &str)] = &[
    ("the_step", "the tensor's slot: 256 bytes of `steps` from 256 · tensor on"),
    ("steps", "a slot of 256 bytes for every tensor"),
    ("owners", "for every block of 64 elements: tensor << 7 | number of elements of the tensor"),
    (
        "params",
        "the parameters, updated in place; the binding has the length of the updated piece. For a regression: the \
         weights, each output's padded to whole vec4, then the intercepts likewise",
    ),
    ("grads", "the gradients, as long as params; written only with WRITE_BACK"),
    (
        "state",
        "PLANES consecutive planes, each as long as params rounded up to the alignment of bindings, and at least to \
         a vec4: the moments, then the accumulator, then the average; at least 16 bytes. Initially zero",
    ),
    ("partials", "partial sums, written by one kernel and added by the next; initially zero"),
    ("states", "the step state of every tensor; initially 0, momentum_decay 2⁶⁴ − 1"),
    ("groups", "for every parameter group its rule's constants and its position in the learning rates"),
    ("control", "counters; initially 0, inv_grad_scale 1 / grad_scale"),
    (
        "learning_rates",
        "for every group the start and length of its table, in words, then the tables, f32 as bits",
    ),
    ("selected", "for every tensor 1 if it has a gradient in this step, else 0"),
    ("segment", "the segment of rows"),
    ("x", "the rows, STRIDE floats each, with zeros behind the last feature; whole vec4 in all"),
    ("scores", "room for every output of every row of the segment: scores, and then derivatives"),
    ("losses", "a mean loss for every loss_slot"),
    ("so_far", "sums of segments: a plane for every level of the tree over the segments of a batch"),
    ("problem", "the synthetic problem"),
    (
        "weights",
        "the true weights as integers, output by output, each padded to VECTORS vec4 with zeros, then the intercepts",
    ),
    (
        "table",
        "probabilities, or e^z, at the points of a grid of scores; one word for a linear response",
    ),
    ("order", "the batch of the generated rows"),
    ("aux", "AUX_COLUMNS auxiliary columns of every row: targets, then sample weight, then offset"),
];

/// Content of bindings that differs in files whose names start with the first column.
const BINDINGS_OF: &[(&str, &str, &str)] = &[
    ("primitives", "zero", "zeros"),
    ("primitives", "inputs", "three planes of numbers: a, b and c"),
    ("primitives", "results", "a plane for every operation"),
    ("exhaustive", "job", "the first number or pair, and the seed of pairs; zero is 0"),
    ("exhaustive", "results", "the roots or quotients"),
    ("descend", "the_step", "the step's slot: 256 bytes, which the host writes before the step"),
    (
        "descend",
        "state",
        "PLANES consecutive planes, each as long as params: the moments, then the average",
    ),
    ("epochs", "part", "the prepared updates that this dispatch makes"),
    (
        "epochs",
        "fitted",
        "for every order and in it every setting the parameters, as in `params` of a descent",
    ),
    (
        "epochs",
        "state",
        "PLANES consecutive planes, each as long as fitted: the moments, then the average",
    ),
    (
        "epochs",
        "steps",
        "for every update and in it every setting the words of its step that are counted",
    ),
    ("epochs", "settings", "for every setting the words of its steps that stay as they are"),
    (
        "epochs",
        "batches",
        "for every order and in it every update four words, `struct Batch`; with SHUFFLED then the numbers of the \
         rows, and Batch.first is where those of the batch start",
    ),
    (
        "epochs",
        "results",
        "as many as in fitted, the last gradients; for every update and in it every fit its loss; with TRACED \
         for every update all of fitted behind it",
    ),
];

/// Value of each override.
const OVERRIDES: &[(&str, &str)] = &[
    (
        "WORKGROUP",
        "threads of a workgroup, a power of two: 256 on hardware and llvmpipe, 64 on other processors",
    ),
    ("PLANES", "planes in `state`: the moments, 1 for an accumulator, 1 for an average; at least 1"),
    ("QUANTUM", "the alignment of bindings, and at least 16 bytes, in units of 16 bytes"),
    ("ACCUMULATES", "gradients of several micro-batches make a step"),
    ("ACCUMULATOR", "the accumulator's plane: the number of moments"),
    ("CLIPPED", "limits every element of the gradient to ±CLIP_VALUE"),
    ("CLIP_VALUE", "the largest absolute value of an element"),
    ("WRITE_BACK", "writes the unscaled and clipped gradients back"),
    ("MAXIMIZE", "maximizes instead of minimizing"),
    ("COUPLED", "set if weight decay is added to the gradient: Step.weight_decay"),
    ("DECOUPLED", "set if weight decay scales the parameter: Step.decay"),
    ("AVERAGES", "keeps an exponential moving average of the parameters"),
    ("AVERAGE", "the average's plane: the number of moments, plus 1 with an accumulator"),
    ("AVERAGE_DECAY", "the average's decay"),
    ("ONE_MINUS_AVERAGE_DECAY", "1 − AVERAGE_DECAY, computed in f64"),
    ("NESTEROV", "Nesterov momentum"),
    ("LR_IN_MOMENTUM", "gradients are multiplied by lr before the momentum buffer, as in Keras"),
    ("MOMENTUM_BUFFER", "the momentum buffer's plane: 2 where CENTERED, else 1"),
    ("CENTERED", "divides by the root of the variance"),
    ("CLAMP_VARIANCE", "clamps a negative variance to 0"),
    ("MOMENTUM", "set where momentum is not 0"),
    ("BIAS_CORRECTION", "divides the averages by 1 − alphaᵗ"),
    ("EPS_INSIDE", "set where eps is added inside the root: Hyper.eps_inside, and Step.eps is 0"),
    (
        "INITIAL_ACCUMULATOR",
        "set where the first step starts from Hyper.initial_accumulator instead of 0",
    ),
    ("AMSGRAD", "divides by the root of the largest second moment so far, plane 2"),
    ("AMSGRAD_OF_CORRECTED", "takes the largest of the bias-corrected second moments, as optax"),
    ("MEASURES", "gradient_norm runs before this kernel: set with CLIP or SKIPS"),
    ("SKIPS", "skips steps with a non-finite gradient"),
    ("CLIP", "0: none, 1: as torch.nn.utils.clip_grad_norm_, 2: as optax.clip_by_global_norm"),
    ("MAX_NORM", "the largest norm"),
    ("MICRO_BATCHES", "micro-batches per step"),
    ("INV_MICRO_BATCHES", "1 / MICRO_BATCHES"),
    ("QUOTIENTS", "computes quotients instead of roots"),
    ("VECTORS", "vec4 in a row: ⌈features / 4⌉"),
    ("FEATURES", "features of the model"),
    ("STRIDE", "floats from one row of X to the next: a multiple of 4, or FEATURES"),
    ("INTERCEPTS", "vec4 of intercepts: ⌈OUTPUTS / 4⌉, or 0 for none"),
    ("AUX_COLUMNS", "auxiliary columns of a row"),
    ("WEIGHTED", "set if rows have weights"),
    ("WEIGHT_AT", "auxiliary column of the weight"),
    ("OFFSET", "set if rows have offsets"),
    ("OFFSET_AT", "auxiliary column of the offset"),
    ("SHUFFLED", "batches may be those of a shuffled window"),
    ("METRICS", "sums the metrics of a model instead of a gradient"),
    ("PARTIAL", "vec4 of a partial sum: OUTPUTS · VECTORS + INTERCEPTS + 1, with METRICS OUTPUTS + 1"),
    ("EPSILON", "residual at which the Huber loss becomes linear"),
    ("QUANTILE", "the fitted quantile"),
    ("ONE_MINUS_QUANTILE", "1 − QUANTILE, computed in f64"),
    ("PENALIZED", "number of vec4 of penalized weights, which are the first parameters"),
    ("L2_FACTOR", "alpha · (1 − l1_ratio)"),
    ("L1_FACTOR", "alpha · l1_ratio, times the factor by which momentum lengthens steps"),
    ("HAS_L1", "set where L1_FACTOR is not 0"),
    ("LANES", "threads that share a row, a power of two up to 64"),
    ("BLOCKS", "vec4 of a row that each of them takes, LANES · BLOCKS ≥ VECTORS"),
    ("ROWS", "rows that each of them holds at a time"),
    ("SETTINGS", "settings that are trained at once"),
    ("ORDERS", "row orders in which each setting is trained"),
    ("MAX_UPDATES", "capacity of `results` in updates"),
    ("TRACED", "stores the parameters after every update"),
    ("COLUMNS", "threads side by side that take a column each, a power of two up to 64"),
    ("SHARES", "64 / COLUMNS"),
    ("CORRELATED", "set where Problem.factor is not 0: without it own is 2¹⁵"),
    ("RESPONSE", "0: linear, 1: Bernoulli or Poisson, 2: categorical"),
    ("OUTPUTS", "scores of a row: one for each target, or class"),
    ("INTERCEPT_SHIFT", "from the units of intercepts to those of scores: 15 for a linear response"),
    ("GRID_SHIFT", "from the units of scores to steps of the grid, which are 2⁻⁸"),
    ("GRID_FIRST", "the first point of `table`, in steps"),
    ("GRID_LAST", "the number of points after it"),
    ("GRID_WIDTH", "words of `table` to a point, a power of two"),
];

/// Purpose and number of workgroups of each entry point. The first column is the start of the file's name; the first
/// match applies.
const ENTRY_POINTS: &[(&str, &str, &str, &str)] = &[
    ("step_state", "find", "finds the tensors whose gradient is measured", "⌈tensors / 64⌉"),
    ("step_state", "decide_alone", "decides whether the step is taken", "1"),
    ("step_state", "advance", "advances every tensor's state", "⌈tensors / 64⌉"),
    ("step_state", "decide_and_advance", "both, for up to 64 tensors", "1"),
    ("primitives", "main", "every operation of an arithmetic", "⌈vec4 of a / 64⌉"),
    ("exhaustive", "main", "roots of consecutive numbers, or quotients", "⌈vec4 of results / 64⌉"),
    ("gradient_norm_tail", "main", "measures a tail's gradients", "1"),
    ("gradient_norm", "main", "measures gradients", "⌈elements of params / 16384⌉"),
    (
        "gradient_one_pass",
        "main",
        "a segment's partial sums",
        "⌈rows / (64 / LANES · ROWS)⌉, at most 512",
    ),
    ("gradient_tiles", "main", "a segment's partial sums", "⌈rows / ROWS⌉, at most 512"),
    ("gradient_scores", "main", "the scores of every row", "rows; z: ⌈OUTPUTS / 4⌉"),
    (
        "gradient_derivatives",
        "main",
        "derivatives in their place, and the totals of a segment's partial sums",
        "⌈rows / 64⌉, at most 512",
    ),
    (
        "gradient_columns",
        "main",
        "the other partial sums",
        "x: ⌈rows / 64⌉, at most 512; y: ⌈VECTORS / 64⌉; z: ⌈OUTPUTS / 8⌉",
    ),
    ("gradient_reduce", "main", "the gradient and the batch's loss", "⌈PARTIAL / 4⌉"),
    ("evaluation_sum", "main", "the metrics of a model", "⌈PARTIAL / 4⌉"),
    ("descend", "main", "adds up partial sums, and steps the rule with the gradient", "⌈PARTIAL / 4⌉"),
    (
        "epochs_per_thread",
        "main",
        "many updates, by a thread for every fit",
        "⌈SETTINGS / WORKGROUP⌉; y: ORDERS",
    ),
    (
        "epochs_per_workgroup",
        "main",
        "many updates, by a workgroup for every fit",
        "SETTINGS; y: ORDERS",
    ),
    ("synthetic_features", "main", "makes the features", "⌈rows · ⌈STRIDE / 8⌉ / 64⌉"),
    ("synthetic_targets", "main", "makes the targets", "⌈rows / (64 / LANES)⌉"),
    ("virtual_targets", "main", "makes the targets of a segment", "⌈rows / (64 / LANES)⌉"),
    (
        "",
        "main",
        "one step of the rule",
        "⌈vec4 of params / (RUN · WORKGROUP)⌉, RUN being a constant of the source; tail: 1",
    ),
];

/// The dispatches of a step, and rules for all dispatches.
pub const NOTES: &[&str] = &[
    "A step, in one compute pass: with MEASURES find and then gradient_norm over every piece; then \
     decide_and_advance, or past 64 tensors decide_alone and advance; then the rule's kernel over every piece.",
    "A piece is a contiguous range of parameters in one binding, its first byte at a multiple of the device's \
     alignment. A kernel without a suffix updates the vec4 of one tensor, `_arena` those of many that start at \
     multiples of 64 elements, and `_tail` the last one to three elements of a tensor, which fill no vec4: its \
     bindings start at the last multiple of the alignment, `state` excepted, which is bound whole.",
    "Workgroups beyond the limit of one dimension extend in y: the grid is [x, ⌈workgroups / x⌉, 1], and surplus \
     workgroups do nothing.",
    "The host writes into every slot of `steps` once: weight_decay if it is coupled, the group, and hyper.",
    "`vec2<u32>` holds 64-bit integers, low word first. Betas are in units of 2⁻⁶⁴, truncated, \
     and one_minus_beta is 2⁶⁴ − beta, or 2⁶⁴ − 1 for beta = 0.",
    "Rule.momentum_decay is 0.96^momentum_decay in units of 2⁻⁶⁴, and 0 for none; for a momentum_decay of 0 it \
     is 0 too, and beta1 is halved instead. Betas of a rule without bias correction are 0; so is Rule.eps where \
     eps is inside.",
    "A descent is one of the gradient's kernels and then `descend`, whose second group holds the step; `_virtual` \
     kernels make their rows, with the synthetic problem as the second group, and virtual_targets runs ahead of \
     them. `epochs` kernels make many updates of a small problem in one dispatch; `_packed` are for a STRIDE that \
     is no multiple of 4.",
    "gradient_norm leaves one Partial a workgroup. Every dispatch of a step has a part of `partials` for itself, \
     all of which step_state adds up; parts start at multiples of the alignment, and what is between is 0.",
    "A kernel without `_strict` or `_exact` computes as the device does. The bits of the other two are the same on every \
     device: `_strict` needs sums and products that are rounded to nearest, `_exact` has integers alone. Their words \
     named `zero` must be 0.",
    "Bools are set as 0 or 1 in WebGPU's `constants`.",
];

fn find(table: &[(&str, &'static str)], name: &str) -> &'static str {
    table.iter().find(|(known, _)| *known == name).map_or("", |(_, meaning)| meaning)
}

pub fn binding(file: &str, name: &str) -> &'static str {
    let own = BINDINGS_OF.iter().find(|(of, known, _)| file.starts_with(of) && *known == name);
    own.map_or_else(|| find(BINDINGS, name), |(.., meaning)| meaning)
}

pub fn over_ride(name: &str) -> &'static str {
    find(OVERRIDES, name)
}

/// The purpose of an entry point, and its number of workgroups.
pub fn entry_point(file: &str, name: &str) -> (&'static str, &'static str) {
    let entry = ENTRY_POINTS.iter().find(|(of, entry, ..)| file.starts_with(of) && *entry == name);
    entry.map_or(("", ""), |(.., does, workgroups)| (does, workgroups))
}
