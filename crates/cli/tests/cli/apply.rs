//! Tests of `apply`: recorded steps of other libraries through files, and errors.

mod pytorch;

use crate::{command, damage, golden};

use command::{json, refused_whole as refused, run};
use damage::{damage, damaged};
use golden::{Case, cases, take_step};
use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;
use wgpu_optim::cpu::{Bounded, Number, exact_step};
use wgpu_optim::rule::{AmsgradOf, EpsPlacement};
use wgpu_optim::{Rule, Sgd};

/// Names and shapes of the tensors among which a case's elements are divided.
const SPLIT: [(&str, &[usize]); 4] =
    [("layer.weight", &[2, 2]), ("scale", &[]), ("layer.bias", &[3]), ("none", &[2, 0])];

/// Devices to run on: including the GPU, unless there is none and the tests may skip it.
static DEVICES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let listing = json(Path::new("."), "devices --json");
    if !listing["adapters"].as_array().unwrap().is_empty() {
        return vec!["f64", "cpu", "gpu"];
    }
    let skip = std::env::var("WGPU_OPTIM_SKIP_GPU_TESTS").is_ok_and(|value| value == "1");
    assert!(skip, "no GPU adapter; WGPU_OPTIM_SKIP_GPU_TESTS=1 skips the tests that need one");
    vec!["f64", "cpu"]
});

/// Tensors of a file.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<f64>)>;

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

/// The tensors of a file, converted to f64.
fn load(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &TensorView| match view.dtype() {
        Dtype::F32 => {
            bytemuck::pod_collect_to_vec::<u8, f32>(view.data()).into_iter().map(f64::from).collect()
        }
        Dtype::F64 => bytemuck::pod_collect_to_vec(view.data()),
        Dtype::I64 => {
            bytemuck::pod_collect_to_vec::<u8, i64>(view.data()).into_iter().map(|x| x as f64).collect()
        }
        other => panic!("{other}"),
    };
    let tensor = |(name, view): (&str, TensorView)| {
        (name.to_string(), (view.dtype(), view.shape().to_vec(), values(&view)))
    };
    file.iter().map(tensor).collect()
}

/// Writes tensors of the type `dtype`.
fn save(path: &Path, dtype: Dtype, tensors: &[(&str, &[usize], &[f64])]) {
    save_with(path, &tensors.iter().map(|&(n, s, v)| (n, dtype, s, v)).collect::<Vec<_>>(), None);
}

fn save_with(
    path: &Path,
    tensors: &[(&str, Dtype, &[usize], &[f64])],
    metadata: Option<HashMap<String, String>>,
) {
    let bytes = |dtype: Dtype, values: &[f64]| -> Vec<u8> {
        let each = |x: &f64| match dtype {
            Dtype::F32 => (*x as f32).to_le_bytes().to_vec(),
            Dtype::F64 => x.to_le_bytes().to_vec(),
            Dtype::I32 => (*x as i32).to_le_bytes().to_vec(),
            Dtype::I64 => (*x as i64).to_le_bytes().to_vec(),
            Dtype::U64 => (*x as u64).to_le_bytes().to_vec(),
            Dtype::F16 => vec![0; 2],
            other => panic!("{other}"),
        };
        values.iter().flat_map(each).collect()
    };
    let data: Vec<Vec<u8>> = tensors.iter().map(|&(_, dtype, _, v)| bytes(dtype, v)).collect();
    let views = tensors.iter().zip(&data).map(|(&(name, dtype, shape, _), data)| {
        (name, TensorView::new(dtype, shape.to_vec(), data).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, metadata).unwrap()).unwrap();
}

/// The arguments for a rule, with every hyper-parameter.
fn flags(rule: &Rule) -> String {
    let names = rule.hyper_parameters().iter().filter(|name| **name != "lr");
    let given = names.map(|name| {
        let flag = name.replace("decoupled_weight_decay", "decoupled").replace('_', "-");
        format!(" --{flag}={}", value(rule.hyper_parameter(name).unwrap()))
    });
    format!("--optimizer {}{}", rule.name(), given.collect::<String>())
}

/// A hyper-parameter as an argument.
fn value(field: &dyn Any) -> String {
    if let Some(x) = field.downcast_ref::<f64>() {
        format!("{x:?}")
    } else if let Some(x) = field.downcast_ref::<bool>() {
        x.to_string()
    } else if let Some((beta1, beta2)) = field.downcast_ref::<(f64, f64)>() {
        format!("{beta1:?},{beta2:?}")
    } else if let Some(x) = field.downcast_ref::<Option<f64>>() {
        x.map_or("none".into(), |x| format!("{x:?}"))
    } else if let Some(x) = field.downcast_ref::<EpsPlacement>() {
        format!("{x:?}").to_lowercase()
    } else {
        format!("{:?}", field.downcast_ref::<AmsgradOf>().unwrap()).to_lowercase()
    }
}

/// Values of a case as tensors.
fn split<'a>(suffix: &str, values: &'a [f64]) -> Vec<(String, &'static [usize], &'a [f64])> {
    let mut rest = values;
    let take = |(name, shape): (&str, &'static [usize])| {
        let len = shape.iter().product();
        (format!("{name}{suffix}"), shape, rest.split_off(..len).unwrap())
    };
    SPLIT.into_iter().map(take).collect()
}

