"""Order log → fitted `ClvModel`: the table of contents of training.

Per horizon: examples at many cut-offs → trees for churn, orders and spend → calibration on
out-of-fold scores (folds cut by customer) → the blend with the buy-till-you-die model → the level.
*Who* comes from the trees, *how much in total* from `training.level`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from features.arrays import FloatArray, IntArray
from features.catalogue import CATALOGUE
from features.errors import TrainingError
from features.history import before
from features.instants import isoformat
from features.matrix import FeatureMatrix
from features.orders import OrderLog
from model.btyd import summarise
from model.clv import Blend, ClvModel, HorizonModel, NextOrder, Part, btyd_scores, input_names
from model.spread import Spread
from training.cutoffs import training_cutoffs
from training.examples import Examples, Snapshot, Snapshots, training_examples
from training.level import Level, forecast_level
from training.prior import fit_prior
from training.spread import fit_spread
from training.trees import fold_of, grow, grow_with_folds

MIN_CUSTOMERS: Final = 20
MIN_PURCHASES: Final = 10
SEED: Final = 7

TREE_SHARE: Final = {"churn": 0.6, "orders": 0.55, "spend": 0.55, "value": 1.0}
"""Weight of the trees on the link scale, times N / (N + SHRINK) for N customers with a purchase to learn from."""
SHRINK: Final = 300.0
VALUE_SHARE: Final = 0.3
"""Weight of the one-stage view of value in the log of the value, shrunk likewise."""
SPEND_CAP_QUANTILE: Final = 0.97
"""Spend beyond this quantile, relative to its forecast, is capped while growing and given back in total."""


@dataclass(frozen=True)
class Progress:
    """What a shell may show while a fit runs; nothing by default."""

    stage: Callable[[str], None] = lambda _: None


def fit(
    log: OrderLog,
    as_of: int,
    horizons: Sequence[int],
    *,
    seed: int = SEED,
    progress: Progress | None = None,
    snapshots: Snapshots | None = None,
) -> ClvModel:
    """Fit a model on label windows that end at or before `as_of`.

    Parameters
    ----------
    log
        Valid orders; those at or after `as_of` are not looked at.
    horizons
        Days ahead, ascending.
    seed
        Of the draw of examples, the folds and the trees.
    snapshots
        Snapshots made elsewhere of a log that `log` is the beginning of, to be used and added to.

    Raises
    ------
    TrainingError
        Too few customers or purchases to learn from; the text names what is missing.
    """
    with threadpool_limits(limits=1, user_api="blas"):  # its threads spin against any neighbour: up to 10 x slower
        return _fit(before(log, as_of), as_of, horizons, seed, progress or Progress(), snapshots)


def _fit(
    past: OrderLog,
    as_of: int,
    horizons: Sequence[int],
    seed: int,
    told: Progress,
    snapshots: Snapshots | None,
) -> ClvModel:
    known = snapshots or Snapshots(past)
    now = known.at(as_of)
    _require_enough(now.matrix)
    features = informative(now.matrix)
    parts = []
    for horizon in horizons:
        cutoffs = training_cutoffs(past, as_of, horizon)
        told.stage(f"features as of {len(cutoffs)} cut-offs")
        examples = training_examples(known, past, cutoffs, horizon, features, seed)
        told.stage(f"{horizon}-day models on {len(examples):,} examples of {len(cutoffs)} cut-offs")
        level = forecast_level(known, past, as_of, horizon)
        grown = fit_horizon(examples, input_names(features), horizon, seed, level.value.sd)
        parts.append(set_level(grown, now, features, level))
    returns = _fit_next_order(examples.rows(examples.n_orders > 0), input_names(features), seed)
    return ClvModel(features, now.btyd, tuple(parts), returns, fit_prior(past, as_of, horizons))


def informative(matrix: FeatureMatrix) -> tuple[str, ...]:
    """Features that are not the same for everyone; the others cannot split a tree."""
    kept = []
    for name in CATALOGUE.names:
        column = matrix.column(name)
        known = column[~np.isnan(column)]
        if len(known) and (len(known) < len(column) or known.min() < known.max()):
            kept.append(name)
    return tuple(kept)


def fit_horizon(
    examples: Examples,
    names: Sequence[str],
    horizon_days: int,
    seed: int,
    level_sd: float,
) -> HorizonModel:
    """Fit churn on all examples, orders and spend on those with a purchase; the level is still open."""
    purchased = examples.n_orders > 0
    if purchased.sum() < MIN_PURCHASES or (~purchased).sum() < MIN_PURCHASES:
        raise TrainingError(
            f"Within {horizon_days} days {int(purchased.sum())} of {len(examples)} examples have a purchase; at least "
            f"{MIN_PURCHASES} with and without are needed. Choose another horizon or bring more history."
        )
    buyers = examples.rows(purchased)
    n_buyers = len(np.unique(buyers.customers))
    share = {part: weight * n_buyers / (n_buyers + SHRINK) for part, weight in TREE_SHARE.items()}
    churn, chance = _fit_churn(examples, purchased.astype(np.float64), names, seed, share["churn"])
    spend, log_spend = _fit_spend(buyers, names, seed, share["spend"])
    value, log_value = _fit_value(examples, names, seed, share["value"])
    orders = _fit_orders(buyers, names, seed, share["orders"])
    value_share = VALUE_SHARE * share["value"]
    open_spread = Spread(np.zeros(1), np.zeros((1, 1)), level_sd)
    fitted = HorizonModel(horizon_days, churn, orders, spend, value, value_share, open_spread)
    expected = np.exp(fitted.log_spend(log_spend, log_value[purchased], chance[purchased]))
    target = _positive(buyers.spend)
    expected *= target.sum() / expected.sum()
    return replace(fitted, spread=fit_spread(chance[purchased] * expected, expected, target, level_sd))


def _fit_churn(
    examples: Examples,
    bought: FloatArray,
    names: Sequence[str],
    seed: int,
    share: float,
) -> tuple[Part, FloatArray]:
    """Grow purchase probability, calibrated by a sigmoid on scores from trees that never saw the customer.

    Returns
    -------
    (the part, those out-of-fold probabilities at each cut-off's own level, shape (n,))
    """
    forecast = expit(examples.btyd.probability)
    season = _per_cutoff(
        examples.cutoff,
        lambda rows: float(_logit_of_mean(bought[rows]) - _logit_of_mean(forecast[rows])),
    )
    constant = _root(lambda k: float((expit(season + k) - bought).sum()))
    start = season + constant
    folds = fold_of(examples.customers, seed)
    trees, scores = grow_with_folds(examples.inputs, bought, start, folds, "binary", names, seed)
    slope, level = calibrate(scores + start, bought)
    blend = Blend(share * slope, 1.0 - share, share * (slope * constant + level))
    return Part(trees, blend), expit(blend(scores, examples.btyd.probability) + season)


def _fit_orders(buyers: Examples, names: Sequence[str], seed: int, share: float) -> Part:
    """Grow orders beyond the first, given one; the total on the examples is kept."""
    more, offset = buyers.n_orders - 1.0, buyers.btyd.orders
    constant = float(np.log(max(more.sum(), 1.0) / np.exp(offset).sum()))
    trees = grow(buyers.inputs, more, offset + constant, "poisson", names, seed)
    raw = np.asarray(trees.predict(buyers.inputs, raw_score=True, num_threads=1))
    level = float(np.log(max(more.sum(), 1.0) / np.exp(share * raw + offset).sum()))
    return Part(trees, Blend(share, 1.0, level))


def _fit_spend(buyers: Examples, names: Sequence[str], seed: int, share: float) -> tuple[Part, FloatArray]:
    """Grow spend, given a purchase, as a factor on the buy-till-you-die forecast; heavy tails capped.

    Returns
    -------
    (the part, log of out-of-fold expected spend at each cut-off's own level, shape (n,))
    """
    offset, target = buyers.btyd.spend, _positive(buyers.spend)
    season = _per_cutoff(
        buyers.cutoff,
        lambda rows: float(np.log(target[rows].sum() / np.exp(offset[rows]).sum())),
    )
    constant = float(np.log(target.sum() / np.exp(offset + season).sum()))
    start = offset + season + constant
    factor = target / np.exp(start)
    capped = np.minimum(factor, np.quantile(factor, SPEND_CAP_QUANTILE)) * np.exp(start)
    folds = fold_of(buyers.customers, seed)
    trees, scores = grow_with_folds(buyers.inputs, capped, start, folds, "gamma", names, seed)
    given_back = float(np.log(target.sum() / capped.sum()))
    blend = Blend(share, 1.0, share * (constant + given_back))
    return Part(trees, blend), np.asarray(blend(scores, offset) + season)


def _fit_value(examples: Examples, names: Sequence[str], seed: int, share: float) -> tuple[Part, FloatArray]:
    """Grow value in one stage, zeros included (Tweedie), as a factor on the buy-till-you-die forecast.

    Returns
    -------
    (the part, log of out-of-fold expected value at each cut-off's own level, shape (n,))
    """
    offset, unit = examples.btyd.value, float(examples.spend.mean())
    level = _per_cutoff(
        examples.cutoff,
        lambda rows: float(np.log(max(examples.spend[rows].sum(), unit) / np.exp(offset[rows]).sum())),
    )
    constant = float(np.log(examples.spend.sum() / np.exp(offset + level).sum()))
    start = offset + level + constant
    factor = examples.spend / np.exp(start)
    highest = np.quantile(factor[factor > 0], SPEND_CAP_QUANTILE)
    capped = np.minimum(factor, highest) * np.exp(start)
    folds = fold_of(examples.customers, seed)
    trees, scores = grow_with_folds(examples.inputs, capped / unit, start - np.log(unit), folds, "tweedie", names, seed)
    given_back = float(np.log(examples.spend.sum() / capped.sum()))
    blend = Blend(share, 1.0, constant + given_back)
    return Part(trees, blend), np.asarray(blend(scores, offset) + level)


def _fit_next_order(buyers: Examples, names: Sequence[str], seed: int) -> NextOrder:
    """Grow the median of the days to the next order, of customers who order within the horizon."""
    days, folds = buyers.first_order_days + 0.5, fold_of(buyers.customers, seed)
    target = np.log(days)
    trees, scores = grow_with_folds(buyers.inputs, target, None, folds, "regression_l1", names, seed)
    middle = np.exp(scores)
    return NextOrder(trees, fit_spread(middle, middle, days, 0.0))


def _positive(spend: FloatArray) -> FloatArray:
    """Spend of buyers with a floor: refunds may leave an order without value."""
    return np.asarray(np.maximum(spend, 1e-3 * spend.mean()))


def set_level(grown: HorizonModel, now: Snapshot, features: Sequence[str], level: Level) -> HorizonModel:
    """Shift probability and spend so that their totals over today's base are what the level says."""
    btyd = btyd_scores(now.btyd, summarise(now.matrix), grown.horizon_days)
    inputs = np.concatenate([now.matrix.columns(features), btyd.inputs], axis=1)
    z = grown.churn.score(inputs, btyd.probability, threads=1)
    chance, forecast = expit(btyd.probability), expit(btyd.probability) * np.exp(btyd.spend)
    busier = -np.expm1(np.log1p(-chance) * np.exp(level.orders.mean))  # chance of an event at a rate so much higher
    target = float(np.clip(busier.mean(), 1e-4, 0.995))
    shift = _root(lambda k: float(expit(z + k).mean() - target))
    probability = expit(z + shift)
    scores = grown.spend.score(inputs, btyd.spend, threads=1), grown.value.score(inputs, btyd.value, threads=1)
    spend = np.exp(grown.log_spend(*scores, probability))
    total = float(forecast.sum() * np.exp(level.value.mean))
    scale = float(np.log(total / (probability * spend).sum()))
    return replace(
        grown,
        churn=_shifted(grown.churn, shift),
        spend=_shifted(grown.spend, scale),
        value=_shifted(grown.value, scale),
    )


def _shifted(part: Part, by: float) -> Part:
    return replace(part, blend=replace(part.blend, level=part.blend.level + by))


def _per_cutoff(cutoff: IntArray, constant_of: Callable[[IntArray], float]) -> FloatArray:
    """Level of each cut-off relative to the buy-till-you-die forecast, mean 0, so that trees learn who, not when."""
    constants = np.zeros(int(cutoff.max()) + 1)
    present = np.unique(cutoff)
    for place in present:
        constants[place] = constant_of(np.flatnonzero(cutoff == place))
    return np.asarray(constants - constants[present].mean(), dtype=np.float64)[cutoff]


def _logit_of_mean(values: FloatArray) -> float:
    return float(logit(np.clip(values.mean(), 0.002, 0.998)))


def _root(f: Callable[[float], float]) -> float:
    return float(brentq(f, -30.0, 30.0))


def calibrate(scores: FloatArray, bought: FloatArray) -> tuple[float, float]:
    """Platt's sigmoid on out-of-fold scores: (slope >= 0, level), as numbers."""
    fitted = LogisticRegression(C=1.0).fit(scores[:, None], bought)
    return max(float(fitted.coef_[0, 0]), 0.0), float(fitted.intercept_[0])


def _require_enough(matrix: FeatureMatrix) -> None:
    n_customers = len(matrix.customers)
    repeats = int((matrix.column("frequency") > 1).sum())
    if n_customers < MIN_CUSTOMERS or repeats < MIN_PURCHASES:
        raise TrainingError(
            f"The log is too small to train on: {n_customers} customers with an order before "
            f"{isoformat(matrix.as_of)}, {repeats} of them with a second one. At least {MIN_CUSTOMERS} customers and "
            f"{MIN_PURCHASES} repeat buyers are needed."
        )
