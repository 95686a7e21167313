//! Reports of a verification, as JSON and as text.

use crate::command::bits::Bits;
use crate::command::device::Description;
use crate::command::output;
use serde::Serialize;
use wgpu_optim::Arithmetic;
use wgpu_optim::verify::{Bound, Check, FaultOutcome, SelfTest};

/// Headers for the rows of [`Kernel::rows`] and of [`FaultReport::row`]; the first three columns are text.
pub const KERNEL_HEADER: [&str; 9] =
    ["kernel", "bound", "worst at", "checks", "values", "error / bound", "device has", "f64 has", ""];
pub const FAULT_HEADER: [&str; 3] =
    ["fault seeded into the kernels", "checks that caught it", "for example"];

#[derive(Serialize)]
pub struct Report {
    pub seed: u64,
    pub bits: Bits,
    pub adapters: Vec<AdapterReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<Vec<FaultReport>>,
    pub pass: bool,
}

#[derive(Serialize)]
pub struct AdapterReport {
    pub name: String,
    pub backend: String,
    pub driver: String,
    /// With strict arithmetic, the one that was compared: `strict`, or `exact`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<&'static str>,
    /// The checks that failed with `strict`, where `exact` was compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_strict: Vec<Check>,
    /// How many results of each operation have other bits in the device's own arithmetic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Difference>,
    pub checks: Vec<Check>,
    pub pass: bool,
}

/// An operation in the device's own arithmetic, and in strict arithmetic.
#[derive(Serialize)]
pub struct Difference {
    pub operation: &'static str,
    pub differ: u64,
    pub values: u64,
}

/// A seeded fault, and the checks that detected it on any adapter.
#[derive(Serialize)]
pub struct FaultReport {
    pub fault: &'static str,
    pub caught_by: Vec<String>,
    /// Adapters on which no check detected it.
    pub missed_on: Vec<String>,
}

/// The checks of one kernel.
pub struct Kernel<'a> {
    pub name: &'a str,
    pub checks: Vec<&'a Check>,
}

impl Report {
    pub fn new(seed: u64, bits: Bits, with_faults: bool) -> Self {
        let faults = with_faults.then(Vec::new);
        Report { seed, bits, adapters: Vec::new(), faults, pass: false }
    }

    pub fn add_fault(&mut self, adapter: &str, caught: FaultOutcome) {
        let faults = self.faults.get_or_insert_default();
        let at = faults.iter().position(|other| other.fault == caught.fault).unwrap_or_else(|| {
            let (caught_by, missed_on) = (Vec::new(), Vec::new());
            faults.push(FaultReport { fault: caught.fault, caught_by, missed_on });
            faults.len() - 1
        });
        let fault = &mut faults[at];
        if caught.is_missed() {
            fault.missed_on.push(adapter.into());
        }
        for check in caught.caught_by {
            if !fault.caught_by.contains(&check) {
                fault.caught_by.push(check);
            }
        }
    }

    /// Computes the verdict of the complete report.
    pub fn conclude(&mut self) {
        let faults = self.faults.iter().flatten();
        self.pass = self.adapters.iter().all(|adapter| adapter.pass)
            && faults.clone().all(|fault| fault.missed_on.is_empty());
    }

