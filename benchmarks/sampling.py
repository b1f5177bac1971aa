"""Does a sample of the customers train as good a model as all of them? On a made-up base of a million.

`python benchmarks/sampling.py [--customers 1000000] [--out docs/sampling.md]` makes a log (BG/NBD and gamma-gamma),
trains once on all customers and once on the sample that `clv train` would draw, lets both predict everyone's next 90
days, and writes what each got right, with paired bootstrap intervals of the difference. Needs about 8 GB of memory.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from speed_log import LogPlan, write_log

from features.arrays import FloatArray
from features.history import before
from features.instants import DAY_US, isoformat
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog
from features.reading import read_orders
from features.sampling import MOST_CUSTOMERS, SEED, drawn
from model.clv import ClvModel
from training.fitting import fit
from training.labels import Labels, label_window
from training.metrics import METRICS, Scored, evaluate

HORIZON_DAYS = 90
DRAWS = 60
SHOWN = (
    "spearman",
    "normalized_gini",
    "auc",
    "brier",
    "level_adjusted_mae",
    "rmse",
    "bias",
    "decile_mape",
    "coverage",
    "coverage_worst_decile",
)
COMPARED = ("spearman", "normalized_gini", "auc", "level_adjusted_mae", "rmse", "bias")


@dataclass(frozen=True)
class Trained:
    """A model and what it took."""

    n_customers: int
    model: ClvModel
    cpu_s: float


def trained(log: OrderLog, as_of: int) -> Trained:
    """Fit on the orders before a moment."""
    begun = _cpu()
    return Trained(log.n_customers, fit(log, as_of, (HORIZON_DAYS,)), _cpu() - begun)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def compared(log: OrderLog) -> list[str]:
    """Lines of the page."""
    as_of = log.complete_until - HORIZON_DAYS * DAY_US
    past = before(log, as_of)
    share = min(1.0, MOST_CUSTOMERS / past.n_customers)
    few = past.only(drawn(past, share, np.random.default_rng(SEED)))
    models = {"all customers": trained(past, as_of), "the sample": trained(few, as_of)}
    matrix = feature_matrix(past, as_of)
    labels = label_window(log, matrix.customers, as_of, HORIZON_DAYS)
    found = {name: answered(one.model, matrix, labels) for name, one in models.items()}
    head = ["trained on", "customers", "CPU s", *SHOWN]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    for name, one in models.items():
        values = evaluate(found[name])
        shown = " | ".join(f"{values[metric]:.4f}" for metric in SHOWN)
        lines.append(f"| {name} | {one.n_customers:,} | {one.cpu_s:.0f} | {shown} |")
    lines += ["", f"{len(matrix.customers):,} customers predicted as of {isoformat(as_of)}; {log.n_rows:,} orders.", ""]
    lines += ["| the sample less all customers | difference | 95 % paired interval |", "|---|--:|--:|"]
    differences = _differences(found["the sample"], found["all customers"])
    return lines + [f"| {name} | {d[0]:+.5f} | {d[1]:+.5f} … {d[2]:+.5f} |" for name, d in differences.items()]


def answered(model: ClvModel, matrix: FeatureMatrix, labels: Labels) -> Scored:
    """What a model says of everyone, beside what happened."""
    said = model.predict(matrix, threads=2)
    columns = (said.clv, said.purchase_probability, said.lower, said.upper)
    return Scored(labels.spend, labels.purchased, *(np.ascontiguousarray(column[:, 0]) for column in columns))


def _differences(ours: Scored, theirs: Scored) -> dict[str, FloatArray]:
    rng, n = np.random.default_rng(0), len(ours.actual)
    rows = []
    for draw in range(DRAWS + 1):
        weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64) if draw else np.ones(n)
        rows.append(
            [(METRICS[name](ours, weights) or 0.0) - (METRICS[name](theirs, weights) or 0.0) for name in COMPARED]
        )
    table = np.array(rows)
    bounds = np.quantile(table[1:], [0.025, 0.975], axis=0)
    return dict(zip(COMPARED, np.vstack([table[0], bounds]).T, strict=True))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "sampling.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_log(Path(name) / "log", LogPlan(given.customers))
        log = read_orders(str(Path(name) / "log" / "by_customer")).log
    lines = ["# Training on a sample", "", "Written by `benchmarks/sampling.py`; do not edit.", "", *compared(log)]
    given.out.write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
