//! Model files: round trips and errors.

use crate::{damage, harmless};

use damage::{damage, damaged};
use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::path::PathBuf;
use tempfile::TempDir;
use wgpu_optim::regression::Scaling;
use wgpu_optim::regression::model_file::{ModelFileError, Precision, SavedModel};
use wgpu_optim::{Loss, Model};

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}{i}")).collect()
}

/// A model with these weights and intercepts.
fn saved(loss: Loss, features: usize, outputs: usize, coef: &[f64], intercept: &[f64]) -> SavedModel {
    let intercepts = !intercept.is_empty();
    let model = Model { outputs, intercept: intercepts, ..Model::new(features, loss) };
    SavedModel {
        model,
        coef: coef.to_vec(),
        intercept: intercept.to_vec(),
        precision: Precision::Double,
        names: names("x", features),
        target_names: names("y", model.targets()),
        classes: None,
        class_names: None,
        columns: None,
        scaling: None,
        training: [("optimizer".to_string(), "adam".to_string())].into(),
    }
}

fn softmax() -> SavedModel {
    SavedModel {
        classes: Some(vec![-1.0, 0.5, 7.0]),
        scaling: Some(Scaling { mean: vec![1.0, -2.0], scale: vec![0.5, 3.0] }),
        ..saved(
            Loss::Softmax { classes: 3 },
            2,
            3,
            &[1.0, 0.0, 0.0, 1.0, -1.0, -1.0],
            &[0.0, 0.25, -0.1],
        )
    }
}

fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    (folder, path)
}

/// Saves and loads.
fn again(saved: &SavedModel) -> SavedModel {
    let (folder, path) = place();
    saved.save(&path).unwrap();
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    SavedModel::load(&path).unwrap()
}

fn bytes(saved: &SavedModel) -> Vec<u8> {
    let (_folder, path) = place();
    saved.save(&path).unwrap();
    std::fs::read(path).unwrap()
}

/// The result of loading these bytes.
fn loaded(bytes: &[u8]) -> Result<SavedModel, ModelFileError> {
    let (_folder, path) = place();
    std::fs::write(&path, bytes).unwrap();
    SavedModel::load(&path)
}

#[test]
fn every_kind_of_model_survives() {
    for loss in [
        Loss::Mse,
        Loss::SquaredError,
        Loss::Huber { epsilon: 0.1 + 0.2 },
        Loss::Quantile { quantile: 1.0 / 3.0 },
        Loss::Logistic,
        Loss::SquaredHinge,
        Loss::Poisson,
    ] {
        for intercept in [&[][..], &[-0.0]] {
            let mut model = saved(loss, 2, 1, &[1e-300, -3.5], intercept);
            (model.model.weighted, model.model.offset) = (true, true);
            assert_eq!(again(&model), model);
        }
    }
    let several = saved(Loss::Mse, 1, 3, &[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]);
    assert_eq!(again(&several), several);
    assert_eq!(again(&softmax()), softmax());
    assert_eq!(bytes(&softmax()), bytes(&softmax()));
}

#[test]
fn other_programs_can_read_it() {
    let bytes = bytes(&SavedModel { precision: Precision::Single, ..softmax() });
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let coef = file.tensor("coef").unwrap();
    assert_eq!((coef.dtype(), coef.shape()), (Dtype::F32, &[3, 2][..]));
    assert_eq!(file.tensor("intercept").unwrap().shape(), [3]);
    assert_eq!(file.tensor("mean").unwrap().dtype(), Dtype::F64);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    assert_eq!(metadata["wgpu_optim_model"], "1");
    let model: serde_json::Value = serde_json::from_str(&metadata["model"]).unwrap();
    assert_eq!((&model["loss"]["name"], &model["loss"]["classes"]), (&"softmax".into(), &3.into()));
}

