//! Statistical tests of the documented distributions. Every bound is five standard errors, which follow from the
//! distributions, so a failure is not chance.

use super::*;

fn problem(options: Options) -> Synthetic {
    Synthetic::with_options(&options).unwrap()
}

/// Rows with their exact scores, features and targets.
struct Row {
    scores: Vec<f64>,
    x: Vec<f32>,
    y: Vec<f32>,
}

fn rows(problem: &Synthetic, first: u64, n: usize) -> Vec<Row> {
    let truth = problem.truth();
    let unit = 0.5f64.powi(problem.score_bits() as i32);
    (first..first + n as u64)
        .map(|row| {
            let mut x = vec![0.0; problem.features as usize];
            let mut y = vec![0.0; problem.targets() as usize];
            problem.fill_row(&truth, row, &mut x, &mut y);
            let score = |output| problem.score(&truth, output, &x) as f64 * unit;
            Row { scores: (0..problem.outputs).map(score).collect(), x, y }
        })
        .collect()
}

/// Checks that a sum of terms with expectation 0 is within five standard deviations plus a permitted offset.
#[track_caller]
fn assert_zero(what: &str, sum: f64, variance: f64, off: f64) {
    let bound = 5.0 * variance.sqrt() + off;
    assert!(sum.abs() <= bound, "{what}: {sum} is beyond {bound}");
}

/// Checks mean, variance and kurtosis of values with the distribution of Σ `parts`ᵢ uᵢ, uᵢ uniform on ±√3, where the
/// squares of the parts sum to 1.
///
/// The cumulants of such a sum are those of a uniform (−6/5, 48/7 and −432/5 for the orders 4, 6 and 8) times Σ partsᵢ to
/// that power; moments follow from them.
#[track_caller]
fn assert_moments(what: &str, values: impl Iterator<Item = f64>, parts: &[f64]) {
    let values: Vec<f64> = values.collect();
    let power = |k: i32| parts.iter().map(|part| part.powi(k)).sum::<f64>();
    let (k4, k6, k8) = (-1.2 * power(4), 48.0 / 7.0 * power(6), -86.4 * power(8));
    let (fourth, eighth) = (3.0 + k4, k8 + 28.0 * k6 + 35.0 * k4 * k4 + 210.0 * k4 + 105.0);
    let n = values.len() as f64;
    let mean = |k: i32| values.iter().map(|x| x.powi(k)).sum::<f64>() / n;
    assert_zero(&format!("{what}: mean"), mean(1), 1.0 / n, 0.0);
    assert_zero(&format!("{what}: variance"), mean(2) - 1.0, (fourth - 1.0) / n, 0.0);
    let variance = (eighth - fourth * fourth) / n;
    assert_zero(&format!("{what}: excess kurtosis"), mean(4) - fourth, variance, 0.0);
}

/// Checks that values of mean 0 and variance 1 are uncorrelated with later values.
#[track_caller]
fn assert_independent(what: &str, values: &[f64]) {
    for lag in [1, 2, 3, 8, 64] {
        let products = values.iter().zip(&values[lag..]).map(|(a, b)| a * b);
        let n = values.len() - lag;
        assert_zero(&format!("{what}: lag {lag}"), products.sum(), n as f64, 0.0);
    }
}

/// A feature standardized to mean 0 and variance 1, given the mean −1/2 of its parts and the rounding down.
fn standard(problem: &Synthetic, x: f32) -> f64 {
    let [factor, own] = problem.mix.map(|part| f64::from(part) / 32_768.0);
    let down = if factor == 0.0 { 0.0 } else { 0.5 };
    (f64::from(x) * 32_768.0 + 0.5 * (factor + own) + down) / (2f64.powi(32) / 12.0).sqrt()
}

#[test]
fn features_have_their_moments_and_rows_are_independent() {
    for condition in [1.0, 30.0, 1e6] {
        let problem = problem(Options { features: 10, condition, seed: 3, ..Options::default() });
        let rows = rows(&problem, (1 << 32) - 25_000, 50_000);
        let parts = problem.mix.map(|part| f64::from(part) / 32_768.0);
        for j in [0, 3, 7, 9] {
            let what = format!("condition {condition}, column {j}");
            let column: Vec<f64> = rows.iter().map(|row| standard(&problem, row.x[j])).collect();
            assert_moments(&what, column.iter().copied(), &parts);
            assert_independent(&what, &column);
        }
    }
}

