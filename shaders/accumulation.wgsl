// The gradient of a step: that of this micro-batch, and the accumulated ones before it.

override ACCUMULATES: bool = false;
override ACCUMULATOR: u32 = 0u; // its plane in the state

fn found_gradient(i: u32, step: Step) -> vec4f {
    if !ACCUMULATES {
        return load_grad(i);
    }
    var gradient = vec4f();
    if (step.flags & GRADIENT) != 0u {
        gradient = load_grad(i);
    }
    if (step.flags & ACCUMULATED) != 0u {
        gradient = add(gradient, load_state(ACCUMULATOR, i));
    }
    return gradient;
}
