#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds `halfpipe schedule --name auto` against a table of what other schedulers reached.

Every row of the table is one instance (ranks, micro-batches, times, message time) with the bubble that a scheduler reached
and the memory that it needed for it. Halfpipe gets the same instance and that much memory. Rows that ask for the same are
searched once. Bubbles are shares of the longest device span, ours are measured from the passes that halfpipe writes.

better, worse: our bubble is lower, higher by more than 0.002; equal: all else. A row for which nothing fits counts as worse.
Exit code: 0; 1 when a row had no schedule or one that is not valid; 2 for a table or an option that cannot be used.
"""

import argparse
import csv
import json
import math
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

MARGIN = 0.002  # of bubble: less is no difference
FAR_FROM_BOUND = 0.02  # of bubble: beyond this there may be something to win
ROUNDING = 1e-9

EXAMPLES = """\
The table needs the columns peer, schedule, profile, p, m, T_F, T_B, T_W, T_comm, bubble_rate and peak_mem: times of one
micro-batch on one rank, bubble_rate of the device span, peak_mem in units (one micro-batch on 1/p of the model).

examples:
  tools/compare_schedules.py --peers schedules.csv --markdown table.md --csv table.csv
  tools/compare_schedules.py --peers schedules.csv --every 20 --seconds 0.2
  tools/compare_schedules.py --peers schedules.csv --seconds 10 --validator validate_schedule.py
"""


class TableError(Exception):
    """The table cannot be used; says where and why."""


@dataclass(frozen=True)
class Instance:
    """What is asked of a scheduler. Times in the table's unit, memory in units."""

    num_ranks: int
    num_micro_batches: int
    forward: float
    backward_input: float
    backward_weight: float
    message: float
    memory_limit: float

    @property
    def busy(self) -> float:
        return self.num_micro_batches * (self.forward + self.backward_input + self.backward_weight)

    @property
    def is_uneven(self) -> bool:
        return self.message > 0 or len({self.forward, self.backward_input, self.backward_weight}) > 1


@dataclass(frozen=True)
class PeerRow:
    line: int  # of the file
    peer: str
    schedule: str
    profile: str
    instance: Instance
    bubble: float


@dataclass(frozen=True)
class Answer:
    """What halfpipe made of an instance. Without a schedule only `problem` says something."""

    bubble: float = math.inf
    bound: float = math.nan  # bubble that no schedule can beat
    peak_memory: float = math.nan
    search_seconds: float = math.nan
    problem: str = ""  # why there is no schedule, or why it is not valid


# ---- the table of peers ----


def read_number(path: Path, line: int, record: dict, column: str, lowest: float, whole: bool = False) -> float:
    text = record[column]
    kind = "a whole number" if whole else "a number"
    rule = f"{path}, row {line}, column {column}: must be {kind} of at least {lowest:g}, not '{text}'"
    try:
        number = float(text)
    except ValueError:
        raise TableError(rule) from None
    if not math.isfinite(number) or number < lowest or (whole and number != int(number)):
        raise TableError(rule)
    return number


def read_row(path: Path, line: int, record: dict) -> PeerRow:
    def number(column: str, lowest: float = 0.0, whole: bool = False) -> float:
        return read_number(path, line, record, column, lowest, whole)

    instance = Instance(
        int(number("p", 1, whole=True)),
        int(number("m", 1, whole=True)),
        number("T_F"),
        number("T_B"),
        number("T_W"),
        number("T_comm"),
        number("peak_mem"),
    )
    if instance.busy == 0:
        raise TableError(f"{path}, row {line}, columns T_F, T_B, T_W: must not all be 0")
    return PeerRow(line, record["peer"], record["schedule"], record["profile"], instance, number("bubble_rate", -ROUNDING))


COLUMNS = ("peer", "schedule", "profile", "p", "m", "T_F", "T_B", "T_W", "T_comm", "bubble_rate", "peak_mem")