#[test]
fn columns_are_correlated_as_they_should_be() {
    let (features, n) = (10, 40_000);
    for condition in [1.0, 2.0, 50.0, 1e4] {
        let problem = problem(Options { features, condition, seed: 11, ..Options::default() });
        let rows = rows(&problem, 0, n);
        let d = f64::from(features);
        let correlation = (condition - 1.0) / (condition - 1.0 + d);
        let (mut along, mut across) = (0.0, 0.0);
        for row in &rows {
            let x: Vec<f64> = row.x.iter().map(|&x| standard(&problem, x)).collect();
            let mean = x.iter().sum::<f64>() / d;
            along += mean * mean * d;
            across += x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (d - 1.0);
        }
        // One eigenvalue along (1, 1, …), all others across. The kurtosis is at most that of a Gaussian, which bounds
        // the relative variances.
        let n = n as f64;
        let (of_along, of_across) = (2.0 / n, 2.0 / (d - 1.0) / n);
        let ratio = along / across;
        assert_zero("eigenvalues", (ratio / condition).ln(), of_along + of_across, 0.002);
        assert!((problem.condition() / condition - 1.0).abs() < 0.002, "{}", problem.condition());
        for (j, k) in [(0, 1), (0, 9), (3, 4), (4, 8)] {
            let product = |row: &Row| standard(&problem, row.x[j]) * standard(&problem, row.x[k]);
            let error = rows.iter().map(product).sum::<f64>() / n - correlation;
            assert_zero("correlation", error, (1.0 + 2.0 * correlation) / n, 1e-3 * correlation);
        }
    }
}

#[test]
fn noise_has_its_moments_and_is_independent() {
    let problem = problem(Options { noise: 0.5, outputs: 2, seed: 3, ..Options::default() });
    let noise =
        |output| (0..100_000).map(move |row| problem.noise_at(row, output) as f64 / 2f64.powi(28));
    let [first, second] = [0, 1].map(|output| noise(output).collect::<Vec<f64>>());
    for values in [&first, &second] {
        assert_moments("noise", values.iter().copied(), &[1.0 / 12f64.sqrt(); 12]);
        assert_independent("noise", values);
    }
    let products = first.iter().zip(&second).map(|(a, b)| a * b);
    assert_zero("outputs", products.sum(), first.len() as f64, 0.0);
    let rows = rows(&problem, 0, first.len());
    let products = first.iter().zip(&rows).map(|(noise, row)| noise * standard(&problem, row.x[0]));
    assert_zero("noise and features", products.sum(), first.len() as f64, 0.0);
}

#[test]
fn outliers_have_their_share_and_factor() {
    let plain = Options { noise: 0.25, seed: 4, ..Options::default() };
    let n = 50_000;
    for share in [0.0, 0.01, 0.3, 1.0] {
        let some = problem(Options { outliers: share, ..plain });
        let outliers = (0..n).filter(|&row| {
            let (of, without) = (some.noise_at(row, 0), problem(plain).noise_at(row, 0));
            assert!(of == without || of == without * i64::from(Synthetic::OUTLIER_FACTOR));
            some.is_outlier(row, 0)
        });
        let n = n as f64;
        assert_zero("outliers", outliers.count() as f64 - n * share, n * share * (1.0 - share), 0.5);
    }
}

#[test]
fn truths_have_their_share_of_zeros() {
    let dense = Options { features: 20_000, outputs: 3, seed: 6, ..Options::default() };
    let of = |options| problem(options).truth();
    let all = of(dense);
    for share in [0.1, 0.9] {
        let sparse = of(Options { sparsity: share, ..dense });
        assert_eq!(sparse.intercepts, all.intercepts);
        let kept = |(a, b): (&i32, &i32)| *a == 0 || a == b;
        assert!(sparse.weights.iter().zip(&all.weights).all(kept));
        let n = sparse.weights.len() as f64;
        let zeros = sparse.weights.iter().filter(|&&w| w == 0).count() as f64;
        // A random weight may also be zero.
        assert_zero("zeros", zeros - n * share, n * share * (1.0 - share), n / 65_536.0);
    }
    let deviation = (2f64.powi(32) / 12.0).sqrt();
    let weights = || all.weights.iter().map(|&w| (f64::from(w) + 0.5) / deviation);
    assert_moments("weights", weights(), &[1.0]);
    assert_independent("weights", &weights().collect::<Vec<_>>());
}