    /// The failures, in a line.
    pub fn failures(&self) -> String {
        let checks = || self.adapters.iter().flat_map(|adapter| &adapter.checks);
        let (failed, all) = (checks().filter(|check| !check.pass).count(), checks().count());
        let mut wrong = Vec::new();
        if failed > 0 || all == 0 {
            wrong.push(format!("{failed} of {all} checks failed"));
        }
        let faults = self.faults.as_deref().unwrap_or_default();
        let missed = faults.iter().filter(|fault| !fault.missed_on.is_empty()).count();
        if missed > 0 {
            wrong.push(format!("{missed} of {} seeded faults were not caught", faults.len()));
        }
        wrong.join(", and ")
    }

    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for adapter in &self.adapters {
            let AdapterReport { name, backend, driver, .. } = adapter;
            lines.push(format!("{name} ({backend}, {driver})"));
            lines.extend(adapter.arithmetic_text());
            lines.push(output::table(
                &KERNEL_HEADER,
                3,
                adapter.kernels().iter().flat_map(Kernel::rows),
            ));
            lines.extend(adapter.checks.iter().filter(|check| !check.pass).map(failure));
            lines.push(String::new());
        }
        if let Some(faults) = &self.faults {
            let rows = faults.iter().map(FaultReport::row);
            lines.push(output::table(&FAULT_HEADER, 3, rows));
            lines.push(String::new());
        }
        let count = self.adapters.iter().map(|adapter| adapter.checks.len()).sum::<usize>();
        let sum = |of: fn(&Check) -> u64| -> u64 {
            self.adapters.iter().flat_map(|adapter| &adapter.checks).map(of).sum()
        };
        let (values, unbounded) = (sum(|check| check.values), sum(|check| check.unbounded));
        let verdict = if self.pass { "All is well".to_string() } else { self.failures() };
        let seed = self.seed;
        let how = match self.bits {
            Bits::Fast => format!("{unbounded} of them without a bound from WGSL"),
            Bits::Same => "bit for bit".into(),
        };
        lines.push(format!(
            "{verdict}. {count} checks of {values} values, {how}; --seed {seed} repeats them."
        ));
        lines.join("\n")
    }
}

impl AdapterReport {
    pub fn new(description: &Description) -> Self {
        let Description { name, backend, driver, .. } = description.clone();
        let (not_strict, without, checks) = (Vec::new(), Vec::new(), Vec::new());
        AdapterReport {
            name,
            backend,
            driver,
            arithmetic: None,
            not_strict,
            without,
            checks,
            pass: false,
        }
    }

    /// Adds the self-test of strict arithmetic.
    pub fn tested(&mut self, test: SelfTest) {
        let SelfTest { arithmetic, checks, failed, without } = test;
        self.arithmetic = Some(if arithmetic == Arithmetic::Exact { "exact" } else { "strict" });
        self.not_strict = failed;
        let difference = |(operation, differ, values): (&'static str, u64, u64)| Difference {
            operation,
            differ,
            values,
        };
        self.without = without.into_iter().map(difference).collect();
        self.add(checks);
    }

    pub fn add(&mut self, checks: Vec<Check>) {
        self.checks.extend(checks);
    }

    /// Computes the verdict of an adapter.
    pub fn concluded(self) -> Self {
        // Without checks nothing is proved.
        let pass = !self.checks.is_empty() && self.checks.iter().all(|check| check.pass);
        AdapterReport { pass, ..self }
    }

    /// The arithmetic of the device, and what it does without.
    fn arithmetic_text(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self.arithmetic {
            Some("exact") => {
                lines.push(
                    "The device does not round as strict arithmetic needs: exact arithmetic is compared.".into(),
                );
                lines.extend(self.not_strict.iter().map(failure));
            }
            Some(_) => lines.push("Strict arithmetic is compared.".into()),
            None => return lines,
        }
        let differ: Vec<String> = self
            .without
            .iter()
            .filter(|difference| difference.differ > 0)
            .map(|Difference { operation, differ, values }| {
                format!("{operation} ({differ} of {values})")
            })
            .collect();
        lines.push(match &differ[..] {
            [] => "The device's own arithmetic has the same bits here.".into(),
            differ => format!("The device's own arithmetic has other bits in {}.", differ.join(", ")),
        });
        lines
    }

    /// The checks by kernel, in the order of first occurrence.
    pub fn kernels(&self) -> Vec<Kernel<'_>> {
        let mut kernels: Vec<Kernel> = Vec::new();
        for check in &self.checks {
            match kernels.iter_mut().find(|kernel| kernel.name == check.kernel) {
                Some(kernel) => kernel.checks.push(check),
                None => kernels.push(Kernel { name: &check.kernel, checks: vec![check] }),
            }
        }
        kernels
    }
}