fn save_split(path: &Path, dtype: Dtype, parts: &[(String, &[usize], &[f64])]) {
    save(path, dtype, &parts.iter().map(|(n, s, v)| (n.as_str(), *s, *v)).collect::<Vec<_>>());
}

fn join(tensors: &Tensors, suffix: &str, dtype: Dtype) -> Vec<f64> {
    let take = |(name, shape): (&str, &[usize])| {
        let (actual, found, values) = &tensors[&format!("{name}{suffix}")];
        assert_eq!((*actual, found.as_slice()), (dtype, shape), "{name}{suffix}");
        values.clone()
    };
    SPLIT.into_iter().flat_map(take).collect()
}

/// Runs a case through the command, and returns the parameters, then each moment, after its last step.
fn apply(case: &Case, device: &str) -> Vec<Vec<f64>> {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let dtype = if device == "f64" { Dtype::F64 } else { Dtype::F32 };
    let before = case.before(0);
    let moments = case.rule.moments();
    save_split(&path("p"), dtype, &split("", &before[0]));
    let mut arguments =
        format!("apply {} --params p --out o --state-out t --device {device} --json", flags(&case.rule));
    if case.t0 > 0 {
        let mut state: Vec<(String, Dtype, &[usize], &[f64])> = Vec::new();
        for (moment, values) in moments.iter().zip(&before[1..]) {
            let parts = split(&format!(".{moment}"), values);
            state.extend(parts.into_iter().map(|(n, s, v)| (n, dtype, s, v)));
        }
        let t0 = [case.t0 as f64];
        state.extend(SPLIT.map(|(name, _)| (format!("{name}.step"), Dtype::I64, &[][..], &t0[..])));
        let state: Vec<_> = state.iter().map(|(n, d, s, v)| (n.as_str(), *d, *s, *v)).collect();
        save_with(&path("s"), &state, None);
        arguments += " --state s";
    }
    match &case.lrs {
        Some(lrs) => {
            let lines: String = lrs.iter().map(|lr| format!("{lr:?}\n")).collect();
            std::fs::write(path("lrs"), lines).unwrap();
            arguments += " --lr-file lrs";
        }
        None => arguments += &format!(" --lr {:?}", case.rule.lr()),
    }
    arguments += " --grads";
    for (i, grads) in case.grads.iter().enumerate() {
        let grads = grads.as_deref().map_or(Vec::new(), |grads| split("", grads));
        save_split(&path(&format!("g{i}")), dtype, &grads);
        arguments += &format!(" g{i}");
    }

    let report = json(folder.path(), &arguments);
    assert_eq!(report["steps_taken"], case.grads.len(), "{report}");
    let t = case.t_after(case.grads.len() - 1);
    for row in report["tensors"].as_array().unwrap() {
        assert_eq!((&row["step"], &row["steps_taken"]), (&t.into(), &(t - case.t0).into()), "{row}");
    }
    let state = load(&path("t"));
    for (name, _) in SPLIT {
        assert_eq!(state[&format!("{name}.step")], (Dtype::F64, vec![], vec![t as f64]));
    }
    let moments = moments.iter().map(|moment| join(&state, &format!(".{moment}"), dtype));
    std::iter::once(join(&load(&path("o")), "", dtype)).chain(moments).collect()
}

