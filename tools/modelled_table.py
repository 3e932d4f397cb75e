#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs `halfpipe bench` on modelled devices for several models, numbers of ranks and micro-batch sizes.

Prints one Markdown table per (ranks, model): for every micro-batch size and schedule tokens/s, MFU, bubble, peak activation
memory and peak memory of the fullest rank, or why the schedule does not run; then the best micro-batch size of each schedule.

Ranks are processes that sleep: on a machine with few cores, passes of a millisecond start late. --slow-down 4 runs everything
four times slower, links too, and reports the rates of the device that was asked for.

  tools/modelled_table.py --ranks 8 16 --models configs/modelled/gpt-6b_pp8_h100.yaml configs/modelled/gpt-28b_pp8_h100.yaml
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

GIB = 2.0**30


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", required=True, help="configurations with device.kind modelled")
    parser.add_argument("--ranks", nargs="+", type=int, default=[8, 16])
    parser.add_argument("--micro-batch-sizes", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--sequences-per-rank", type=int, default=8, help="global batch size / ranks")
    parser.add_argument("--schedules", default="1f1b,interleaved,zb-1p,v-min,v-half,v-zb,auto@50%")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--slow-down", type=float, default=1.0, help="factor on every time of the hardware profile")
    parser.add_argument("--halfpipe", default="build/halfpipe")
    parser.add_argument("--json", type=Path, help="write all results there")
    return parser.parse_args()


def slowed_profile(a, model, folder):
    """The hardware profile of a model's configuration, every rate divided and every time multiplied by --slow-down."""
    profile = re.search(r"^\s*hardware:\s*(\S+)", Path(model).read_text(), re.MULTILINE).group(1)

    def scaled(match):
        factor = 1 / a.slow_down if match.group(1).endswith("per_second") else a.slow_down
        return f"{match.group(1)}: {float(match.group(2)) * factor:.17g}"

    text = re.sub(r"(\w+_per_second|\w*_seconds): ([0-9.e+-]+)", scaled, Path(profile).read_text())
    path = Path(folder) / "hardware.yaml"
    path.write_text(text)
    return path


def bench(a, model, ranks, micro_batch_size):
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "bench.json"
        settings = {
            "device.hardware": slowed_profile(a, model, folder),
            "parallel.pipeline": ranks,
            "train.micro_batch_size": micro_batch_size,
            "train.global_batch_size": ranks * a.sequences_per_rank,
        }
        command = ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", a.halfpipe, "bench", model]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        command += ["--schedules", a.schedules, "--steps", str(a.steps), "--warm-up", "1", "--json", str(result)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.exists():
            report = json.loads(result.read_text())
            for schedule in report["schedules"]:
                if not schedule["problem"]:
                    schedule["tokens_per_second"] *= a.slow_down
            return report
        problem = (run.stderr.strip().splitlines() or ["no output"])[-1]
        if run.returncode == 2:  # the job itself is refused, for every schedule alike
            return {"refused": problem}
        sys.exit(f"{' '.join(command)} ended with {run.returncode}: {problem}")


def cells(schedule):
    activations = max(schedule["peak_activation_bytes"]["measured"]) / GIB
    total = max(schedule["total_bytes"]["measured"]) / GIB
    mfu = schedule["mfu"]
    ratio = schedule["measured"]["span"] / schedule["planned"]["span"]
    return (
        f"{schedule['tokens_per_second']:.0f} | {100 * mfu:.1f}% | {100 * schedule['planned']['bubble']:.1f}% | "
        f"{100 * schedule['measured']['bubble']:.1f}% | {ratio:.3f} | {activations:.1f} | {total:.1f}"
    )


def short(problem):
    return problem.split(": ", 1)[-1].split(";")[0]


def print_tables(a, model, ranks, results):
    parameters = next(r["model"]["num_parameters"] for r in results.values() if "model" in r)
    sequences = ranks * a.sequences_per_rank
    print(f"\n### {parameters / 1e9:.1f} G parameters, p = {ranks}, {sequences} sequences a step\n")
    print("| micro-batch | schedule | tok/s | MFU | bubble planned | measured | span measured / planned | activations, GiB | all, GiB |")
    print("| --: | --- | --: | --: | --: | --: | --: | --: | --: |")
    best = {}
    for size, result in results.items():
        if "refused" in result:
            print(f"| {size} | all | {short(result['refused'])} | | | | | | |")
            continue
        for schedule in result["schedules"]:
            name = schedule["schedule"]
            if schedule["problem"]:
                print(f"| {size} | `{name}` | {short(schedule['problem'])} | | | | | | |")
                continue
            print(f"| {size} | `{name}` | {cells(schedule)} |")
            if name not in best or schedule["tokens_per_second"] > best[name][0]:
                best[name] = (schedule["tokens_per_second"], size)
    reference = best.get("1f1b", (None,))[0]
    parts = []
    for name, (rate, size) in best.items():
        ratio = f", {rate / reference:.2f} of 1F1B's best" if reference else ""
        parts.append(f"`{name}` {rate:.0f} (micro-batch {size}{ratio})")
    print(f"\nBest of each: {'; '.join(parts)}.", flush=True)


def main():
    a = parse_arguments()
    everything = []
    for ranks in a.ranks:
        for model in a.models:
            results = {size: bench(a, model, ranks, size) for size in a.micro_batch_sizes}
            print_tables(a, model, ranks, results)
            everything.append({"model": model, "ranks": ranks, "results": results})
            if a.json:
                a.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
