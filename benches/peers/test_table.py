"""Pooling, statistics and the table: `python -m unittest` in this folder, without PyTorch or a device."""

import json
import pathlib
import tempfile
import unittest

import numpy as np

import formulas
import report
import table
import together


def row(**given):
    """A step of Adam that took 10 ms."""
    return {"work": "step", "rule": "adam", "variant": None, "size": 1 << 24, "shape": None, "device": "cpu",
            "threads": 2, "cache": "hot", "samples": [0.01], "median_s": 0.01, "gb_s": 28e-9 * (1 << 24) / 0.01,
            "percent_of_copy": 90.0, **given}


def file(*rows, peer=None, cpu="A processor", started=None):
    stable = {"before": {"copy_gb_s": 10.0}, "after": {"copy_gb_s": 10.2}, "stable": True}
    found = {"schema": 1, "peer": peer, "versions": {peer or "wgpu-optim": "1.2.3"},
             "machine": {"cpu": cpu, "threads": 2, "system": "Linux"}, "calibration": stable, "rows": list(rows)}
    return {**found, "together": {"rounds": 2, "started": started}} if started else found


class Statistics(unittest.TestCase):
    def test_the_interval_is_that_of_the_sign_test(self):
        for count, rank in ((5, 1), (6, 1), (9, 2), (20, 6), (100, 40)):
            ordered = list(range(1, count + 1))
            self.assertEqual(report.interval(ordered), [rank, count + 1 - rank])

    def test_what_was_never_reached_is_slowest(self):
        found = report.summary({"work": "fit", "size": 10, "samples": [1.0, None, 3.0]})
        self.assertEqual((found["median_s"], found["interval"]), (3.0, None))

    def test_numbers_may_be_powers(self):
        self.assertEqual(report.numbers("2^24,1e6,7"), [1 << 24, 1_000_000, 7])
        self.assertEqual(report.shapes("2^16x256"), [(1 << 16, 256)])
        for bad in ("0", "1.5", "-3"):
            with self.assertRaises(report.argparse.ArgumentTypeError):
                report.number(bad)


