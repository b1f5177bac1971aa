"""Order logs with known truth: BG/NBD purchases, Gamma-Gamma values, for tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import FloatArray, IntArray
from features.assemble import assemble
from features.instants import DAY_US
from features.orders import OrderLog
from features.typed import Codes, TypedOrders
from model.btyd import BgNbd, GammaGamma

PURCHASES: Final = BgNbd(r=0.8, alpha=45.0, a=0.9, b=3.0)
VALUES: Final = GammaGamma(p=5.0, q=4.0, v=30.0)


@dataclass(frozen=True)
class Simulated:
    """Orders of a simulated shop and what drives each customer, shape (n_customers,) each.

    Attributes
    ----------
    customer, day, amount
        Order rows: number of the customer, fractional day since the start, value; shape (n_rows,).
    rate
        Purchases per day while active.
    leaves_on
        Day of the purchase after which the customer is gone; infinite if beyond the simulation.
    mean_value
        Expected value of an order.
    """

    customer: IntArray
    day: FloatArray
    amount: FloatArray
    rate: FloatArray
    leaves_on: FloatArray
    mean_value: FloatArray

    def log(self, start: int = 0) -> OrderLog:
        """Order log that begins at an instant in µs UTC."""
        n_customers = len(self.rate)
        ids = np.array([f"{number:08d}" for number in range(n_customers)], dtype=object)
        at = start + (self.day * DAY_US).astype(np.int64)
        return assemble(TypedOrders(Codes(self.customer.astype(np.int32), ids), at, self.amount)).log


def simulate(n_customers: int, days: int, *, seed: int = 0, joined_over: float = 0.5) -> Simulated:
    """Simulate customers who join evenly over the first part of the time.

    Parameters
    ----------
    days
        Length of the log.
    joined_over
        Part of the time in which first orders happen, in (0, 1].
    """
    rng = np.random.default_rng(seed)
    rate = rng.gamma(PURCHASES.r, 1.0 / PURCHASES.alpha, n_customers)
    leave = rng.beta(PURCHASES.a, PURCHASES.b, n_customers)
    scale = VALUES.p / rng.gamma(VALUES.q, 1.0 / VALUES.v, n_customers)
    now, rows = rng.uniform(0.0, days * joined_over, n_customers), []
    active = np.arange(n_customers)
    leaves_on = np.full(n_customers, np.inf)
    while len(active):
        rows.append((active, now[active]))
        gone = rng.random(len(active)) < np.where(len(rows) > 1, leave[active], 0.0)
        leaves_on[active[gone]] = now[active[gone]]
        active = active[~gone]
        now[active] += rng.exponential(1.0, len(active)) / np.maximum(rate[active], 1e-9)
        active = active[now[active] < days]
    customer = np.concatenate([who for who, _ in rows])
    day = np.concatenate([when for _, when in rows])
    amount = np.round(rng.gamma(VALUES.p, 1.0, len(customer)) * scale[customer] / VALUES.p, 2)
    order = np.argsort(day, kind="stable")
    return Simulated(customer[order], day[order], np.maximum(amount[order], 0.01), rate, leaves_on, scale)