/// The largest magnitude of each element of each value so far, and of its changes, to which rounding errors are relative.
fn sizes(case: &Case) -> Vec<Vec<f64>> {
    let mut before = case.before(0);
    let mut sizes: Vec<Vec<f64>> = before.iter().map(|v| v.iter().map(|x| x.abs()).collect()).collect();
    for i in 0..case.grads.len() {
        let after = case.after(i);
        for (sizes, (new, old)) in sizes.iter_mut().zip(after.iter().zip(&before)) {
            for (size, (new, old)) in sizes.iter_mut().zip(new.iter().zip(old)) {
                *size = size.max(new.abs()).max((new - old).abs());
            }
        }
        before = after;
    }
    sizes
}

#[test]
fn f64_steps_are_those_of_the_frameworks() {
    for case in cases() {
        let actual = apply(&case, "f64");
        let last = case.grads.len() - 1;
        let expected = case.after(last);
        for (k, what) in case.names(last).iter().enumerate() {
            for (i, size) in sizes(&case)[k].iter().enumerate() {
                let error = (actual[k][i] - expected[k][i]).abs();
                assert!(
                    error <= case.relative * size,
                    "{what}[{i}]: {} {}",
                    actual[k][i],
                    expected[k][i]
                );
            }
        }
    }
}

/// The steps of a case with WGSL's error bounds, from the content of the files.
fn bounded(case: &Case) -> Vec<Vec<Bounded>> {
    let exactly = |values: &Vec<f64>| values.iter().map(|&x| Bounded::exactly(x as f32)).collect();
    let mut values: Vec<Vec<Bounded>> = case.before(0).iter().map(exactly).collect();
    let mut t = case.t0;
    for (i, grads) in case.grads.iter().enumerate() {
        let Some(grads) = grads else { continue };
        t += 1;
        let step = exact_step(&case.rule, t, f64::from(case.lr(i) as f32));
        take_step(&case.rule, &step, &mut values, &exactly(grads));
    }
    values
}

#[track_caller]
fn assert_within(what: &str, actual: f64, expected: Bounded) {
    let error = (actual - expected.value).abs();
    assert!(expected.error.is_finite(), "{what}: nothing is promised");
    assert!(error <= expected.error, "{what}: {actual:e} is {error:e} from {expected:?}");
}

fn assert_f32_steps(case: &Case, device: &str) {
    let actual = apply(case, device);
    let last = case.grads.len() - 1;
    for ((what, actual), expected) in case.names(last).iter().zip(&actual).zip(&bounded(case)) {
        for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
            assert_within(&format!("{device}, {what}[{i}]"), *actual, *expected);
        }
    }
}

#[test]
fn f32_steps_of_the_processor_are_within_their_bounds() {
    cases().iter().for_each(|case| assert_f32_steps(case, "cpu"));
}

#[test]
fn steps_of_the_device_are_within_their_bounds() {
    if !DEVICES.contains(&"gpu") {
        return;
    }
    let chosen = [
        "sgd",
        "sgd_nesterov_weight_decay",
        "sgd_momentum_dampening_missing_first",
        "rmsprop_centered_momentum",
        "adamw_amsgrad",
        "adam_missing",
        "adam_cosine",
        "adam_after_1000000",
        "nadam_after_1000000",
        "radam",
        "adamax",
        "adagrad_lr_decay_after_1000000",
        "optax_lion_after_10",
        "keras_adam",
    ];
    let of_name = |case: &Case| chosen.contains(&case.name.as_str());
    let cases: Vec<Case> = cases().into_iter().filter(of_name).collect();
    assert_eq!(cases.len(), chosen.len());
    cases.iter().for_each(|case| assert_f32_steps(case, "gpu"));
}

