"""Recency, frequency, monetary value and tenure: the classic summary of a customer."""

from __future__ import annotations

from features.arrays import FloatArray
from features.catalogue import feature
from features.history import Purchases
from features.segments import ratio


@feature("recency_days", "days", dtype="int")
def _recency(o: Purchases) -> FloatArray:
    """Whole days since the last order."""
    return o.last(o.age_days)


@feature("tenure_days", "days", dtype="int")
def _tenure(o: Purchases) -> FloatArray:
    """Whole days since the first order."""
    return o.first(o.age_days)


@feature("frequency", "orders", low=1.0, dtype="int")
def _frequency(o: Purchases) -> FloatArray:
    """Number of orders, the first one included."""
    return o.count


@feature("purchase_days", "days", low=1.0, dtype="int")
def _purchase_days(o: Purchases) -> FloatArray:
    """Distinct local calendar days with an order."""
    return o.with_trait["opens_day"]


@feature("historic_clv", "money", low=None)
def _historic_clv(o: Purchases) -> FloatArray:
    """Net value of all orders so far, refunds taken off."""
    return o.events.sum(o.events.amount)


@feature("gross_spend", "money")
def _gross_spend(o: Purchases) -> FloatArray:
    """Value of all orders so far, before refunds."""
    return o.sum(o.amount)


@feature("monetary", "money", low=None)
def _monetary(o: Purchases) -> FloatArray:
    """Mean net value per order: historic_clv / frequency."""
    return ratio(o["historic_clv"], o["frequency"])
