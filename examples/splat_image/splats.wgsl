// A picture as a sum of 2-D Gaussians, and the gradient of the mean squared error to a target.
//
// Splat i adds colour · weight(q) to a pixel, where q = u² + v² is the squared distance from its centre in units of its
// two scales, along its own axes. There is no sorting and there are no atomics: `bin` records the splats that touch a
// tile, `render` gathers them for every pixel, and `backward` gathers pixels for every splat. Every sum has a fixed order,
// so runs are reproducible bit by bit.

override WIDTH: u32;
override HEIGHT: u32;

// The picture is divided into tiles of TILE × TILE pixels.
const TILE = 16u;
// A splat ends at three scales from its centre …
const REACH = 3.0;
// … where its weight is this value, which is subtracted so that the weight is continuous.
const EDGE = exp(-0.5 * REACH * REACH);

// The parameters: a centre in pixels, a colour, and (ln scale, ln scale, angle). Any three numbers of the last represent a
// valid covariance.
@group(0) @binding(0) var<storage, read> positions: array<vec2f>;
@group(0) @binding(1) var<storage, read> colours: array<f32>;
@group(0) @binding(2) var<storage, read> shapes: array<f32>;
// Their gradients.
@group(0) @binding(3) var<storage, read_write> position_grads: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> colour_grads: array<f32>;
@group(0) @binding(5) var<storage, read_write> shape_grads: array<f32>;
// The pictures, three floats per pixel.
@group(0) @binding(6) var<storage, read> goal: array<f32>;
@group(0) @binding(7) var<storage, read_write> picture: array<f32>;
// Intermediate results of the kernels.
@group(0) @binding(8) var<storage, read_write> splats: array<Splat>;
@group(0) @binding(9) var<storage, read_write> bins: array<Bin>;

struct Splat {
    centre: vec2f,
    // Half the sides of its bounding box.
    extent: vec2f,
    // Its axes, each divided by the scale along it: u = dot(along, d), v = dot(across, d).
    along: vec2f,
    across: vec2f,
}

// The splats, of 1024, that touch a tile: a bit for each splat, and a bit for every non-zero word.
struct Bin {
    used: u32,
    masks: array<u32, 32>,
}

// Computes the derived values of each splat once.
@compute @workgroup_size(64)
fn prepare(@builtin(global_invocation_id) id: vec3u) {
    let i = id.x;
    if i >= arrayLength(&positions) {
        return;
    }
    let scale = exp(vec2f(shapes[3 * i], shapes[3 * i + 1]));
    let axis = vec2f(cos(shapes[3 * i + 2]), sin(shapes[3 * i + 2]));
    let normal = vec2f(-axis.y, axis.x);
    let a = axis * scale.x;
    let b = normal * scale.y;
    splats[i] = Splat(positions[i], REACH * sqrt(a * a + b * b), axis / scale.x, normal / scale.y);
}

// A thread finds the splats, of 1024, that touch a tile.
@compute @workgroup_size(64)
fn bin(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let tiles = (vec2u(WIDTH, HEIGHT) + TILE - 1) / TILE;
    if id.x >= tiles.x * tiles.y {
        return;
    }
    let low = vec2f(vec2u(id.x % tiles.x, id.x / tiles.x) * TILE);
    let high = low + f32(TILE);
    let here = id.x * groups.y + id.y;
    var used = 0u;
    for (var word = 0u; word < 32; word++) {
        let first = 1024 * id.y + 32 * word;
        var mask = 0u;
        for (var i = first; i < min(first + 32, arrayLength(&splats)); i++) {
            let splat = splats[i];
            let touches = splat.centre + splat.extent > low & splat.centre - splat.extent < high;
            mask |= select(0u, 1u, all(touches)) << (i - first);
        }
        bins[here].masks[word] = mask;
        used |= select(0u, 1u, mask != 0) << word;
    }
    bins[here].used = used;
}

// (u, v) of a pixel, at its centre.
fn offset(splat: Splat, pixel: vec2u) -> vec2f {
    let d = vec2f(pixel) + 0.5 - splat.centre;
    return vec2f(dot(splat.along, d), dot(splat.across, d));
}

