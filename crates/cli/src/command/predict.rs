//! `predict`: predictions of a trained model.

use super::data::{FILES, ReadArguments, report_reading};
use super::{Failure, output};
use clap::Args;
use serde::Serialize;
use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use wgpu_optim::regression::data::text::printable;
use wgpu_optim::regression::data::{FileData, FileOptions, Offset, Skipped, Targets, ZeroBased, open};
use wgpu_optim::regression::model_file::SavedModel;

/// Elements of X in memory at once.
const CHUNK: usize = 1 << 18;

const EXAMPLE: &str = "\
Example:
  wgpu-optim predict model.safetensors new.csv --out predictions.csv";

#[derive(Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{FILES}"))]
pub struct Arguments {
    /// Model file, as written by `fit --out`
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Data file, in any format of `fit`, or `-` for standard input. Features are matched by name, or by position if
    /// the file has no names
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Write the predictions to this CSV file [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write the probability of every class
    #[arg(long)]
    probabilities: bool,
    /// Column of offsets, for a model that was trained with offsets
    #[arg(long, value_name = "COLUMN", conflicts_with = "exposure")]
    offset: Option<String>,
    /// Column of exposures, whose logarithms are the offsets
    #[arg(long, value_name = "COLUMN")]
    exposure: Option<String>,
    #[command(flatten)]
    read: ReadArguments,
    /// Print a summary as JSON
    #[arg(long, requires = "out")]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    loss: &'static str,
    columns: Vec<String>,
    rows: u64,
    skipped: &'a Skipped,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(path) = &arguments.out {
        let inputs = [&arguments.model, &arguments.data].into_iter();
        let mut others = inputs.filter_map(|path| path.canonicalize().ok()).collect();
        output::check_file("--out", path, &mut others)?;
    }
    let saved = SavedModel::load(&arguments.model)?;
    let options = arguments.options(&saved)?;
    let mut columns = arguments.columns(&saved)?;
    let mut labels = saved.class_labels();
    if arguments.out.is_none() && std::io::stdout().is_terminal() {
        // Labels are escaped for a terminal only.
        for text in columns.iter_mut().chain(&mut labels) {
            *text = printable(text).into_owned();
        }
    }
    let data = open(&arguments.data, &options)?;
    let predictions = Predictions { saved: &saved, data: &data, columns: &columns, labels: &labels };
    match &arguments.out {
        Some(path) => output::AtomicFile::write(path, |to| predictions.write(to))?.name()?,
        None => print(&predictions)?,
    }
    report_reading(&data.name, &data.skipped, &data.about.notes);
    if arguments.json {
        let loss = saved.model.loss.name();
        output::json(&Report { loss, columns, rows: data.rows, skipped: &data.skipped })?;
    }
    Ok(())
}

impl Arguments {
    fn options(&self, saved: &SavedModel) -> Result<FileOptions, Failure> {
        let exposure = self.exposure.clone().map(Offset::Exposure);
        let offset = self.offset.clone().map(Offset::Column).or(exposure);
        let model = self.model.display();
        match (saved.model.offset, &offset) {
            (true, None) => {
                let why = "was trained with offsets: --offset or --exposure must name their column";
                return Err(Failure::Input(format!("{model}: {why}")));
            }
            (false, Some(_)) => {
                let why = "was trained without offsets: --offset and --exposure do not apply";
                return Err(Failure::Input(format!("{model}: {why}")));
            }
            _ => {}
        }
        let asked = self.read.options();
        // As in training: these rows may lack the index 0 that the training rows have.
        let svmlight =
            saved.columns.as_ref().and_then(|columns| Some((columns.width, columns.first_index?)));
        let zero_based = match (svmlight, asked.zero_based) {
            (Some((_, 0)), ZeroBased::Auto) => ZeroBased::Yes,
            (_, asked) => asked,
        };
        Ok(FileOptions {
            targets: Targets::None,
            select: Some(saved.names.clone()),
            trained: saved.columns.clone(),
            features: Some(svmlight.map_or(saved.model.features, |(width, _)| width)),
            zero_based,
            offset,
            ..asked
        })
    }

    /// The names of the output columns.
    fn columns(&self, saved: &SavedModel) -> Result<Vec<String>, Failure> {
        let mut columns = match saved.target_names.len() {
            1 => vec!["prediction".to_string()],
            _ => saved.target_names.iter().map(|name| format!("prediction_{name}")).collect(),
        };
        if self.probabilities && !saved.model.loss.has_probabilities() {
            let (model, loss) = (self.model.display(), saved.model.loss.name());
            return Err(Failure::Input(format!(
                "{model}: --probabilities requires a classifier with probabilities, and its loss is {loss}"
            )));
        }
        if self.probabilities {
            columns.extend(saved.class_labels().iter().map(|class| format!("probability_{class}")));
        }
        Ok(columns)
    }
}

struct Predictions<'a> {
    saved: &'a SavedModel,
    data: &'a FileData,
    columns: &'a [String],
    labels: &'a [String],
}

impl Predictions<'_> {
    fn write(&self, to: &mut dyn Write) -> std::io::Result<()> {
        let Predictions { saved, data, columns, labels } = self;
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(*columns).map_err(io_error)?;
        let (features, aux_columns) = (data.features(), data.aux_columns());
        let most = (CHUNK / features).max(1) as u64;
        let mut first = 0;
        while first < data.rows {
            let rows = most.min(data.rows - first) as usize;
            let (mut x, mut aux) = (vec![0.0; rows * features], vec![0.0; rows * aux_columns]);
            data.read(first, &mut x, &mut aux).map_err(std::io::Error::other)?;
            // The offset is the only auxiliary column.
            let scores = saved.scores(&x, data.offset.then_some(&aux));
            let number = |number: &f64| format!("{number:?}");
            match saved.most_probable_classes(&scores) {
                Some(classes) => {
                    let probabilities = saved.probabilities(&scores).unwrap_or_default();
                    let per_row = probabilities.len() / rows;
                    for (row, &class) in classes.iter().enumerate() {
                        let probabilities = &probabilities[row * per_row..][..per_row];
                        let cells =
                            [labels[class].clone()].into_iter().chain(probabilities.iter().map(number));
                        writer.write_record(cells.take(columns.len())).map_err(io_error)?;
                    }
                }
                None => {
                    for row in saved.means(&scores).chunks(saved.model.outputs) {
                        writer.write_record(row.iter().map(number)).map_err(io_error)?;
                    }
                }
            }
            first += rows as u64;
        }
        writer.flush()
    }
}

/// The I/O error inside a CSV error. The crate's own conversion loses its kind.
fn io_error(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

/// Writes predictions to standard output; a broken pipe is not an error.
fn print(predictions: &Predictions) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    match predictions.write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Input(format!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}
