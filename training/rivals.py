"""Other ways to the same numbers, fitted on the same past, to be shown beside the model.

`rfm_score` is what marketers use today; `lightgbm_tweedie` is what a plain booster gives; `pareto_nbd` is the
older buy-till-you-die model; the intervals of BG/NBD + Gamma-Gamma come from simulating it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import lightgbm as lgb
import numpy as np

from features.arrays import FloatArray
from features.catalogue import CATALOGUE
from features.instants import DAY_US
from features.matrix import FeatureMatrix
from features.orders import OrderLog
from model.baselines import BgNbdGammaGamma
from model.btyd import GammaGamma, Summary, summarise
from model.predictions import Model, Predictions, joined
from model.standing import N_SCORES, rfm_edges, rfm_scores
from training.btyd import fit_bg_nbd, fit_gamma_gamma
from training.cutoffs import training_cutoffs
from training.examples import Snapshot, Snapshots, training_examples
from training.labels import label_window
from training.pareto_nbd import ParetoNbd, fit_pareto_nbd

_DRAWS: Final = 200
_BLOCK: Final = 5_000


@dataclass(frozen=True)
class RfmScore:
    """Recency, frequency and monetary value scored 1 to 5 each; the sum says what such customers brought lately.

    Attributes
    ----------
    edges
        The four quintile edges of recency (negated), frequency and monetary value, shape (3, 4).
    probability, orders, clv
        Means over the last matured window by sum of the scores, 3 to 15, shape (16,).
    """

    horizons: tuple[int, ...]
    edges: FloatArray
    probability: FloatArray
    orders: FloatArray
    clv: FloatArray

    def predict(self, matrix: FeatureMatrix) -> Predictions:
        """Answer for every row of the matrix."""
        of = rfm_scores(matrix, self.edges).sum(axis=1)
        probability, orders, clv = (column[of][:, None] for column in (self.probability, self.orders, self.clv))
        return joined(self.horizons, probability, orders, clv, np.full(len(of), np.nan))


def fit_rfm_score(snapshots: Snapshots, log: OrderLog, as_of: int, horizon_days: int) -> RfmScore:
    """Quintiles and means as of the last moment whose window has matured by `as_of`."""
    matrix = snapshots.at(as_of - horizon_days * DAY_US).matrix
    edges = rfm_edges(matrix)
    labels = label_window(log, matrix.customers, matrix.as_of, horizon_days)
    of = rfm_scores(matrix, edges).sum(axis=1)

    def mean_of(values: FloatArray) -> FloatArray:
        """Mean by sum of scores; a sum that nobody had takes the mean of all."""
        count = np.bincount(of, minlength=3 * N_SCORES + 1)
        total = np.bincount(of, weights=values, minlength=3 * N_SCORES + 1)
        return np.where(count > 0, total / np.maximum(count, 1), values.mean())

    means = (mean_of(values) for values in (labels.purchased.astype(np.float64), labels.n_orders, labels.spend))
    return RfmScore((horizon_days,), edges, *means)


@dataclass(frozen=True)
class LightgbmTweedie:
    """One plain booster for spend; it knows neither probabilities nor orders."""

    horizons: tuple[int, ...]
    trees: lgb.Booster

    def predict(self, matrix: FeatureMatrix) -> Predictions:
        """Answer for every row of the matrix."""
        clv = np.asarray(self.trees.predict(matrix.columns(CATALOGUE.names), num_threads=1))[:, None]
        unknown = np.full(clv.shape, np.nan)
        return joined(self.horizons, unknown, unknown, clv, unknown[:, 0])


def fit_lightgbm_tweedie(snapshots: Snapshots, log: OrderLog, as_of: int, horizon_days: int) -> LightgbmTweedie:
    """Fit LightGBM's defaults with a Tweedie loss on the same examples, without any quantity of another model."""
    cutoffs = training_cutoffs(log, as_of, horizon_days)
    examples = training_examples(snapshots, log, cutoffs, horizon_days, CATALOGUE.names, seed=0, modified=False)
    settings = {"objective": "tweedie", "verbosity": -1, "num_threads": 1, "deterministic": True}
    data = lgb.Dataset(examples.inputs[:, : len(CATALOGUE)], examples.spend, params=settings)
    return LightgbmTweedie((horizon_days,), lgb.train(settings, data))


