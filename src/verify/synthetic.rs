//! Synthetic rows that are generated on the device: bit for bit those of the processor.

use super::{Check, Compared, Group, Rig, SuiteError};
use crate::regression::kernels::{
    Chunk, Descent, DescentOptions, DeviceDataset, Gradient, GradientLayout, RowSource, SyntheticRows,
};
use crate::regression::reference::synthetic::{Options, Response, Synthetic};
use crate::{Adam, Batch, Error, Loss, Model, Penalty, Span, Window};

pub const GROUP: Group = Group { name: "synthetic", run: |rig, checks| Box::pin(run(rig, checks)) };

/// Rows whose numbers take one word, two, and one and then two.
const FIRST_ROWS: [u64; 3] = [0, (1 << 32) - 50, 1 << 40];
const ROWS: u32 = 101;

async fn run(rig: &Rig<'_>, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    let widths: &[u32] = match (rig.full(), rig.least()) {
        (true, _) => &[1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 64, 65, 257],
        (_, true) => &[5],
        _ => &[1, 5, 64],
    };
    for (i, &features) in widths.iter().enumerate() {
        for (k, (name, problem)) in problems(features, rig).into_iter().enumerate() {
            // One after the other, because compiling takes most of the time.
            let first = FIRST_ROWS[(i + k) % FIRST_ROWS.len()];
            checks.push(rows(rig, &name, &problem, first, ROWS).await?);
        }
    }
    if !rig.least() {
        checks.push(chunks(rig).await?);
        checks.push(virtual_targets(rig).await?);
        checks.push(descent(rig).await?);
    }
    if rig.full() {
        for (features, outputs, rows_of) in [(5000, 1, 9), (1 << 20, 1, 2), (3, 4096, 21), (2048, 70, 3)]
        {
            for response in [Response::Linear, Response::Categorical] {
                let outputs = if response == Response::Categorical { outputs.max(3) } else { outputs };
                let (seed, condition) = (rig.seed, 100.0);
                let options =
                    Options { features, outputs, response, seed, condition, ..Options::default() };
                let problem = Synthetic::with_options(&options)?;
                let name = format!("{}, {features} features, {outputs} outputs", response.name());
                checks.push(rows(rig, &name, &problem, 7, rows_of).await?);
            }
        }
    }
    Ok(())
}

/// Problems of each response, with each option that it can have.
fn problems(features: u32, rig: &Rig) -> Vec<(String, Synthetic)> {
    let mut random = rig.random(&format!("synthetic, {features} features"));
    let condition = if features == 1 { 1.0 } else { 30.0 };
    let base = Options { features, ..Options::default() };
    let of = |response| Options { response, ..base };
    let classes = |outputs| Options { outputs, ..of(Response::Categorical) };
    let mixed = Options { condition, sparsity: 0.3, ..base };
    let all = [
        ("", base),
        (", noise", Options { noise: 0.5, ..base }),
        (", the least noise", Options { noise: Synthetic::NOISE_UNIT, ..mixed }),
        (", the most noise", Options { noise: Synthetic::MAX_NOISE, ..mixed }),
        (", outliers, condition, sparsity", Options { noise: 0.5, outliers: 0.2, ..mixed }),
        (", 3 outputs, outliers", Options { outputs: 3, noise: 0.5, outliers: 0.2, ..base }),
        ("", of(Response::Bernoulli)),
        (", balance, condition", Options { balance: Some(0.2), condition, ..of(Response::Bernoulli) }),
        ("", of(Response::Poisson)),
        (", condition, sparsity", Options { response: Response::Poisson, ..mixed }),
        (", 2 classes", classes(2)),
        (", 9 classes, condition", Options { condition, ..classes(9) }),
    ];
    let problem = |(what, options): (&str, Options)| {
        let seed = u64::from(random.word()) << 32 | u64::from(random.word());
        let problem = Synthetic::with_options(&Options { seed, ..options }).ok()?;
        Some((format!("{}, {features} features{what}", options.response.name()), problem))
    };
    all.into_iter().filter_map(problem).collect()
}

fn shape(problem: &Synthetic) -> Result<GradientLayout, Error> {
    GradientLayout::new(&Model::new(problem.features() as usize, Loss::Mse))
}

/// One chunk of rows that starts at any row.
async fn rows(
    rig: &Rig<'_>,
    name: &str,
    problem: &Synthetic,
    first_row: u64,
    rows: u32,
) -> Result<Check, Error> {
    let x = rig.poisoned((shape(problem)?.x_bytes(rows.into()) / 4) as usize);
    let aux = rig.poisoned((rows * problem.targets()) as usize);
    let chunk = Chunk { x: x.buffer, aux: aux.buffer, first_row, rows };
    let made = SyntheticRows::of_chunks(&rig.gpu.device, std::slice::from_ref(&chunk), problem)?;
    rig.run(|pass| (0..made.parts()).for_each(|part| made.record(pass, part))).await?;
    let case = format!("{name}: {rows} rows from {first_row}");
    Ok(Check::exact("synthetic rows", &case, &compared(rig, problem, &chunk).await?))
}