/// A folder with the parameters `p` of two tensors and the gradients `g0`, `g1` and `g2`.
fn two() -> TempDir {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    save(&path("p"), Dtype::F32, &[("a", &[2], &[1.0, 2.0]), ("b", &[1, 3], &[0.5, -0.5, 8.0])]);
    save(&path("g0"), Dtype::F32, &[("a", &[2], &[0.5, -1.5]), ("b", &[1, 3], &[3.0, 0.0, -4.0])]);
    save(&path("g1"), Dtype::F32, &[("b", &[1, 3], &[1.0, 2.0, 3.0])]);
    save(&path("g2"), Dtype::F32, &[("a", &[2], &[0.25, 0.125]), ("b", &[1, 3], &[-1.0, 0.5, 1e-3])]);
    folder
}

fn bytes(folder: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(name)).unwrap()
}

#[test]
fn going_on_from_a_state_is_as_if_never_stopped() {
    for device in DEVICES.iter() {
        for optimizer in [
            "momentum",
            "rmsprop --centered",
            "adam --amsgrad",
            "nadam",
            "radam",
            "adamax",
            "adagrad",
            "lion",
        ] {
            let folder = two();
            let run = |arguments: &str| {
                json(
                    folder.path(),
                    &format!("apply --optimizer {optimizer} --device {device} --json {arguments}"),
                )
            };
            run("--params p --grads g0 g1 --grads g2 --out whole --state-out whole.state");
            run("--params p --grads g0 --out p1 --state-out s1");
            let report = run("--params p1 --state s1 --grads g1 g2 --out p1 --state-out s1");
            assert_eq!(report["device"]["kind"], *device);
            assert_eq!(bytes(&folder, "p1"), bytes(&folder, "whole"), "{device}, {optimizer}");
            assert_eq!(bytes(&folder, "s1"), bytes(&folder, "whole.state"), "{device}, {optimizer}");
            let steps: Vec<_> =
                report["tensors"].as_array().unwrap().iter().map(|row| &row["step"]).collect();
            assert_eq!(steps, [2, 3]);
        }
    }
}

#[test]
fn a_parameter_without_a_gradient_is_left_alone() {
    for device in DEVICES.iter() {
        let folder = two();
        let apply =
            "apply --optimizer adam --weight-decay 0.1 --params p --grads g1 --out o --state-out s";
        let report = json(folder.path(), &format!("{apply} --device {device} --json"));
        let tensors = load(&folder.path().join("o"));
        assert_eq!(tensors["a"].2, [1.0, 2.0]);
        assert_ne!(tensors["b"].2, [0.5, -0.5, 8.0]);
        assert_eq!(
            report["tensors"][0],
            serde_json::json!({"name": "a", "shape": [2], "steps_taken": 0, "step": 0})
        );
        let state: Vec<String> = load(&folder.path().join("s")).into_keys().collect();
        assert_eq!(state, ["b.exp_avg", "b.exp_avg_sq", "b.step"]);
    }
}

#[test]
fn a_skipped_step_leaves_everything_where_it_was() {
    for device in DEVICES.iter() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let folder = two();
            std::fs::write(folder.path().join("lrs"), "0.5\n0.25\n0.125").unwrap();
            save(&folder.path().join("bad"), Dtype::F32, &[("b", &[1, 3], &[1.0, bad, 1.0])]);
            let apply = format!(
                "apply --optimizer adam --lr-file lrs --params p --device {device} --skip-nonfinite --json"
            );
            let report =
                json(folder.path(), &format!("{apply} --grads g0 bad g1 g2 --out o --state-out s"));
            assert_eq!((&report["steps_taken"], &report["steps_skipped"]), (&3.into(), &1.into()));
            json(folder.path(), &format!("{apply} --grads g0 g1 g2 --out o2 --state-out s2"));
            assert_eq!(bytes(&folder, "o"), bytes(&folder, "o2"), "{device}, {bad}");
            assert_eq!(bytes(&folder, "s"), bytes(&folder, "s2"), "{device}, {bad}");
            let report = json(folder.path(), &format!("{apply} --grads bad --out o3"));
            assert_eq!(report["last_norm"], Value::Null, "{report}");
        }
    }
}

