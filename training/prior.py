"""What a customer is worth in the horizon after the first order: the answer when no order is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.history import Events, before
from features.instants import DAY_US
from features.orders import OrderLog
from features.segments import Segments
from model.clv import Prior


def fit_prior(log: OrderLog, as_of: int, horizons: Sequence[int]) -> Prior:
    """Average the first horizon of every customer whose first horizon lies wholly before `as_of`.

    Customers acquired later are left out: their horizon has not passed (counting them would bias
    the value down). Where nobody's has, the answer is 0 for want of evidence.
    """
    began = np.iinfo(np.int64).min
    rows = [newcomers(log, began, as_of, days)[1:] for days in horizons]
    probability, orders, clv = (np.array(column) for column in zip(*rows, strict=True))
    return Prior(probability, orders, clv)


def newcomers(log: OrderLog, since: int, until: int, days: int) -> tuple[int, float, float, float]:
    """Of customers whose first order lies in [since, until - days]: (n, share that came back, orders, net value)."""
    events = Events(before(log, until))
    order = events.amount > 0.0
    first_at = events.min(np.where(order, events.at, np.inf).astype(np.float64))
    end = first_at + days * DAY_US
    matured = np.isfinite(first_at) & (first_at >= since) & (end <= until)
    if not matured.any():
        return 0, 0.0, 0.0, 0.0
    place = Segments(events.lengths).customer_of_row
    after = (events.at > first_at[place]) & (events.at < end[place])
    orders = events.sum(after & order)[matured]
    net = events.sum(np.where(after, events.amount, 0.0))[matured]
    spend = np.where(orders > 0, np.maximum(net, 0.0), 0.0)
    return int(matured.sum()), float((orders > 0).mean()), float(orders.mean()), float(spend.mean())
