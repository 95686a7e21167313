//! PyTorch's `state_dict`s: content other than parameters, moments and steps.

use super::*;

/// Raw tensors of a file.
type Raw = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn raw(path: &Path) -> Raw {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (&str, TensorView)| {
        (name.to_string(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    file.iter().map(tensor).collect()
}

fn save_raw(path: &Path, tensors: &Raw) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[track_caller]
fn assert_near(what: &str, actual: &Tensors, name: &str, expected: &[f64]) {
    let (_, _, values) = &actual[name];
    assert_eq!(values.len(), expected.len(), "{what}: {name}");
    for (actual, expected) in values.iter().zip(expected) {
        assert!((actual - expected).abs() <= 1e-6, "{what}: {name}: {values:?} for {expected:?}");
    }
}

/// Name and shape, then values, gradients and values after the step.
type Parameter = (&'static str, &'static [usize], &'static [f64], &'static [f64], &'static [f64]);

/// A convolution and a batch normalization, and one step of PyTorch's Adam in f32.
#[test]
fn buffers_of_a_model_come_out_as_they_went_in() {
    for device in DEVICES.iter() {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        let parameters: [Parameter; 3] = [
            ("bn.bias", &[2], &[0.0, 0.0], &[1.0, 2.0], &[-0.01, -0.01]),
            ("bn.weight", &[2], &[1.0, 1.0], &[0.1, -0.1], &[0.99, 1.01]),
            ("conv.weight", &[2, 2], &[0.0, 0.25, 0.5, 0.75], &[0.5; 4], &[-0.01, 0.24, 0.49, 0.74]),
        ];
        let mut params: Vec<(&str, Dtype, &[usize], &[f64])> = vec![
            ("bn.num_batches_tracked", Dtype::I64, &[], &[7.0]),
            ("bn.running_mean", Dtype::F32, &[2], &[0.1, 0.2]),
            ("bn.running_var", Dtype::F32, &[2], &[1.0, 2.0]),
        ];
        params.extend(parameters.map(|(name, shape, before, ..)| (name, Dtype::F32, shape, before)));
        save_with(&path("p"), &params, None);
        save(&path("g"), Dtype::F32, &parameters.map(|(name, shape, _, grads, _)| (name, shape, grads)));
        let apply = "apply --optimizer adam --lr 0.01 --params p --grads g --out o --state-out s --json";
        let report = json(folder.path(), &format!("{apply} --device {device}"));

        let (before, after) = (raw(&path("p")), raw(&path("o")));
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (name, ..) in &params[..3] {
            assert_eq!(after[*name], before[*name], "{device}: {name}");
        }
        let out = load(&path("o"));
        for (name, _, _, _, expected) in parameters {
            assert_near(device, &out, name, expected);
        }
        let state: Vec<String> = load(&path("s")).into_keys().collect();
        assert_eq!(state.len(), 9, "{state:?}");
        assert!(
            state.iter().all(|name| parameters.iter().any(|(of, ..)| name.starts_with(of))),
            "{state:?}"
        );
        let rows = report["tensors"].as_array().unwrap();
        let steps: BTreeMap<&str, u64> = rows
            .iter()
            .map(|row| (row["name"].as_str().unwrap(), row["steps_taken"].as_u64().unwrap()))
            .collect();
        assert_eq!(steps.values().sum::<u64>(), 3);
        assert_eq!((rows.len(), steps["bn.num_batches_tracked"], steps["conv.weight"]), (6, 0, 1));
    }
}

/// Arbitrary bytes, which are not interpreted.
#[test]
fn tensors_of_any_type_and_shape_are_passed_on() {
    let types = [
        (Dtype::BOOL, 1),
        (Dtype::U8, 1),
        (Dtype::I8, 1),
        (Dtype::F8_E4M3, 1),
        (Dtype::F8_E5M2, 1),
        (Dtype::I16, 2),
        (Dtype::U16, 2),
        (Dtype::F16, 2),
        (Dtype::BF16, 2),
        (Dtype::I32, 4),
        (Dtype::U32, 4),
        (Dtype::F32, 4),
        (Dtype::I64, 8),
        (Dtype::U64, 8),
        (Dtype::F64, 8),
    ];
    let mut tensors = Raw::new();
    for (dtype, size) in types {
        for shape in [&[][..], &[3], &[2, 2, 1], &[0], &[2, 0]] {
            // A bit pattern that is a signalling NaN in every float type.
            let len = size * shape.iter().product::<usize>();
            let bytes = (0..len).map(|i| if i % size == size - 1 { 0x7f } else { 0xa1 }).collect();
            tensors.insert(format!("{dtype} {shape:?}"), (dtype, shape.to_vec(), bytes));
        }
    }
    for device in DEVICES.iter() {
        let folder = two();
        let path = |name: &str| folder.path().join(name);
        let mut params = raw(&path("p"));
        params.extend(tensors.clone());
        save_raw(&path("p"), &params);
        let apply = "apply --optimizer sgd --lr 0.5 --params p --grads g1 g1 --out o --json";
        json(folder.path(), &format!("{apply} --device {device}"));
        let after = raw(&path("o"));
        assert_eq!(params.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{device}");
        for (name, before) in params.iter().filter(|(name, _)| *name != "b") {
            assert_eq!(&after[name], before, "{device}: {name}");
        }
        let b = &after["b"];
        let value = match b.0 {
            Dtype::F64 => f64::from_le_bytes(b.2[..8].try_into().unwrap()),
            _ => f32::from_le_bytes(b.2[..4].try_into().unwrap()).into(),
        };
        assert_eq!(value, 0.5 - 2.0 * 0.5, "{device}");
    }
}

#[test]
fn what_has_a_gradient_must_be_of_a_type_that_is_stepped() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    for dtype in [Dtype::I64, Dtype::F16, Dtype::F64] {
        save_with(&path("p"), &[("a", dtype, &[1], &[1.0]), ("b", Dtype::F32, &[1], &[1.0])], None);
        save(&path("g0"), Dtype::F32, &[("b", &[1], &[1.0])]);
        save(&path("g1"), Dtype::F32, &[("a", &[1], &[1.0])]);
        let apply = "apply --optimizer adam --params p --out o --state-out s --device cpu --grads g0 g1";
        let said = format!("p: `a` has the type {dtype}, but F32 is required");
        refused(folder.path(), apply, &[&said, "because g1 has its gradient"]);
    }
    json(folder.path(), "apply --optimizer adam --params p --out o --device f64 --grads g0 g1 --json");
}

/// A frozen parameter in half precision may have moments of an earlier run.
#[test]
fn the_state_of_what_is_passed_on_is_passed_on() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    save_with(&path("p"), &[("a", Dtype::F16, &[1], &[1.0]), ("b", Dtype::F32, &[1], &[1.0])], None);
    save(&path("g"), Dtype::F32, &[("b", &[1], &[1.0])]);
    let of_a: [(&str, Dtype, &[usize], &[f64]); 3] = [
        ("a.exp_avg", Dtype::F16, &[1], &[1.0]),
        ("a.exp_avg_sq", Dtype::F16, &[1], &[1.0]),
        ("a.step", Dtype::I64, &[], &[9.0]),
    ];
    save_with(&path("s"), &of_a, None);
    let apply =
        "apply --optimizer adam --params p --grads g --state s --out o --state-out t --device cpu";
    let report = json(folder.path(), &format!("{apply} --json"));
    let (before, after) = (raw(&path("s")), raw(&path("t")));
    assert_eq!(after.len(), 6);
    before.iter().for_each(|(name, tensor)| assert_eq!(&after[name], tensor));
    let row = serde_json::json!({ "name": "a", "shape": [1], "steps_taken": 0, "step": 9 });
    assert!(report["tensors"].as_array().unwrap().contains(&row), "{report}");
}

/// After two steps of `torch.optim.SGD(lr=0.1, momentum=0.9)`, and PyTorch's own next two in f32.
#[test]
fn the_state_of_pytorchs_sgd_is_gone_on_from() {
    let w: [&[f64]; 5] = [
        &[-0.28999594, 2.0808299, -0.106431, 0.5075347, 1.4759386, 0.23385762],
        &[2.25986, -0.9241514, -0.9517863, -0.777403, -1.1562048, 1.3363401],
        &[-0.50036854, 0.43530032, 0.9480638, -0.16002883, 2.8665078, -0.79775757],
        &[2.3245797, 0.8513472, -0.84224755, 0.24353322, -0.7242236, 0.66903406],
        &[-0.81381994, 2.071018, -0.039582916, 0.64652276, 1.2014354, 0.09001402],
    ];
    let b: [&[f64]; 5] = [
        &[0.4014698, 0.010140065, 0.42215934],
        &[-0.01893165, 1.5313729, 2.0172987],
        &[2.907347, 1.3051565, -0.9369719],
        &[0.14570372, -0.11933642, -1.2956665],
        &[-0.1622592, -0.48777083, 0.38479257],
    ];
    for device in DEVICES.iter() {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        for (i, (file, suffix)) in
            [("p", ""), ("s", ".momentum_buffer"), ("g1", ""), ("g2", "")].into_iter().enumerate()
        {
            let (name_w, name_b) = (format!("w{suffix}"), format!("b{suffix}"));
            save(&path(file), Dtype::F32, &[(&name_w, &[2, 3], w[i]), (&name_b, &[3], b[i])]);
        }
        let apply = format!(
            "apply --optimizer sgd --lr 0.1 --momentum 0.9 --device {device} --params p --state s --json"
        );
        let report = json(folder.path(), &format!("{apply} --grads g1 g2 --out o"));
        let out = load(&path("o"));
        assert_near(device, &out, "w", w[4]);
        assert_near(device, &out, "b", b[4]);
        assert_eq!(report["tensors"][0]["step"], 3, "{report}");
        // The output can be continued, with its step.
        json(folder.path(), &format!("{apply} --grads g1 --out p1 --state-out s1"));
        let second = apply.replace("--params p --state s", "--params p1 --state s1");
        json(folder.path(), &format!("{second} --grads g2 --out o1"));
        assert_eq!(bytes(&folder, "o1"), bytes(&folder, "o"), "{device}");
    }
}

/// The numbers are exact: an existing buffer is multiplied and dampened, a new one is the gradient.
#[test]
fn a_momentum_buffer_has_had_its_first_step() {
    for device in DEVICES.iter() {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        save(&path("p"), Dtype::F32, &[("old", &[1], &[1.0]), ("new", &[1], &[1.0])]);
        save(&path("g"), Dtype::F32, &[("old", &[1], &[1.0]), ("new", &[1], &[1.0])]);
        save(&path("s"), Dtype::F32, &[("old.momentum_buffer", &[1], &[2.0])]);
        for (flags, old, new, step) in [
            ("sgd --momentum 0.5", 1.0 - 2.0, 0.0, 2),
            ("sgd --momentum 0.5 --dampening 0.75", 1.0 - 1.25, 0.0, 2),
            ("sgd --momentum 0.5 --nesterov", 1.0 - 2.0, 1.0 - 1.5, 2),
        ] {
            let apply =
                format!("apply --lr 1 --params p --grads g --state s --device {device} --json --out o");
            let report = json(folder.path(), &format!("{apply} --optimizer {flags}"));
            let out = load(&path("o"));
            assert_eq!((out["old"].2[0], out["new"].2[0]), (old, new), "{device}, {flags}");
            let steps: BTreeMap<&str, u64> = report["tensors"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| (row["name"].as_str().unwrap(), row["step"].as_u64().unwrap()))
                .collect();
            assert_eq!((steps["old"], steps["new"]), (step, 1), "{flags}");
        }
        // Google's and other implementations of Lion do not store a step either.
        save(&path("s"), Dtype::F32, &[("old.exp_avg", &[1], &[-8.0])]);
        let apply = "apply --optimizer lion --lr 0.5 --params p --grads g --state s --json --out o";
        json(folder.path(), &format!("{apply} --device {device}"));
        let out = load(&path("o"));
        assert_eq!((out["old"].2[0], out["new"].2[0]), (1.5, 0.5), "{device}");
    }
}

/// These rules depend on the step count, which must not be guessed.
#[test]
fn other_rules_need_their_step() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    save(&path("p"), Dtype::F32, &[("a", &[1], &[1.0])]);
    save(&path("g"), Dtype::F32, &[("a", &[1], &[1.0])]);
    for (optimizer, kept) in [
        ("rmsprop", &["square_avg"][..]),
        ("rmsprop --momentum 0.9 --centered", &["square_avg", "grad_avg", "momentum_buffer"]),
        ("adam", &["exp_avg", "exp_avg_sq"]),
        ("adam --amsgrad", &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]),
        ("nadam", &["exp_avg", "exp_avg_sq"]),
        ("radam", &["exp_avg", "exp_avg_sq"]),
        ("adamax", &["exp_avg", "exp_inf"]),
        ("adagrad", &["sum"]),
    ] {
        let names: Vec<String> = kept.iter().map(|kept| format!("a.{kept}")).collect();
        let mut state: Vec<(&str, Dtype, &[usize], &[f64])> =
            names.iter().map(|name| (name.as_str(), Dtype::F32, &[1][..], &[1.0][..])).collect();
        save_with(&path("s"), &state, None);
        let apply =
            format!("apply --optimizer {optimizer} --params p --grads g --state s --out o --device cpu");
        refused(folder.path(), &apply, &["is present without `a.step`"]);
        // As PyTorch stores it.
        state.push(("a.step", Dtype::F32, &[], &[3.0]));
        save_with(&path("s"), &state, None);
        let report = json(folder.path(), &format!("{apply} --json"));
        assert_eq!(report["tensors"][0]["step"], 4, "{optimizer}");
    }
    // A missing buffer must not be guessed either.
    save(&path("s"), Dtype::F32, &[("a.step", &[], &[3.0])]);
    let apply =
        "apply --optimizer sgd --momentum 0.9 --params p --grads g --state s --out o --device cpu";
    refused(folder.path(), apply, &["`a.step` is present without `a.momentum_buffer`"]);
}

#[test]
fn an_infinite_limit_measures_and_clips_nothing() {
    for device in DEVICES.iter() {
        let folder = two();
        let apply = format!("apply --optimizer adam --params p --grads g0 g2 --device {device} --json");
        let free = json(folder.path(), &format!("{apply} --out free"));
        assert_eq!(free["last_norm"], Value::Null);
        for clip in [
            "--clip-norm inf",
            "--clip-norm inf --clip-norm-as optax",
            "--clip-norm inf --clip-value inf",
        ] {
            let report = json(folder.path(), &format!("{apply} {clip} --out o"));
            assert_eq!(bytes(&folder, "o"), bytes(&folder, "free"), "{device}, {clip}");
            // ‖(0.25, 0.125, −1, 0.5, 0.001)‖
            let norm = report["last_norm"].as_f64().unwrap();
            assert!((norm - 1.328_126_f64.sqrt()).abs() < 1e-6, "{norm}");
        }
        json(folder.path(), &format!("{apply} --clip-value inf --out o"));
        assert_eq!(bytes(&folder, "o"), bytes(&folder, "free"), "{device}");
    }
}
