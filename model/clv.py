"""`ClvModel`: the one definition of inference. Backtest, batch, service and pyfunc all call `predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import lightgbm as lgb
import numpy as np
from scipy.special import expit, logit

from features.arrays import FloatArray
from features.matrix import FeatureMatrix
from model.btyd import Btyd, Summary, summarise
from model.curve import Curve
from model.predictions import Predictions, joined
from model.prior import Prior
from model.scores import raw_scores
from model.season import Season
from model.spread import DEFAULT_LEVEL, Spread
from model.standing import Standing

BTYD_INPUTS = (
    "btyd_probability",
    "btyd_orders",
    "btyd_alive",
    "btyd_value",
    "btyd_clv",
    "btyd_orders_if_any",
    "btyd_spend_if_any",
)
"""Quantities of the buy-till-you-die model that the trees see beside the catalogue's features."""


PREFERRED_HORIZON: Final = 90


@dataclass(frozen=True)
class Blend:
    """How a tree score and its buy-till-you-die counterpart are joined on the link scale.

    `trees * tree_score + btyd * btyd_score + level`; calibration and level live here, as numbers.
    """

    trees: float
    btyd: float
    level: float

    def __call__(self, tree_score: FloatArray, btyd_score: FloatArray) -> FloatArray:
        """Blended score, shape (n,)."""
        return self.trees * tree_score + self.btyd * btyd_score + self.level


@dataclass(frozen=True)
class Part:
    """One of the four models of a horizon: trees and the blend of their score."""

    trees: lgb.Booster
    blend: Blend

    def score(self, inputs: FloatArray, btyd_score: FloatArray, threads: int) -> FloatArray:
        """Blended score on the link scale, shape (n,)."""
        return self.blend(raw_scores(self.trees, inputs, threads), btyd_score)


@dataclass(frozen=True)
class Typical:
    """The base that was trained on, as one customer: where reasons begin.

    Attributes
    ----------
    probability, spend, value
        Means of the buy-till-you-die scores on the link scale, the first one joined with the curve.
    shift, scale
        What season and level added to the log odds of a purchase, and to the logs of spend and value.
    """

    probability: float = 0.0
    spend: float = 0.0
    value: float = 0.0
    shift: float = 0.0
    scale: float = 0.0


@dataclass(frozen=True)
class HorizonModel:
    """The models of one horizon, and how far the spend may lie off.

    Attributes
    ----------
    churn, orders, spend
        Log odds of a purchase; log of orders beyond the first, and log of spend, given a purchase.
    value
        Log of the value without asking whether there is a purchase: one stage sees what two cannot.
    value_share
        Its weight in the log of the value, in [0, 1).
    curve
        What a smooth regression adds to the buy-till-you-die log odds of a purchase.
    typical
        The typical customer of the base, where reasons begin.
    """

    horizon_days: int
    churn: Part
    orders: Part
    spend: Part
    value: Part
    value_share: float
    spread: Spread
    curve: Curve
    typical: Typical = Typical()

    def log_spend(self, spend: FloatArray, value: FloatArray, probability: FloatArray) -> FloatArray:
        """Log of expected spend given a purchase, from the scores of both views, shape (n,)."""
        return joined_views(spend, value, probability, self.value_share)


def joined_views(spend: FloatArray, value: FloatArray, probability: FloatArray, value_share: float) -> FloatArray:
    """Log of spend given a purchase: the view of buyers, and that of everyone less the log of the probability."""
    return (1.0 - value_share) * spend + value_share * (value - np.log(probability))


@dataclass(frozen=True)
class NextOrder:
    """When a customer who orders within the longest horizon does so for the first time.

    Attributes
    ----------
    trees
        Log of the median of days + 1/2.
    spread
        How far the days lie off, by predicted days.
    window
        Chance with which the window holds the date.
    """

    trees: lgb.Booster
    spread: Spread
    window: float = DEFAULT_LEVEL

    def days(self, inputs: FloatArray, longest: int, threads: int) -> FloatArray:
        """Days from `as_of` to the next order: window's start, median, window's end, shape (n, 3), in [0, longest]."""
        middle = np.exp(raw_scores(self.trees, inputs, threads))
        tail = (1.0 - self.window) / 2.0
        middles, chances = np.repeat(middle, 3), np.tile([tail, 0.5, 1.0 - tail], len(middle))
        days = middles * self.spread.quantile(middles, chances) - 0.5
        return np.clip(days.reshape(-1, 3), 0.0, float(longest))


