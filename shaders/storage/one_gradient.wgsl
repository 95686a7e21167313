// The gradient of the vector that a thread updates, which is never in memory.

var<private> gradient_of_vector: vec4f;

fn load_grad(i: u32) -> vec4f {
    return gradient_of_vector;
}

fn store_grad(i: u32, value: vec4f) {
    gradient_of_vector = value;
}
