"""The models of one horizon: churn, orders, spend and value, each trees blended with the buy-till-you-die model.

Calibration and blends use out-of-fold scores, whose folds are cut by customer. The level is left to `fitting`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from features.arrays import FloatArray, IntArray
from features.errors import TrainingError
from model.clv import Blend, HorizonModel, NextOrder, Part, joined_views
from model.curve import Curve
from training.curve import CURVE_SHARE, fit_curve
from training.examples import Examples
from training.spread import fit_spread
from training.trees import N_FOLDS, Aim, Grown, Table, fold_of, grow

MIN_PURCHASES: Final = 10
TREE_SHARE: Final = {"churn": 0.42, "orders": 0.55, "spend": 0.55, "value": 1.0}
"""Weight of the trees on the link scale, times N / (N + SHRINK) for N customers with a purchase to learn from."""
MORE_SHARES: Final = (0.6, 0.8, 1.0)
"""Weights of the trees in churn where they see what the formulas cannot: contracts, renewals, seasons of one's own."""
CLEARLY_BETTER: Final = 0.02
"""Share of the out-of-fold log loss by which one of them must be better."""
SHRINK: Final = 300.0
VALUE_SHARE: Final = 0.3
"""Weight of the one-stage view of value in the log of the value, shrunk likewise."""
SPEND_CAP_QUANTILE: Final = 0.97
"""Spend beyond this quantile, relative to its forecast, is capped while growing and given back in total."""

Plan: TypeAlias = tuple[Aim, Callable[[Grown], tuple[Part, FloatArray]]]
"""The aim of a part's trees, and the function that makes the part of the grown trees."""


def fit_horizon(
    examples: Examples,
    names: Sequence[str],
    horizon_days: int,
    seed: int,
    level_sd: float,
) -> HorizonModel:
    """Fit churn on all examples, orders and spend on those with a purchase; the level is still open."""
    purchased = examples.n_orders > 0
    if purchased.sum() < MIN_PURCHASES:
        raise TrainingError(
            f"Within {horizon_days} days {int(purchased.sum())} of {len(examples)} examples have a purchase; at least "
            f"{MIN_PURCHASES} are needed. Choose a longer horizon or bring more history."
        )
    buyers = examples.rows(purchased)
    for learnt_from in (examples, buyers):
        _require_spend_beside_each_fold(learnt_from, horizon_days, seed)
    n_buyers = len(np.unique(buyers.customers))
    known = n_buyers / (n_buyers + SHRINK)
    share = {part: weight * known for part, weight in TREE_SHARE.items()}
    more = [weight * known for weight in MORE_SHARES]
    churn_aim, churn_of = _churn(examples, purchased.astype(np.float64), [share["churn"], *more], CURVE_SHARE * known)
    value_aim, value_of = _value(examples, share["value"])
    spend_aim, spend_of = _spend(buyers, share["spend"])
    orders_aim, orders_of = _orders(buyers, share["orders"])
    everyone = _table(examples, {"churn": churn_aim, "value": value_aim}, seed)
    grown = grow([everyone, _table(buyers, {"spend": spend_aim, "orders": orders_aim}, seed)], names, seed)
    (churn, curve, chance), (value, log_value) = churn_of(grown["churn"]), value_of(grown["value"])
    (spend, log_spend), orders = spend_of(grown["spend"]), orders_of(grown["orders"])
    value_share, bought = VALUE_SHARE * share["value"], chance[purchased]
    expected = np.exp(joined_views(log_spend, log_value[purchased], bought, value_share))
    target = _positive(buyers.spend)
    expected *= target.sum() / expected.sum()
    spread = fit_spread(bought * expected, expected, target, level_sd)
    return HorizonModel(horizon_days, churn, orders, spend, value, value_share, spread, curve)


def _require_spend_beside_each_fold(examples: Examples, horizon_days: int, seed: int) -> None:
    """Trees that are not to see a fold must see others who spend."""
    spent = examples.spend > 0.0
    folds = fold_of(examples.customers, seed)
    if any(not spent[folds != fold].any() for fold in range(N_FOLDS)):
        raise TrainingError(
            f"Within {horizon_days} days of the {len(np.unique(examples.cutoff))} moments looked at only "
            f"{len(np.unique(examples.customers[spent]))} of {len(np.unique(examples.customers))} customers spend "
            "anything: too few to learn from. Choose a longer horizon or bring more history."
        )


def _table(examples: Examples, aims: Mapping[str, Aim], seed: int) -> Table:
    return Table(examples.inputs, examples.customers, fold_of(examples.customers, seed), aims)


