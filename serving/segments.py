"""Segments as data: named rules over the facts of a customer, combined by all, any and not.

A rule is `{"field": …, "op": …, "value": …}`, `{"all": [rules]}`, `{"any": [rules]}` or `{"not": rule}`. A value is a
number, a text, `{"months": 3}` (calendar months before `as_of`; the last day of a month that has no such day) or
`{"standing": "historic_clv_p90"}`, a quantile frozen with the model. What is not known is not in a segment: a rule over
a null field does not hold, nor does its negation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeAlias

import numpy as np

from features.arrays import AnyArray, BoolArray
from features.columns import UNKNOWN_CURRENCY
from features.instants import from_us
from model.standing import Standing
from serving.patterns import names_of

Rule: TypeAlias = Mapping[str, Any]


def _is(field: str, op: str, value: Any) -> Rule:
    return {"field": field, "op": op, "value": value}


SEGMENTS: Final[Mapping[str, Rule]] = {
    "bought_last_3_months": _is("last_order_age_us", "<=", {"months": 3}),
    "not_bought_last_6_months": _is("last_order_age_us", ">", {"months": 6}),
    "first_time_buyers": _is("frequency", "==", 1),
    "repeat_buyers": _is("frequency", ">=", 2),
    "big_spenders": _is("historic_clv", ">=", {"standing": "historic_clv_p90"}),
    "high_aov": _is("monetary", ">=", {"standing": "average_order_value_p80"}),
    "large_single_order": _is("spend_max", ">", 150),
    "used_a_coupon": _is("coupon_orders_share", ">", 0),
    "discount_shoppers": {"all": [_is("frequency", ">=", 2), _is("discounted_orders_share", ">=", 0.5)]},
    "no_discount_buyers": _is("discounted_orders_share", "==", 0),
    "seasonal_buyers": {
        "all": [_is("frequency", ">=", 2), _is("tenure_days", ">=", 365), _is("peak_quarter_share", "==", 1)]
    },
    "vip": {"all": [_is("value_tier", "==", "top"), _is("frequency", ">=", 3), _is("purchase_probability", ">=", 0.5)]},
}
"""Every named rule; `purchase_probability` and `value_tier` are of the primary horizon."""
FEATURES: Final = (
    "frequency", "historic_clv", "monetary", "spend_max", "coupon_orders_share", "discounted_orders_share",
    "tenure_days", "peak_quarter_share",
)  # fmt: skip
"""Features that the rules read."""

LIKE_A_EURO: Final = frozenset({"EUR", "USD", "GBP", "CHF", "CAD", "AUD", "NZD", "SGD", UNKNOWN_CURRENCY})
"""Currencies in which an order above 150 is a large one; in others `spend_max` is not known to the rules."""

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def segments(columns: Mapping[str, AnyArray], as_of: int, standing: Standing, currency: str) -> list[list[str]]:
    """Names of all rules that hold, per customer.

    Parameters
    ----------
    columns
        Fields by name, shape (n,) each; NaN is null.
    as_of
        Instant in µs UTC, from which calendar months are counted back.
    currency
        Of the amounts, ISO 4217.
    """
    if currency not in LIKE_A_EURO:
        columns = {**columns, "spend_max": np.full(len(columns["spend_max"]), np.nan)}
    return names_of({name: _holds(rule, columns, as_of, standing) for name, rule in SEGMENTS.items()})


def _holds(rule: Rule, columns: Mapping[str, AnyArray], as_of: int, standing: Standing) -> BoolArray:
    if "all" in rule:
        return np.asarray(np.logical_and.reduce([_holds(one, columns, as_of, standing) for one in rule["all"]]))
    if "any" in rule:
        return np.asarray(np.logical_or.reduce([_holds(one, columns, as_of, standing) for one in rule["any"]]))
    if "not" in rule:
        return ~_holds(rule["not"], columns, as_of, standing) & _known(rule["not"], columns)
    column, value = columns[rule["field"]], _value(rule["value"], as_of, standing)
    return np.asarray(_OPERATORS[rule["op"]](column, value))  # false where the field is null


def _known(rule: Rule, columns: Mapping[str, AnyArray]) -> BoolArray:
    """Where every field of a rule has a value."""
    inner = [*rule.get("all", ()), *rule.get("any", ()), *([rule["not"]] if "not" in rule else ())]
    if inner:
        return np.asarray(np.logical_and.reduce([_known(one, columns) for one in inner]))
    column = columns[rule["field"]]
    return np.asarray(column == column)  # NaN is not itself


def _value(value: Any, as_of: int, standing: Standing) -> Any:
    if not isinstance(value, Mapping):
        return value
    if "months" in value:
        return as_of - months_before(as_of, value["months"])
    return getattr(standing, value["standing"])


def months_before(as_of: int, months: int) -> int:
    """Instant some calendar months earlier, at the same time of day UTC; 31 May less 3 months is 28 or 29 February."""
    moment = from_us(as_of)
    place = moment.year * 12 + moment.month - 1 - months
    opens = moment.replace(year=place // 12, month=place % 12 + 1, day=1)
    following = moment.replace(year=(place + 1) // 12, month=(place + 1) % 12 + 1, day=1)
    last_day = (following - opens).days
    return as_of - (moment - opens.replace(day=min(moment.day, last_day))) // timedelta(microseconds=1)
