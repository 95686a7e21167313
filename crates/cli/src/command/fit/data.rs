//! The data of a fit in its report: what each column is, and what was left out.

use serde::Serialize;
use serde_json::{Value, json};
use wgpu_optim::regression::data::Note;
use wgpu_optim::regression::data::text::printable;
use wgpu_optim::regression::{Problem, Scaling};

/// More features than these are not listed in a table.
const MOST_NAMES: usize = 16;

/// The data, as JSON has them.
#[derive(Serialize)]
pub struct Data<'a> {
    name: &'a str,
    samples: u64,
    features: usize,
    /// Of several targets a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Value>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    feature_names: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_weight: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<&'a str>,
    /// Rows that were left out.
    skipped: u64,
    /// Notes about the file.
    #[serde(skip_serializing_if = "<[Note]>::is_empty")]
    notes: &'a [Note],
    /// Numbers, or words where labels are words.
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Value>,
    /// Weights are those of the scaled features.
    scaling: &'a Option<Scaling>,
}

impl<'a> Data<'a> {
    pub fn of(problem: &'a Problem) -> Self {
        let file = problem.file.as_deref();
        let classes = match (&problem.class_names, &problem.classes) {
            (Some(names), _) => Some(json!(names)),
            (None, classes) => classes.as_ref().map(|classes| json!(classes)),
        };
        Data {
            name: &problem.name,
            samples: problem.rows,
            features: problem.features,
            target: match &problem.target_names[..] {
                [] => None,
                [target] => Some(json!(target)),
                targets => Some(json!(targets)),
            },
            feature_names: &problem.names,
            sample_weight: file.and_then(|file| file.weight_name.as_deref()),
            offset: file.and_then(|file| file.offset_name.as_deref()),
            skipped: problem.skipped.count,
            notes: file.map_or(&[], |file| &file.notes),
            classes,
            scaling: &problem.scaling,
        }
    }
}

/// The columns of a file, and how many rows were left out, in a line.
pub fn columns(problem: &Problem) -> Option<String> {
    let file = problem.file.as_deref()?;
    let listed = |names: &[String]| {
        let names = names.iter().map(|name| printable(name));
        names.collect::<Vec<_>>().join(", ")
    };
    let mut parts = vec![format!("target {}", listed(&problem.target_names))];
    if problem.names.len() <= MOST_NAMES {
        parts.push(format!("features {}", listed(&problem.names)));
    }
    for (what, name) in [("weight", &file.weight_name), ("offset", &file.offset_name)] {
        parts.extend(name.as_ref().map(|name| format!("{what} {}", printable(name))));
    }
    if problem.skipped.count > 0 {
        parts.push(format!("{} rows left out", problem.skipped.count));
    }
    Some(parts.join("; "))
}
