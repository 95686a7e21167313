// The format of parameters, gradients and state in memory: f32. Kernels compute with vec4f, and convert here. Composed
// with files of arithmetic/.

alias ParamVector = vec4f;
alias GradVector = vec4f;
alias StateVector = vec4f;

fn unpack_param(stored: ParamVector) -> vec4f {
    return number(stored);
}

fn pack_param(value: vec4f) -> ParamVector {
    return canon(value);
}

fn unpack_grad(stored: GradVector) -> vec4f {
    return number(stored);
}

fn pack_grad(value: vec4f) -> GradVector {
    return canon(value);
}

fn unpack_state(stored: StateVector) -> vec4f {
    return number(stored);
}

fn pack_state(value: vec4f) -> StateVector {
    return canon(value);
}