#[test]
fn what_is_no_model_is_not_saved() {
    let (folder, path) = place();
    let good = softmax();
    let scaled = |mean: &[f64], scale: &[f64]| SavedModel {
        scaling: Some(Scaling { mean: mean.to_vec(), scale: scale.to_vec() }),
        ..good.clone()
    };
    let with = |coef: f64| SavedModel { coef: vec![coef; 6], ..good.clone() };
    for (bad, part) in [
        (SavedModel { coef: vec![0.0; 5], ..good.clone() }, "coef: there are 5, but the model has 6"),
        (
            SavedModel { intercept: vec![], ..good.clone() },
            "intercept: there are 0, but the model has 3",
        ),
        (SavedModel { names: names("x", 3), ..good.clone() }, "names: there are 3"),
        (SavedModel { target_names: vec![], ..good.clone() }, "target_names: there are 0"),
        (SavedModel { classes: Some(vec![0.0; 2]), ..good.clone() }, "classes: there are 2"),
        (
            SavedModel { classes: Some(vec![0.0, 1.0, -0.0]), ..good.clone() },
            "different classes: there are 2",
        ),
        (scaled(&[0.0], &[1.0, 1.0]), "mean: there are 1"),
        (scaled(&[0.0, 0.0], &[1.0, 0.0]), "scale: element 1 is 0.0, but must be above 0"),
        (scaled(&[0.0, f64::NAN], &[1.0, 1.0]), "mean: element 1 is NaN"),
        (with(f64::INFINITY), "coef: element 0 is inf"),
        (
            SavedModel { precision: Precision::Single, ..with(1e39) },
            "coef: element 0 is 1e39, but must be within",
        ),
        (saved(Loss::Logistic, 1, 2, &[1.0, 2.0], &[]), "model: logistic: outputs is 2"),
        (saved(Loss::Huber { epsilon: -1.0 }, 1, 1, &[1.0], &[]), "model: huber: epsilon is -1"),
        (saved(Loss::Mse, 0, 1, &[], &[0.0]), "model: has no features"),
    ] {
        let error = bad.save(&path).unwrap_err().to_string();
        assert!(error.contains(part), "no `{part}`: {error}");
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    let error = good.save(&folder.path().join("no/model")).unwrap_err();
    assert!(matches!(error, ModelFileError::File { .. }), "{error}");
    let error = SavedModel::load(&path).unwrap_err();
    assert!(matches!(error, ModelFileError::File { .. }), "{error}");
}

#[test]
fn files_of_something_else_are_refused_by_name() {
    let error = |bytes: &[u8]| loaded(bytes).unwrap_err().to_string();
    assert!(error(b"").contains("is not a safetensors file"));
    let tensors = [("coef", TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap())];
    let with = |metadata: Option<HashMap<String, String>>| {
        safetensors::serialize(tensors.iter().map(|(name, view)| (*name, view.clone())), metadata)
            .unwrap()
    };
    assert!(
        error(&with(None)).contains("is not a saved model: its metadata have no `wgpu_optim_model`")
    );
    let version = |version: &str| [("wgpu_optim_model".to_string(), version.to_string())].into();
    let text = error(&with(Some(version("2"))));
    assert!(text.contains("of version `2`, but this library reads version 1"), "{text}");
    assert!(error(&with(Some(version("1")))).contains("no `checksum`"));
}

#[test]
fn predictions_are_the_means_of_scores() {
    let x = [1.0, 2.0, -1.0, 0.5];
    let linear = saved(Loss::Mse, 2, 2, &[1.0, 10.0, 0.5, 0.0], &[100.0, 0.0]);
    assert_eq!(linear.predictions(&x, None), [121.0, 0.5, 104.0, -0.5]);
    assert_eq!(linear.scores(&x, Some(&[1.0, 0.0])), [122.0, 1.5, 104.0, -0.5]);
    assert_eq!(linear.labels(&[0.0]), None);

    let poisson = saved(Loss::Poisson, 1, 1, &[1.0], &[]);
    assert_eq!(
        poisson.predictions(&[0.0, 1.0, 1e6], Some(&[0.0, 2.0, 0.0])),
        [1.0, 3f64.exp(), f64::MAX]
    );

    let logistic = saved(Loss::Logistic, 1, 1, &[1.0], &[]);
    let scores = logistic.scores(&[-1e30, 0.0, 3.0], None);
    assert_eq!(logistic.means(&scores), [0.0, 0.5, 1.0 / (1.0 + (-3f64).exp())]);
    assert_eq!(logistic.labels(&scores), Some(vec![0.0, 0.0, 1.0]));
    let labelled = SavedModel { classes: Some(vec![-1.0, 1.0]), ..logistic };
    assert_eq!(labelled.labels(&scores), Some(vec![-1.0, -1.0, 1.0]));

    // The second feature is -2 + 3 * 4 = 10, the first 1.
    let scores = softmax().scores(&[1.0, 10.0], None);
    assert_eq!(scores, [0.0, 4.25, -4.1]);
    assert_eq!(softmax().labels(&scores), Some(vec![0.5]));
    let sum: f64 = softmax().means(&scores).iter().sum();
    assert!((sum - 1.0).abs() < 1e-15);
}

/// A finite number of any magnitude.
fn number() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bits_survive(coef in prop::collection::vec(number(), 1..20), epsilon in 1e-30..1e30) {
        let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let model = saved(Loss::Huber { epsilon }, coef.len(), 1, &coef, &coef[..1]);
        let read = again(&model);
        prop_assert_eq!((bits(&read.coef), bits(&read.intercept)), (bits(&coef), bits(&coef[..1])));
        prop_assert_eq!(read, model);
        let single = coef.iter().map(|x| (*x as f32).clamp(f32::MIN, f32::MAX).into());
        let single: Vec<f64> = single.collect();
        let model = saved(Loss::Mse, single.len(), 1, &single, &[]);
        let read = again(&SavedModel { precision: Precision::Single, ..model });
        prop_assert_eq!((bits(&read.coef), read.precision), (bits(&single), Precision::Single));
    }

    #[test]
    fn a_damaged_file_is_noticed(at in 0.0..1.0, bit in 0..8, end in 0.0..1.0) {
        let good = bytes(&softmax());
        let mut flipped = good.clone();
        flipped[(at * good.len() as f64) as usize] ^= 1u8 << bit;
        // Damage between the parts of the header, such as in its padding, may not change the meaning.
        if let Ok(read) = loaded(&flipped) {
            prop_assert_eq!(read, softmax());
        }
        loaded(&good[..(end * good.len() as f64) as usize]).unwrap_err();
    }

    #[test]
    fn a_file_may_be_damaged_in_any_way(changes in damage(), single in any::<bool>(), scaled in any::<bool>()) {
        let precision = if single { Precision::Single } else { Precision::Double };
        let mut model = SavedModel { precision, ..softmax() };
        model.scaling = model.scaling.filter(|_| scaled);
        let whole = bytes(&model);
        // The meaning may be unchanged.
        if let Ok(read) = harmless::model::check(&damaged(whole.clone(), &changes)) {
            prop_assert_eq!(read, loaded(&whole).unwrap());
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0u64..300) {
        prop_assert!(harmless::model::check(&bytes).is_err());
        let header = [&length.to_le_bytes(), &b"{"[..], &bytes].concat();
        prop_assert!(harmless::model::check(&header).is_err());
    }
}