def _churn(
    examples: Examples, bought: FloatArray, shares: Sequence[float], curve_share: float
) -> tuple[Aim, Callable[[Grown], tuple[Part, Curve, FloatArray]]]:
    """Purchase probability, calibrated by a sigmoid on scores from trees that never saw the customer.

    Beside the part: the smooth view, and those out-of-fold probabilities at each cut-off's own level, shape (n,).

    The first weight of the trees is taken unless another is clearly better out of fold. Where nearly everyone buys
    there is nothing to tell apart: the buy-till-you-die model then answers alone.
    """
    if len(bought) - bought.sum() < MIN_PURCHASES:
        shares, curve_share = [0.0], 0.0
    forecast = expit(examples.btyd.probability)
    season = _per_cutoff(
        examples.cutoff,
        lambda rows: float(_logit_of_mean(bought[rows]) - _logit_of_mean(forecast[rows])),
    )
    share_of_buyers = float(np.clip(bought.mean(), 0.002, 0.998))
    constant = root(lambda k: float(expit(season + k).mean()) - share_of_buyers)
    start = season + constant

    def finished(grown: Grown) -> tuple[Part, Curve, FloatArray]:
        slope, level = calibrate(grown.scores + start, bought) if shares[0] > 0.0 else (1.0, 0.0)
        curve = fit_curve(examples.btyd.rhythm, bought, season, curve_share)
        odds = curve.joined(examples.btyd.rhythm)
        blends = [Blend(share * slope, 1.0 - share, share * (slope * constant + level)) for share in shares]
        joined = [blend(grown.scores, odds) + season for blend in blends]
        losses = np.array([np.mean(np.logaddexp(0.0, scores) - bought * scores) for scores in joined])
        best = int(losses.argmin()) if losses.min() < (1.0 - CLEARLY_BETTER) * losses[0] else 0
        return Part(grown.trees, blends[best]), curve, expit(joined[best])

    return Aim("binary", bought, start), finished


def _orders(buyers: Examples, share: float) -> tuple[Aim, Callable[[Grown], Part]]:
    """Orders beyond the first, given one; the total on the examples is kept."""
    more, offset = buyers.n_orders - 1.0, buyers.btyd.orders
    counted = more
    if not more.any():  # as where everyone pays on one day a month; LightGBM counts nothing that never happens
        share, counted = 0.0, np.ones(len(more))
    constant = float(np.log(max(more.sum(), 1.0) / np.exp(offset).sum()))

    def finished(grown: Grown) -> Part:
        level = float(np.log(max(more.sum(), 1.0) / np.exp(share * grown.scores + offset).sum()))
        return Part(grown.trees, Blend(share, 1.0, level))

    return Aim("poisson", counted, offset + constant, out_of_fold=False), finished


def _spend(buyers: Examples, share: float) -> Plan:
    """Spend, given a purchase, as a factor on the buy-till-you-die forecast; heavy tails capped.

    Beside the part: log of out-of-fold expected spend at each cut-off's own level, shape (n,).
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

    def finished(grown: Grown) -> tuple[Part, FloatArray]:
        given_back = float(np.log(target.sum() / capped.sum()))
        blend = Blend(share, 1.0, share * (constant + given_back))
        return Part(grown.trees, blend), np.asarray(blend(grown.scores, offset) + season)

    return Aim("gamma", capped, start), finished


def _value(examples: Examples, share: float) -> Plan:
    """Value in one stage, zeros included (Tweedie), as a factor on the buy-till-you-die forecast.

    Beside the part: log of out-of-fold expected value at each cut-off's own level, shape (n,).
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

    def finished(grown: Grown) -> tuple[Part, FloatArray]:
        given_back = float(np.log(examples.spend.sum() / capped.sum()))
        blend = Blend(share, 1.0, constant + given_back)
        return Part(grown.trees, blend), np.asarray(blend(grown.scores, offset) + level)

    return Aim("tweedie", capped / unit, start - np.log(unit)), finished


def fit_next_order(buyers: Examples, names: Sequence[str], seed: int) -> NextOrder:
    """Grow the median of the days to the next order, of customers who order within the horizon."""
    days = buyers.first_order_days + 0.5
    table = _table(buyers, {"days": Aim("regression_l1", np.log(days), None)}, seed)
    grown = grow([table], names, seed)["days"]
    middle = np.exp(grown.scores)
    return NextOrder(grown.trees, fit_spread(middle, middle, days, 0.0))


def _positive(spend: FloatArray) -> FloatArray:
    """Spend of buyers with a floor: refunds may leave an order without value."""
    return np.asarray(np.maximum(spend, 1e-3 * spend.mean()))


def _per_cutoff(cutoff: IntArray, constant_of: Callable[[IntArray], float]) -> FloatArray:
    """Level of each cut-off relative to the buy-till-you-die forecast, mean 0, so that trees learn who, not when."""
    constants = np.zeros(int(cutoff.max()) + 1)
    present = np.unique(cutoff)
    for place in present:
        constants[place] = constant_of(np.flatnonzero(cutoff == place))
    return np.asarray(constants - constants[present].mean(), dtype=np.float64)[cutoff]


def _logit_of_mean(values: FloatArray) -> float:
    return float(logit(np.clip(values.mean(), 0.002, 0.998)))


def calibrate(scores: FloatArray, bought: FloatArray) -> tuple[float, float]:
    """Platt's sigmoid on out-of-fold scores: (slope >= 0, level), as numbers."""
    fitted = LogisticRegression(C=1.0).fit(scores[:, None], bought)
    return max(float(fitted.coef_[0, 0]), 0.0), float(fitted.intercept_[0])


def root(f: Callable[[float], float]) -> float:
    """Where an increasing function of a log-odds shift is 0."""
    return float(brentq(f, -30.0, 30.0))
