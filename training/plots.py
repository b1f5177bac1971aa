"""Pictures of a held-out case: is it calibrated, does it rank, does the level hold, what does it look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve

from model.clv import ClvModel, input_names
from model.spread import DEFAULT_LEVEL
from training.backtest import CLV, Case
from training.metrics import coverage_by_decile, deciles
from training.ranking import N_DECILES

_COLOURS = {
    "clv": "#1b6ca8",
    "bgnbd_gamma_gamma": "#e08e45",
    "carry_forward": "#8d99ae",
    "rfm_score": "#7fb069",
}

_INPUTS_SHOWN = 12


def plots(case: Case, model: ClvModel) -> Mapping[str, Figure]:
    """Figures by file name, without the ending."""
    return {
        f"calibration_{case.horizon_days}d": calibration(case),
        f"gain_curve_{case.horizon_days}d": gain_curve(case),
        f"deciles_{case.horizon_days}d": decile_bars(case),
        f"interval_coverage_{case.horizon_days}d": interval_coverage(case),
        f"importance_{case.horizon_days}d": importance(model, case.horizon_days),
    }


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def calibration(case: Case) -> Figure:
    """Draw the share that bought against the predicted probability, in twenty groups of equal size."""
    figure, axes = _axes(
        f"Purchase within {case.horizon_days} days: predicted and actual",
        "predicted probability",
        "share that bought",
    )
    axes.plot([0, 1], [0, 1], color="#cccccc", linewidth=1)
    for name in ("bgnbd_gamma_gamma", CLV):
        scored = case.models[name].scored
        actual, predicted = calibration_curve(
            scored.purchased,
            np.clip(scored.probability, 0.0, 1.0),
            n_bins=20,
            strategy="quantile",
        )
        axes.plot(
            predicted,
            actual,
            marker="o",
            markersize=3,
            color=_COLOURS[name],
            label=name,
        )
    axes.legend(frameon=False)
    return figure


def gain_curve(case: Case) -> Figure:
    """Draw the share of the actual value held by the best customers, by each model's order."""
    figure, axes = _axes("Who holds the value", "share of customers, best first", "share of actual value")
    for name, answered in case.models.items():
        scored = answered.scored
        best_first = scored.by_clv.in_parts(scored.actual, scored.equal_weights, 100)[::-1]
        held = np.cumsum(best_first) / max(float(best_first.sum()), 1e-12)
        shares = np.arange(1, len(held) + 1) / len(held)
        axes.plot(shares, held, color=_COLOURS[name], label=name)
    axes.plot([0, 1], [0, 1], color="#cccccc", linewidth=1)
    axes.legend(frameon=False, loc="lower right")
    return figure


def decile_bars(case: Case) -> Figure:
    """Draw mean predicted beside mean actual value, by tenth of predicted value."""
    figure, axes = _axes(
        "Level by tenth of predicted CLV",
        "tenth, 10 the best",
        "mean value per customer",
    )
    scored = case.models[CLV].scored
    predicted, actual = deciles(scored, scored.equal_weights)
    places = np.arange(1.0, len(predicted) + 1.0)
    axes.bar(places - 0.2, predicted, 0.4, color=_COLOURS[CLV], label="predicted")
    axes.bar(places + 0.2, actual, 0.4, color="#8d99ae", label="actual")
    axes.set_xticks(places)
    axes.legend(frameon=False)
    return figure


def interval_coverage(case: Case) -> Figure:
    """Draw the share of customers whose value their interval holds, by tenth of predicted value."""
    figure, axes = _axes(
        f"Intervals that are to hold {DEFAULT_LEVEL:.0%}", "tenth of predicted CLV, 10 the best", "share that they hold"
    )
    for name, side in (("bgnbd_gamma_gamma", -0.2), (CLV, 0.2)):
        scored = case.models[name].scored
        held = coverage_by_decile(scored, scored.equal_weights)
        if held is not None:
            axes.bar(np.arange(1.0, len(held) + 1.0) + side, held, 0.4, color=_COLOURS[name], label=name)
    axes.axhline(DEFAULT_LEVEL, color="#444444", linewidth=1)
    axes.set(ylim=(0.0, 1.0), xticks=np.arange(1, N_DECILES + 1))
    axes.legend(framealpha=1.0, loc="lower left")
    return figure


def importance(model: ClvModel, horizon_days: int) -> Figure:
    """Draw the share of the trees' total gain by input, for churn and for spend."""
    part = model.part(horizon_days)
    names = np.array(input_names(model.features))
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    for axes, (title, trees) in zip(
        figure.subplots(1, 2),
        (("churn", part.churn.trees), ("spend", part.spend.trees)),
        strict=True,
    ):
        gain = trees.feature_importance("gain")
        best = np.argsort(gain)[-_INPUTS_SHOWN:]
        axes.barh(names[best], gain[best] / max(float(gain.sum()), 1e-12), color=_COLOURS[CLV])
        axes.set(title=f"What {title} looks at", xlabel="share of gain")
        axes.spines[["top", "right"]].set_visible(False)
    return figure
