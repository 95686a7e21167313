//! The batches of updates as the kernel reads them.

use super::super::descent::DescentOptions;
use super::super::row_source::RowSource;
use super::tables::BATCH_WORDS;
use crate::Error;
use crate::regression::Batch;

/// `struct Batch` in `shaders/gradient/epochs/epochs.wgsl` for the batches of every order in turn, `updates` each; then,
/// if batches are shuffled, the rows of all of them.
///
/// # Errors
/// [`Error::Shape`] for a batch or a number of batches without room; [`Error::Length`] for another number of batches in
/// an order.
pub fn words(
    options: &DescentOptions,
    rows: &RowSource,
    orders: &[&[Batch]],
    updates: usize,
) -> Result<Vec<u32>, Error> {
    let error = |what, value, range| Err(Error::Shape { what, value, range });
    if updates > options.max_batches as usize {
        return error("the number of batches", updates as u64, "no more than there is room for");
    }
    if let Some(other) = orders.iter().find(|order| order.len() != updates) {
        let (what, actual) = ("batches of an order".into(), other.len() as u64);
        return Err(Error::Length { what, actual, expected: updates as u64 });
    }
    let (of_loss, of_gradient) = options.model.loss.factors();
    let described = BATCH_WORDS * orders.len() * updates;
    let (mut words, mut listed) = (Vec::with_capacity(described), Vec::new());
    for batch in orders.iter().copied().flatten() {
        if batch.rows == 0 || batch.rows > options.max_batch {
            let range = "at least 1 and no more than there is room for";
            return error("the number of rows in a batch", batch.rows, range);
        }
        let end = batch.first.saturating_add(batch.rows);
        if end > rows.count() {
            return error("the end of a batch", end, "within the data");
        }
        rows.places(batch, options.shuffled)?;
        let over = if options.model.weighted { 1.0 } else { batch.rows as f64 };
        let first = if options.shuffled { described + listed.len() } else { batch.first as usize };
        let scale = |factor: f64| ((factor / over) as f32).to_bits();
        words.extend([first as u32, batch.rows as u32, scale(of_gradient), scale(of_loss)]);
        if options.shuffled {
            listed.extend((0..batch.rows).map(|i| batch.row(i) as u32));
        }
    }
    words.extend(listed);
    Ok(words)
}