#[test]
fn the_last_learning_rate_holds() {
    for device in DEVICES.iter() {
        let folder = two();
        std::fs::write(folder.path().join("lrs"), "1\n0.5\r\n").unwrap();
        let apply = format!("apply --optimizer sgd --params p --device {device} --json");
        json(folder.path(), &format!("{apply} --lr-file lrs --grads g1 g1 g1 g1 --out o"));
        assert_eq!(load(&folder.path().join("o"))["b"].2, [0.5 - 2.5, -0.5 - 5.0, 8.0 - 7.5]);
    }
}

/// Every operation is exact.
#[test]
fn gradients_are_unscaled_and_limited() {
    for device in DEVICES.iter() {
        let folder = two();
        let apply = format!("apply --optimizer sgd --lr 1 --params p --device {device} --json");
        json(folder.path(), &format!("{apply} --grads g1 --grad-scale 0.5 --clip-value 5 --out o"));
        assert_eq!(load(&folder.path().join("o"))["b"].2, [-1.5, -4.5, 3.0], "{device}");
    }
}

#[test]
fn gradients_are_clipped_to_the_norm_of_those_there_are() {
    for (formula, max, clipped) in
        [("torch", 1.25, true), ("optax", 1.25, true), ("torch", 1e3, false), ("optax", 1e3, false)]
    {
        for device in DEVICES.iter() {
            let folder = two();
            let clip = format!("--clip-norm {max} --clip-norm-as {formula} --grad-scale 2");
            let apply = format!("apply --optimizer sgd --lr 1 --params p --grads g0 --device {device}");
            let report = json(folder.path(), &format!("{apply} {clip} --out o --json"));
            let (params, grads) = ([1.0, 2.0, 0.5, -0.5, 8.0], [0.5, -1.5, 3.0, 0.0, -4.0]);

            // Like the kernels: elements below one and others separately, scaled by 2⁴⁶ and 2⁻⁴⁶.
            let of = Bounded::of;
            let (up, down) = (of(2f64.powi(46)), of(2f64.powi(-46)));
            let square = |x: f64, by| (of(x) * by) * (of(x) * by);
            let large = square(-1.5, down) + square(3.0, down) + square(-4.0, down);
            let (small, norm) = (square(0.5, up), large.root() * up);
            let ratio = small.root() * down / norm;
            let norm = norm * (of(1.0) + ratio * ratio).root() * of(0.5);
            let exact = (27.5f64).sqrt() / 2.0;
            assert!((norm.value / exact - 1.0).abs() < 1e-15);
            let scale = match (clipped, formula) {
                (false, _) => of(1.0),
                (true, "torch") => of(max) / (norm + of(1e-6)),
                (true, _) => of(max) / norm,
            };
            let found = report["last_norm"].as_f64().unwrap();
            assert_within(&format!("{device}, norm"), found, norm);
            let tensors = load(&folder.path().join("o"));
            let actual = tensors["a"].2.iter().chain(&tensors["b"].2);
            for (i, actual) in actual.enumerate() {
                let mut expected = of(params[i]) - of(grads[i]) * (of(0.5) * scale);
                if *device == "f64" {
                    // At most 32 roundings in both computations.
                    expected.error = 16.0 * f64::EPSILON * params[i].abs().max(grads[i].abs());
                }
                assert_within(&format!("{device}, {formula} {max}, element {i}"), *actual, expected);
            }
        }
    }
}

