// The frame around one rule: which element a thread updates, and what all rules share.
// Composed with arithmetic.wgsl, step.wgsl and one file of step/, one of storage/, accumulation.wgsl and one
// file of update/, whose update() returns what is subtracted from the parameter.
// The twin of this file is src/cpu/update.rs.

override WORKGROUP: u32 = 64u;

override CLIPPED: bool = false;
override CLIP_VALUE: f32 = 0.0;
override WRITE_BACK: bool = false;
override MAXIMIZE: bool = false;
override COUPLED: bool = false;
override DECOUPLED: bool = false;
override AVERAGES: bool = false;
override AVERAGE: u32 = 0u; // its plane in the state
override AVERAGE_DECAY: f32 = 0.0;
override ONE_MINUS_AVERAGE_DECAY: f32 = 1.0;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    // Past the limit of one dimension the grid goes on in y.
    let thread = id.y * (groups.x * WORKGROUP) + id.x;
    let first = vector_of(thread, 0u);
    if first >= count() {
        return;
    }
    let step = step_of(first);
    if (step.flags & (STEP | KEEP)) == 0u {
        return;
    }
    for (var k = 0u; k < RUN; k += 1u) {
        update_vector(vector_of(thread, k), step);
    }
}

fn update_vector(i: u32, step: Step) {
    var gradient = found_gradient(i, step);
    if ACCUMULATES && (step.flags & KEEP) != 0u {
        store_state(ACCUMULATOR, i, gradient);
        return;
    }
    gradient *= step.grad_factor; // one where nothing scales
    if CLIPPED {
        gradient = clamp(gradient, vec4f(-CLIP_VALUE), vec4f(CLIP_VALUE));
    }
    if WRITE_BACK {
        store_grad(i, gradient);
    }
    if MAXIMIZE {
        gradient = -gradient;
    }
    let param = load_param(i);
    if COUPLED {
        gradient += keep(step.weight_decay * param);
    }
    // Small terms first: the parameter is rounded once.
    var change = update(i, step, gradient);
    if DECOUPLED {
        change += keep(step.decay * param);
    }
    let updated = param - change;
    store_param(i, updated);
    if AVERAGES {
        let average = keep(AVERAGE_DECAY * load_state(AVERAGE, i))
            + keep(ONE_MINUS_AVERAGE_DECAY * updated);
        store_state(AVERAGE, i, select(average, updated, (step.flags & FIRST) != 0u));
    }
}
