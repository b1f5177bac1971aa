"""What `accuracy.py` found, as the page `docs/accuracy.md`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from training.backtest import BASELINES, BGNBD_GAMMA_GAMMA, CLV, RFM_SCORE, Case
from training.bootstrap import COMPARED, Estimate

RUNS = "## Runs of the test windows"
NOTE = "Each `make demo` and `clv train` on the bundled log holds out a CDNOW window too; those are not listed."
SHOWN = (
    "spearman", "normalized_gini", "auc", "brier", "mae", "level_adjusted_mae", "rmse", "bias", "decile_mape",
    "top10_capture", "coverage", "coverage_top_decile", "coverage_worst_decile", "interval_width", "interval_score",
)  # fmt: skip
Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class Found:
    """One window.

    Attributes
    ----------
    cases
        Ours and its baselines, a case a seed; rivals in the first only.
    others
        Metrics of models made elsewhere.
    net
        The same window on net values, every order as it is in the log.
    whole
        Seconds, CPU seconds and peak of one whole training.
    fits
        What pymc-marketing tells of itself, by how it was fitted.
    """

    title: str
    cases: Sequence[Case]
    others: Mapping[str, Metrics]
    net: Case
    whole: Mapping[str, float]
    fits: Mapping[str, Mapping[str, Any]]

    @property
    def first(self) -> Case:
        """The case of the default seed."""
        return self.cases[0]


@dataclass(frozen=True)
class Asked:
    """A figure that the project asks of itself, in one window.

    Attributes
    ----------
    margin, highest
        By how much it is better than asked for, and the upper end of the 95 % interval of that.
    """

    text: str
    shown: str
    margin: float
    highest: float
    asked: bool = True

    @property
    def verdict(self) -> str:
        """Whether it holds; a target that is missed by less than the interval is not missed."""
        if not self.asked:
            return "not asked"
        if self.margin >= 0.0:
            return "yes"
        return "within the interval" if self.highest >= 0.0 else "**no**"


def page(found: Sequence[Found], seeds: Sequence[int], runs: Sequence[str]) -> str:
    """The whole page, with the list of all runs of test windows."""
    lines = [*_head(len(seeds)), *_asked(found)]
    for window in found:
        lines += _section(window)
    return "\n".join([*lines, RUNS, "", NOTE, "", *runs]) + "\n"


def _head(n_seeds: int) -> list[str]:
    made = f"numpy {version('numpy')}, lightgbm {version('lightgbm')}, Python {platform.python_version()}"
    return [
        "# Accuracy",
        "",
        "Written by `benchmarks/accuracy.py`; do not edit. Every model saw only orders before the window, was fitted",
        "on windows that ended before it began, and predicted once. Main tables: positive amounts, one order per",
        f"customer and day. `clv` is mean ± sd over {n_seeds} seeds; `bias` is predicted total over actual, less 1;",
        "intervals are meant to hold 80 %; `coverage_worst_decile` is the lowest of the ten tenths by predicted value.",
        f"`{BGNBD_GAMMA_GAMMA}` counts all purchase days in its Gamma-Gamma; the textbook leaves the first day out, as",
        "pymc-marketing does, whose rows show what that changes; its intervals are simulated. Complete Journey is a",
        "grocery panel that its own package calls simulated. Seconds of a pymc-marketing fit: cold compiles into an",
        "empty directory, as the first fit on a machine does; warm finds everything compiled. "
        f"{made}; {os.cpu_count()} cores.",
        "",
    ]


def _asked(found: Sequence[Found]) -> list[str]:
    """Every figure that is asked for, one row each, a column a window."""
    columns = [list(_figures(window)) for window in found]
    lines = [
        "## What the project asks of itself",
        "",
        "With 95 % intervals from drawing customers again and again, paired where two models are compared, under the",
        "default seed. They say what another draw of customers would have changed, not what another season would have.",
        "",
        "| figure | " + " | ".join(window.title for window in found) + " |",
        "|---" + "|---" * len(found) + "|",
    ]
    for row in zip(*columns, strict=True):
        cells = " | ".join(f"{one.shown}: {one.verdict}" for one in row)
        lines += [f"| {row[0].text} | {cells} |"]
    return [*lines, ""]


def _figures(window: Found) -> Iterator[Asked]:
    case = window.first
    ours, theirs = case.models[CLV].metrics, case.models[BGNBD_GAMMA_GAMMA].metrics
    less = case.differences[BGNBD_GAMMA_GAMMA]
    for metric in ("spearman", "normalized_gini", "auc"):
        yield _more(f"{metric} less {BGNBD_GAMMA_GAMMA}'s > 0", less[metric])
    for metric in ("rmse", "level_adjusted_mae"):
        allowed = 0.02 * _number(theirs[metric])
        yield _below(f"{metric} less {BGNBD_GAMMA_GAMMA}'s ≤ 2 % of it", less[metric], allowed)
        yield _below(f"{metric} less {BGNBD_GAMMA_GAMMA}'s ≤ 0 (in three)", less[metric], 0.0)
    yield _more(f"top10_capture less {RFM_SCORE}'s > 0", case.differences[RFM_SCORE]["top10_capture"])
    bias = case.intervals["bias"]
    nearest = 0.0 if bias.lower <= 0.0 <= bias.upper else min(abs(bias.lower), abs(bias.upper))
    yield Asked("bias within ± 10 %", _interval(bias), 0.10 - abs(bias.estimate), 0.10 - nearest)
    yield _below(f"decile_mape less {BGNBD_GAMMA_GAMMA}'s < 0 (in four)", less["decile_mape"], 0.0)
    for metric, least in (("coverage", 0.77), ("coverage_top_decile", 0.76), ("coverage_worst_decile", 0.76)):
        share = _number(ours[metric])
        yield Asked(f"{metric} ≥ {least:.0%}", f"{share:.3f}", share - least, share - least)
    seconds = window.whole["seconds"]
    for how, least in (("MAP", 1.0), ("MCMC", 20.0)):
        times = window.fits[how]["seconds_cold"] / seconds
        text = f"seconds: pymc-marketing's cold {how} fit ≥ {least:.0f} × our whole training, on CDNOW"
        yield Asked(text, f"{times:.1f} ×", times - least, times - least, window.title.startswith("CDNOW"))


def _more(text: str, estimate: Estimate) -> Asked:
    return Asked(text, _interval(estimate), estimate.estimate, estimate.upper)


def _below(text: str, estimate: Estimate, allowed: float) -> Asked:
    return Asked(text, _interval(estimate), allowed - estimate.estimate, allowed - estimate.lower)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _interval(estimate: Estimate) -> str:
    return f"{estimate.estimate:+.3f} [{estimate.lower:+.3f}, {estimate.upper:+.3f}]"


def _section(window: Found) -> Iterator[str]:
    first = window.first
    zero = 1.0 - first.models[CLV].scored.purchased.mean()
    rows: dict[str, list[Metrics]] = {name: [model.metrics] for name, model in first.models.items()}
    rows[CLV] = [case.models[CLV].metrics for case in window.cases]
    rows |= {name: [metrics] for name, metrics in window.others.items()}
    yield from (f"## {window.title}", "")
    customers = f"{len(first.customer_ids):,} customers, {zero:.0%} of whom buy nothing"
    yield f"{customers}; actual total {first.actual_total:,.2f}."
    yield from ("", *_table(rows), *_intervals(first))
    yield from (f"Beyond the table: {_beyond(first)}.", "")
    yield _seconds(window.whole, window.fits)
    yield from ("", "Net values, every order as it is in the log:", "")
    yield from _table({name: [window.net.models[name].metrics] for name in (CLV, *BASELINES)})


def _table(rows: Mapping[str, Sequence[Metrics]]) -> list[str]:
    """Metrics by model; several entries are seeds."""
    lines = ["| model | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for name, found in rows.items():
        cells = (_cell([metrics.get(key) for metrics in found]) for key in SHOWN)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _cell(values: Sequence[float | None]) -> str:
    """Mean ± sd of what is defined."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return f"{np.mean(known):.3f}" + (f" ± {np.std(known):.3f}" if len(known) > 1 else "")