#[test]
fn f64_takes_f32_and_other_devices_do_not_take_f64() {
    let folder = two();
    let apply = "apply --optimizer adam --params p --grads g0 --out o --json --device";
    json(folder.path(), &format!("{apply} f64"));
    assert_eq!(load(&folder.path().join("o"))["a"].0, Dtype::F64);
    let again = "apply --optimizer adam --params o --grads g0 --out o2 --device";
    refused(
        folder.path(),
        &format!("{again} cpu"),
        &["o: `a` has the type F64", "F32 is required", "--device f64"],
    );
}

#[test]
fn metadata_and_empty_files_are_kept() {
    for device in DEVICES.iter() {
        let folder = folder();
        let metadata: HashMap<_, _> =
            (0..20).map(|i| (format!("key {i}"), format!("\"{i}\" é"))).collect();
        for name in ["p", "g"] {
            save_with(&folder.path().join(name), &[], Some(metadata.clone()));
        }
        let apply =
            format!("apply --optimizer adam --params p --grads g --device {device} --clip-norm 1");
        json(folder.path(), &format!("{apply} --out o --json"));
        json(folder.path(), &format!("{apply} --out o2 --json"));
        assert_eq!(bytes(&folder, "o"), bytes(&folder, "o2"));
        let written = bytes(&folder, "o");
        let (_, header) = SafeTensors::read_metadata(&written).unwrap();
        assert_eq!(header.metadata().as_ref(), Some(&metadata));
    }
}

#[test]
fn a_step_may_be_written_as_any_number() {
    let folder = two();
    json(
        folder.path(),
        "apply --optimizer adagrad --device cpu --params p --grads g0 --out p --state-out s --json",
    );
    let apply =
        "apply --optimizer adagrad --device cpu --params p --grads g2 --out o --state-out t --json";
    let sum = load(&folder.path().join("s"))["a.sum"].2.clone();
    for dtype in [Dtype::F32, Dtype::F64, Dtype::I32, Dtype::I64, Dtype::U64] {
        for shape in [&[][..], &[1]] {
            let state = [("a.sum", Dtype::F32, &[2][..], &sum[..]), ("a.step", dtype, shape, &[41.0])];
            save_with(&folder.path().join("s"), &state, None);
            let report = json(folder.path(), &format!("{apply} --state s"));
            assert_eq!(report["tensors"][0]["step"], 42, "{report}");
            assert_eq!(report["tensors"][1]["step"], 1, "{report}");
        }
    }
}

#[test]
fn nadam_writes_pytorchs_product_and_reads_over_it() {
    let folder = two();
    let apply = "apply --optimizer nadam --device f64 --json --out o --params p --grads";
    json(folder.path(), &format!("{apply} g0 g2 --state-out s"));
    let mu = |t: f64| 0.9 * (1.0 - 0.5 * 0.96f64.powf(t * 4e-3));
    let (_, shape, product) = &load(&folder.path().join("s"))["a.mu_product"];
    assert_eq!(shape, &[0usize; 0]);
    assert!((product[0] / (mu(1.0) * mu(2.0)) - 1.0).abs() < 1e-15, "{product:?}");
    json(folder.path(), &format!("{apply} g0 --state s"));
    refused(
        folder.path(),
        "apply --optimizer adam --params p --grads g0 --state s --out o2",
        &["`a.mu_product`"],
    );
}