def read_peers(path: Path) -> list:
    """Rows are numbered as lines of the file: the first one below the header is 2."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            for column in COLUMNS:
                if column not in (reader.fieldnames or []):
                    raise TableError(f"{path}, row 1: there is no column {column}")
            rows = [read_row(path, reader.line_num, record) for record in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: cannot be read: {error}") from None
    if not rows:
        raise TableError(f"{path}: has no rows")
    return rows


# ---- halfpipe's answer ----


def span_of(passes: list) -> float:
    by_rank = defaultdict(list)
    for one in passes:
        by_rank[one["device"]].append(one)
    return max(max(o["end"] for o in ops) - min(o["start"] for o in ops) for ops in by_rank.values())


def first_difference(instance: Instance, schedule: dict) -> str:
    """Where the schedule is not one of this instance; a validator sees only what is in the schedule."""
    passes = schedule["rows"]
    num_stages = len({one["stage"] for one in passes})
    if {one["device"] for one in passes} != set(range(instance.num_ranks)):
        return f"not every one of the {instance.num_ranks} ranks has passes"
    if {one["microbatch"] for one in passes} != set(range(instance.num_micro_batches)):
        return f"it does not have {instance.num_micro_batches} micro-batches"
    if len(passes) != 3 * num_stages * instance.num_micro_batches:
        return f"it has {len(passes)} passes for {num_stages} stages"
    if max(schedule["peak_memory"]) > instance.memory_limit + ROUNDING:
        return f"it needs {max(schedule['peak_memory'])} units"
    return ""


def validate(validator: Path, instance: Instance, schedule: dict) -> str:
    """What the validator has against the schedule; nothing where it says valid."""
    chunks = len({one["stage"] for one in schedule["rows"]}) // instance.num_ranks
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(schedule, file)
        file.flush()
        command = [sys.executable] if validator.suffix == ".py" else []
        command += [str(validator), file.name, "--p", str(instance.num_ranks), "--comm", repr(instance.message)]
        command += ["--limit", repr(instance.memory_limit)]
        times = {"--tf": instance.forward, "--tb": instance.backward_input, "--tw": instance.backward_weight}
        for option, seconds in times.items():
            command += [option, repr(seconds / chunks)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else f"the validator says: {(result.stdout + result.stderr).strip()[:500]}"


def ask(halfpipe: Path, instance: Instance, seconds: float, validator: Optional[Path]) -> Answer:
    command = [str(halfpipe), "schedule", "--name", "auto", "--json", "-", "--seconds", repr(seconds)]
    command += ["--ranks", str(instance.num_ranks), "--micro-batches", str(instance.num_micro_batches)]
    command += ["--forward", repr(instance.forward), "--backward-input", repr(instance.backward_input)]
    command += ["--backward-weight", repr(instance.backward_weight), "--comm", repr(instance.message)]
    command += ["--memory-limit", repr(instance.memory_limit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return Answer(problem=f"no schedule: {result.stderr.strip()}")
    schedule = json.loads(result.stdout)
    problem = first_difference(instance, schedule)
    if not problem and validator:
        problem = validate(validator, instance, schedule)
    return Answer(
        bubble=1 - instance.busy / span_of(schedule["rows"]),
        bound=max(0.0, 1 - instance.busy / schedule["lower_bound_span"]),  # a bound may lack a rounding error
        peak_memory=max(schedule["peak_memory"]),
        search_seconds=schedule["search_seconds"],
        problem=problem,
    )


# ---- the comparison ----


def verdict(row: PeerRow, answer: Answer) -> str:
    if answer.bubble > row.bubble + MARGIN:
        return "worse"
    return "better" if answer.bubble < row.bubble - MARGIN else "equal"


def count_verdicts(pairs: list) -> dict:
    counts = {"better": 0, "equal": 0, "worse": 0}
    for row, answer in pairs:
        counts[verdict(row, answer)] += 1
    return counts


def counts_by_schedule(pairs: list) -> list:
    """[(name, counts)]: all rows first, then each schedule of each peer in the order of the table."""
    groups = defaultdict(list)
    for row, answer in pairs:
        groups[f"{row.schedule} ({row.peer})"].append((row, answer))
    return [("all", count_verdicts(pairs))] + [(name, count_verdicts(group)) for name, group in groups.items()]


def share_sentence(pairs: list) -> str:
    """How often we are better where there is something to win and costs are not the textbook's."""
    open_rows = [(r, a) for r, a in pairs if r.instance.is_uneven and r.bubble - a.bound > FAR_FROM_BOUND]
    better = count_verdicts(open_rows)["better"]
    share = f" ({100 * better / len(open_rows):.1f}%)" if open_rows else ""
    return (
        f"Better by more than {MARGIN} on {better} of {len(open_rows)} rows{share} that are more than {FAR_FROM_BOUND} "
        "from the lower bound and whose pass times differ or whose messages take time."
    )


# ---- what is written ----

CSV_COLUMNS = (
    "row", "peer", "schedule", "profile", "p", "m", "T_F", "T_B", "T_W", "T_comm", "memory_limit",
    "peer_bubble", "bubble", "lower_bound_bubble", "verdict", "peak_memory", "search_seconds", "problem",
)  # fmt: skip


def write_csv(path: Path, pairs: list) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for row, answer in pairs:
            i = row.instance
            writer.writerow(
                [row.line, row.peer, row.schedule, row.profile, i.num_ranks, i.num_micro_batches]
                + [f"{number:g}" for number in (i.forward, i.backward_input, i.backward_weight, i.message)]
                + [f"{i.memory_limit:g}", f"{row.bubble:.6f}", f"{answer.bubble:.6f}", f"{answer.bound:.6f}"]
                + [verdict(row, answer), f"{answer.peak_memory:g}", f"{answer.search_seconds:.3f}", answer.problem]
            )


