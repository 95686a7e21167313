//! [`gradient::add_block`] in f32 with explicit SIMD and the same operations. Compilers vectorize the plain loops with
//! gathers across rows, at a quarter of the speed.

use super::gradient::{self, AuxRow, GROUP, LANES, Rows};
use super::loss;
use crate::Model;
use crate::cpu::prefetch::prefetch;
use pulp::{Simd, WithSimd};

/// Prefetch distance in elements.
const AHEAD: usize = 2048;

/// Adds the sums of a block to `sums`.
pub struct AddBlock<'a> {
    pub model: &'a Model,
    pub rows: Rows<'a, f32>,
    pub params: &'a [f32],
    pub sums: &'a mut [f32],
}

impl WithSimd for AddBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // A dot product has sixteen lanes for every register width.
        match S::F32_LANES {
            16 => self.add::<S, 1>(simd),
            8 => self.add::<S, 2>(simd),
            4 => self.add::<S, 4>(simd),
            _ => gradient::add_block(self.model, self.rows, self.params, self.sums),
        }
    }
}

impl AddBlock<'_> {
    /// Adds the block, with the lanes of a dot product in `N` registers.
    #[inline(always)]
    fn add<S: Simd, const N: usize>(self, simd: S) {
        // Local copies, because the compiler would reload values that a store through `sums` might change.
        let (model, rows) = (&{ *self.model }, &{ self.rows });
        let features = model.features;
        let (weights, intercepts) = self.params.split_at(model.weights());
        let (columns, totals) = self.sums.split_at_mut(model.weights());
        let row = |i: usize| &rows.x[i * features..][..features];
        let len = rows.len(model);
        if model.outputs > 1 {
            let mut z = vec![0.0; model.outputs];
            for i in 0..len {
                let x = row(i);
                for (k, z) in z.iter_mut().enumerate() {
                    *z = dot::<S, N>(simd, x, &weights[k * features..][..features]);
                }
                z.iter_mut().zip(intercepts).for_each(|(z, &b)| *z += b);
                AuxRow::of(model, rows, i).all(model, &mut z, totals);
                for (k, &z) in z.iter().enumerate() {
                    add_rows::<S, 1>(simd, [x], [z], &mut columns[k * features..][..features]);
                }
            }
            return;
        }
        let intercept = intercepts.first().copied().unwrap_or(0.0);
        // In registers, instead of a store after every row.
        let mut sums = [0.0; 3];
        let plain = !model.weighted && !model.offset;
        let whole = len / GROUP * GROUP;
        for first in (0..whole).step_by(GROUP) {
            // Loops instead of closures: a closure that is not inlined is compiled without SIMD.
            let (mut x, mut z) = ([&[][..]; GROUP], [0.0; GROUP]);
            for k in 0..GROUP {
                x[k] = row(first + k);
                z[k] = dot::<S, N>(simd, x[k], weights) + intercept;
            }
            if plain {
                let points = loss::points(&model.loss, z, &rows.aux[first..first + GROUP]);
                for (z, point) in z.iter_mut().zip(points) {
                    sums[0] += point.gradient;
                    sums[1] += point.loss;
                    *z = point.gradient;
                }
            } else {
                for (k, z) in z.iter_mut().enumerate() {
                    *z = AuxRow::of(model, rows, first + k).one(&model.loss, *z, &mut sums);
                }
            }
            add_rows::<S, GROUP>(simd, x, z, columns);
        }
        for i in whole..len {
            let z = dot::<S, N>(simd, row(i), weights) + intercept;
            let z = AuxRow::of(model, rows, i).one(&model.loss, z, &mut sums);
            add_rows::<S, 1>(simd, [row(i)], [z], columns);
        }
        totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
}

/// Adds K rows, each times its factor, to the columns.
#[inline(always)]
fn add_rows<S: Simd, const K: usize>(simd: S, x: [&[f32]; K], factors: [f32; K], columns: &mut [f32]) {
    let features = columns.len();
    let (columns, rest) = S::as_mut_simd_f32s(columns);
    let first_of_rest = features - rest.len();
    let spread = factors.map(|factor| simd.splat_f32s(factor));
    let registers: [&[S::f32s]; K] = x.map(|x| &S::as_simd_f32s(x).0[..columns.len()]);
    for (c, column) in columns.iter_mut().enumerate() {
        let mut sum = *column;
        for k in 0..K {
            sum = simd.add_f32s(sum, simd.mul_f32s(registers[k][c], spread[k]));
        }
        *column = sum;
    }
    if !rest.is_empty() {
        let mut sum = simd.partial_load_f32s(rest);
        for k in 0..K {
            let x = simd.partial_load_f32s(&x[k][first_of_rest..]);
            sum = simd.add_f32s(sum, simd.mul_f32s(x, spread[k]));
        }
        simd.partial_store_f32s(rest, sum);
    }
}

#[inline(always)]
fn dot<S: Simd, const N: usize>(simd: S, x: &[f32], w: &[f32]) -> f32 {
    let whole = x.len() / LANES * LANES;
    let ((x, x_rest), (w, w_rest)) = (x.split_at(whole), w.split_at(whole));
    let (x, _) = S::as_simd_f32s(x).0.as_chunks::<N>();
    let (w, _) = S::as_simd_f32s(w).0.as_chunks::<N>();
    let mut sums = [simd.splat_f32s(0.0); N];
    for (x, w) in x.iter().zip(w) {
        // Cache line by cache line between the products: prefetching a whole row at once would delay its own loads.
        prefetch(x, AHEAD / S::F32_LANES);
        for n in 0..N {
            sums[n] = simd.add_f32s(sums[n], simd.mul_f32s(x[n], w[n]));
        }
    }
    if !x_rest.is_empty() {
        prefetch(x_rest, AHEAD);
    }
    // Incomplete registers are padded with zeros.
    let rest = x_rest.chunks(S::F32_LANES).zip(w_rest.chunks(S::F32_LANES));
    for (sum, (x, w)) in sums.iter_mut().zip(rest) {
        let (x, w) = (simd.partial_load_f32s(x), simd.partial_load_f32s(w));
        *sum = simd.add_f32s(*sum, simd.mul_f32s(x, w));
    }
    // The same tree: adds the upper half to the lower half, within registers.
    let mut width = N / 2;
    while width > 0 {
        for n in 0..width {
            sums[n] = simd.add_f32s(sums[n], sums[n + width]);
        }
        width /= 2;
    }
    simd.reduce_sum_f32s(sums[0])
}
