"""Every feature of docs/features.md again, by plain loops over one customer's rows, on small hostile logs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import StatisticsError, fmean, median, stdev
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import features
from features.frame import build_features
from features.options import ReadOptions

PAGE = (Path(features.__file__).parents[1] / "docs/features.md").read_text(encoding="utf-8")
CATALOGUE = re.findall(r"^\| \w+ \| `(\w+)` \|", PAGE, re.MULTILINE)
TOLERANCE = 1e-9

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
EDGES = (0, 30, 90, 180, 360, 365)
TEXTS = ("coupon_code", "channel")
OPTIONAL = (*TEXTS, "quantity", "discount_amount")
CUT_OFFS = (
    datetime(1997, 6, 15, 12, 0, 0, 500_000, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1970, 6, 1, tzinfo=UTC),
    datetime(2024, 3, 31, 1, 0, tzinfo=UTC),
)


class Row(NamedTuple):
    """One order or refund; `ordered_at` in UTC, `local` the same instant on the shop's clock."""

    customer_id: str
    ordered_at: datetime
    local: datetime
    amount: float
    quantity: float | None
    discount_amount: float | None
    coupon_code: str | None
    channel: str | None


def ratio(above: float | None, below: float | None) -> float | None:
    """Quotient; null where a part is null or the divisor is zero."""
    return None if above is None or not below else above / below


def share(answers: Iterable[bool]) -> float:
    """Part of the answers that are yes."""
    return fmean(map(int, answers))


def spread(values: list[float]) -> float | None:
    """Sample standard deviation; null below two values."""
    try:
        return stdev(values)
    except StatisticsError:
        return None


