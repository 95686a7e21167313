//! The gradient of every loss, with every reduction and placement of rows: within the bounds of f32 sums, bit for
//! bit where every order gives the same bits, and reproducible.

use super::data::{Data, describe, made, models, models_of_outputs, way};
use super::{Check, Compared, Group, Rig, SuiteError};
use crate::cpu::Bounded;
use crate::gpu::ReadBack;
use crate::regression::kernels::{DeviceDataset, Gradient, GradientLayout, Reduction, RowSource};
use crate::{Batch, Error, Loss, Model, Span, Window};

pub const GROUP: Group = Group { name: "gradients", run: |rig, checks| Box::pin(run(rig, checks)) };

/// Rows of a data set, and of a wide one. The largest batch is a little smaller.
const ROWS: u64 = 300;
const FEW_ROWS: u64 = 140;
/// Rows of batches: one, tails, a workgroup and its neighbours, and numbers that are not powers of two.
const LENGTHS: [u64; 16] = [1, 2, 3, 4, 5, 8, 31, 32, 63, 64, 65, 127, 128, 129, 256, 257];
/// Batches per preparation.
const MAX_BATCHES: u32 = LENGTHS.len() as u32;
/// Rows of a chunk, and of batches within one.
const CHUNK: u64 = 100;
const IN_CHUNK: u64 = 50;

async fn run(rig: &Rig<'_>, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    for model in shapes(rig) {
        of_model(rig, model, checks).await?;
    }
    for (model, rows) in large(rig) {
        checks.extend(many_rows(rig, model, rows).await?);
    }
    Ok(())
}

/// Models of every loss with every reduction.
fn shapes(rig: &Rig) -> Vec<Model> {
    let mut all = models(6);
    // Where threads share a row: four of them, and all of a workgroup.
    all.extend([64, 1000].map(|features| Model::new(features, Loss::Mse)));
    all.extend(models_of_outputs(6, 4));
    // In two passes: more weights than are held at a time.
    let some = |model: &Model| !model.offset && (model.weighted || model.loss != Loss::Logistic);
    all.extend(models(4100).into_iter().filter(|model| rig.full() || some(model)));
    all.extend(models_of_outputs(64, 70).into_iter().filter(|model| rig.full() || !model.offset));
    if rig.full() {
        for features in [1, 3, 65, 257] {
            all.extend(models(features));
        }
        all.extend([4, 4096].map(|features| Model::new(features, Loss::Mse)));
        for (features, outputs) in [(1, 2), (65, 3), (5, 500), (1500, 9)] {
            all.extend(models_of_outputs(features, outputs));
        }
    }
    all.retain(|model| !rig.least() || model.loss == Loss::Mse);
    all
}

/// Exact data of which workgroups take several tiles, and batches several segments.
fn large(rig: &Rig) -> Vec<(Model, usize)> {
    let mse = |features| Model::new(features, Loss::Mse);
    let softer = |features| Model { outputs: 3, ..Model::new(features, Loss::SquaredError) };
    let mut all = vec![(mse(5), 150_001), (mse(250), 9_000), (softer(30), 20_001)];
    all.truncate(if rig.least() { 2 } else { all.len() });
    if rig.includes("segments") {
        // Three segments, and two of a power of two.
        all.push((Model { outputs: 16, ..mse(4) }, 3 * 65_536 - 1000));
    }
    if rig.full() {
        let weighted = Model { weighted: true, ..mse(1 << 16) };
        all.extend([(mse(1), 530_001), (mse(64), 40_000), (mse(1000), 3_001), (mse(4099), 1_100)]);
        // Five segments, and four of a power of two.
        all.push((Model { outputs: 16, ..mse(100) }, 171_000));
        // Several segments; and columns past one dimension of a grid.
        all.extend([(weighted, 600), (mse(GradientLayout::MAX_FEATURES as usize), 33)]);
    }
    all
}

/// A gradient over rows that are on the device.
struct Subject<'a> {
    rig: &'a Rig<'a>,
    shape: GradientLayout,
    gradient: Gradient,
    params: Span,
    grads: Span,
    poison: Span,
}

/// The results of one batch on the device.
struct Found {
    /// Padded as by [`GradientLayout::pad`].
    grads: Vec<f32>,
    loss: f32,
}

impl<'a> Subject<'a> {
    fn new(
        rig: &'a Rig,
        data: &Data,
        rows: impl Into<RowSource>,
        (max_batch, max_batches): (u64, u32),
    ) -> Result<Self, Error> {
        let shape = GradientLayout::new(&data.model)?;
        let params = rig.span(&shape.pad(&data.params));
        let [grads, poison] = [(); 2].map(|()| rig.poisoned(shape.padded_len() as usize));
        let device = &rig.gpu.device;
        let spans = (&params, &grads);
        let gradient = Gradient::new(device, rows, &data.model, spans, (max_batch, max_batches), true)?;
        Ok(Subject { rig, shape, gradient, params, grads, poison })
    }

