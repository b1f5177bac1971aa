"""What `speed.py` measured, as the page `docs/performance.md`: only what this invocation has run."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from speed_measure import Run
from speed_peers import TABLE_PEERS, pymc_python, tables_python, versions
from speed_ratios import (
    EXAMPLES,
    FEATURES,
    FIT,
    GIANT,
    HELD,
    HORIZON_DAYS,
    MOMENTS,
    OURS,
    PYMC,
    SCORE,
    TRAIN,
    Found,
    lines,
)

PACKAGES = ("numpy", "scipy", "lightgbm", "pandas", "pyarrow")


def page(found: Found) -> str:
    """The whole page."""
    asked = ["| figure | median | lowest … highest | without imports | wanted | enough |", "|---|--:|--:|--:|--:|---|"]
    asked += [line.row() for line in lines(found)]
    parts = [
        ("# Performance", ["Written by `benchmarks/speed.py`; do not edit.", "", *method(found)]),
        ("## What the project asks of itself", asked),
        ("## Features: a folder of Parquet in, Parquet out", table(found, FEATURES)),
        ("## Features: a folder of Parquet in, all features in memory, nothing written", table(found, HELD)),
        ("## Every customer's features at monthly cut-offs of one log, in Parquet", table(found, MOMENTS)),
        ("## Training examples of monthly cut-offs of one log, drawn as `clv train` does", table(found, EXAMPLES)),
        (f"## `clv train FOLDER --horizon-days {HORIZON_DAYS}`", table(found, TRAIN)),
        ("## `clv score FOLDER --out scores.parquet`", table(found, SCORE)),
        ("## Stages of a score", stage_table(found.stages) if found.stages else []),
        ("## Fitting and predicting", fit_table(found)),
        ("## One customer a call", _online(found.online) if found.online else []),
        ("## Checked before", [f"- {line}." for line in (*found.agreed, *_bits(found.bits))]),
        ("## Machine", [machine(found)]),
    ]
    return "\n".join(line for title, text in parts if text for line in (title, "", *text, ""))[:-1] + "\n"


def method(found: Found) -> list[str]:
    """What was run, and how."""
    limit = found.limit_bytes and f" Our own jobs ran under `prlimit --data={found.limit_bytes}`."
    return [
        "Logs are BG/NBD and gamma-gamma with known parameters (`benchmarks/speed_log.py`): integer ids, times over "
        "two years, about 9.2 orders a customer, one order in fifty sent back. `by_time` is the order of a table that "
        "is appended to, customers mixed; `by_customer` has each customer's rows together, 100,000 customers a file. "
        "The giant is one more customer; its orders are counted in the rows.",
        "",
        f"Every run is a fresh process; everyone once within a repetition, in a random order; medians of "
        f"{found.repetitions} repetition(s), of one above {found.once_above:g} million orders, where we run alone. "
        "CPU is user and system time of the whole process tree, start of the interpreter and imports (of compiled "
        "modules) included "
        "(also told apart where the job says so). Peak is resident memory. Features are the 65 that need no optional "
        "column, written as Parquet with snappy (numbers other than shares byte by byte, BYTE_STREAM_SPLIT, by pandas "
        "and by us, who also write as such what is never null) or held in memory, as each figure says. pandas is "
        "`benchmarks/pandas_features.py`; Polars is one lazy query on the streaming engine; "
        "DuckDB is SQL by hand; Ibis runs on DuckDB; all with as many threads as they like."
        f"{limit or ''} Rows that were not run are not here; lower ratios are better, unless at least (≥) something "
        "is wanted.",
    ]


def table(found: Found, what: str) -> list[str]:
    """Medians of all runs of a measurement; a failed run says so."""
    head = ["| who | layout | million orders | rows | CPU s | of which before the job | wall s | peak MiB |"]
    lines = [*head, "|---|---|--:|--:|--:|--:|--:|--:|"]
    for key, runs in sorted(found.runs.items(), key=lambda item: (item[0].millions, item[0].layout)):
        if key.what == what:
            rows = found.rows.get((key.millions, GIANT if key.who == GIANT else OURS), 0)
            lines.append(f"| {key.who} | {key.layout} | {key.millions:g} | {rows:,} | {_cells(runs)} |")
    return lines if len(lines) > 2 else []


def _cells(runs: Sequence[Run]) -> str:
    if any(run.failed for run in runs):
        failed = next(run for run in runs if run.failed)
        return f"failed after {failed.wall_s:.0f} s: {failed.failed.replace('|', '/')} | | |"
    cpu, start, wall, peak = (
        median(getattr(r, name) for r in runs) for name in ("cpu_s", "start_cpu_s", "wall_s", "peak_mb")
    )
    before = "" if start != start else f"{start:.2f}"
    return f"{cpu:,.2f} | {before} | {wall:,.2f} | {peak:,.0f}"


def stage_table(stages: Mapping[str, float]) -> list[str]:
    """Stages of a score for the same customers."""
    n = stages["customers"]
    text = {
        "trees": "bare `Booster.predict` of the same trees, one thread, ready matrix",
        "features": "orders in memory → the model's features",
        "predict": "features → predictions (trees, buy-till-you-die, blend, intervals)",
        "answers": "orders in memory → answers (features, predictions, standing, segments)",
        "table": "answers → columns",
        "write": "columns → Parquet file",
    }
    rows = [f"| {text[name]} | {stages[name]:.3f} | {n / stages[name]:,.0f} |" for name in text]
    return [f"| stage, {n:,.0f} customers | CPU s | rows a CPU second |", "|---|--:|--:|", *rows]


def _online(online: Mapping[str, float]) -> list[str]:
    return [
        "20 orders as validated columns → features, CPU ms a call: "
        f"ours {online['ours_us'] / 1e3:.2f}, pandas {online['pandas_us'] / 1e3:.2f}."
    ]


def _bits(bits: Mapping[str, float] | None) -> list[str]:
    if not bits:
        return []
    told = "; ".join(f"{name}: {count:.0f}" for name, count in bits.items())
    return [f"Values that differ in any bit from those of the whole base at once: {told}"]


def fit_table(found: Found) -> list[str]:
    """Seconds of fitting and predicting as each tells them."""
    lines = [
        "| who | customers | fit, wall s | predict, wall s | whole process, CPU s | peak MiB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for key, runs in found.runs.items():
        if key.what == FIT and not runs[0].failed:
            fitted, predicted, customers = (
                median(run.told[name] for run in runs) for name in ("seconds_fit", "seconds_predict", "customers")
            )
            cpu, peak = median(run.cpu_s for run in runs), median(run.peak_mb for run in runs)
            lines.append(f"| {key.who} | {customers:,.0f} | {fitted:.2f} | {predicted:.2f} | {cpu:.2f} | {peak:,.0f} |")
        elif key.what == FIT:
            lines.append(f"| {key.who} | failed: {runs[0].failed} | | | | |")
    return lines if len(lines) > 2 else []


def machine(found: Found) -> str:
    """Where and with what it was measured."""
    names = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    loads = " → ".join("/".join(f"{one:.1f}" for one in three) for three in (found.load_before, os.getloadavg()))
    packages = versions(sys.executable, *PACKAGES)
    if any(key.who in TABLE_PEERS for key in found.runs):
        packages += "; the peers' own environment: " + versions(
            tables_python(), "polars", "duckdb", "ibis-framework", "sqlglot"
        )
    if any(key.who == PYMC for key in found.runs) and (python := pymc_python()):
        packages += "; " + versions(python, "pymc-marketing", "pymc", "pytensor")
    commit, _, changes = found.commit.partition("+")
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux "
        f"{platform.release()}; load average {loads}, this run's own included. Python {platform.python_version()}, "
        f"{packages}; commit {commit[:12]}{' with ' * bool(changes)}{changes}, {datetime.now(UTC):%Y-%m-%d}."
    )