// A workgroup renders a tile, a thread four pixels of a column, which share the loads.
@compute @workgroup_size(TILE, TILE / 4)
fn render(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) tile: vec3u,
          @builtin(num_workgroups) tiles: vec3u) {
    let blocks = (arrayLength(&splats) + 1023) / 1024;
    let first = (tile.y * tiles.x + tile.x) * blocks;
    let pixel = TILE * tile.xy + local.xy * vec2u(1, 4);
    var rgb: array<vec3f, 4>;
    for (var block = 0u; block < blocks; block++) {
        for (var used = bins[first + block].used; used != 0; used &= used - 1) {
            let word = firstTrailingBit(used);
            for (var mask = bins[first + block].masks[word]; mask != 0; mask &= mask - 1) {
                let i = 1024 * block + 32 * word + firstTrailingBit(mask);
                let splat = splats[i];
                let own = colour(i);
                for (var k = 0u; k < 4; k++) {
                    let uv = offset(splat, pixel + vec2u(0, k));
                    let weight = exp(-0.5 * dot(uv, uv)) - EDGE;
                    rgb[k] += max(weight, 0.0) * own;
                }
            }
        }
    }
    for (var k = 0u; k < 4; k++) {
        if pixel.x < WIDTH && pixel.y + k < HEIGHT {
            let p = 3 * ((pixel.y + k) * WIDTH + pixel.x);
            picture[p] = rgb[k].r;
            picture[p + 1] = rgb[k].g;
            picture[p + 2] = rgb[k].b;
        }
    }
}

fn colour(i: u32) -> vec3f {
    return vec3f(colours[3 * i], colours[3 * i + 1], colours[3 * i + 2]);
}

const THREADS = 64u;
// Eight sums of each thread, and of all: ∂L/∂colour (three), and t times u, v, u², v², uv.
var<workgroup> sums: array<array<f32, 8>, THREADS>;
var<workgroup> totals: array<f32, 8>;

// A workgroup computes the gradient of a splat; its threads share the pixels of its box. With the loss L, the mean of r²
// over the residuals r = picture − goal, and t = ∂L/∂weight · exp(−q/2) = −2 ∂L/∂q of every pixel:
//   ∂L/∂centre = Σ t (u along + v across)
//   ∂L/∂(ln scale) = Σ t u², Σ t v²
//   ∂L/∂angle = (scale₁/scale₂ − scale₂/scale₁) Σ t u v
@compute @workgroup_size(THREADS)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let i = group.x;
    let splat = splats[i];
    let size = vec2f(f32(WIDTH), f32(HEIGHT));
    let low = vec2u(clamp(floor(splat.centre - splat.extent), vec2f(), size));
    let high = vec2u(clamp(ceil(splat.centre + splat.extent), vec2f(), size));
    let box = high - low;

    var by_colour = vec3f();
    var by_uv = vec2f();
    var by_uv2 = vec2f();
    var by_product = 0.0;
    let per_value = 2.0 / (3.0 * size.x * size.y);
    let slope = per_value * colour(i);
    for (var k = thread; k < box.x * box.y; k += THREADS) {
        let pixel = low + vec2u(k % box.x, k / box.x);
        let uv = offset(splat, pixel);
        let gauss = exp(-0.5 * dot(uv, uv));
        if gauss > EDGE {
            let p = 3 * (pixel.y * WIDTH + pixel.x);
            let shown = vec3f(picture[p], picture[p + 1], picture[p + 2]);
            let r = shown - vec3f(goal[p], goal[p + 1], goal[p + 2]);
            let t = dot(slope, r) * gauss;
            by_colour += per_value * (gauss - EDGE) * r;
            by_uv += t * uv;
            by_uv2 += t * uv * uv;
            by_product += t * uv.x * uv.y;
        }
    }
    sums[thread] = array(by_colour.r, by_colour.g, by_colour.b,
                         by_uv.x, by_uv.y, by_uv2.x, by_uv2.y, by_product);
    workgroupBarrier();

    // Eight threads sum one kind each.
    if thread < 8 {
        var total = 0.0;
        for (var k = 0u; k < THREADS; k++) {
            total += sums[k][thread];
        }
        totals[thread] = total;
    }
    workgroupBarrier();
    if thread == 0 {
        colour_grads[3 * i] = totals[0];
        colour_grads[3 * i + 1] = totals[1];
        colour_grads[3 * i + 2] = totals[2];
        position_grads[i] = totals[3] * splat.along + totals[4] * splat.across;
        let ratio = length(splat.across) / length(splat.along); // scale₁ / scale₂
        shape_grads[3 * i] = totals[5];
        shape_grads[3 * i + 1] = totals[6];
        shape_grads[3 * i + 2] = (ratio - 1 / ratio) * totals[7];
    }
}