@dataclass(frozen=True)
class BtydScores:
    """Buy-till-you-die quantities of one horizon, of n customers.

    Attributes
    ----------
    inputs
        What the trees see, `BTYD_INPUTS`, shape (n, 7).
    probability, orders, spend, value
        Link-scale scores: log odds of a purchase; log of orders beyond the first and log of spend, given a purchase;
        log of the value; shape (n,) each.
    rhythm
        What `Curve` reads, shape (n, 3).
    """

    inputs: FloatArray
    probability: FloatArray
    orders: FloatArray
    spend: FloatArray
    value: FloatArray
    rhythm: FloatArray

    def columns(self) -> tuple[FloatArray, ...]:
        """Inputs and scores, to be stacked or cut alike."""
        return self.inputs, self.probability, self.orders, self.spend, self.value, self.rhythm


def btyd_scores(btyd: Btyd, of: Summary, horizon_days: int) -> BtydScores:
    """Compute the quantities once for trees and blends."""
    probability, orders, value = btyd.conditional(of, horizon_days)
    alive, expected, spend = (
        btyd.purchases.p_alive(of),
        probability * orders,
        orders * value,
    )
    more = orders * btyd.own_orders_a_day(of) - 1.0
    odds, silent = logit(probability), np.maximum(of.tenure_days - of.last_days, 0.0)
    columns = [probability, expected, alive, value, expected * value, orders, spend]
    return BtydScores(
        inputs=np.stack(columns, axis=1),
        probability=odds,
        orders=np.log(np.maximum(more, 0.05)),
        spend=np.log(np.maximum(spend, 1e-6)),
        value=np.log(np.maximum(probability * spend, 1e-9)),
        rhythm=np.stack([np.log1p(of.repeats), np.log1p(silent), odds], axis=1),
    )


def primary_horizon(horizons: Sequence[int]) -> int:
    """90 days, or the horizon next to it, the shorter of two as near."""
    return min(horizons, key=lambda days: (abs(days - PREFERRED_HORIZON), days))


def input_names(features: Sequence[str]) -> list[str]:
    """Names of the trees' columns."""
    return [*features, *BTYD_INPUTS]


@dataclass(frozen=True)
class ClvModel:
    """Purchase probability, orders and CLV of every customer, over all fitted horizons.

    Parameters
    ----------
    features
        The catalogue's features that the trees read, in their order.
    btyd
        BG/NBD and Gamma-Gamma, fitted on the orders before `as_of`.
    parts
        One entry per horizon, ascending.
    season
        What changes in horizons that begin later than the training.
    next_order
        When customers return, of the longest horizon.
    prior
        The answer for customers without an order.
    standing
        Percentiles and RFM edges of the base as of the training.
    """

    features: tuple[str, ...]
    btyd: Btyd
    parts: tuple[HorizonModel, ...]
    season: Season
    next_order: NextOrder
    prior: Prior
    standing: Standing

    @property
    def horizons(self) -> tuple[int, ...]:
        """Fitted horizons in days, ascending."""
        return tuple(part.horizon_days for part in self.parts)

    @property
    def primary_horizon(self) -> int:
        """Horizon that tiers speak of: 90 days, or the fitted one next to it."""
        return primary_horizon(self.horizons)

    def part(self, horizon_days: int) -> HorizonModel:
        """Models of a fitted horizon."""
        return self.parts[self.horizons.index(horizon_days)]

    def predict(self, matrix: FeatureMatrix, threads: int = 1, level: float = DEFAULT_LEVEL) -> Predictions:
        """Predict for every row of a feature matrix.

        Parameters
        ----------
        matrix
            Features that include the model's, n rows.
        threads
            Threads for the trees; the result does not depend on it.
        level
            Chance with which the interval holds the value, in (0, 1).
        """
        of = summarise(matrix)
        known = matrix.columns(self.features)
        seen = [btyd_scores(self.btyd, of, part.horizon_days) for part in self.parts]
        inputs = [np.concatenate([known, scores.inputs], axis=1) for scores in seen]
        answers = [self._one(*one, threads) for one in zip(self.parts, inputs, seen, strict=True)]
        next_order = self.next_order.days(inputs[-1], self.horizons[-1], threads)
        stacked = (np.stack(columns, axis=1) for columns in zip(*answers, strict=True))
        probability, orders, clv = self.season.turned(matrix.as_of, *stacked)
        bounds = [
            part.spread.bounds(probability[:, place], clv[:, place], level) for place, part in enumerate(self.parts)
        ]
        lower, upper = (np.stack(columns, axis=1) for columns in zip(*bounds, strict=True))
        alive = self.btyd.purchases.p_alive_or_null(of)
        return joined(self.horizons, probability, orders, clv, alive, (lower, upper), next_order)

    @staticmethod
    def _one(
        part: HorizonModel, inputs: FloatArray, btyd: BtydScores, threads: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        probability = expit(part.churn.score(inputs, part.curve.joined(btyd.rhythm), threads))
        orders = 1.0 + np.exp(part.orders.score(inputs, btyd.orders, threads))
        scores = part.spend.score(inputs, btyd.spend, threads), part.value.score(inputs, btyd.value, threads)
        spend = np.exp(part.log_spend(*scores, probability))
        return probability, probability * orders, probability * spend