def summary(pairs: list, num_searches: int) -> list:
    """Lines, as text and as Markdown alike."""
    counts = counts_by_schedule(pairs)
    width = max(len(name) for name, _ in counts)
    lines = [f"{len(pairs)} rows, {num_searches} searches.", ""]
    lines += [f"| {'schedule':{width}} | better | equal | worse |", f"| {'-' * width} | -----: | ----: | ----: |"]
    for name, count in counts:
        lines.append(f"| {name:{width}} | {count['better']:6} | {count['equal']:5} | {count['worse']:5} |")
    lines += ["", share_sentence(pairs)]
    problems = sum(1 for _, answer in pairs if answer.problem)
    if problems:
        lines += ["", f"{problems} rows have no valid schedule."]
    return lines


def write_markdown(path: Path, pairs: list, num_searches: int, seconds: float) -> None:
    lines = ["# Schedules found against schedules of others", ""]
    lines += [f"`halfpipe schedule --name auto --seconds {seconds:g}`, each at the memory that the other needed.", ""]
    lines += summary(pairs, num_searches)
    lines += ["", "Times: F/B/W + message. Memory in units. Bubbles of the longest device span.", ""]
    lines += ["| row | schedule | p, m | times | memory | other | ours | bound | seconds | |"]
    lines += ["| --: | --- | --- | --- | --: | --: | --: | --: | --: | --- |"]
    for row, answer in pairs:
        i = row.instance
        times = f"{i.forward:g}/{i.backward_input:g}/{i.backward_weight:g} + {i.message:g}"
        lines.append(
            f"| {row.line} | {row.schedule} | {i.num_ranks}, {i.num_micro_batches} | {times} | {i.memory_limit:g} "
            f"| {row.bubble:.4f} | {answer.bubble:.4f} | {answer.bound:.4f} | {answer.search_seconds:.2f} "
            f"| {'no valid schedule' if answer.problem else verdict(row, answer)} |"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# ---- the command ----


def parse_arguments() -> argparse.Namespace:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, required=True, metavar="FILE", help="CSV of other schedulers' results")
    parser.add_argument("--seconds", type=float, default=1.0, help="per search (default 1)")
    parser.add_argument("--rows", type=int, metavar="N", help="take at most N rows")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="take every K-th row, from the first on")
    parser.add_argument("--validator", type=Path, metavar="PATH", help="program that gets each schedule as a JSON file, with "
                        "--p, --comm, --limit, --tf, --tb, --tw; exit code 0 says valid")  # fmt: skip
    parser.add_argument("--halfpipe", type=Path, default=root / "build" / "halfpipe", metavar="PATH", help="the program")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write counts and all rows as Markdown")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all rows as CSV")
    options = parser.parse_args()
    if not options.seconds > 0:
        parser.error(f"--seconds ({options.seconds:g}) must be above 0")
    for name in ("rows", "every"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} ({value}) must be at least 1")
    for name in ("halfpipe", "validator"):
        path = getattr(options, name)
        if path is not None and not path.is_file():
            parser.error(f"--{name} ({path}): there is no such file")
    for name in ("markdown", "csv"):
        path = getattr(options, name)
        if path is not None and not path.resolve().parent.is_dir():
            parser.error(f"--{name} ({path}): there is no folder {path.parent}")
    return options


def compare(options: argparse.Namespace, rows: list) -> int:
    answers = {}
    pairs = []
    for row in rows:
        if row.instance not in answers:
            if answers and len(answers) % 50 == 0:
                print(f"{len(answers)} searches, at row {row.line}", file=sys.stderr)
            answers[row.instance] = ask(options.halfpipe, row.instance, options.seconds, options.validator)
        answer = answers[row.instance]
        pairs.append((row, answer))
        if answer.problem:
            print(f"{options.peers}, row {row.line} ({row.schedule}): {answer.problem}", file=sys.stderr)
    print("\n".join(summary(pairs, len(answers))))
    if options.csv:
        write_csv(options.csv, pairs)
    if options.markdown:
        write_markdown(options.markdown, pairs, len(answers), options.seconds)
    return 1 if any(answer.problem for _, answer in pairs) else 0


def main() -> int:
    options = parse_arguments()
    try:
        rows = read_peers(options.peers)
    except TableError as error:
        print(f"compare_schedules: {error}", file=sys.stderr)
        return 2
    return compare(options, rows[:: options.every][: options.rows])


if __name__ == "__main__":
    sys.exit(main())