#[test]
fn parameters_lie_as_those_of_a_model() {
    let problem = problem(Options { features: 3, outputs: 2, seed: 1, ..Options::default() });
    let params = problem.true_params();
    assert_eq!(params.len(), 8);
    for row in rows(&problem, 5, 20) {
        for k in 0..2 {
            let weights = &params[3 * k..][..3];
            let dot: f64 = row.x.iter().zip(weights).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            assert_eq!(row.scores[k], dot + f64::from(params[6 + k]));
        }
    }
}

#[test]
fn y_is_the_exact_sum_rounded_once() {
    let problem = Synthetic::new(11, 0.0, 7);
    let params = problem.true_params();
    for first in [0, 99, 1 << 32, (1 << 40) + 3] {
        for row in rows(&problem, first, 3) {
            // Thirty-bit products and few terms: the sum is exact in f64.
            let dot: f64 = row.x.iter().zip(&params).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            assert_eq!(row.y[0], (dot + f64::from(params[11])) as f32);
        }
    }
}

#[test]
fn scores_have_about_unit_variance() {
    for response in [Response::Bernoulli, Response::Poisson] {
        for (features, sparsity) in [(3, 0.0), (100, 0.0), (100, 0.9), (5000, 0.5), (1 << 20, 0.0)] {
            let options = Options { features, sparsity, response, seed: 2, ..Options::default() };
            let problem = problem(options);
            let dense = f64::from(features) * (1.0 - sparsity);
            let variance = 4.0 / 9.0 * dense / 4f64.powi(problem.scale as i32);
            assert!(variance > 0.25 && variance <= 1.0, "{features}: {variance}");
            assert!((17..32).contains(&problem.grid_shift()));
        }
    }
}

/// Checks that the true parameters are correct: residuals y − μ have mean 0, also times any function of the scores and
/// features. `moments` are the mean and the variance of y given the scores, and `off` is a share of the mean.
#[track_caller]
fn assert_residuals(
    what: &str,
    rows: &[Row],
    known: impl Fn(&Row) -> f64,
    moments: impl Fn(&Row) -> [f64; 2],
    y: impl Fn(&Row) -> f64,
    off: f64,
) {
    let [mut sum, mut variance, mut bias] = [0.0; 3];
    for row in rows {
        let ([mean, of_y], factor) = (moments(row), known(row));
        sum += (y(row) - mean) * factor;
        variance += of_y * factor * factor;
        bias += (off * mean * factor).abs();
    }
    assert_zero(what, sum, variance, bias);
}

/// 1 if a row's first score is in the bin, else 0.
fn in_bin(row: &Row, bin: i32) -> f64 {
    if (row.scores[0] * 2.0).floor() as i32 == bin { 1.0 } else { 0.0 }
}

#[test]
fn classes_have_the_probability_of_their_score() {
    let response = Response::Bernoulli;
    for (features, condition) in [(1, 1.0), (20, 1.0), (20, 30.0)] {
        let problem = problem(Options { features, condition, response, seed: 12, ..Options::default() });
        let rows = rows(&problem, 0, 60_000);
        let moments = |row: &Row| {
            let p = 1.0 / (1.0 + (-row.scores[0]).exp());
            [p, p * (1.0 - p)]
        };
        let y = |row: &Row| f64::from(row.y[0]);
        for bin in -8..8 {
            assert_residuals(&format!("bin {bin}"), &rows, |row| in_bin(row, bin), moments, y, 1e-6);
        }
        for j in 0..features as usize {
            assert_residuals(&format!("x {j}"), &rows, |row| row.x[j].into(), moments, y, 1e-6);
        }
        let residuals = |row: &Row| {
            let [mean, variance] = moments(row);
            (y(row) - mean) / variance.sqrt()
        };
        assert_independent("residuals", &rows.iter().map(residuals).collect::<Vec<_>>());
    }
}

