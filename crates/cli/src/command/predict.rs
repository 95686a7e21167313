//! `predict`: what a trained model makes of other rows.

use super::data::{FILES, ReadArguments, report_reading};
use super::{Failure, output};
use clap::Args;
use serde::Serialize;
use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use wgpu_optim::regression::data::text::printable;
use wgpu_optim::regression::data::{FileData, FileOptions, Offset, Skipped, Targets, ZeroBased, open};
use wgpu_optim::regression::model_file::SavedModel;

/// Numbers of X that are held at once.
const CHUNK: usize = 1 << 18;

#[derive(Args)]
#[command(after_long_help = FILES)]
pub struct Arguments {
    /// The trained model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The rows: a file as `fit` takes it, or `-` for standard input. Features go by their names where the file
    /// has names, and by the places that they had in training where it has none
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Where the predictions go, as CSV [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the probability of every class too
    #[arg(long)]
    probabilities: bool,
    /// The column with the offset, for a model that was trained with one
    #[arg(long, value_name = "COLUMN", conflicts_with = "exposure")]
    offset: Option<String>,
    /// The column whose logarithm is the offset
    #[arg(long, value_name = "COLUMN")]
    exposure: Option<String>,
    #[command(flatten)]
    read: ReadArguments,
    /// Print as JSON what was done
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
        // A file and a program get the labels as they are, and a terminal what it can show.
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
                let why = "was trained with an offset, whose column --offset or --exposure names";
                return Err(Failure::Input(format!("{model}: {why}")));
            }
            (false, Some(_)) => {
                let why = "was trained without an offset, and --offset or --exposure is given";
                return Err(Failure::Input(format!("{model}: {why}")));
            }
            _ => {}
        }
        let asked = self.read.options();
        // As in training: whether there is an index 0 in these rows says nothing of the others.
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

    /// What the columns of predictions are called.
    fn columns(&self, saved: &SavedModel) -> Result<Vec<String>, Failure> {
        let mut columns = match saved.target_names.len() {
            1 => vec!["prediction".to_string()],
            _ => saved.target_names.iter().map(|name| format!("prediction_{name}")).collect(),
        };
        let classes = saved.class_labels();
        if self.probabilities && classes.is_empty() {
            let (model, loss) = (self.model.display(), saved.model.loss.name());
            return Err(Failure::Input(format!(
                "{model}: --probabilities needs classes, and {loss} has none"
            )));
        }
        if self.probabilities {
            columns.extend(classes.iter().map(|class| format!("probability_{class}")));
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
        let (features, side) = (data.features(), data.side());
        let most = (CHUNK / features).max(1) as u64;
        let mut first = 0;
        while first < data.rows {
            let rows = most.min(data.rows - first) as usize;
            let (mut x, mut sides) = (vec![0.0; rows * features], vec![0.0; rows * side]);
            data.read(first, &mut x, &mut sides).map_err(std::io::Error::other)?;
            // Beside the features there is the offset, or nothing.
            let scores = saved.scores(&x, data.offset.then_some(&sides));
            let number = |number: &f64| format!("{number:?}");
            match (saved.likeliest(&scores), saved.probabilities(&scores)) {
                (Some(classes), Some(probabilities)) => {
                    let rows = classes.iter().zip(probabilities.chunks(probabilities.len() / rows));
                    for (&class, probabilities) in rows {
                        let cells =
                            [labels[class].clone()].into_iter().chain(probabilities.iter().map(number));
                        writer.write_record(cells.take(columns.len())).map_err(io_error)?;
                    }
                }
                _ => {
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

/// The error of what is written to, whose kind the crate's own conversion loses.
fn io_error(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

/// Writes to standard output, whose reader may have seen enough.
fn print(predictions: &Predictions) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    match predictions.write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Input(format!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}
