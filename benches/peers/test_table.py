"""Pooling, statistics and the tables: `python -m unittest` in this folder, without PyTorch or a device."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np

import formulas
import goals
import pairs
import report
import table
import together

ADAPTER = {"name": "An adapter (1.2)", "backend": "vulkan", "driver_info": "3.4", "software": True}


def row(**given):
    """A step of Adam that took 10 ms."""
    return {"work": "step", "rule": "adam", "variant": None, "size": 1 << 24, "shape": None, "device": "cpu",
            "threads": 2, "cache": "hot", "samples": [0.01], "median_s": 0.01, "gb_s": 28e-9 * (1 << 24) / 0.01,
            "percent_of_copy": 90.0, **given}


def file(*rows, peer=None, cpu="A processor", adapter=None, started=None):
    stable = {"before": {"copy_gb_s": 10.0}, "after": {"copy_gb_s": 10.2}, "stable": True}
    machine = {"cpu": cpu, "threads": 2, "system": "Linux", "adapter": adapter}
    found = {"schema": 1, "peer": peer, "versions": {peer or "wgpu-optim": "1.2.3"}, "machine": machine,
             "calibration": stable, "rows": list(rows)}
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

    def test_the_limit_is_pooled_like_the_copy(self):
        rounds = [file(row(samples=[2.0], limit="triad", limit_beside=[1.0])),
                  file(row(samples=[4.0], limit="triad", limit_beside=[3.0]))]
        [pooled] = together.pool(rounds, 2, "now")["rows"]
        self.assertEqual((pooled["limit_beside"], pooled["percent_of_limit"]), ([1.0, 3.0], 62.5))

    def test_the_processor_is_not_pooled_where_an_adapter_is_asked_for(self):
        rows = row(), row(device=ADAPTER["name"], threads=None)
        [pooled] = together.pool([file(*rows, adapter=ADAPTER)], 1, "now")["rows"]
        self.assertEqual(pooled["device"], ADAPTER["name"])

    def test_files_are_named_by_what_they_are_of(self):
        names = [together.file_name(each) for each in (
            file(cpu="A(R) Processor"), file(adapter=ADAPTER), file(peer="torch"), file(peer="burn", adapter=ADAPTER))]
        self.assertEqual(names, ["wgpu-optim.a-processor.json", "wgpu-optim.an-adapter-1-2.json",
                                 "torch.a-processor.json", "burn.an-adapter-1-2.json"])

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
                with self.assertRaises(pairs.NotOurs):
                    pairs.load(path)
                path.write_text(json.dumps(file()))
                pairs.load(path)


class Commands(unittest.TestCase):
    """What a round runs, by the words of each command that say what it is."""

    def commands(self, cuda=True, software=True, **given):
        args = argparse.Namespace(**{"device": "gpu", "adapter": None, "ours": "ours", "burn": "burn", "sizes": None,
                                     "rules": None, "threads": 2, "time_budget": 1.0, "samples": 5,
                                     "no_compile": False, **given})
        found = {"machine": {"adapter": {**ADAPTER, "software": software}}}
        done = subprocess.CompletedProcess([], 0 if cuda else 1)
        with mock.patch.object(together, "run", return_value=found), mock.patch.object(report, "say") as said, \
                mock.patch.object(subprocess, "run", return_value=done):
            together.suit(args)
        self.said = [call.args[0] for call in said.call_args_list]
        return [" ".join(map(str, command)) for command in together.commands(args)]

    def test_a_software_adapter_has_small_steps_beside_burn_alone(self):
        ours, burn = self.commands(adapter="llvmpipe")
        self.assertIn("ours bench step --json --device=gpu --adapter=llvmpipe", ours)
        self.assertEqual(burn, "burn --sizes=2^16,2^20,2^24 --samples=5 --adapter=llvmpipe")
        self.assertEqual(self.said, ["left out: PyTorch: it has no device that is An adapter (1.2)"])

    def test_pytorch_is_left_out_aloud_without_cuda(self):
        self.assertFalse(any("torch_" in command for command in self.commands(cuda=False, software=False)))
        self.assertEqual(self.said, ["left out: PyTorch: there is no CUDA"])
        self.assertTrue(any("torch_steps.py --device=cuda" in command for command in self.commands(software=False)))

    def test_amsgrad_is_ours_and_lion_is_nobody_elses(self):
        ours, torch = self.commands(device="cpu", sizes="4096", rules="amsgrad,lion")
        self.assertIn("--rule=amsgrad,lion", ours)
        self.assertIn("--rules=amsgrad ", torch)
        self.assertEqual(len(self.commands(device="cpu", sizes="4096", rules="lion")), 1)

    def test_burn_is_told_which_adapter_ours_takes(self):
        _, burn = self.commands(sizes="4096")
        self.assertIn("--adapter=An adapter (1.2)", burn)
        self.assertEqual(len(self.commands(sizes="4096", rules="lion")), 1)


class Goals(unittest.TestCase):
    def goal(self, **given):
        return {"work": "step", "rule": "adam", "size": "2^24", "least": {"triad": 90}, "why": "",
                "peers": [{"library": "torch", "variant": "fused", "ratio": 1.1}], **given}

    def ours(self, **given):
        return file(row(**{"limit": "triad", "percent_of_limit": 95.0, **given}))

    def torch(self, median_s=0.02):
        return file(row(variant="fused", median_s=median_s), peer="torch")

    def judged(self, goal, *reports, on="processor"):
        """The cells of each line, the reasons below them, and what has none."""
        section = {"title": "Title", "on": on, "unmeasured": "Nothing has been measured.", "goals": [goal]}
        text, unexplained = goals.tables([section], list(reports))
        lines = text.splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        return cells[2:], [line for line in lines if line.startswith("- ")], unexplained

    def test_a_goal_is_met(self):
        [line], reasons, unexplained = self.judged(self.goal(why="not said"), self.ours(), self.torch())
        self.assertEqual(line, ["step of adam, 2²⁴", "10.0 ms, 47.0 GB/s", "PyTorch, fused: 20.0 ms, 47.0 GB/s",
                                "2.00", "≥ 1.1×, ≥ 90 % of triad", "90 %, peer 90 %", "95.0 % of triad", "yes"])
        self.assertEqual((reasons, unexplained), ([], []))

    def test_why_one_is_not_met_is_said(self):
        [line], reasons, unexplained = self.judged(self.goal(why="It is so."), self.ours(), self.torch(0.0105))
        self.assertEqual(line[-1], "no")
        self.assertEqual(reasons, ["- step of adam, 2²⁴ (PyTorch, fused: 1.05× of 1.1×): It is so."])
        self.assertEqual(unexplained, [])

    def test_one_that_is_not_met_needs_a_why(self):
        _, _, unexplained = self.judged(self.goal(), self.ours(percent_of_limit=80.0), self.torch())
        self.assertEqual(unexplained, ["Title, step of adam, 2²⁴: triad: 80.0 % of 90 %"])

    def test_another_limit_or_none_is_not_measured(self):
        for ours in (self.ours(limit="read"), file(row())):
            [line], _, [unexplained] = self.judged(self.goal(), ours, self.torch())
            self.assertEqual((line[-1], unexplained), ("no", "Title, step of adam, 2²⁴: triad: not measured"))

    def test_missing_rows_are_not_met(self):
        [line], _, [unexplained] = self.judged(self.goal(), self.ours(), file(row(variant="foreach"), peer="torch"))
        self.assertEqual((line[2], line[-1]), ("PyTorch, fused: not measured", "no"))
        [line], _, [unexplained] = self.judged(self.goal(), self.ours(threads=1), self.torch())
        self.assertEqual((line[1], line[-1]), ("not measured", "no"))
        self.assertEqual(unexplained, "Title, step of adam, 2²⁴: not measured")

    def test_each_peer_has_a_line(self):
        both = [{"library": "torch", "variant": each, "ratio": 2} for each in ("fused", "foreach")]
        torch = file(row(variant="fused", median_s=0.015), row(variant="foreach", median_s=0.03), peer="torch")
        lines, [reason], _ = self.judged(self.goal(peers=both), self.ours(), torch)
        self.assertEqual([line[-1] for line in lines], ["no", "yes"])
        self.assertIn("(PyTorch, fused: 1.50× of 2×)", reason)

    def test_what_no_peer_has_is_judged_by_its_limit(self):
        lion = self.goal(rule="lion", peers=[], alone="PyTorch has none")
        [line], _, unexplained = self.judged(lion, self.ours(rule="lion"))
        self.assertEqual((line[2], line[-1], unexplained), ("PyTorch has none", "yes", []))

    def test_what_was_not_measured_at_all_is_empty_and_says_so(self):
        [line], reasons, unexplained = self.judged(self.goal(), self.ours(), self.torch(), on="hardware")
        goal = "≥ 1.1×, ≥ 90 % of triad"
        self.assertEqual(line, ["step of adam, 2²⁴", "", "PyTorch, fused", "", goal, "", "", ""])
        self.assertEqual((reasons, unexplained), ([], []))
        text, _ = goals.tables(goals.read(), [])
        self.assertIn("No hardware adapter has been measured.", text)

    def test_an_adapter_is_judged_by_its_own_rows(self):
        on = {"device": ADAPTER["name"], "threads": None}
        ours = file(row(**on, percent_of_limit=92.0, limit="same streams"), adapter=ADAPTER)
        burn = file(row(**on, variant="fusion", median_s=0.03), peer="burn", adapter=ADAPTER)
        goal = self.goal(peers=[{"library": "burn", "variant": "fusion", "ratio": 2}], least={"same streams": 90})
        [line], _, _ = self.judged(goal, ours, burn, self.ours(), on="software")
        self.assertEqual((line[3], line[6], line[7]), ("3.00", "92.0 % of same streams", "yes"))

    def test_what_is_faster_than_ours_is_said_though_no_goal_asks(self):
        torch = file(row(variant="fused", median_s=0.02), row(variant="compiled", median_s=0.008), peer="torch")
        [line], reasons, unexplained = self.judged(self.goal(), self.ours(), torch)
        self.assertEqual((line[-1], unexplained), ("yes", []))
        self.assertEqual(reasons, ["- step of adam, 2²⁴: PyTorch, compiled, 0.800"])

    def test_tables_are_put_between_the_marks_alone(self):
        old = f"a\n{goals.BEGIN}\nold\n{goals.END}\nb\n"
        new = goals.put(old, "new\n", "benchmarks.md")
        self.assertEqual(new, f"a\n{goals.BEGIN}\n\nnew\n\n{goals.END}\nb\n")
        self.assertEqual(goals.put(new, "new\n", "benchmarks.md"), new)
        for bad in ("", goals.BEGIN, f"{goals.END} {goals.BEGIN}", old + old):
            with self.assertRaises(goals.Wrong):
                goals.put(bad, "new\n", "benchmarks.md")


class Document(unittest.TestCase):
    def table(self, *arguments):
        command = [sys.executable, "-B", together.HERE / "table.py", "--goals", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_it_has_what_the_committed_files_make(self):
        done = self.table("--into", together.ROOT / "docs" / "benchmarks.md", "--check")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_table_that_was_edited_is_found_and_made_again(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "benchmarks.md")
            path.write_text(f"{goals.BEGIN}\nedited\n{goals.END}\n")
            self.assertEqual(self.table("--into", path, "--check").returncode, 1)
            self.assertEqual(self.table("--into", path).returncode, 0)
            self.assertEqual(self.table("--into", path, "--check").returncode, 0)
            path.write_text("no marks\n")
            self.assertEqual(self.table("--into", path).returncode, 2)


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