class Pooling(unittest.TestCase):
    def test_samples_of_all_rounds_are_one_row(self):
        rounds = [file(row(samples=[1.0, 2.0, 3.0], median_s=2.0, bytes=8e9, beside=[1.0, 1.0, 1.0])),
                  file(row(samples=[4.0, 5.0, 6.0], median_s=5.0, bytes=8e9, beside=[2.0, 2.0, 2.0]))]
        [pooled] = together.pool(rounds, 2, "now")["rows"]
        self.assertEqual(pooled["samples"], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        self.assertEqual((pooled["median_s"], pooled["rounds"]), (3.5, [2.0, 5.0]))
        self.assertAlmostEqual(pooled["gb_s"], 8.0 / 3.5)
        # The median of 1, 1/2, 1/3, 1/2, 2/5, 1/3: of pairs, not of one median by another.
        self.assertAlmostEqual(pooled["percent_of_copy"], 45.0)

    def test_fits_are_nobody_elses(self):
        self.assertEqual(together.pool([file(row(work="fit"))], 1, "now")["rows"], [])

    def test_rows_that_differ_stay_apart(self):
        rounds = [file(row(), row(variant="foreach"), row(threads=1)), file(row(cache="cold"))]
        self.assertEqual(len(together.pool(rounds, 2, "now")["rows"]), 4)

    def test_a_drift_between_first_and_last_is_unstable(self):
        rounds = [file(row()), file(row())]
        rounds[1]["calibration"] = {"before": {"copy_gb_s": 10.2}, "after": {"copy_gb_s": 10.6}, "stable": True}
        self.assertFalse(together.pool(rounds, 2, "now")["calibration"]["stable"])


class Table(unittest.TestCase):
    def cells(self, *reports, **options):
        lines = table.table(list(reports), **options)[2:]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

    def test_a_line_has_both_and_the_ratio_with_its_spread(self):
        ours = file(row(rounds=[0.01, 0.011]), started="now")
        peer = file(row(variant="fused", median_s=0.02, gb_s=23.5, percent_of_copy=45.0, rounds=[0.02, 0.033]),
                    peer="torch", started="now")
        [cells] = self.cells(ours, peer)
        self.assertEqual(cells, ["step of adam, 2²⁴", "10.0 ms, 47.0 GB/s",
                                 "PyTorch 1.2.3, fused: 20.0 ms, 23.5 GB/s",
                                 "2.00 (2.00–3.00)", "90 %, peer 45 %", "A processor, 2 threads"])

    def test_rounds_of_different_runs_have_no_spread(self):
        ours = file(row(rounds=[0.01, 0.01]), started="now")
        peer = file(row(rounds=[0.02, 0.03], median_s=0.02), peer="torch", started="then")
        self.assertEqual(self.cells(ours, peer)[0][3], "2.00")

    def test_other_machines_devices_threads_and_sizes_are_not_compared(self):
        others = [file(row(), peer="torch", cpu="Another"), file(row(device="A card", threads=None), peer="torch"),
                  file(row(threads=1), peer="torch"), file(row(size=1 << 20), peer="torch")]
        self.assertEqual(self.cells(file(row()), *others), [])

    def test_hot_is_compared_where_there_is_hot(self):
        ours = file(row(cache="cold", median_s=0.04), row(median_s=0.01))
        [cells] = self.cells(ours, file(row(median_s=0.02), peer="torch"))
        self.assertEqual(cells[3], "2.00")

    def test_amsgrad_is_not_adam(self):
        ours = file(row(), row(variant="amsgrad", median_s=0.04))
        cells = self.cells(ours, file(row(rule="amsgrad", variant="fused", median_s=0.02), peer="torch"))
        self.assertEqual([cells[0][0], cells[0][3]], ["step of adam, 2²⁴", "—"])
        self.assertEqual([cells[1][0], cells[1][3]], ["step of amsgrad, 2²⁴", "0.500"])

    def test_what_no_peer_has_is_there_without_one(self):
        cells = self.cells(file(row(), row(rule="lion")), file(row(variant="fused"), peer="torch"))
        self.assertEqual([(line[0], line[2] == "—") for line in cells],
                         [("step of adam, 2²⁴", False), ("step of lion, 2²⁴", True)])

    def test_an_update_a_row_is_beside_adam_on_batches(self):
        shape = {"rows": 200_000, "features": 100}
        ours = [row(work="epoch", size=20_000_000, shape={**shape, "batch": batch}) for batch in (4096, 256)]
        its = row(work="epoch", rule="sgd", variant="SGDRegressor", size=20_000_000, shape={**shape, "batch": 1},
                  threads=1, median_s=0.1)
        cells = self.cells(file(*ours), file(its, peer="scikit-learn"))
        compared = [line for line in cells if line[2] != "—"]
        self.assertEqual([line[0] for line in compared], ["epoch of adam, 200000 × 100 by 4096"])
        self.assertIn("SGDRegressor, 1 thread:", compared[0][2])

    def test_the_fastest_variant_alone(self):
        peer = file(row(variant="foreach", median_s=0.03), row(variant="fused", median_s=0.02), peer="torch")
        self.assertEqual(len(self.cells(file(row()), peer)), 2)
        [cells] = self.cells(file(row()), peer, only_fastest=True)
        self.assertIn("fused", cells[2])

    def test_other_json_is_refused(self):
        for text in ("{}", "[1]", '{"schema": 2, "rows": []}', "none"):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, "a.json")
                path.write_text(text)
                with self.assertRaises(table.NotOurs):
                    table.load(path)
                path.write_text(json.dumps(file()))
                table.load(path)


class Formulas(unittest.TestCase):
    def test_first_steps_from_nothing(self):
        """With moments of zero a first step is known: lr · sign(g) where the gradient is normalised."""
        p, g = np.array([1.0, -1.0]), np.array([0.5, -2.0])
        known = {"adam": 1e-3, "amsgrad": 1e-3, "adamax": 2e-3, "adagrad": 1e-2, "rmsprop": 1e-1}
        for name, step in known.items():
            rule = formulas.RULES[name]
            found, _ = rule.formula(p, g, 1, *(np.zeros(2) for _ in rule.moments))
            np.testing.assert_allclose(found, p - step * np.sign(g), rtol=1e-6)

    def test_bytes_are_counted(self):
        known = {"adam": 28, "amsgrad": 36, "rmsprop": 20, "momentum": 20, "sgd": 12}
        self.assertEqual({name: formulas.RULES[name].bytes_per_parameter for name in known}, known)


if __name__ == "__main__":
    unittest.main()
