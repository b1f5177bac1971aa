"""Accuracy on the bundled log, out of time: `python benchmarks/accuracy.py` writes docs/accuracy.md.

Every run of a test window adds a line to the page's own list of runs. Settings are never chosen here:
they were chosen on windows that end before 1998-01-01 (docs/decisions/0002-who-and-how-much.md).
"""

from __future__ import annotations

import argparse
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

import training
from features.instants import isoformat, parse_instant
from features.orders import OrderLog
from features.reading import read_orders
from training.backtest import BASELINES, CLV, Case, run_case
from training.examples import Snapshots
from training.fingerprint import git_commit

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
ORDERS = Path(training.__file__).parent / "data" / "cdnow_orders.csv.gz"
CASES = (("1998-04-02", 90),)
SEEDS = (7, 1, 2, 3, 4)
SHOWN = (
    "spearman", "normalized_gini", "auc", "brier", "mae", "level_adjusted_mae", "rmse", "bias", "decile_mape",
    "top10_capture", "top20_capture", "seconds",
)  # fmt: skip
RUNS = "## Runs of the test windows"
UNLISTED = "Each `make demo` and `clv train` on the bundled log holds out this window too; those runs are not listed."


def cases_of(log: OrderLog, as_of: str, horizon_days: int) -> list[Case]:
    """Run the same case under every seed."""
    known = Snapshots(log)
    return [run_case(log, parse_instant(as_of), horizon_days, seed=seed, snapshots=known) for seed in SEEDS]


def table(cases: Sequence[Case]) -> list[str]:
    """Metrics of each model: ours as mean ± sd over the seeds."""
    documents = [case.document()["models"] for case in cases]
    lines = ["| model | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for name in (CLV, *BASELINES):
        values = {metric: [document[name][metric] for document in documents] for metric in SHOWN}
        cells = [f"{np.mean(v):.3f}" + (f" ± {np.std(v):.3f}" if name == CLV else "") for v in values.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def differences(case: Case) -> list[str]:
    """Ours less each baseline, with the paired bootstrap interval, under the default seed."""
    lines = ["| ours less | metric | difference | 95 % paired interval |", "|---|---|--:|--:|"]
    for name, found in case.differences.items():
        for metric, d in found.items():
            lines.append(f"| {name} | {metric} | {d.estimate:+.4f} | {d.lower:+.4f} … {d.upper:+.4f} |")
    return lines


def section(log: OrderLog, as_of: str, horizon_days: int) -> list[str]:
    """One case of the page."""
    cases = cases_of(log, as_of, horizon_days)
    first = cases[0]
    head = f"## CDNOW, {horizon_days} days from {isoformat(first.as_of)[:10]}"
    size = f"{len(first.customer_ids):,} customers; actual total {first.actual_total:,.2f}."
    return [head, "", size, "", *table(cases), "", *differences(first), ""]


def main() -> None:
    """Entry point."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    log = read_orders(str(ORDERS)).log
    runs = re.findall(r"^- .*$", PAGE.read_text().partition(RUNS)[2], re.MULTILINE) if PAGE.is_file() else []
    runs.append(
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit `{git_commit()[:12]}`, seeds {', '.join(map(str, SEEDS))}"
    )
    made = f"numpy {version('numpy')}, lightgbm {version('lightgbm')}, Python {platform.python_version()}"
    lines = [
        "# Accuracy",
        "",
        "Written by `benchmarks/accuracy.py`; do not edit. Trained on windows that end before the tested one begins,",
        "predicted once. Rows as they are in the log (all orders, net values). `clv` is mean ± sd over "
        f"{len(SEEDS)} seeds; `bias` is predicted total over actual total, less 1; `seconds` fits and predicts.",
        f"The baseline's Gamma-Gamma counts all purchase days (the stronger variant). {made}.",
        "",
        *[line for as_of, days in CASES for line in section(log, as_of, days)],
        RUNS,
        "",
        UNLISTED,
        "",
        *runs,
    ]
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
