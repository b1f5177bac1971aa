"""What a held-out window says beyond the table: do orders, values, dates and newcomers hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from features.arrays import FloatArray
from features.history import before
from features.instants import DAY_US
from features.matrix import FeatureMatrix
from features.orders import OrderLog
from model.clv import ClvModel
from model.predictions import Predictions
from training.labels import Labels
from training.prices import prices_of
from training.prior import first_horizons, fit_prior

Figures: TypeAlias = Mapping[str, float | None]


def checks(
    model: ClvModel, answers: Predictions, matrix: FeatureMatrix, labels: Labels, log: OrderLog
) -> dict[str, Figures]:
    """Figures by name; None stands for undefined.

    `orders`: expected orders against actual ones. `average_order_value`: the same of buyers' values per order.
    `next_order`: days to the next order of those who returned. `newcomers`: what would have been the answer for unknown
    customers one horizon before `as_of`, against the first horizon of those who came from then to `as_of`.
    """
    return {
        "orders": _against(answers.orders[:, 0], labels.n_orders),
        "average_order_value": _of_buyers(answers, labels),
        "next_order": next_order(answers, matrix, labels),
        "newcomers": _newcomers(model, matrix.as_of, log),
    }


def _of_buyers(answers: Predictions, labels: Labels) -> Figures:
    came = labels.purchased
    if not came.any():
        return {"mae": None, "bias": None}
    return _against(answers.average_order_value[came, 0], labels.spend[came] / labels.n_orders[came])


def _against(predicted: FloatArray, actual: FloatArray) -> Figures:
    total = float(actual.sum())
    bias = float(predicted.sum()) / total - 1.0 if total > 0 else None
    return {"mae": float(np.abs(predicted - actual).mean()), "bias": bias}


def next_order(answers: Predictions, matrix: FeatureMatrix, labels: Labels) -> Figures:
    """Pinball loss at the median (half the mean absolute error), days, beside the mean-gap rule.

    The rule: the last order plus the customer's own mean gap, of all customers where there is none; today where
    that is past. `window_coverage`: share of the dates inside the window.
    """
    came = labels.purchased
    if not came.any():
        return dict.fromkeys(("n", "pinball_days", "pinball_days_mean_gap", "window_coverage"))
    days = labels.first_order_days[came]
    start, middle, end = answers.next_order_days[came].T
    gap = matrix.column("gap_mean_days")
    usual = float(np.nanmean(gap)) if not np.isnan(gap).all() else 0.0
    rule = np.maximum(np.where(np.isnan(gap), usual, gap) - matrix.column("recency_days"), 0.0)[came]
    return {
        "n": float(came.sum()),
        "pinball_days": float(np.abs(days - middle).mean() / 2.0),
        "pinball_days_mean_gap": float(np.abs(days - rule).mean() / 2.0),
        "window_coverage": float(((start <= days) & (days <= end)).mean()),
    }


def _newcomers(model: ClvModel, as_of: int, log: OrderLog) -> Figures:
    days = model.horizons[0]
    earlier, end = as_of - days * DAY_US, as_of + days * DAY_US
    past = before(log, earlier)
    todays = prices_of(past, earlier).todays(past, earlier)
    prior = fit_prior(todays, earlier, (days,), cut=model.btyd.purchases.of_cut_log)
    came = first_horizons(log, earlier, end, days)
    n = int(came.matured.sum())
    return {"n": float(n), "predicted_clv": float(prior.clv[0]), "actual_clv": came.means()[2] if n else None}