/// Compares a chunk with the processor's rows.
async fn compared(
    rig: &Rig<'_>,
    problem: &Synthetic,
    chunk: &Chunk,
) -> Result<Vec<Compared<f32>>, Error> {
    let (features, width) = (problem.features() as usize, problem.targets() as usize);
    let stride = shape(problem)?.stride as usize;
    let rows = chunk.rows as usize;
    let (mut x, mut aux) = (vec![0.0; rows * stride], vec![0.0; rows * width]);
    let truth = problem.truth();
    for (row, (x, aux)) in (chunk.first_row..).zip(x.chunks_mut(stride).zip(aux.chunks_mut(width))) {
        problem.fill_row(&truth, row, &mut x[..features], aux);
    }
    let mut found = rig.read(&[&Span::whole(&chunk.x), &Span::whole(&chunk.aux)]).await?;
    let (actual_aux, mut actual_x) = (found.pop().unwrap_or_default(), found.pop().unwrap_or_default());
    // The padding of the last vec4 is unspecified.
    actual_x.truncate(x.len());
    let of = |what: &str, actual, expected| Compared { what: what.into(), actual, expected };
    Ok(vec![of("x", actual_x, x), of("targets", actual_aux, aux)])
}

/// Chunks continue where the last one ended.
async fn chunks(rig: &Rig<'_>) -> Result<Check, Error> {
    let problem = Synthetic::new(6, 0.5, rig.seed);
    let shape = shape(&problem)?;
    let device = &rig.gpu.device;
    let samples = DeviceDataset::with_max_buffer(device, shape, 100, 1, shape.x_bytes(7))?;
    let made = SyntheticRows::new(device, &samples, &problem)?;
    rig.run(|pass| (0..made.parts()).for_each(|part| made.record(pass, part))).await?;
    let mut all = Vec::new();
    for chunk in samples.chunks() {
        all.extend(compared(rig, &problem, chunk).await?);
    }
    Ok(Check::exact("synthetic rows", "chunks of 7 rows", &all))
}

/// The gradient of rows that are generated in the kernel equals that of stored rows.
async fn virtual_targets(rig: &Rig<'_>) -> Result<Check, Error> {
    let (rows, from) = ((1u64 << 32) + 60, (1u64 << 32) - 70);
    let model = Model::new(6, Loss::Mse);
    let shape = GradientLayout::new(&model)?;
    let problem = Synthetic::new(6, 0.5, rig.seed);
    let device = &rig.gpu.device;
    let mut random = rig.random("virtual rows");
    let params = rig.span(&shape.pad(&random.units(model.params())));
    let key = [random.word(), random.word()];
    let gradient = async |rows: RowSource, first: u64| -> Result<Vec<Vec<f32>>, Error> {
        let grads = rig.poisoned(shape.padded_len() as usize);
        let mut gradient = Gradient::new(device, rows, &model, (&params, &grads), (130, 2), true)?;
        let window = Some(Window { first, rows: 130, key });
        let batches = [Batch::new(first, 130), Batch { first: first + 3, rows: 100, window }];
        gradient.prepare(&rig.gpu.queue, &batches)?;
        let mut all = Vec::new();
        for index in 0..batches.len() {
            rig.run(|pass| gradient.record(pass, index)).await?;
            all.extend(rig.read(&[&grads]).await?);
        }
        all.extend(rig.read(&[&Span::new(gradient.losses(), 0, 2)]).await?);
        Ok(all)
    };
    let mut x = vec![0.0; 130 * 6];
    let mut aux = vec![0.0; 130];
    let truth = problem.truth();
    let made = (from..).zip(x.chunks_mut(6).zip(aux.chunks_mut(1)));
    made.for_each(|(row, (x, aux))| problem.fill_row(&truth, row, x, aux));
    let samples = DeviceDataset::new(device, shape, 130, 130)?;
    samples.write(&rig.gpu.queue, &x, &aux)?;
    let stored = gradient(RowSource::from(&samples), 0).await?;
    let unstored = gradient(RowSource::unstored(device, shape, &problem, rows)?, from).await?;
    let names = ["gradient", "gradient of a shuffled batch", "losses"];
    let pairs = names.iter().zip(unstored.into_iter().zip(stored));
    let all: Vec<_> = pairs
        .map(|(what, (actual, expected))| Compared { what: (*what).into(), actual, expected })
        .collect();
    Ok(Check::exact("virtual rows", "across row 2^32", &all))
}

/// Training on rows that are generated in the kernel equals training on stored rows.
async fn descent(rig: &Rig<'_>) -> Result<Check, Error> {
    let model = Model { outputs: 3, ..Model::new(9, Loss::Softmax { classes: 3 }) };
    let shape = GradientLayout::new(&model)?;
    let response = Response::Categorical;
    let options = Options { features: 9, outputs: 3, response, seed: rig.seed, ..Options::default() };
    let problem = Synthetic::with_options(&options)?;
    let device = &rig.gpu.device;
    let train = async |rows: RowSource| -> Result<Vec<f32>, Error> {
        let params = rig.span(&vec![0.0; shape.padded_len() as usize]);
        let options = DescentOptions {
            model,
            rule: Adam { lr: 0.05, ..Adam::default() }.into(),
            penalty: Penalty::default(),
            average: None,
            max_batch: 64,
            max_batches: 20,
            shuffled: false,
        };
        let mut descent = Descent::new(device, rows, &params, options)?;
        let batches: Vec<Batch> = (0..20).map(|i| Batch::new(i * 61, 64)).collect();
        descent.prepare(&rig.gpu.queue, &batches, &[0.05; 20])?;
        rig.run(|pass| (0..20).for_each(|update| descent.record(pass, update))).await?;
        Ok(rig.read(&[&params]).await?.concat())
    };
    let samples = DeviceDataset::new(device, shape, 1300, 64)?;
    let made = SyntheticRows::new(device, &samples, &problem)?;
    rig.run(|pass| (0..made.parts()).for_each(|part| made.record(pass, part))).await?;
    let expected = train(RowSource::from(&samples)).await?;
    let actual = train(RowSource::unstored(device, shape, &problem, 1300)?).await?;
    let params = Compared { what: "params".into(), actual, expected };
    Ok(Check::exact("virtual rows", "20 updates of a softmax", &[params]))
}
