"""Order log → fitted `ClvModel`: the table of contents of training.

Per horizon: examples at many cut-offs → trees for churn, orders, spend and value → calibration on
out-of-fold scores (folds cut by customer) → the blend with the buy-till-you-die model → the level.
*Who* comes from the trees, *how much in total* from `training.level`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
from scipy.special import expit
from threadpoolctl import threadpool_limits

from features.catalogue import CATALOGUE
from features.errors import TrainingError
from features.history import before
from features.instants import isoformat
from features.machine import CORES
from features.matrix import FeatureMatrix
from features.orders import OrderLog
from model.btyd import Btyd
from model.clv import ClvModel, HorizonModel, Part, Typical, btyd_scores, input_names
from model.predictions import Predictions
from model.season import N_STEPS, Season, at_rate
from model.standing import Standing, measure, rfm_edges
from training.cutoffs import training_cutoffs
from training.examples import Examples, Snapshot, Snapshots, training_examples
from training.extremes import most_usual
from training.guards import require_embargo
from training.level import Level, past_of
from training.parts import MIN_PURCHASES, fit_horizon, fit_next_order, root
from training.prior import fit_prior

MIN_CUSTOMERS: Final = 20
SEED: Final = 7
MOST_FURTHER: Final = 1.5
"""Log of how much the level may do to orders beyond the first, given one."""
MOSTLY_TREES: Final = 0.5
"""Where the formulas weigh less than this in churn, how orders are shared out among customers is the trees' to say."""


Stage: TypeAlias = Callable[[str], None]
"""Takes what a fit is doing now, for a shell to show."""


def quiet(_: str) -> None:
    """Show nothing."""


