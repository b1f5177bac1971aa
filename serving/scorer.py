"""Orders + model → answers, as columns: the one scorer behind HTTP and batch; `answer` gives them their fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np

from features.arrays import AnyArray, BoolArray, FloatArray, ObjectArray
from features.columns import UNKNOWN_CURRENCY
from features.errors import OrdersError
from features.events import Events
from features.history import before
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog
from model.btyd import SUMMARISED
from model.bundle import Bundle
from model.clv import ClvModel
from model.predictions import Predictions
from model.reasons import Reasons, explain
from model.spread import DEFAULT_LEVEL
from model.standing import rfm_scores
from model.terms import NET_VALUE, Terms, factors
from serving import lifecycle
from serving.segments import FEATURES, segments

_FACTS: Final = {
    "historic_clv": "historic_clv",
    "historic_number_of_orders": "frequency",
    "average_order_value": "monetary",
    "average_days_between_orders": "gap_mean_days",
    "days_since_last_order": "recency_days",
}
"""Field of the answer → feature that it is."""
NEXT_ORDER: Final = (
    "expected_date_of_next_order_window_start",
    "expected_date_of_next_order",
    "expected_date_of_next_order_window_end",
)
BOUNDS: Final = ("predicted_clv_lower", "predicted_clv_upper")
_RFM: Final = np.array([str(code) for code in range(556)], dtype=object)
NO_ORDERS, ONE_ORDER, ONE_DAY, NOTHING_EXPECTED = "no_orders", "one_order", "one_purchase_day", "no_expected_orders"
_REASONS: Final = {"predicted_average_order_value": NOTHING_EXPECTED, "p_alive": ONE_DAY}


@dataclass(frozen=True)
class Question:
    """What is asked of every customer alike.

    Attributes
    ----------
    horizons
        Those to answer, in this order; all fitted ones by default. All are computed in any case: they are made to
        agree with each other, whatever was asked.
    interval_level
        Chance with which the intervals hold the value, in (0, 1).
    explained
        Whether to give reasons in money, which costs about a millisecond a customer.
    terms
        Margin and discount rate on which money is taken.
    """

    horizons: tuple[int, ...] | None = None
    interval_level: float = DEFAULT_LEVEL
    explained: bool = False
    terms: Terms = NET_VALUE


EVERYTHING: Final = Question()
"""All horizons, 80 % intervals, net value, no reasons."""


@dataclass(frozen=True)
class Place:
    """Where customers stand, n customers.

    Attributes
    ----------
    percentile
        Of predicted CLV within the primary horizon, in the training's base and season, shape (n,).
    value_tier, lifecycle_status, rfm_score
        Texts, shape (n,) each; `rfm_score` is null without an order.
    flags, segments
        Per customer, what to know before trusting a number, and every named rule that holds.
    """

    percentile: FloatArray
    value_tier: ObjectArray
    lifecycle_status: ObjectArray
    rfm_score: ObjectArray
    flags: list[list[str]]
    segments: list[list[str]]


@dataclass(frozen=True)
class Answers:
    """Answers for all customers of a log, in the log's order; n customers, K horizons.

    Attributes
    ----------
    known
        Whether the customer had an order before `as_of` (basis `model`, else `prior`), shape (n,).
    facts
        By answer field, NaN is null, shape (n,) each.
    place
        Where the customers stand, in the base and in their relation.
    predictions
        For the horizons that were asked, on the terms that were asked, shape (n, K) each.
    net
        The same as net value.
    reasons
        Per asked horizon, of the known customers; empty where they were not asked for.
    question
        What was asked.
    after_as_of
        Rows at or after `as_of`, which no number here has seen, shape (n,).
    """

    log: OrderLog
    as_of: int
    known: BoolArray
    facts: dict[str, FloatArray]
    place: Place
    predictions: Predictions
    net: Predictions
    reasons: tuple[Reasons, ...]
    question: Question
    after_as_of: FloatArray

    def null_reasons(self) -> list[dict[str, str]]:
        """Per customer, the fields that are null and why; customers alike share one dict."""
        unordered = ~self.known
        valueless = np.asarray(np.isnan(self.predictions.average_order_value)).any(axis=1)
        nulls: dict[str, AnyArray] = {field: np.asarray(np.isnan(column)) for field, column in self.facts.items()}
        nulls["p_alive"] = np.asarray(np.isnan(self.predictions.p_alive))
        nulls["predicted_average_order_value"] = np.asarray(valueless)
        nulls |= dict.fromkeys((*NEXT_ORDER, *BOUNDS, "rfm_score"), unordered)
        patterns = sum(mask.astype(np.int64) << place for place, mask in enumerate(nulls.values())) * 2 + unordered
        fields = tuple(nulls)
        return [_reasons(code, fields) for code in np.asarray(patterns).tolist()]


@lru_cache(maxsize=4096)
def _reasons(pattern: int, fields: tuple[str, ...]) -> dict[str, str]:
    absent = [field for place, field in enumerate(fields) if pattern >> (place + 1) & 1]
    if pattern & 1:
        return dict.fromkeys(absent, NO_ORDERS)
    return {field: _REASONS.get(field, ONE_ORDER) for field in absent}


def score(
    bundle: Bundle,
    log: OrderLog,
    as_of: int,
    question: Question = EVERYTHING,
    acquired: Sequence[Mapping[str, Any]] = (),
) -> Answers:
    """Answer for every customer of a log.

    Parameters
    ----------
    acquired
        Per customer of the log, what is known of them: channel or category by which a newcomer came, and other keys.

    Raises
    ------
    HorizonError
        A horizon was not fitted.
    OrdersError
        The orders are in another currency than the model's.
    """
    model = bundle.model
    _require_currency(bundle, log)
    log = replace(log, zone=bundle.provenance.zone)  # days and hours are cut as they were for training
    wanted = tuple(dict.fromkeys([*model.features, *_FACTS.values(), *SUMMARISED, *lifecycle.NEEDED, *FEATURES]))
    matrix = feature_matrix(log, as_of, wanted)
    known = np.zeros(log.n_customers, dtype=np.bool_)
    known[matrix.customers] = True
    facts = {field: np.full(log.n_customers, np.nan) for field in _FACTS}
    for field, name in _FACTS.items():
        facts[field][known] = matrix.column(name)
    past = before(log, as_of)
    if not known.all():
        events = Events(past)
        facts["historic_clv"][~known] = events.sum(events.amount)[~known]
        facts["historic_number_of_orders"][~known] = 0.0
    answers = (
        model.predict(matrix, level=question.interval_level)
        if len(matrix.customers)
        else model.prior.predictions(model.horizons, 0)
    )
    everyone = _with_prior(bundle, answers, known, acquired, seen=~known & (np.diff(past.starts) > 0))
    taken = question.terms.apply(everyone)
    predictions = _chosen(taken, question.horizons)
    return Answers(
        log=log,
        as_of=as_of,
        known=known,
        facts=facts,
        place=_place(bundle, matrix, everyone, known, past),
        predictions=predictions,
        net=predictions if taken is everyone else _chosen(everyone, question.horizons),
        reasons=_reasons_of(model, matrix, answers, question) if question.explained and len(matrix.customers) else (),
        question=question,
        after_as_of=(np.diff(log.starts) - np.diff(past.starts)).astype(np.float64),
    )


def _reasons_of(
    model: ClvModel, matrix: FeatureMatrix, answers: Predictions, question: Question
) -> tuple[Reasons, ...]:
    found, by = explain(model, matrix, answers), factors(question.terms.apply(answers), answers)
    places = [answers.place(days) for days in dict.fromkeys(question.horizons or answers.horizons)]
    return tuple(found[place].scaled(by[:, place]) for place in places)


def _place(bundle: Bundle, matrix: FeatureMatrix, answers: Predictions, known: BoolArray, past: OrderLog) -> Place:
    model = bundle.model
    primary = answers.place(model.primary_horizon)
    _, more_value = model.season.shifts(matrix.as_of)
    percentile = model.standing.percentile(answers.clv[:, primary] * np.where(known, np.exp(-more_value[primary]), 1.0))
    tiers = model.standing.tier(percentile)
    statuses = np.full(len(known), lifecycle.PROSPECT, dtype=object)
    statuses[known] = lifecycle.status(matrix, model.standing.usual_gap_days)
    rfm = np.full(len(known), None, dtype=object)
    rfm[known] = _RFM[rfm_scores(matrix, model.standing.edges) @ (100, 10, 1)]
    events = Events(past)
    last_at = events.max(np.where(events.amount > 0.0, events.at, -np.inf))
    columns: dict[str, AnyArray] = {name: matrix.column(name) for name in FEATURES}
    columns |= {
        "last_order_age_us": (matrix.as_of - last_at)[known],
        "value_tier": tiers[known],
        "purchase_probability": answers.purchase_probability[known, primary],
    }
    named = segments(columns, matrix.as_of, model.standing, bundle.provenance.currency)
    return Place(percentile, tiers, statuses, rfm, _for_all(lifecycle.flags(matrix), known), _for_all(named, known))


def _for_all(of_known: list[list[str]], known: BoolArray) -> list[list[str]]:
    """Lists of the known customers, and empty ones for the others, in the log's order."""
    following = iter(of_known)
    return [next(following) if one else [] for one in known.tolist()]


