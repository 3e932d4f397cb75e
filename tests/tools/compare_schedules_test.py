# SPDX-License-Identifier: Apache-2.0
"""tools/compare_schedules.py as its users run it. Arguments: the halfpipe program, the script.

The rows are such that named schedules decide them, however short the search: V-ZB has no bubble at 4 units.
"""

import csv
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HEADER = (
    "peer,schedule,profile,p,m,T_F,T_B,T_W,T_comm,mem_limit,device_span,makespan,bubble_rate,"
    "bubble_rate_makespan,peak_mem,scheduler_seconds\n"
)
# 1F1B with messages (better), 1F1B again with another bubble (the same search), V-ZB (equal), and a
# bubble that nothing reaches at 2 units (worse).
ROWS = (
    "a,1F1B,x,4,8,1,1,1,0.05,,,,0.30,,4,0\n"
    "b,1F1B,x,4,8,1,1,1,0.05,,,,0.29,,4,0\n"
    "a,V-ZB,x,4,8,1,1,1,0,4,,,0.0,,4,0\n"
    "a,V-Min,x,4,8,1,1,1,0,,,,0.0,,2,0\n"
)


class CompareSchedules(unittest.TestCase):
    halfpipe = ""
    script = ""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_on(self, table, *options):
        peers = self.folder / "peers.csv"
        peers.write_text(table, encoding="utf-8")
        command = [sys.executable, self.script, "--halfpipe", self.halfpipe, "--seconds", "0.05"]
        command += ["--peers", str(peers), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def validator(self, exit_code):
        path = self.folder / "validator.py"
        path.write_text(
            "import json, sys\n"
            "schedule = json.load(open(sys.argv[1]))\n"
            "assert '--limit' in sys.argv and len(schedule['rows']) > 0\n"
            f"sys.exit({exit_code})\n",
            encoding="utf-8",
        )
        return str(path)

    def cells(self, text, name):
        """The numbers of the line of the summary's table that begins with this name."""
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if cells[0] == name:
                return [int(cell) for cell in cells[1:]]
        self.fail(f"no line for {name} in {text}")

    def test_counts_better_equal_and_worse(self):
        result = self.run_on(HEADER + ROWS)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("4 rows, 3 searches.", result.stdout)
        self.assertEqual(self.cells(result.stdout, "all"), [2, 1, 1])
        self.assertEqual(self.cells(result.stdout, "1F1B (a)"), [1, 0, 0])
        self.assertEqual(self.cells(result.stdout, "1F1B (b)"), [1, 0, 0])
        self.assertEqual(self.cells(result.stdout, "V-ZB (a)"), [0, 1, 0])
        self.assertEqual(self.cells(result.stdout, "V-Min (a)"), [0, 0, 1])
        self.assertIn("on 2 of 2 rows (100.0%)", result.stdout)

    def test_writes_every_row(self):
        table = self.folder / "table.csv"
        markdown = self.folder / "table.md"
        result = self.run_on(HEADER + ROWS, "--csv", str(table), "--markdown", str(markdown))
        self.assertEqual(result.returncode, 0, result.stderr)
        with table.open(newline="", encoding="utf-8") as file:
            written = list(csv.DictReader(file))
        self.assertEqual([row["row"] for row in written], ["2", "3", "4", "5"])
        self.assertEqual([row["verdict"] for row in written], ["better", "better", "equal", "worse"])
        for row in written:
            self.assertLessEqual(float(row["lower_bound_bubble"]), float(row["bubble"]))
            self.assertLessEqual(float(row["peak_memory"]), float(row["memory_limit"]))
        self.assertEqual(float(written[2]["bubble"]), 0.0)
        text = markdown.read_text(encoding="utf-8")
        self.assertEqual(self.cells(text, "all"), [2, 1, 1])
        self.assertIn("| 5 | V-Min | 4, 8 | 1/1/1 + 0 | 2 | 0.0000 |", text)

    def test_takes_a_sample(self):
        result = self.run_on(HEADER + ROWS, "--every", "2")  # rows 2 and 4
        self.assertEqual(self.cells(result.stdout, "all"), [1, 1, 0])
        result = self.run_on(HEADER + ROWS, "--rows", "1")
        self.assertEqual(self.cells(result.stdout, "all"), [1, 0, 0])

    def test_believes_the_validator(self):
        result = self.run_on(HEADER + ROWS, "--rows", "1", "--validator", self.validator(0))
        self.assertEqual(result.returncode, 0, result.stderr)
        result = self.run_on(HEADER + ROWS, "--rows", "1", "--validator", self.validator(1))
        self.assertEqual(result.returncode, 1)
        self.assertIn("peers.csv, row 2 (1F1B): the validator says", result.stderr)
        self.assertIn("1 rows have no valid schedule", result.stdout)

    def test_counts_a_row_that_nothing_fits_as_worse(self):
        result = self.run_on(HEADER + "a,V-Min,x,4,8,1,1,1,0,,,,0.9,,0.5,0\n")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(self.cells(result.stdout, "all"), [0, 0, 1])
        self.assertIn("row 2 (V-Min): no schedule: ", result.stderr)

    def test_names_file_row_and_column(self):
        for row, rule in {
            "a,1F1B,x,4,8,fast,1,1,0,,,,0.3,,4,0\n": "column T_F: must be a number of at least 0, not 'fast'",
            "a,1F1B,x,4.5,8,1,1,1,0,,,,0.3,,4,0\n": "column p: must be a whole number of at least 1, not '4.5'",
            "a,1F1B,x,4,0,1,1,1,0,,,,0.3,,4,0\n": "column m: must be a whole number of at least 1, not '0'",
            "a,1F1B,x,4,8,1,1,1,0,,,,0.3,,,0\n": "column peak_mem: must be a number of at least 0, not ''",
            "a,1F1B,x,4,8,1,1,1,-1,,,,0.3,,4,0\n": "column T_comm: must be a number of at least 0, not '-1'",
            "a,1F1B,x,4,8,1\n": "column T_B: must be a number of at least 0, not ''",
            "a,1F1B,x,4,8,0,0,0,0,,,,0.3,,4,0\n": "columns T_F, T_B, T_W: must not all be 0",
        }.items():
            result = self.run_on(HEADER + ROWS + row)
            self.assertEqual(result.returncode, 2)
            self.assertIn(f"peers.csv, row 6, {rule}", result.stderr)
        result = self.run_on(HEADER.replace("bubble_rate,", "bubbles,") + ROWS)
        self.assertEqual(result.returncode, 2)
        self.assertIn("row 1: there is no column bubble_rate", result.stderr)
        self.assertIn("has no rows", self.run_on(HEADER).stderr)

    def test_refuses_options_that_make_no_sense(self):
        for option, rule in {
            ("--every", "0"): "--every (0) must be at least 1",
            ("--seconds", "0"): "--seconds (0) must be above 0",
            ("--halfpipe", "/nowhere"): "--halfpipe (/nowhere): there is no such file",
            ("--csv", "/nowhere/table.csv"): "there is no folder /nowhere",
        }.items():
            result = self.run_on(HEADER + ROWS, *option)
            self.assertEqual(result.returncode, 2)
            self.assertIn(rule, result.stderr)
        self.assertIn("examples:", self.run_on(HEADER, "--help").stdout)


if __name__ == "__main__":
    CompareSchedules.halfpipe, CompareSchedules.script = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
