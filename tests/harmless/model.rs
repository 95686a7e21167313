use super::memory::peak;
use super::{replaced, with_file};
use wgpu_optim::regression::model_file::{ModelFileError, SavedModel};

/// Loads these bytes as a model. Corrects a wrong checksum, so that later checks are reached.
pub fn check(bytes: &[u8]) -> Result<SavedModel, ModelFileError> {
    match load(bytes) {
        Err(ModelFileError::Checksum { found, computed, path }) => {
            if let Some(righted) = replaced(bytes, found.as_bytes(), computed.as_bytes()) {
                let _ = load(&righted);
            }
            Err(ModelFileError::Checksum { found, computed, path })
        }
        other => other,
    }
}

fn load(bytes: &[u8]) -> Result<SavedModel, ModelFileError> {
    with_file("model", bytes, |path| {
        let (loaded, peak) = peak(|| SavedModel::load(path));
        let limit = (1 << 18) + 64 * bytes.len();
        assert!(peak < limit, "{peak} bytes for {} of a file, {limit} allowed", bytes.len());
        match &loaded {
            Ok(model) => again(model),
            Err(error) => {
                let (text, name) = (error.to_string(), path.display().to_string());
                assert!(text.contains(&name), "no {name} in: {text}");
            }
        }
        loaded
    })
}

/// Checks that a loaded model can be saved, is the same when loaded again, and predicts.
fn again(model: &SavedModel) {
    with_file("again", b"", |path| {
        model.save(path).unwrap();
        assert_eq!(&SavedModel::load(path).unwrap(), model);
    });
    let offset = model.model.offset.then_some(&[0.0][..]);
    let scores = model.scores(&vec![1.0; model.model.features], offset);
    assert_eq!(scores.len(), model.model.outputs);
    model.means(&scores);
    let labels = model.labels(&scores);
    assert!(labels.is_none_or(|labels| model.class_values().contains(&labels[0])));
    model.probabilities(&scores);
}
