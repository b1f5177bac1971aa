"""What any model answers, and how its horizons are made to agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from features.arrays import FloatArray
from features.errors import HorizonError
from features.matrix import FeatureMatrix


@dataclass(frozen=True)
class Predictions:
    """Expectations for n customers over K horizons, shorter horizons first.

    Attributes
    ----------
    horizons
        Days ahead, ascending, length K.
    purchase_probability
        Chance of at least one order within the horizon, in [0, 1], shape (n, K).
    orders
        Expected number of orders, >= purchase_probability, shape (n, K).
    clv
        Expected net value (money), >= 0, shape (n, K): probability times expected spend given a purchase.
    p_alive
        Latent chance of being active, from the buy-till-you-die model; NaN where it says nothing, shape (n,).
    lower, upper
        Prediction interval of the net value at the level that was asked, lower <= clv <= upper, money, shape
        (n, K); NaN where a model gives none.
    next_order_days
        Days from `as_of` to the next order of a customer who returns: start of a window, median, end of the
        window, shape (n, 3), >= 0; NaN where a model gives none.
    """

    horizons: tuple[int, ...]
    purchase_probability: FloatArray
    orders: FloatArray
    clv: FloatArray
    p_alive: FloatArray
    lower: FloatArray
    upper: FloatArray
    next_order_days: FloatArray

    @property
    def average_order_value(self) -> FloatArray:
        """Return clv / orders: a ratio of expectations, NaN where no order is expected, shape (n, K)."""
        out = np.full(self.clv.shape, np.nan)
        np.divide(self.clv, self.orders, out=out, where=self.orders > 0)
        return out

    def place(self, horizon_days: int) -> int:
        """Column of a horizon. Raises HorizonError when it was not fitted."""
        return place_of(horizon_days, self.horizons)


def place_of(horizon_days: int, fitted: tuple[int, ...]) -> int:
    """Position of a horizon among the fitted ones. Raises HorizonError when it was not fitted."""
    if horizon_days not in fitted:
        raise HorizonError(
            f"No model was fitted for a horizon of {horizon_days} days. "
            f"Fitted: {', '.join(map(str, fitted))}."
            + (f" Train with --horizon-days {horizon_days} to have it." if horizon_days > 0 else "")
        )
    return fitted.index(horizon_days)


class Model(Protocol):
    """What the product and its baselines have in common."""

    @property
    def horizons(self) -> tuple[int, ...]:
        """Days ahead the model speaks for, ascending."""
        ...

    def predict(self, matrix: FeatureMatrix) -> Predictions:
        """Answer for every row of a matrix that holds the whole catalogue."""
        ...


def non_decreasing(values: FloatArray) -> FloatArray:
    """Isotonic regression of each row over its K horizons, equal weights, shape (n, K).

    By the min-max formula: max over i <= k of min over j >= k of mean(values[i..j]). Averaging
    violators keeps the row's sum, where a running maximum would bias it upwards; and it keeps
    order between rows, so expected orders stay above the probability of a purchase.
    """
    if values.shape[1] < 2:
        return values
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    k_horizons = values.shape[1]
    out = np.empty_like(values)
    for k in range(k_horizons):
        floors = [
            np.min(
                [(sums[:, j + 1] - sums[:, i]) / (j + 1 - i) for j in range(k, k_horizons)],
                axis=0,
            )
            for i in range(k + 1)
        ]
        out[:, k] = np.max(floors, axis=0)
    return out


def joined(
    horizons: tuple[int, ...],
    probability: FloatArray,
    orders: FloatArray,
    clv: FloatArray,
    p_alive: FloatArray,
    bounds: tuple[FloatArray, FloatArray] | None = None,
    next_order_days: FloatArray | None = None,
) -> Predictions:
    """Predictions whose values and bounds never fall with the horizon; arrays of shape (n, K)."""
    value = non_decreasing(clv)
    lower, upper = bounds if bounds is not None else (np.full(clv.shape, np.nan), np.full(clv.shape, np.nan))
    return Predictions(
        horizons,
        non_decreasing(probability),
        non_decreasing(orders),
        value,
        p_alive,
        np.minimum(non_decreasing(lower), value),
        np.maximum(non_decreasing(upper), value),
        np.full((len(clv), 3), np.nan) if next_order_days is None else next_order_days,
    )