@dataclass(frozen=True)
class ParetoNbdGammaGamma:
    """Expected purchases of Pareto/NBD times the expected value of Gamma-Gamma."""

    horizons: tuple[int, ...]
    purchases: ParetoNbd
    value: GammaGamma

    def predict(self, matrix: FeatureMatrix) -> Predictions:
        """Answer for every row of the matrix."""
        of, days = summarise(matrix), self.horizons[0]
        orders = self.purchases.expected_purchases(of, days)[:, None]
        value = self.value.expected_value(of.repeats + 1.0, of.day_value)[:, None]
        probability = self.purchases.purchase_probability(of, days)[:, None]
        return joined(self.horizons, probability, orders, orders * value, self.purchases.p_alive(of))


def fit_bgnbd_gamma_gamma(
    snapshots: Snapshots,
    log: OrderLog,  # noqa: ARG001  what all rivals are given
    as_of: int,
    horizon_days: int,
) -> BgNbdGammaGamma:
    """Fit on the orders before `as_of`."""
    now = snapshots.at(as_of)
    return BgNbdGammaGamma((horizon_days,), fit_bg_nbd(now.summary), _fit_value(now))


def fit_pareto_nbd_gamma_gamma(
    snapshots: Snapshots,
    log: OrderLog,  # noqa: ARG001  what all rivals are given
    as_of: int,
    horizon_days: int,
) -> ParetoNbdGammaGamma:
    """Fit on the orders before `as_of`."""
    now = snapshots.at(as_of)
    return ParetoNbdGammaGamma((horizon_days,), fit_pareto_nbd(now.summary), _fit_value(now))


def _fit_value(now: Snapshot) -> GammaGamma:
    """Fitted again for each, so that its seconds are its own."""
    return fit_gamma_gamma(now.summary.repeats + 1.0, now.summary.day_value, now.net_share)


Fitted: TypeAlias = Callable[[Snapshots, OrderLog, int, int], Model]
"""Fits from snapshots, the log before `as_of`, `as_of` and horizon."""
ON_REQUEST: Final[Mapping[str, Fitted]] = {
    "lightgbm_tweedie": fit_lightgbm_tweedie,
    "pareto_nbd": fit_pareto_nbd_gamma_gamma,
}


def simulated_bounds(model: BgNbdGammaGamma, matrix: FeatureMatrix, level: float) -> tuple[FloatArray, FloatArray]:
    """Intervals of BG/NBD + Gamma-Gamma at `level` by 200 draws from each customer's posterior, shape (n,) each.

    As `model.spread`, they begin at 0 where buying nothing is likely enough to be a tail of its own.
    """
    rng, of = np.random.default_rng(0), summarise(matrix)
    alive = model.purchases.p_alive(of)
    parts = [
        _bounds(_draws(rng, model, of, alive, slice(low, low + _BLOCK)), level) for low in range(0, len(alive), _BLOCK)
    ]
    lower, upper = (np.concatenate(side) for side in zip(*parts, strict=True))
    return lower, upper


def _draws(
    rng: np.random.Generator, fitted: BgNbdGammaGamma, of: Summary, p_alive: FloatArray, rows: slice
) -> FloatArray:
    """Value within the horizon of some customers, shape (n, draws).

    Given that a customer lives, the rate is Gamma(r + x, alpha + T) and the chance to leave Beta(a, b + x);
    the value of n purchases is Gamma(p n) over the customer's own scale, Gamma(p x + q, v + total so far).
    """
    model, values = fitted.purchases, fitted.value
    x, tenure, spent = of.repeats[rows, None], of.tenure_days[rows, None], of.day_value[rows, None]
    size = (len(x), _DRAWS)
    alive = rng.random(size) < p_alive[rows, None]
    rate = rng.gamma(model.r + x, 1.0 / (model.alpha + tenure), size)
    leave = np.clip(rng.beta(model.a, model.b + x, size), 1e-9, 1.0)
    n_purchases = np.minimum(rng.poisson(rate * fitted.horizons[0]), rng.geometric(leave)) * alive
    scale = rng.gamma(values.p * (x + 1.0) + values.q, 1.0 / (values.v + (x + 1.0) * spent), size)
    value = values.net_share * rng.gamma(values.p * np.maximum(n_purchases, 1)) / scale
    return np.where(n_purchases > 0, value, 0.0)


def _bounds(draws: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    tail = (1.0 - level) / 2.0
    low, whole, high = np.quantile(draws, [tail, level, 1.0 - tail], axis=1)
    from_zero, mean = (draws == 0.0).mean(axis=1) >= tail, draws.mean(axis=1)
    return np.minimum(np.where(from_zero, 0.0, low), mean), np.maximum(np.where(from_zero, whole, high), mean)