def _intervals(case: Case) -> list[str]:
    """Ours with its bootstrap interval, and less each baseline with the paired one."""
    columns = {"ours": case.intervals, **{f"less {name}": found for name, found in case.differences.items()}}
    lines = ["| 95 % intervals | " + " | ".join(columns) + " |", "|---" + "|--:" * len(columns) + "|"]
    for metric in COMPARED:
        shown = (_interval(found[metric]) if metric in found else "–" for found in columns.values())
        lines.append(f"| {metric} | " + " | ".join(shown) + " |")
    return [*lines, ""]


def _beyond(case: Case) -> str:
    """Orders, dates and newcomers in one line."""
    return "; ".join(
        f"{name}: " + ", ".join(f"{key} {value:,.3f}" for key, value in figures.items() if value is not None)
        for name, figures in case.checks.items()
    )


def _seconds(whole: Mapping[str, float], fits: Mapping[str, Mapping[str, Any]]) -> str:
    peers = (
        f"pymc-marketing {about['versions']['pymc-marketing']} {how} {about['seconds_cold']:.1f} to fit cold, "
        f"{about['seconds_fit']:.1f} warm, {about['seconds_predict']:.1f} to predict "
        f"(peak {about['peak_mb']:.0f} MB, {about['chains']} chains)"
        for how, about in fits.items()
    )
    return (
        "Seconds: a whole training with one horizon (features, baselines, models, intervals, evaluation; median of 3) "
        f"{whole['seconds']:.1f} ({whole['cpu']:.1f} CPU, peak {whole['peak_mb']:.0f} MB); {'; '.join(peers)}."
    )