def reference(rows: list[Row], as_of: datetime, columns: frozenset[str]) -> dict[str, float | None]:
    """All features of one customer with an order before `as_of`, for a log with these optional columns."""
    seen = sorted((row for row in rows if row.ordered_at < as_of), key=lambda row: (row.ordered_at, row.amount))
    orders = [row for row in seen if row.amount > 0]
    refunds = [row for row in seen if row.amount < 0]
    first, last, n = orders[0], orders[-1], len(orders)
    values = [row.amount for row in orders]
    logs = [math.log(value) for value in values]
    net, gross, mean = math.fsum(row.amount for row in seen), math.fsum(values), fmean(values)
    ages = [(as_of - row.ordered_at) // DAY for row in orders]
    recency, tenure = ages[-1], ages[0]
    gaps = [(later.ordered_at - earlier.ordered_at) / DAY for earlier, later in pairwise(orders)]
    mean_gap = fmean(gaps) if gaps else None
    pieces = [row.quantity or 0.0 for row in orders]
    discounts = [row.discount_amount or 0.0 for row in orders]

    def count(far: int, near: int = 0) -> int:
        return sum(as_of - far * DAY <= row.ordered_at < as_of - near * DAY for row in orders)

    def spend(far: int, near: int = 0) -> float:
        return math.fsum(row.amount for row in seen if as_of - far * DAY <= row.ordered_at < as_of - near * DAY)

    found: dict[str, float | None] = {
        "recency_days": recency,
        "tenure_days": tenure,
        "frequency": n,
        "purchase_days": len({row.local.date() for row in orders}),
        "historic_clv": net,
        "gross_spend": gross,
        "monetary": net / n,
        "spend_mean": mean,
        "spend_median": median(values),
        "spend_std": spread(values),
        "spend_cv": ratio(spread(values), mean),
        "spend_min": min(values),
        "spend_max": max(values),
        "spend_last": last.amount,
        "spend_last_to_mean": last.amount / mean,
        "spend_per_day": net / max(tenure, 1),
        "spend_recent_mean": fmean(values[-3:]),
        "spend_log_mean": fmean(logs),
        "spend_log_std": spread(logs),
        **{f"orders_{w}d": count(w) for w in (30, 90, 180, 365)},
        **{f"spend_{w}d": spend(w) for w in (30, 90, 180, 365)},
        **{f"orders_decayed_{h}d": math.fsum(0.5 ** (age / h) for age in ages) for h in (15, 45, 120)},
        **{
            f"spend_decayed_{h}d": math.fsum(value * 0.5 ** (age / h) for value, age in zip(values, ages, strict=True))
            for h in (15, 45, 120)
        },
        "gap_mean_days": mean_gap,
        "gap_median_days": median(gaps) if gaps else None,
        "gap_std_days": spread(gaps),
        "gap_cv": ratio(spread(gaps), mean_gap),
        "gap_max_days": max(gaps, default=None),
        "gap_last_days": gaps[-1] if gaps else None,
        "recency_in_gaps": ratio(recency, mean_gap),
        "recency_in_longest_gap": ratio(recency, max(gaps, default=None)),
        "active_months": len({(row.local.year, row.local.month) for row in orders}),
        "orders_per_30_days": 30 * n / max(tenure, 30),
        "recency_in_tenure": ratio(recency, tenure),
        **{f"orders_trend_{w}d": count(w) - count(2 * w, w) for w in (90, 180)},
        **{f"spend_trend_{w}d": spend(w) - spend(2 * w, w) for w in (90, 180)},
        "gap_trend": ratio(gaps[-1], mean_gap) if gaps else None,
        "late_orders_share": share(2 * age < tenure for age in ages),
        "spend_last_to_first": last.amount / first.amount,
        "n_channels": len({row.channel for row in orders if row.channel is not None}),
        "quantity_per_order": fmean(pieces),
        "price_per_piece": ratio(gross, math.fsum(pieces)),
        "discount_share": ratio(math.fsum(discounts), gross + math.fsum(discounts)),
        "discounted_orders_share": share(discount > 0 for discount in discounts),
        "coupon_orders_share": share(row.coupon_code is not None for row in orders),
        "n_refunds": len(refunds),
        "refund_share": -math.fsum(row.amount for row in refunds) / gross,
        "days_since_refund": (as_of - refunds[-1].ordered_at) // DAY if refunds else None,
        "weekend_share": share(row.local.weekday() >= 5 for row in orders),
        "evening_share": share(row.local.hour >= 18 for row in orders),
        "month_end_share": share(row.local.day >= 25 for row in orders),
        "q4_share": share(row.local.month >= 10 for row in orders),
        "peak_quarter_share": max(Counter((row.local.month - 1) // 3 for row in orders).values()) / n,
        "first_spend": first.amount,
        "first_day_spend": math.fsum(row.amount for row in orders if row.local.date() == first.local.date()),
        "first_spend_to_mean": first.amount / mean,
        "second_order_gap_days": gaps[0] if gaps else None,
        "first_month": first.local.month,
        "first_on_weekend": int(first.local.weekday() >= 5),
        "first_quantity": pieces[0],
        "first_discounted": int(discounts[0] > 0),
        "first_with_coupon": int(first.coupon_code is not None),
    }
    needs = {
        "quantity": ("quantity_per_order", "price_per_piece", "first_quantity"),
        "discount_amount": ("discount_share", "discounted_orders_share", "first_discounted"),
        "coupon_code": ("coupon_orders_share", "first_with_coupon"),
        "channel": ("n_channels",),
        "product_id": ("n_products", "products_per_order"),
        "category": ("n_categories",),
    }
    return found | {name: None for column, names in needs.items() if column not in columns for name in names}


@st.composite
def instants(draw: st.DrawFn, as_of: datetime) -> datetime:
    """A moment before or after `as_of`, often on a window's edge, a microsecond beside it, or whole days away."""
    edge = st.sampled_from(EDGES).map(lambda days: -days * DAY)
    whole = st.integers(-900, 30).map(lambda days: days * DAY)
    anywhere = st.integers(-(10**14), 10**12).map(lambda us: us * MICROSECOND)
    beside = st.sampled_from((-MICROSECOND, timedelta(0), timedelta(0), MICROSECOND))
    return as_of + draw(st.one_of(edge, whole, anywhere)) + draw(beside)


@st.composite
def customer_rows(draw: st.DrawFn, customer_id: str, as_of: datetime, zone: ZoneInfo) -> list[Row]:
    """Up to 12 rows of one customer; those that tie on time and amount are copies: their order is nowhere written."""
    moments = draw(st.lists(instants(as_of), min_size=draw(st.sampled_from((1, 3, 6))), max_size=8))
    row = st.builds(
        lambda at, quarters, *rest: Row(customer_id, at, at.astimezone(zone), quarters / 4, *rest),
        st.sampled_from(moments),
        st.one_of(st.integers(1, 2000), st.integers(1, 2000), st.integers(-2000, 0), st.just(0)),
        st.one_of(st.none(), st.integers(-2, 5).map(float)),
        st.one_of(st.none(), st.just(0.0), st.integers(-40, 200).map(lambda quarters: quarters / 4)),
        st.one_of(st.none(), st.sampled_from(("SPRING", "10OFF"))),
        st.one_of(st.none(), st.sampled_from(("web", "shop", "phone"))),
    )
    least = draw(st.sampled_from((0, 1, 2, 3, 5, 8)))
    rows = draw(st.lists(row, min_size=least, max_size=10, unique_by=lambda made: (made.ordered_at, made.amount)))
    return rows + draw(st.lists(st.sampled_from(rows), max_size=2) if rows else st.just([]))


class Log(NamedTuple):
    """A shuffled log, and how it is to be read."""

    rows: list[Row]
    as_of: datetime
    zone: str
    columns: frozenset[str]


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """One to five customers, in any row order, with any of the optional columns."""
    as_of = draw(st.sampled_from(CUT_OFFS))
    zone = draw(st.sampled_from(("UTC", "Europe/Berlin", "America/St_Johns")))
    names = draw(st.permutations(("a", "B", "10", "9", "é")))[: draw(st.integers(1, 5))]
    rows = [row for name in names for row in draw(customer_rows(name, as_of, ZoneInfo(zone)))]
    columns = draw(st.one_of(st.just(frozenset(OPTIONAL)), st.frozensets(st.sampled_from(OPTIONAL))))
    return Log(draw(st.permutations(rows)), as_of, zone, columns)


def frame(log: Log) -> pd.DataFrame:
    """The log as a frame of the order contract."""
    kinds = {"customer_id": "str", "amount": "float64"}
    kinds |= dict.fromkeys(log.columns & {"quantity", "discount_amount"}, "float64")
    kinds |= dict.fromkeys(log.columns & set(TEXTS), "str")
    columns = {name: pd.Series([getattr(row, name) for row in log.rows], dtype=kind) for name, kind in kinds.items()}
    times = pd.Series([row.ordered_at.isoformat() for row in log.rows], dtype="str")
    return pd.DataFrame(columns | {"ordered_at": times})


def agree(want: float | None, have: float) -> bool:
    """Whether both are null, or equal up to rounding."""
    if want is None:
        return math.isnan(have)
    return math.isclose(want, have, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(logs())
def test_small_logs(log: Log) -> None:
    got = build_features(frame(log), log.as_of, ReadOptions(timezone=log.zone))
    by_customer: dict[str, list[Row]] = {}
    for row in log.rows:
        by_customer.setdefault(row.customer_id, []).append(row)
    known = {row.customer_id for row in log.rows if row.amount > 0 and row.ordered_at < log.as_of}
    assert list(got.index) == sorted(known)
    assert sorted(got.columns) == sorted(CATALOGUE)
    for name in known:
        expected = reference(by_customer[name], log.as_of, log.columns)
        assert sorted(expected) == sorted(CATALOGUE)
        have = got.loc[name]
        wrong = {key: (value, have[key]) for key, value in expected.items() if not agree(value, have[key])}
        assert not wrong, f"{name}: (expected, got) {wrong}"