impl Kernel<'_> {
    /// A row for each kind of comparison.
    pub fn rows(&self) -> Vec<Vec<String>> {
        [Bound::Derived, Bound::Exact].into_iter().filter_map(|bound| self.row(bound)).collect()
    }

    fn row(&self, bound: Bound) -> Option<Vec<String>> {
        let checks: Vec<&&Check> = self.checks.iter().filter(|check| check.bound == bound).collect();
        let worst = checks.iter().max_by(|a, b| a.worst_ratio.total_cmp(&b.worst_ratio))?;
        let values: u64 = checks.iter().map(|check| check.values).sum();
        let element = worst.worst.as_ref();
        let failed = checks.iter().filter(|check| !check.pass).count();
        Some(vec![
            self.name.into(),
            if bound == Bound::Derived { "derived" } else { "same bits" }.into(),
            element.map_or(String::new(), |e| format!("{}: {}[{}]", worst.case, e.quantity, e.element)),
            checks.len().to_string(),
            values.to_string(),
            ratio(worst),
            element.map_or(String::new(), |e| e.actual_bits.clone()),
            element.map_or(String::new(), |e| e.expected_bits.clone()),
            if failed == 0 { "ok".into() } else { format!("{failed} FAILED") },
        ])
    }
}

impl FaultReport {
    pub fn row(&self) -> Vec<String> {
        let caught = match &self.missed_on[..] {
            [] if self.caught_by.is_empty() => "a race that no device shows".into(),
            [] => self.caught_by.len().to_string(),
            missed => format!("NOT CAUGHT on {}", missed.join(", ")),
        };
        vec![self.fault.into(), caught, self.caught_by.first().cloned().unwrap_or_default()]
    }
}

/// The ratio of a check.
pub fn ratio(check: &Check) -> String {
    match (check.bound, check.worst_ratio) {
        (Bound::Exact, _) => String::new(),
        (_, f64::MAX) => "not a number".into(),
        (_, ratio) => format!("{ratio:.3}"),
    }
}

/// A failed check, in a line.
pub fn failure(check: &Check) -> String {
    let Check { kernel, case, error, worst, .. } = check;
    let mut line = format!("FAILED {kernel}: {case}");
    if let Some(e) = worst {
        line += &format!(
            ": {}[{}] is {:e} ({}) instead of {:e} ({}), {} ulps apart; {:e} is allowed",
            e.quantity,
            e.element,
            e.actual,
            e.actual_bits,
            e.expected,
            e.expected_bits,
            e.ulps,
            e.allowed
        );
    }
    if let Some(error) = error {
        line += &format!(": {error}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_optim::verify::Compared;

    fn report(checks: Vec<Check>) -> Report {
        let [name, backend, driver] = ["adapter", "backend", "driver"].map(String::from);
        let mut report = Report::new(1, Bits::Fast, true);
        let description = Description { kind: "gpu", name, backend, driver };
        let mut adapter = AdapterReport::new(&description);
        adapter.add(checks);
        report.adapters.push(adapter.concluded());
        report
    }

    fn right() -> Check {
        Check::exact("kernel", "case", &[Compared::new("params", [1.0], [1.0])])
    }

    #[test]
    fn one_wrong_check_fails_the_report_and_is_named() {
        let mut good = report(vec![right()]);
        good.conclude();
        assert!(good.pass && good.text().contains("All is well. 1 checks of 1 values"));
        let wrong = Check::exact("kernel", "case", &[Compared::new("params", [1.5], [1.0])]);
        let mut bad = report(vec![right(), wrong]);
        bad.conclude();
        assert!(!bad.pass && bad.failures() == "1 of 2 checks failed");
        assert!(bad.text().contains("params[0] is 1.5e0 (0x3fc00000) instead of 1e0 (0x3f800000)"));
    }

    #[test]
    fn no_checks_are_no_proof() {
        let mut report = report(Vec::new());
        report.conclude();
        assert!(!report.pass && report.failures() == "0 of 0 checks failed");
    }

    #[test]
    fn a_fault_must_be_caught_on_every_adapter() {
        let caught = |checks: &[&str]| FaultOutcome {
            fault: "fault",
            may_not_show: false,
            caught_by: checks.iter().map(|check| check.to_string()).collect(),
        };
        let mut report = report(vec![right()]);
        report.add_fault("first", caught(&["a", "b"]));
        report.conclude();
        assert!(report.pass);
        report.add_fault("second", caught(&[]));
        report.conclude();
        assert!(!report.pass && report.failures() == "1 of 1 seeded faults were not caught");
        let faults = report.faults.as_ref().unwrap();
        assert_eq!(
            (faults[0].caught_by.len(), &faults[0].missed_on[..]),
            (2, &["second".to_string()][..])
        );
        assert!(report.text().contains("NOT CAUGHT on second"));
    }
}