#[test]
fn a_table_for_people_says_what_was_done() {
    let folder = two();
    let outcome =
        run(folder.path(), "apply --optimizer adamw --device cpu --params p --grads g0 g1 --out o");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    for part in ["adamw: ", "steps taken", "b", "1 × 3", "steps taken 2, skipped 0"] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let folder = two();
    let path = |name: &str| folder.path().join(name);
    save(&path("unknown"), Dtype::F32, &[("c", &[1], &[1.0])]);
    save(&path("shape"), Dtype::F32, &[("b", &[3], &[1.0, 2.0, 3.0])]);
    save(&path("half"), Dtype::F16, &[("a", &[2], &[1.0, 2.0])]);
    std::fs::write(path("text"), "not tensors at all").unwrap();
    std::fs::write(path("short"), &bytes(&folder, "g0")[..100]).unwrap();
    let apply = "apply --optimizer adam --device cpu --params p --out o --state-out t --grads g0";
    for (grads, parts) in [
        ("unknown", &["unknown: `c`", "without a parameter"][..]),
        ("shape", &["shape: `b`", "[3]", "[1, 3]"]),
        ("half", &["half: `a`", "F16", "F32 is required"]),
        ("text", &["text: ", "safetensors"]),
        ("short", &["short: ", "safetensors"]),
        ("missing", &["missing: "]),
    ] {
        refused(folder.path(), &format!("{apply} {grads}"), parts);
    }
    refused(
        folder.path(),
        "apply --optimizer adam --device cpu --params text --out o --grads g0",
        &["text: "],
    );

    let step = [("a.step", Dtype::F64, &[][..], &[1.0][..])];
    let avg = [("a.exp_avg", Dtype::F32, &[2][..], &[0.0, 0.0][..])];
    let square = [("a.exp_avg_sq", Dtype::F32, &[2][..], &[0.0, 0.0][..])];
    let moments = [avg, square].concat();
    for (state, parts) in [
        (step.to_vec(), &["state: `a.step` is present without `a.exp_avg`, `a.exp_avg_sq`"][..]),
        (moments.clone(), &["`a.exp_avg` is present without `a.step`"]),
        ([avg, step].concat(), &["without `a.exp_avg_sq`"]),
        (vec![("c.step", Dtype::F64, &[][..], &[1.0][..])], &["`c.step`", "without a parameter"]),
        (vec![("step", Dtype::F64, &[][..], &[1.0][..])], &["`step`", "without a parameter"]),
        (
            vec![("a.sum", Dtype::F32, &[2][..], &[1.0, 1.0][..])],
            &["`a.sum`", "adam", "exp_avg, exp_avg_sq, step"],
        ),
        (
            [&moments[..1], &[("a.exp_avg_sq", Dtype::F32, &[1][..], &[1.0][..])], &step].concat(),
            &["exp_avg_sq` has the shape [1]"],
        ),
        (
            [&moments[..], &[("a.step", Dtype::F64, &[][..], &[1.5][..])]].concat(),
            &["`a.step` is 1.5", "whole"],
        ),
        ([&moments[..], &[("a.step", Dtype::I64, &[][..], &[-1.0][..])]].concat(), &["`a.step` is -1"]),
        (
            [&moments[..], &[("a.step", Dtype::F64, &[2][..], &[1.0, 1.0][..])]].concat(),
            &["`a.step`", "[2]"],
        ),
        (
            [&moments[..], &[("a.step", Dtype::F16, &[][..], &[1.0][..])]].concat(),
            &["`a.step` has the type F16"],
        ),
    ] {
        save_with(&path("state"), &state, None);
        refused(folder.path(), &format!("{apply} --state state"), parts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn damaged_files_are_used_or_refused(which in 0..3usize, changes in damage(), double in any::<bool>()) {
        let folder = two();
        let name = ["p", "g1", "s"][which];
        let steps = "apply --optimizer nadam --state-out s --device cpu --params p --grads";
        json(folder.path(), &format!("{steps} g0 --out p --json"));
        std::fs::write(folder.path().join(name), damaged(bytes(&folder, name), &changes)).unwrap();
        let before = command::names(&folder);
        let device = if double { "f64" } else { "cpu" };
        let steps = format!("apply --optimizer nadam --device {device} --params p --state s --grads g1");
        let outcome = run(folder.path(), &format!("{steps} --out after --json"));
        if outcome.code == 2 {
            let message = &outcome.stderr;
            prop_assert!(message.contains(&format!("error: {name}: ")), "{}", message);
            prop_assert_eq!(command::names(&folder), before);
        } else {
            prop_assert_eq!(outcome.code, 0);
            load(&folder.path().join("after"));
        }
    }
}

#[test]
fn learning_rates_that_are_none_are_refused_by_their_line() {
    let folder = two();
    let apply = "apply --optimizer adam --device cpu --params p --grads g0 --out o --lr-file lrs";
    for (text, line) in [
        ("", "line 1"),
        ("0.1\n\n0.1\n", "line 2"),
        ("0.1\nfast\n", "line 2"),
        ("-1", "line 1"),
        ("1\n1\nnan", "line 3"),
        ("1e39", "line 1"),
    ] {
        std::fs::write(folder.path().join("lrs"), text).unwrap();
        refused(folder.path(), apply, &["lrs: ", line]);
    }
    refused(folder.path(), &format!("{apply} --lr 0.1"), &["--lr"]);
    refused(folder.path(), &apply.replace("lrs", "none"), &["none: "]);
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_anything_is_read() {
    let folder = two();
    let apply = "apply --optimizer adam --device cpu --params p --grads g0 g1 --out";
    // The inputs do not exist: outputs are checked first.
    std::fs::create_dir(folder.path().join("dir")).unwrap();
    let unread = "apply --optimizer adam --device cpu --params none --grads none --out";
    refused(folder.path(), &format!("{unread} no/o"), &["--out no/o", "its directory does not exist"]);
    refused(folder.path(), &format!("{unread} dir"), &["--out dir"]);
    refused(folder.path(), &format!("{unread} o --state-out no/s"), &["--state-out no/s"]);
    refused(folder.path(), &format!("{apply} g1"), &["--out g1", "overwrite"]);
    refused(folder.path(), &format!("{apply} o --state-out o"), &["--state-out o", "overwrite"]);
    refused(folder.path(), &format!("{apply} o --state-out p"), &["--state-out p", "overwrite"]);
    refused(folder.path(), &format!("{apply} ./p --state-out p"), &["--state-out p", "overwrite"]);
}

#[test]
fn arguments_are_checked() {
    let folder = two();
    for (flags, parts) in [
        ("--optimizer adam --alpha 0.9", &["--alpha"][..]),
        ("--optimizer sgd --nesterov", &["nesterov: momentum is 0"]),
        ("--optimizer rmsprop --eps-placement nowhere", &["nowhere", "outside"]),
        ("--optimizer adamax --eps-placement hat", &["adamax: eps_placement is hat"]),
        ("--optimizer adam --clip-norm 0", &["clip_norm is 0"]),
        ("--optimizer adam --clip-norm-as optax", &["--clip-norm"]),
        ("--optimizer adam --grad-scale -1", &["grad_scale is -1"]),
        ("--optimizer adam --clip-value nan", &["clip_value is NaN"]),
        ("--optimizer adam --device f64 --adapter x", &["--adapter", "--device f64"]),
        ("--optimizer adam --adapter nonexistent", &["`nonexistent`"]),
        ("", &["--optimizer"]),
    ] {
        refused(folder.path(), &format!("apply --params p --grads g0 --out o {flags}"), parts);
    }
}

#[test]
fn the_flags_make_the_rule() {
    let nesterov = Sgd { momentum: 0.9, nesterov: true, ..Sgd::torch() };
    assert!(flags(&nesterov.into()).starts_with("--optimizer nesterov --momentum=0.9"));
    let folder = two();
    let apply = "apply --params p --grads g0 g1 g2 --device f64 --json --out";
    for (one, other) in [
        ("nesterov", "sgd --momentum 0.9 --nesterov"),
        ("adamw", "adam --decoupled --weight-decay 0.01"),
        ("lion --preset optax", "lion --weight-decay 1e-3 --lr 1e-4 --decoupled=true"),
        ("nadam --preset optax", "nadam --momentum-decay none --lr 1e-3"),
    ] {
        json(folder.path(), &format!("{apply} o1 --optimizer {one}"));
        json(folder.path(), &format!("{apply} o2 --optimizer {other}"));
        assert_eq!(bytes(&folder, "o1"), bytes(&folder, "o2"), "{one}");
    }
}
