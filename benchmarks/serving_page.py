"""What was measured, as the page `docs/serving.md`."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from serving_customers import HORIZON_DAYS, N_ORDERS, OURS
from serving_load import BARE, CONSTANT, MLFLOW, Load, Loads, Plan, ours

from training.fingerprint import git_commit

PACKAGES = (
    "bentoml", "mlflow", "lightgbm", "numpy", "pandas", "pydantic", "orjson", "uvicorn", "uvloop", "httptools",
    "starlette",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """A ratio of two contenders' figures, and what it must be."""

    text: str
    figure: str
    mine: Sequence[Load]
    other: Sequence[Load]
    at_least: float | None = None
    at_most: float | None = None
    aim: str = ""

    def row(self) -> str:
        """Line of the table: median, lowest and highest of the rounds' ratios, and whether it is enough."""
        ratios = self._ratios(self.figure)
        middle, span = median(ratios), f"{min(ratios):.2f} … {max(ratios):.2f}"
        if self.at_least is not None:
            rule, enough = f"≥ {self.at_least:g}", middle >= self.at_least
        else:
            rule, enough = f"≤ {self.at_most:g}", middle <= (self.at_most or 0.0)
        by_cpu = f"{1.0 / median(self._ratios('cpu_us')):.2f}" if self.figure == "per_second" else ""
        return (
            f"| {self.text} | {middle:.2f} | {span} | {by_cpu} | {rule}{self.aim} | {'yes' if enough else '**no**'} |"
        )

    def _ratios(self, figure: str) -> list[float]:
        pairs = zip(self.mine, self.other, strict=True)
        return [getattr(mine, figure) / getattr(other, figure) for mine, other in pairs]


def wanted(plan: Plan, of_one: Loads, of_many: Loads) -> Iterator[Wanted]:
    """The lines that the project asks of itself, for each kind of body."""
    busy, at = plan.connections[-1], plan.bulk_connections
    for mine in map(ours, OURS):
        text, loads = f"requests/s at {busy} connections", (of_one[mine, busy], of_one[MLFLOW, busy])
        yield Wanted(f"{mine} / {MLFLOW}: {text}", "per_second", *loads, at_least=15, aim=", aim 25")
        loads = of_one[mine, busy], of_one[BARE, busy]
        yield Wanted(f"{mine} / {BARE}: {text}", "per_second", *loads, at_least=0.3, aim=", aim 0.5")
        for n in plan.connections:
            loads = of_one[mine, n], of_one[BARE, n]
            yield Wanted(f"{mine} / {BARE}: p99 at {n}", "p99_ms", *loads, at_most=3)
        loads = of_many[mine, at], of_many[MLFLOW, at]
        yield Wanted(f"{mine} / {MLFLOW}: CPU of {plan.n_bulk:,} customers", "cpu_us", *loads, at_most=1)


def ratios(plan: Plan, of_one: Loads, of_many: Loads) -> list[str]:
    """What the project asks of itself, and what was found."""
    head = ["| ratio | median of the rounds | lowest … highest | by CPU | wanted | enough |"]
    head += ["|---|--:|--:|--:|--:|---|"]
    return head + [line.row() for line in wanted(plan, of_one, of_many)]


def table(loads: Loads, unit: str, unit_us: float) -> list[str]:
    """Medians over the rounds."""
    head = f"| server | connections | requests/s | p50 ms | p99 ms | CPU {unit} a request | of a core |"
    lines = [head, "|---|--:|--:|--:|--:|--:|--:|"]
    for (name, connections), found in sorted(loads.items(), key=lambda item: item[0][1]):
        rate, p50, p99, cpu = (median(getattr(one, key) for one in found) for key in Load.__dataclass_fields__)
        figures = f"{rate:,.1f} | {p50:,.2f} | {p99:,.2f} | {cpu / unit_us:,.1f}"
        used = median(one.per_second * one.cpu_us / 1e6 for one in found)
        lines.append(f"| {name} | {connections} | {figures} | {used:.0%} |")
    return lines


def method(plan: Plan, sizes: Mapping[str, int]) -> list[str]:
    """Who was asked, and how."""
    bytes_ = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    return [
        f"One model, trained on CDNOW with one horizon of {HORIZON_DAYS} days and registered in MLflow. `clv serve` "
        f"(one worker, as installed) answers in full from {N_ORDERS} raw orders a customer, reasons left out. "
        f"`{MLFLOW}` (local environment, one worker) serves the same registered version from features computed "
        f"beforehand. The {BARE} is uvicorn, starlette and orjson around LightGBM's C call for one row, one thread: "
        "five boosters on ready inputs, without checks, blend, intervals or standing. The "
        f"{CONSTANT} reads the same body and answers the same to all.",
        "",
        f"Servers on core 0, load from core 1, everyone in turn within a round, after a warm-up; {plan.rounds} × "
        f"{plan.seconds:g} s, medians over the rounds. {plan.n_singles} made-up customers in turn (bytes of a body: "
        f"{bytes_}), asked by wrk with one thread. {plan.n_bulk:,} customers a call: {plan.bulk_requests} counted "
        f"calls a round, {plan.n_bulk_bodies} different bodies. Every body for one customer was asked once before and "
        "had to be answered with 200, as every counted call; under wrk no status of 400 or above and no socket error.",
        "",
        "CPU is user and system time of the server's whole process tree. The share of a core says how much of core 0 "
        "it had: neighbours on the machine lower it and requests/s, but hardly the CPU of a request, so that ratios of "
        "requests/s stand beside the same by CPU.",
    ]


def machine(load_before: Sequence[float]) -> str:
    """Where and with what it was measured."""
    names = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    wrk = subprocess.run(["wrk", "--version"], capture_output=True, text=True).stdout.split()[1]
    loads = " → ".join("/".join(f"{one:.1f}" for one in three) for three in (load_before, os.getloadavg()))
    commit, _, changes = git_commit().partition("+")
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux "
        f"{platform.release()}; load average {loads}, this run's own included. Python {platform.python_version()}, "
        f"{packages}, wrk {wrk}; commit {commit[:12]}{' with ' * bool(changes)}{changes}, {datetime.now(UTC):%Y-%m-%d}."
    )


def page(
    plan: Plan,
    of_one: Loads,
    of_many: Loads,
    agreed: Sequence[str],
    sizes: Mapping[str, int],
    load_before: Sequence[float],
) -> str:
    """The whole page."""
    lines = [
        *("# Serving", "", "Written by `benchmarks/serving.py`; do not edit.", "", *method(plan, sizes)),
        *("", "## What the project asks of itself", "", *ratios(plan, of_one, of_many)),
        *("", "## One customer a call", "", *table(of_one, "µs", 1.0)),
        *("", f"## {plan.n_bulk:,} customers a call", "", *table(of_many, "ms", 1e3)),
        *("", "## Checked before", "", *(f"- {line}." for line in agreed)),
        *("", "## Machine", "", machine(load_before)),
    ]
    return "\n".join(lines) + "\n"
