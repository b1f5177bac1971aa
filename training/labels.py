"""What happened next: the only place that looks ahead of a cut-off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.arrays import BoolArray, FloatArray, IntArray
from features.errors import HorizonError
from features.events import ROUNDING, Events
from features.history import before
from features.instants import DAY_US, isoformat
from features.orders import OrderLog


@dataclass(frozen=True)
class Labels:
    """Outcomes in [as_of, as_of + horizon), shape (n,) each.

    Attributes
    ----------
    n_orders
        Orders with a positive value.
    spend
        max(0, net value of the window) with at least one order, else 0.
    first_order_days
        Days from `as_of` to the first of those orders, >= 0; NaN without one.
    left_out
        Net value of the window less `spend`: negative where refunds exceed the orders, positive where lines were added
        to an order that began before `as_of`.
    """

    n_orders: FloatArray
    spend: FloatArray
    first_order_days: FloatArray
    left_out: FloatArray

    @property
    def purchased(self) -> BoolArray:
        """Whether there was an order."""
        return self.n_orders > 0


def label_window(log: OrderLog, customers: IntArray, as_of: int, horizon_days: int) -> Labels:
    """Look ahead for the customers at the given positions of the log.

    Raises
    ------
    HorizonError
        The window ends after the log does: its labels have not matured.
    """
    end = require_matured(log, as_of, horizon_days)
    window = Events(log.rows((log.ordered_at >= as_of) & (log.ordered_at < end)))
    ordered = (window.amount > 0.0) & (window.at >= as_of)
    n_orders = window.sum(ordered)[customers]
    days = np.where(ordered, (window.at - as_of) / DAY_US, np.inf)
    net, turned = window.sum(window.amount)[customers], window.sum(np.abs(window.amount))[customers]
    net, spend = net_and_spend(n_orders, net, turned)
    first = np.where(n_orders > 0, window.min(days)[customers], np.nan)
    return Labels(n_orders, spend, first, net - spend)


def after_first_order(
    log: OrderLog, since: int, until: int, days: int
) -> tuple[BoolArray, FloatArray, FloatArray, FloatArray]:
    """Look ahead of each customer's own first order, where that lies in [since, until - days].

    Returns whose first order does, shape (n_customers of the log,), and of those: its instant, how many orders followed
    within `days`, and their net value. An order's late lines count with the order.
    """
    events = Events(before(log, until))
    order = events.amount > 0.0
    first_at = events.min(np.where(order, events.at, np.inf).astype(np.float64))
    end = first_at + days * DAY_US
    matured = np.isfinite(first_at) & (first_at >= since) & (end <= until)
    place = events.customer_of_row
    after = (events.at > first_at[place]) & (events.at < end[place])
    n_orders = events.sum(after & order)[matured]
    amount = np.where(after, events.amount, 0.0)
    _, spend = net_and_spend(n_orders, events.sum(amount)[matured], events.sum(np.abs(amount))[matured])
    return matured, first_at[matured], n_orders, spend


def net_and_spend(n_orders: FloatArray, net: FloatArray, turned: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Net value without what rounding left of orders and their refunds, and spend: never below 0, none without order.

    `turned` is the sum of the amounts' absolute values; all of shape (n,).
    """
    net = np.where(np.abs(net) <= ROUNDING * turned, 0.0, net)
    return net, np.where(n_orders > 0, np.maximum(net, 0.0), 0.0)


def require_matured(log: OrderLog, as_of: int, horizon_days: int) -> int:
    """End of the window after `as_of`; raises HorizonError where the log ends before it does."""
    end = as_of + horizon_days * DAY_US
    if end > log.complete_until:
        raise HorizonError(
            f"The window of {horizon_days} days from {isoformat(as_of)} ends at {isoformat(end)}, but the log is "
            f"complete only until {isoformat(log.complete_until)}: choose an earlier as_of or a shorter horizon."
        )
    return end