#[test]
fn counts_have_the_mean_and_variance_of_their_score() {
    let response = Response::Poisson;
    for (features, condition) in [(1, 1.0), (20, 1.0), (20, 30.0)] {
        let problem = problem(Options { features, condition, response, seed: 13, ..Options::default() });
        let rows = rows(&problem, 0, 60_000);
        let mean = |row: &Row| row.scores[0].clamp(-8.0, 4.0).exp();
        let y = |row: &Row| f64::from(row.y[0]);
        let squared = |row: &Row| (y(row) - mean(row)).powi(2);
        for bin in -8..8 {
            let (what, known) = (format!("bin {bin}"), |row: &Row| in_bin(row, bin));
            assert_residuals(&what, &rows, known, |row| [mean(row); 2], y, 2e-6);
            // For a Poisson variable, (y − μ)² has mean μ and variance μ + 2 μ². Random rounding of the score adds at
            // most (μ h / 2)² to the mean.
            let moments = |row: &Row| [mean(row), mean(row) + 2.0 * mean(row).powi(2)];
            let off = 54.6 / 262_144.0;
            assert_residuals(&format!("{what}: variance"), &rows, known, moments, squared, off);
        }
        for j in 0..features as usize {
            let known = |row: &Row| row.x[j].into();
            assert_residuals(&format!("x {j}"), &rows, known, |row| [mean(row); 2], y, 2e-6);
        }
    }
}

#[test]
fn probabilities_are_interpolated_between_points() {
    let problem = problem(Options { response: Response::Poisson, ..Options::default() });
    let truth = problem.truth();
    let unit = 0.5f64.powi(problem.score_bits() as i32);
    // Large means have relative errors smaller than the difference between neighbouring points.
    for fraction in [0.0, 0.3, 0.5, 0.9] {
        let score = ((3.5 + fraction / 256.0) / unit) as i64;
        let mean = (score as f64 * unit).exp();
        let n = 400_000;
        let sum: f64 = (0..n).map(|row| f64::from(problem.count(&truth, row, score))).sum();
        let n = n as f64;
        assert_zero("mean", sum / n - mean, mean / n, 2e-6 * mean);
    }
}

#[test]
fn masses_are_interpolated_between_points() {
    let options = Options { outputs: 2, response: Response::Categorical, ..Options::default() };
    let problem = problem(options);
    let truth = problem.truth();
    let unit = 0.5f64.powi(problem.score_bits() as i32);
    for i in -3000..3000 {
        let score = (f64::from(i) / 171.0 / unit) as i64;
        let expected = (score as f64 * unit).clamp(-16.0, 16.0).exp() * f64::from(1 << 24);
        let mass = problem.mass(&truth, score) as f64;
        // Two roundings, and a fractional part with 16 bits.
        let bound = expected * (2e-6 + 2f64.powi(-24)) + 1.5;
        assert!((mass - expected).abs() <= bound, "{score}: {mass} for {expected}");
    }
}

#[test]
fn classes_are_as_frequent_as_the_softmax_says() {
    for outputs in [2, 5, 40] {
        let response = Response::Categorical;
        let problem =
            problem(Options { features: 6, outputs, response, seed: 14, ..Options::default() });
        let rows = rows(&problem, 0, 40_000);
        for class in [0, 1, outputs / 2, outputs - 1] {
            let moments = |row: &Row| {
                let sum: f64 = row.scores.iter().map(|z| z.exp()).sum();
                let p = row.scores[class as usize].exp() / sum;
                [p, p * (1.0 - p)]
            };
            let y = |row: &Row| if row.y[0] == class as f32 { 1.0 } else { 0.0 };
            assert_residuals(&format!("class {class}"), &rows, |_| 1.0, moments, y, 4e-6);
            for k in 0..outputs as usize {
                let what = format!("class {class}, score {k}");
                assert_residuals(&what, &rows, |row| row.scores[k], moments, y, 4e-6);
            }
        }
    }
}

#[test]
fn classes_have_the_share_that_was_asked_for() {
    let response = Response::Bernoulli;
    for share in [0.001, 0.1, 0.5, 0.97] {
        let balance = Some(share);
        let problem =
            problem(Options { features: 30, response, balance, seed: 15, ..Options::default() });
        let rows = rows(&problem, 1 << 20, 60_000);
        let n = rows.len() as f64;
        let p = |row: &Row| 1.0 / (1.0 + (-row.scores[0]).exp());
        // The intercept is computed from the first 4096 rows, whose mean probability has a sampling error.
        let spread = rows.iter().map(|row| (p(row) - share).powi(2)).sum::<f64>() / n;
        let ones = rows.iter().map(|row| f64::from(row.y[0])).sum::<f64>();
        assert_zero("share", ones / n - share, share * (1.0 - share) / n + spread / 4096.0, 1e-5);
    }
}