    /// The gradient of each batch, all in one submission, each over poison.
    async fn run(&mut self, batches: &[Batch]) -> Result<Vec<Found>, Error> {
        let gpu = self.rig.gpu;
        self.gradient.prepare(&gpu.queue, batches)?;
        let (count, width) = (batches.len(), self.grads.len as usize);
        let mut staging = ReadBack::new(&gpu.device, (count * (width + 1) * 4) as u64)?;
        self.rig
            .submit(|encoder| {
                for i in 0..count {
                    let (from, to) = (&self.poison, &self.grads);
                    let bytes = Some(to.len * 4);
                    encoder.copy_buffer_to_buffer(
                        &from.buffer,
                        from.offset,
                        &to.buffer,
                        to.offset,
                        bytes,
                    );
                    self.gradient.record(&mut encoder.begin_compute_pass(&Default::default()), i);
                    staging.copy(encoder, &self.grads)?;
                }
                staging.copy(encoder, &Span::new(self.gradient.losses(), 0, count as u64))
            })
            .await?;
        let all: Vec<f32> = gpu.wait(staging.read()).await?;
        let (grads, losses) = all.split_at(count * width);
        let found = |(grads, &loss): (&[f32], &f32)| Found { grads: grads.to_vec(), loss };
        Ok(grads.chunks(width).zip(losses).map(found).collect())
    }

    /// Compares batches with their definition; the padding of the gradient must be zero.
    async fn within_bounds(
        &mut self,
        data: &Data,
        batches: &[Batch],
    ) -> Result<Vec<Compared<Bounded>>, Error> {
        let mut compared = Vec::new();
        for (batch, found) in batches.iter().zip(self.run(batches).await?) {
            let bounds = data.bounds(*batch, self.gradient.depths(*batch));
            compared.extend(self.compared(*batch, found, bounds));
        }
        Ok(compared)
    }

    fn compared(
        &self,
        batch: Batch,
        found: Found,
        (grads, loss): (Vec<Bounded>, Bounded),
    ) -> [Compared<Bounded>; 2] {
        let what = |what: &str| format!("{what} of {} rows from {}", batch.rows, batch.first);
        let expected = self.shape.pad(&grads);
        [
            Compared { what: what("gradient"), actual: found.grads, expected },
            Compared { what: what("loss"), actual: vec![found.loss], expected: vec![loss] },
        ]
    }

    /// Replaces rows and parameters.
    fn load(&self, data: &Data, samples: &DeviceDataset) -> Result<(), Error> {
        self.rig.write(&self.params, &self.shape.pad(&data.params));
        samples.write(&self.rig.gpu.queue, &data.x, &data.aux)
    }
}

/// All checks of one model.
async fn of_model(rig: &Rig<'_>, model: Model, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    let shape = GradientLayout::new(&model)?;
    let kernel = format!("gradient/{} {}", model.loss.name(), way(&shape));
    let name = describe(&model);
    let case = |what: &str| format!("{name}: {what}");
    let mut random = rig.random(&format!("{kernel}, {name}"));
    let rows = if shape.sums == Reduction::TwoPasses { FEW_ROWS } else { ROWS };
    let (most, room) = (rows - 8, (rows - 8, MAX_BATCHES));
    let data = Data::random(model, rows as usize, &mut random);
    let samples = data.samples(rig, most, None)?;
    let mut subject = Subject::new(rig, &data, &samples, room)?;

    let window = Some(Window { first: 20, rows: rows as u32 - 30, key: [random.word(), random.word()] });
    let shuffled = [Batch { first: 20, rows: 64, window }, Batch { first: 85, rows: rows - 95, window }];
    let plain = [Batch::new(0, most), Batch::new(5, 33)];
    let compared = subject.within_bounds(&data, &plain).await?;
    checks.push(Check::derived(&kernel, &case("random"), &compared));
    let compared = subject.within_bounds(&data, &shuffled).await?;
    checks.push(Check::derived(&kernel, &case("random, shuffled"), &compared));
    let at_once = subject.run(&[plain[0], shuffled[1], plain[0]]).await?;
    let later = subject.run(&[plain[1], plain[0]]).await?;
    let slot = same("in another slot", &at_once[2], &at_once[0]);
    let alike = [slot, same("run again", &later[1], &at_once[0])].concat();
    checks.push(Check::exact(&kernel, &case("random, twice"), &alike));

    let batch = |first| Batch::new(first, IN_CHUNK.min(rows - first));
    let epoch: Vec<Batch> = (0..rows).step_by(IN_CHUNK as usize).map(batch).collect();
    let whole = subject.run(&epoch).await?;
    let cut = data.samples(rig, IN_CHUNK, Some(CHUNK))?;
    let mut chunked = Subject::new(rig, &data, &cut, room)?;
    let alike = all_same(&epoch, &chunked.run(&epoch).await?, &whole);
    checks.push(Check::exact(&kernel, &case("random, in chunks as in one"), &alike));
    let across = [Batch::new(0, most), Batch::new(95, 41)];
    let compared = chunked.within_bounds(&data, &across).await?;
    checks.push(Check::derived(&kernel, &case("random, across chunks"), &compared));

    let wide = Data::wide(model, rows as usize, &mut random);
    subject.load(&wide, &samples)?;
    let compared = subject.within_bounds(&wide, &[plain[0], shuffled[0]]).await?;
    checks.push(Check::derived(&kernel, &case("wide magnitudes"), &compared));

    let mut all = batches(rows, most);
    if let Some(small) = Data::exact(model, rows as usize, &mut random) {
        chunked.load(&small, &cut)?;
        let across = case("integers, across chunks");
        checks.extend(exactly(&mut chunked, &small, &all, &kernel, &across).await?);
        let power = 1 << most.ilog2();
        let window = Some(Window { first: 7, rows: power, key: [random.word(), random.word()] });
        all[0] = Batch { first: 7, rows: power.into(), window };
        subject.load(&small, &samples)?;
        checks.extend(exactly(&mut subject, &small, &all, &kernel, &case("integers")).await?);
    } else {
        subject.load(&data, &samples)?;
        let compared = subject.within_bounds(&data, &all).await?;
        checks.push(Check::derived(&kernel, &case("random, batches of every size"), &compared));
    }
    if let Some(problem) = made(&model, random.word().into()) {
        let data = Data::synthetic(model, &problem, rows as usize, &mut random);
        subject.load(&data, &samples)?;
        let unstored = RowSource::unstored(&rig.gpu.device, shape, &problem, rows)?;
        let mut unstored = Subject::new(rig, &data, unstored, room)?;
        let all = [plain, shuffled].concat();
        let alike = all_same(&all, &unstored.run(&all).await?, &subject.run(&all).await?);
        checks.push(Check::exact(&kernel, &case("rows made as stored"), &alike));
        let compared = unstored.within_bounds(&data, &all).await?;
        checks.push(Check::derived(&kernel, &case("rows made"), &compared));
    }
    Ok(())
}

