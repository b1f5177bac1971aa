"""Lifecycle and flags: where the relation stands, from the customer's own orders and rhythm alone.

Everything follows from orders and the day, nothing from stored states: between two orders a customer only moves from
active towards lapsed, so no status flickers; a customer who came back after a long silence stays `reactivated` until
the next order.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from features.arrays import FloatArray, ObjectArray
from features.matrix import FeatureMatrix
from serving.patterns import names_of

PROSPECT: Final = "prospect"
STATUSES: Final = (PROSPECT, "new", "active", "loyal", "at_risk", "lapsed", "reactivated")
_STATUSES: Final = np.array(STATUSES, dtype=object)
AT_RISK_GAPS: Final = 2.0
"""Silence, in units of the own usual gap, from which a customer is at risk."""
LAPSED_GAPS: Final = 4.0
LOYAL_ORDERS: Final = 3
OUTLIER_TIMES: Final = 10.0
NEEDED: Final = (
    "frequency",
    "recency_days",
    "gap_mean_days",
    "gap_last_days",
    "gap_max_days",
    "spend_max",
    "spend_median",
)
"""Features that the rules read."""


def own_gap_days(frequency: FloatArray, gap_mean_days: FloatArray, usual_gap_days: float) -> FloatArray:
    """Usual gap of each customer, days, shape (n,): the mean of the own gaps and one usual gap of the shop."""
    n_gaps = np.maximum(frequency - 1.0, 0.0)
    return (np.nan_to_num(gap_mean_days) * n_gaps + usual_gap_days) / (n_gaps + 1.0)


def status(matrix: FeatureMatrix, usual_gap_days: float) -> ObjectArray:
    """Exactly one of `STATUSES` for each customer with an order, shape (n,).

    The first that holds: lapsed, at_risk: silent for four, two own usual gaps · new: one order · reactivated: the last
    order ended a silence of four gaps · loyal: three orders or more, at least as often as usual in the shop · active.
    """
    n_orders, mean, last = (matrix.column(name) for name in ("frequency", "gap_mean_days", "gap_last_days"))
    gap = own_gap_days(n_orders, mean, usual_gap_days)
    silence = matrix.column("recency_days") / gap
    earlier = (np.nan_to_num(mean) * (n_orders - 1.0) - np.nan_to_num(last)) / np.maximum(n_orders - 2.0, 1.0)
    before = own_gap_days(n_orders - 1.0, earlier, usual_gap_days)
    rules = [
        (silence >= LAPSED_GAPS, "lapsed"),
        (silence >= AT_RISK_GAPS, "at_risk"),
        (n_orders == 1, "new"),
        (last >= LAPSED_GAPS * before, "reactivated"),
        ((n_orders >= LOYAL_ORDERS) & (gap <= usual_gap_days), "loyal"),
    ]
    place = np.full(len(n_orders), STATUSES.index("active"))
    for holds, name in reversed(rules):  # the first that holds is the one
        place[holds] = STATUSES.index(name)
    return np.asarray(_STATUSES[place])


def flags(matrix: FeatureMatrix) -> list[list[str]]:
    """What to know before trusting a number, per customer with an order.

    single_order · from three orders on long_gap: silent for longer than ever before, and amount_outlier: one order of
    more than ten times the median.
    """
    n_orders = matrix.column("frequency")
    holds = {
        "single_order": n_orders == 1,
        "long_gap": (n_orders >= LOYAL_ORDERS) & (matrix.column("recency_days") > matrix.column("gap_max_days")),
        "amount_outlier": (n_orders >= LOYAL_ORDERS)
        & (matrix.column("spend_max") > OUTLIER_TIMES * matrix.column("spend_median")),
    }
    return names_of(holds)
