"""How the level of orders and value goes on after the training: what a model that is asked later has to add."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import FloatArray
from features.instants import DAY_US, YEAR_DAYS

STEP_DAYS: Final = 30
N_STEPS: Final = 24
"""The level is known at 0, 30, ... 720 days after the training, in the second year without what went on at it."""


@dataclass(frozen=True)
class Season:
    """Levels of horizons that begin later than the one that the model was set to.

    Attributes
    ----------
    trained_on
        Instant the model's own horizons begin at, µs UTC.
    orders, value
        Log of the level at each step, less that at `trained_on`, shape (n_horizons, N_STEPS + 1); the first is 0.
    """

    trained_on: int
    orders: FloatArray
    value: FloatArray

    def shifts(self, as_of: int) -> tuple[FloatArray, FloatArray]:
        """Logs of how much more is ordered, and spent, in the horizons that begin at `as_of`, shape (n_horizons,) each.

        By whole days, so that an answer stands for a day; straight lines lie between the steps. 0 on the day of the
        training and before; each later year is the second one again.
        """
        days, last = max(as_of - self.trained_on, 0) // DAY_US, N_STEPS * STEP_DAYS
        place = (days if days <= last else last - YEAR_DAYS + (days - last) % YEAR_DAYS) / STEP_DAYS
        steps = np.arange(N_STEPS + 1.0)
        orders, value = (
            np.array([np.interp(place, steps, levels) for levels in kind]) for kind in (self.orders, self.value)
        )
        return orders, value

    def turned(
        self, as_of: int, probability: FloatArray, orders: FloatArray, clv: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Predictions of the season at the training, shape (n, n_horizons) each → those of the season at `as_of`.

        Orders and value are multiplied; the probability is that of an event whose rate is.
        """
        more_orders, more_value = self.shifts(as_of)
        if not more_orders.any() and not more_value.any():
            return probability, orders, clv
        chance = at_rate(probability, more_orders)
        return chance, np.maximum(orders * np.exp(more_orders), chance), clv * np.exp(more_value)


def at_rate(probability: FloatArray, log_times: FloatArray | float) -> FloatArray:
    """Chance of at least one event when the rate of events is exp(log_times) times what it was; shape as given."""
    with np.errstate(divide="ignore"):  # what is certain stays so
        return np.asarray(-np.expm1(np.log1p(-probability) * np.exp(log_times)))