def fit(
    log: OrderLog,
    as_of: int,
    horizons: Sequence[int],
    *,
    seed: int = SEED,
    stage: Stage = quiet,
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
    stage
        Called with each thing that is begun.
    snapshots
        Snapshots made elsewhere of a log that `log` is the beginning of, to be used and added to.

    Raises
    ------
    TrainingError
        Too few customers or purchases to learn from; the text names what is missing.
    """
    return fit_and_answer(log, as_of, horizons, seed=seed, stage=stage, snapshots=snapshots)[0]


def fit_and_answer(
    log: OrderLog,
    as_of: int,
    horizons: Sequence[int],
    *,
    seed: int = SEED,
    stage: Stage = quiet,
    snapshots: Snapshots | None = None,
) -> tuple[ClvModel, Predictions]:
    """As `fit`, with the model's answers as of `as_of`, which its percentiles are made of."""
    with threadpool_limits(limits=1, user_api="blas"):  # its threads spin against any neighbour: up to 10 x slower
        return _fit(before(log, as_of), as_of, horizons, seed, stage, snapshots)


def _fit(
    past: OrderLog,
    as_of: int,
    horizons: Sequence[int],
    seed: int,
    stage: Stage,
    snapshots: Snapshots | None,
) -> tuple[ClvModel, Predictions]:
    known = snapshots or Snapshots(past)
    now = known.at(as_of)
    _require_enough(now.matrix, past)
    features, modified = informative(now.matrix), now.fits.prefers_modified()
    windows, parts, levels = past_of(known, past, as_of, modified), [], []
    for horizon in horizons:
        cutoffs = training_cutoffs(past, as_of, horizon)
        if not cutoffs:
            raise TrainingError(
                f"No window of {horizon} days lies wholly before {isoformat(as_of)} with orders ahead of it: choose a "
                "shorter horizon or bring more history."
            )
        require_embargo(cutoffs, horizon, as_of)
        stage(f"features as of {len(cutoffs)} cut-offs")
        examples = _usual(training_examples(known, past, cutoffs, horizon, features, seed, modified))
        stage(f"{horizon}-day models on {len(examples):,} examples of {len(cutoffs)} cut-offs")
        levels.append(windows.levels(horizon, np.arange(N_STEPS + 1.0)))
        level = levels[-1][0]
        grown = fit_horizon(examples, input_names(features), horizon, seed, level.value.sd)
        parts.append(set_level(grown, now, now.btyd(modified), features, level))
    returns = fit_next_order(examples.rows(examples.n_orders > 0), input_names(features), seed)
    unmeasured = Standing(np.zeros(101), rfm_edges(now.matrix), 1.0)  # needs what the model predicts
    btyd = now.btyd(modified)
    todays = windows.prices.todays(past, as_of)
    prior = fit_prior(todays, as_of, horizons, cut=btyd.purchases.of_cut_log)
    orders = np.array([[level.orders.mean for level in later] for later in levels])
    value = np.array([[level.value.mean for level in later] for later in levels])
    season = Season(as_of, orders - orders[:, :1], value - value[:, :1])
    model = ClvModel(features, btyd, tuple(parts), season, returns, prior, unmeasured)
    answers = model.predict(now.matrix, threads=CORES)
    primary = np.ascontiguousarray(answers.clv[:, answers.place(model.primary_horizon)])
    return replace(model, standing=measure(now.matrix, primary)), answers


def _usual(examples: Examples) -> Examples:
    """The examples without extreme ones, from which nothing is to be learnt about others."""
    forecast = np.exp(examples.btyd.value)
    of = examples.customers
    return examples.rows((examples.spend <= most_usual(examples.spend, of)) & (forecast <= most_usual(forecast, of)))


def informative(matrix: FeatureMatrix) -> tuple[str, ...]:
    """Features that are not the same for everyone; the others cannot split a tree."""
    kept = []
    for name in CATALOGUE.names:
        column = matrix.column(name)
        known = column[~np.isnan(column)]
        if len(known) and (len(known) < len(column) or known.min() < known.max()):
            kept.append(name)
    return tuple(kept)


def set_level(grown: HorizonModel, now: Snapshot, fitted: Btyd, features: Sequence[str], level: Level) -> HorizonModel:
    """Shift probability, orders and spend so that their totals over today's base are what the level says."""
    btyd = btyd_scores(fitted, now.summary, grown.horizon_days)
    inputs = np.concatenate([now.matrix.columns(features), btyd.inputs], axis=1)
    odds = grown.curve.joined(btyd.rhythm)
    z = grown.churn.score(inputs, odds, CORES)
    chance, forecast = expit(btyd.probability), expit(btyd.probability) * np.exp(btyd.spend)
    more = np.exp(grown.orders.score(inputs, btyd.orders, CORES))
    n_orders = float((chance * (1.0 + np.exp(btyd.orders))).sum() * np.exp(level.orders.mean))
    if grown.churn.blend.btyd < MOSTLY_TREES:  # as many orders may come from as few customers as trees have seen
        own = expit(z)
        buyers = at_rate(own, float(np.log(n_orders / (own @ (1.0 + more)))))
    else:
        buyers = at_rate(chance, level.orders.mean)
    target = float(np.clip(buyers.mean(), 1e-4, 0.995))
    shift = root(lambda k: float(expit(z + k).mean() - target))
    probability = expit(z + shift)
    further = np.log(max(n_orders - probability.sum(), 1e-3 * n_orders) / (probability @ more))
    scores = grown.spend.score(inputs, btyd.spend, CORES), grown.value.score(inputs, btyd.value, CORES)
    spend = np.exp(grown.log_spend(*scores, probability))
    usual = forecast <= most_usual(forecast)  # what is lacking of an extreme one is not for others to pay
    total = float(forecast[usual].sum() * np.exp(level.value.mean))
    scale = float(np.log(total / (probability * spend)[usual].sum()))
    return replace(
        grown,
        churn=_shifted(grown.churn, shift),
        orders=_shifted(grown.orders, float(np.clip(further, -MOST_FURTHER, MOST_FURTHER))),
        spend=_shifted(grown.spend, scale),
        value=_shifted(grown.value, scale),
        typical=Typical(
            probability=float(odds.mean()),
            spend=float(btyd.spend.mean()),
            value=float(btyd.value.mean()),
            shift=shift,
            scale=scale,
        ),
    )


def _shifted(part: Part, by: float) -> Part:
    return replace(part, blend=replace(part.blend, level=part.blend.level + by))


def _require_enough(matrix: FeatureMatrix, past: OrderLog) -> None:
    n_customers = len(matrix.customers)
    repeats = int((matrix.column("frequency") > 1).sum())
    if n_customers < MIN_CUSTOMERS or repeats < MIN_PURCHASES:
        raise TrainingError(
            f"The log is too small to train on: {n_customers} customers with an order before "
            f"{isoformat(matrix.as_of)}, {repeats} of them with a second one. At least {MIN_CUSTOMERS} customers and "
            f"{MIN_PURCHASES} repeat buyers are needed.{_no_orders(past)}"
        )


def _no_orders(past: OrderLog) -> str:
    """What most of the rows are, where they are not orders."""
    below, none = int((past.amount < 0.0).sum()), int((past.amount == 0.0).sum())
    if 2 * (below + none) < past.n_rows:
        return ""
    return (
        f" Amounts of {below:,} of its {past.n_rows:,} rows are below 0 and count as refunds, {none:,} are 0; only "
        "those above 0 count as orders: is the right column mapped, and the sign?"
    )
