"""Answers → the fields of the answer, as columns or records: the one assembler behind HTTP and batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from features.arrays import BoolArray, FloatArray, ObjectArray
from features.instants import DAY_US, isoformat, local_us
from model.bundle import Bundle
from model.reasons import FAMILIES, LINES, Reasons
from serving.scorer import BOUNDS, NEXT_ORDER, Answers

WHOLE: Final = frozenset({"historic_number_of_orders", "days_since_last_order", "orders_after_as_of"})
"""Fields that are whole numbers."""


def identity(bundle: Bundle) -> dict[str, str]:
    """Which model answered, as in every answer."""
    return {
        "name": bundle.name,
        "version": bundle.version,
        "trained_on": bundle.provenance.trained_on,
        "data_fingerprint": bundle.provenance.data_fingerprint,
    }


def customer_columns(bundle: Bundle, answers: Answers) -> dict[str, Any]:
    """Fields of the customers: arrays of n values (NaN is null), or one value for all."""
    return {
        "customer_id": answers.log.customer_ids,
        "currency": bundle.provenance.currency,
        "as_of": isoformat(answers.as_of),
        "basis": np.where(answers.known, "model", "prior").astype(object),
        **answers.facts,
        "p_alive": answers.predictions.p_alive,
        **_dates(answers),
        "percentile": answers.place.percentile,
        "value_tier": answers.place.value_tier,
        "lifecycle_status": answers.place.lifecycle_status,
        "rfm_score": answers.place.rfm_score,
    }


def _dates(answers: Answers) -> dict[str, ObjectArray]:
    """Dates of the next order and of its window, in the model's time zone, null without an order, shape (n,) each."""
    days = answers.predictions.next_order_days
    out = np.full(days.shape, None, dtype=object)
    instants = answers.as_of + np.floor(days[answers.known] * DAY_US).astype(np.int64)
    local = local_us(instants, answers.log.zone) // DAY_US
    out[answers.known] = local.astype("datetime64[D]").astype(str)
    return {field: out[:, place] for place, field in enumerate(NEXT_ORDER)}


def horizon_columns(answers: Answers, place: int) -> dict[str, Any]:
    """Fields of one horizon: arrays of n values (NaN is null), or one value for all."""
    predictions, terms = answers.predictions, answers.question.terms
    days = predictions.horizons[place]
    probability, clv = (
        predictions.purchase_probability[:, place],
        predictions.clv[:, place],
    )
    return {
        "horizon_days": days,
        "prediction_start": isoformat(answers.as_of),
        "prediction_end": isoformat(answers.as_of + days * DAY_US),
        "purchase_probability": probability,
        "churn_probability": 1.0 - probability,
        "predicted_number_of_orders": predictions.orders[:, place],
        "predicted_average_order_value": predictions.average_order_value[:, place],
        "predicted_clv": clv,
        **dict(zip(BOUNDS, (predictions.lower[:, place], predictions.upper[:, place]), strict=True)),
        "interval_level": answers.question.interval_level,
        "margin": terms.margin,
        "discount_rate": terms.discount_rate,
        "total_clv": _past(answers) + clv,
    }


def _past(answers: Answers) -> FloatArray:
    """What the customers have brought so far, at the margin that was asked, money, shape (n,)."""
    return answers.facts["historic_clv"] * answers.question.terms.margin


def records(bundle: Bundle, answers: Answers, more: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Answers as nested records, the shape of `serving.schemas.CustomerPrediction`.

    `more` are the fields of which the request knows: arrays or lists of n values.
    """
    n_customers = answers.log.n_customers
    per_horizon = [
        _rows(horizon_columns(answers, place), n_customers) for place in range(len(answers.predictions.horizons))
    ]
    for rows, reasons in zip(per_horizon, answers.reasons, strict=False):
        _explain_rows(rows, reasons, answers.known)
    columns = {
        **customer_columns(bundle, answers),
        "predictions": list(map(list, zip(*per_horizon, strict=True))),
        "segments": answers.place.segments,
        "flags": answers.place.flags,
        "null_reasons": answers.null_reasons(),
        "model": identity(bundle),
        **more,
    }
    return _rows(columns, n_customers)


def _explain_rows(rows: list[dict[str, Any]], reasons: Reasons, known: BoolArray) -> None:
    """Give each known customer's row its reasons: families by size, then the lines that complete the sum."""
    lines = np.stack([reasons.typical, reasons.season, reasons.horizons], axis=1)
    for place, families, other in zip(np.flatnonzero(known), reasons.effects.tolist(), lines.tolist(), strict=True):
        ordered = sorted(zip(FAMILIES.items(), families, strict=True), key=lambda pair: -abs(pair[1]))
        both = [*ordered, *zip(LINES.items(), other, strict=True)]
        rows[place]["reasons"] = [{"feature": name, "text": text, "effect": effect} for (name, text), effect in both]


def _rows(columns: Mapping[str, Any], n_rows: int) -> list[dict[str, Any]]:
    lists = [_values(column, n_rows, name in WHOLE) for name, column in columns.items()]
    return [dict(zip(columns, row, strict=False)) for row in zip(*lists, strict=True)]


def _values(column: Any, n_rows: int, whole: bool) -> list[Any]:
    """Python values of a column, None for NaN; one value for all is repeated."""
    if isinstance(column, list):
        return column
    if not isinstance(column, np.ndarray):
        return [column] * n_rows
    if column.dtype != np.float64:
        return list(column.tolist())
    nulls = np.isnan(column)
    values = np.where(nulls, 0.0, column).astype(np.int64) if whole else column
    if nulls.any():
        values = values.astype(object)
        values[nulls] = None
    return list(values.tolist())