/// The bits of two gradients and losses.
fn same(what: &str, actual: &Found, expected: &Found) -> Vec<Compared<f32>> {
    let of = |part: &str, actual: &[f32], expected: &[f32]| Compared {
        what: format!("{part}, {what}"),
        actual: actual.to_vec(),
        expected: expected.to_vec(),
    };
    vec![of("gradient", &actual.grads, &expected.grads), of("loss", &[actual.loss], &[expected.loss])]
}

fn all_same(batches: &[Batch], actual: &[Found], expected: &[Found]) -> Vec<Compared<f32>> {
    let what = |batch: &Batch| format!("{} rows from {}", batch.rows, batch.first);
    let pairs = batches.iter().zip(actual.iter().zip(expected));
    pairs.flat_map(|(batch, (actual, expected))| same(&what(batch), actual, expected)).collect()
}

/// Batches of all lengths up to `most`, at starts all over the data.
fn batches(rows: u64, most: u64) -> Vec<Batch> {
    let start = |(i, length): (u64, u64)| Batch::new(i * 37 % (rows - length + 1), length);
    (0..).zip(LENGTHS.into_iter().filter(|length| *length <= most)).map(start).collect()
}

/// Exact data: bit for bit where nothing is rounded, else within the rounding of the scaled sum.
async fn exactly(
    subject: &mut Subject<'_>,
    data: &Data,
    all: &[Batch],
    kernel: &str,
    case: &str,
) -> Result<Vec<Check>, Error> {
    let (mut bits, mut rounded) = (Vec::new(), Vec::new());
    for (batch, found) in all.iter().zip(subject.run(all).await?) {
        let compared = subject.compared(*batch, found, data.scaled(*batch));
        if data.model.weighted || !batch.rows.is_power_of_two() {
            rounded.extend(compared);
            continue;
        }
        // −0 and 0 count as equal.
        bits.extend(compared.map(|Compared { what, actual, expected }| Compared {
            what,
            actual: actual.iter().map(|x| x + 0.0).collect(),
            expected: expected.iter().map(|x| x.value as f32 + 0.0).collect(),
        }));
    }
    let mut checks = Vec::new();
    if !bits.is_empty() {
        checks.push(Check::exact(kernel, &format!("{case}, powers of two"), &bits));
    }
    checks.push(Check::derived(kernel, case, &rounded));
    Ok(checks)
}

/// Exact data of many rows.
async fn many_rows(rig: &Rig<'_>, model: Model, rows: usize) -> Result<Vec<Check>, SuiteError> {
    let shape = GradientLayout::new(&model)?;
    let kernel = format!("gradient/{} {}", model.loss.name(), way(&shape));
    let case = format!("{}: integers, {rows} rows", describe(&model));
    let mut random = rig.random(&format!("{kernel}, {case}"));
    let Some(data) = Data::exact(model, rows, &mut random) else { return Ok(Vec::new()) };
    let samples = data.samples(rig, data.rows(), None)?;
    let mut subject = Subject::new(rig, &data, &samples, (data.rows(), 2))?;
    let power = 1 << data.rows().ilog2();
    let all = [Batch::new(0, data.rows()), Batch::new(data.rows() - power, power)];
    Ok(exactly(&mut subject, &data, &all, &kernel, &case).await?)
}