def _require_currency(bundle: Bundle, log: OrderLog) -> None:
    known = {log.currency, bundle.provenance.currency} - {UNKNOWN_CURRENCY}
    if len(known) > 1:
        raise OrdersError(
            f"The model speaks {bundle.provenance.currency}, the orders {log.currency}: convert the amounts first."
        )


def _with_prior(
    bundle: Bundle, answers: Predictions, known: BoolArray, acquired: Sequence[Mapping[str, Any]], seen: BoolArray
) -> Predictions:
    if known.all():
        return answers
    whole = bundle.model.prior.predictions(answers.horizons, len(known), acquired, seen)
    for name in ("purchase_probability", "orders", "clv", "p_alive", "lower", "upper", "next_order_days"):
        getattr(whole, name)[known] = getattr(answers, name)
    return whole


def _chosen(answers: Predictions, horizons: Sequence[int] | None) -> Predictions:
    if horizons is None:
        return answers
    places = [answers.place(days) for days in dict.fromkeys(horizons)]
    return Predictions(
        tuple(answers.horizons[place] for place in places),
        np.ascontiguousarray(answers.purchase_probability[:, places]),
        np.ascontiguousarray(answers.orders[:, places]),
        np.ascontiguousarray(answers.clv[:, places]),
        answers.p_alive,
        np.ascontiguousarray(answers.lower[:, places]),
        np.ascontiguousarray(answers.upper[:, places]),
        answers.next_order_days,
    )
