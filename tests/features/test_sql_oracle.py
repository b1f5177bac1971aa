"""Every feature of docs/features.md again, in DuckDB SQL over the raw rows, against `build_features`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

import features
from features.frame import build_features
from features.options import ReadOptions

ROOT = Path(features.__file__).parents[1]
PAGE = (ROOT / "docs/features.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^\| \w+ \| `(\w+)` \| (\w+) \| [^|]+ \| [^|]+ \| ([^|]+) \|", PAGE, re.MULTILINE)
CATALOGUE = [name for name, _, _ in ENTRIES]
WHOLE = {name for name, kind, null in ENTRIES if kind == "int" and null == "never"}
TOLERANCE = 1e-9

CDNOW_CUT_OFFS = ("1997-04-01", "1997-10-01T15:07:08.000009", "1998-07-01")
CUT_OFFS = ("2023-03-31T22:15:30.123456", "2023-10-29T00:30:00", "2024-01-01")
EDGES = (0, 30, 90, 180, 360, 365)

NEEDS = {
    "product_id": ("n_products", "products_per_order"),
    "category": ("n_categories",),
    "channel": ("n_channels",),
    "quantity": ("quantity_per_order", "price_per_piece", "first_quantity"),
    "discount_amount": ("discount_share", "discounted_orders_share", "first_discounted"),
    "coupon_code": ("coupon_orders_share", "first_with_coupon"),
}
"""Optional columns, and the features that are null for everyone where the log lacks them."""

MACROS = """
CREATE OR REPLACE MACRO as_of() AS {as_of}::BIGINT;
CREATE OR REPLACE MACRO days(us) AS us / 86400e6;
CREATE OR REPLACE MACRO age(t) AS (as_of() - t) // 86400000000;
CREATE OR REPLACE MACRO ratio(a, b) AS CASE WHEN b <> 0 THEN a / b END;
CREATE OR REPLACE MACRO share(yes) AS avg(yes::INT::DOUBLE);
CREATE OR REPLACE MACRO local_time(t) AS timezone('{zone}', timezone('UTC', make_timestamp(t)));
CREATE OR REPLACE MACRO in_days(t, far, near) AS
    t >= as_of() - far * 86400000000 AND t < as_of() - near * 86400000000;
"""

LINES = """
WITH seen AS (
    SELECT *, CASE WHEN order_id IS NULL THEN row_id END AS alone FROM raw WHERE t < as_of()
), opened AS (
    SELECT *, min(t) OVER (PARTITION BY customer_id, order_id, alone) AS opened_at FROM seen
)
SELECT *, CASE WHEN amount < 0 THEN t ELSE opened_at END AS happened FROM opened
"""

EVENTS = """
SELECT customer_id, order_id, alone, happened, fsum(amount) AS value,
    coalesce(sum(quantity), 0) AS pieces,
    coalesce(fsum(discount_amount), 0) AS discount,
    count(coupon_code) > 0 AS with_coupon,
    any_value(channel) AS channel
FROM lines
GROUP BY customer_id, order_id, alone, happened
"""

ORDERS = """
WITH ranked AS (
    SELECT *, local_time(happened) AS local_at, row_number() OVER total AS nth,
        days(happened - lag(happened) OVER total) AS gap,
        count(*) OVER everything AS n, min(happened) OVER everything AS first_at
    FROM events
    WHERE value > 0
    WINDOW total AS (PARTITION BY customer_id ORDER BY happened, order_id, value, pieces, alone),
        everything AS (PARTITION BY customer_id)
)
SELECT *, n - nth + 1 AS nth_last, local_time(first_at)::DATE AS first_day,
    count(*) OVER (PARTITION BY customer_id, quarter(local_at)) AS n_in_quarter
FROM ranked
"""

RFM_AND_SPEND = """
WITH net AS (
    SELECT customer_id, fsum(value) AS net FROM events GROUP BY customer_id
), own AS (
    SELECT customer_id, count(*) AS n, age(max(happened)) AS recency, age(min(happened)) AS tenure,
        count(DISTINCT local_at::DATE) AS purchase_days, fsum(value) AS gross, avg(value) AS mean,
        median(value) AS median, stddev_samp(value) AS std, min(value) AS low, max(value) AS high,
        any_value(value) FILTER (nth_last = 1) AS last, avg(value) FILTER (nth_last <= 3) AS recent_mean,
        avg(ln(value)) AS log_mean, stddev_samp(ln(value)) AS log_std
    FROM orders GROUP BY customer_id
)
SELECT customer_id, recency AS recency_days, tenure AS tenure_days, n AS frequency, purchase_days,
    net AS historic_clv, gross AS gross_spend, net / n AS monetary,
    mean AS spend_mean, median AS spend_median, std AS spend_std, std / mean AS spend_cv,
    low AS spend_min, high AS spend_max, last AS spend_last, last / mean AS spend_last_to_mean,
    net / greatest(tenure, 1) AS spend_per_day, recent_mean AS spend_recent_mean,
    log_mean AS spend_log_mean, log_std AS spend_log_std
FROM own JOIN net USING (customer_id)
"""

WINDOW = """
SELECT customer_id,
    count(*) FILTER (value > 0 AND in_days(happened, {w}, 0)) AS orders_{w}d,
    coalesce(fsum(value) FILTER (in_days(happened, {w}, 0)), 0) AS spend_{w}d
FROM events GROUP BY customer_id
"""

DECAY = """
SELECT customer_id, sum(pow(0.5, age(happened) / {h})) AS orders_decayed_{h}d,
    sum(value * pow(0.5, age(happened) / {h})) AS spend_decayed_{h}d
FROM orders GROUP BY customer_id
"""

WINDOW_TREND = """
SELECT customer_id,
    count(*) FILTER (value > 0 AND in_days(happened, {w}, 0))
        - count(*) FILTER (value > 0 AND in_days(happened, 2 * {w}, {w})) AS orders_trend_{w}d,
    coalesce(fsum(value) FILTER (in_days(happened, {w}, 0)), 0)
        - coalesce(fsum(value) FILTER (in_days(happened, 2 * {w}, {w})), 0) AS spend_trend_{w}d
FROM events GROUP BY customer_id
"""

CADENCE_AND_TREND = """
WITH own AS (
    SELECT customer_id, count(*) AS n, age(max(happened)) AS recency, age(min(happened)) AS tenure,
        avg(gap) AS mean, median(gap) AS median, stddev_samp(gap) AS std, max(gap) AS longest,
        any_value(gap) FILTER (nth_last = 1) AS last,
        count(DISTINCT strftime(local_at, '%Y-%m')) AS months,
        share(2 * age(happened) < age(first_at)) AS late,
        any_value(value) FILTER (nth = 1) AS first_value, any_value(value) FILTER (nth_last = 1) AS last_value
    FROM orders GROUP BY customer_id
)
SELECT customer_id, mean AS gap_mean_days, median AS gap_median_days, std AS gap_std_days,
    ratio(std, mean) AS gap_cv, longest AS gap_max_days, last AS gap_last_days,
    ratio(recency, mean) AS recency_in_gaps, ratio(recency, longest) AS recency_in_longest_gap,
    months AS active_months, 30 * n / greatest(tenure, 30) AS orders_per_30_days,
    ratio(recency, tenure) AS recency_in_tenure,
    ratio(last, mean) AS gap_trend, late AS late_orders_share, last_value / first_value AS spend_last_to_first
FROM own
"""

PRODUCTS = """
WITH bought AS (
    SELECT customer_id, count(DISTINCT product_id) AS products, count(DISTINCT category) AS categories
    FROM lines WHERE amount > 0 GROUP BY customer_id
)
SELECT customer_id, any_value(products) AS n_products, any_value(products) / count(*) AS products_per_order,
    any_value(categories) AS n_categories
FROM orders JOIN bought USING (customer_id) GROUP BY customer_id
"""

BASKET = """
SELECT customer_id, count(DISTINCT channel) AS n_channels, avg(pieces) AS quantity_per_order,
    ratio(fsum(value), sum(pieces)) AS price_per_piece,
    ratio(fsum(discount), fsum(value) + fsum(discount)) AS discount_share,
    share(discount > 0) AS discounted_orders_share, share(with_coupon) AS coupon_orders_share
FROM orders GROUP BY customer_id
"""

REFUNDS = """
SELECT customer_id, count(*) FILTER (value < 0) AS n_refunds,
    coalesce(-fsum(value) FILTER (value < 0), 0) / fsum(value) FILTER (value > 0) AS refund_share,
    age(max(happened) FILTER (value < 0)) AS days_since_refund
FROM events GROUP BY customer_id
"""

CALENDAR = """
SELECT customer_id, share(isodow(local_at) >= 6) AS weekend_share, share(hour(local_at) >= 18) AS evening_share,
    share(day(local_at) >= 25) AS month_end_share, share(month(local_at) >= 10) AS q4_share,
    max(n_in_quarter) / count(*) AS peak_quarter_share
FROM orders GROUP BY customer_id
"""

FIRST_ORDER = """
SELECT customer_id, any_value(value) FILTER (nth = 1) AS first_spend,
    fsum(value) FILTER (local_at::DATE = first_day) AS first_day_spend,
    any_value(value) FILTER (nth = 1) / avg(value) AS first_spend_to_mean,
    any_value(gap) FILTER (nth = 2) AS second_order_gap_days,
    month(any_value(first_day)) AS first_month,
    (isodow(any_value(first_day)) >= 6)::INT AS first_on_weekend,
    any_value(pieces) FILTER (nth = 1) AS first_quantity,
    (any_value(discount) FILTER (nth = 1) > 0)::INT AS first_discounted,
    (any_value(with_coupon) FILTER (nth = 1))::INT AS first_with_coupon
FROM orders GROUP BY customer_id
"""

GROUPS = (
    RFM_AND_SPEND,
    *(WINDOW.format(w=w) for w in (30, 90, 180, 365)),
    *(DECAY.format(h=h) for h in (15, 45, 120)),
    *(WINDOW_TREND.format(w=w) for w in (90, 180)),
    CADENCE_AND_TREND,
    PRODUCTS,
    BASKET,
    REFUNDS,
    CALENDAR,
    FIRST_ORDER,
)


def microseconds(instant: str) -> int:
    """Microseconds since 1970 of an ISO text in UTC."""
    return (datetime.fromisoformat(instant).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )


def raw_rows(orders: pd.DataFrame) -> pd.DataFrame:
    """The log's rows with times as microseconds and every optional column present."""
    absent = {name: None for name in ("order_id", *NEEDS) if name not in orders}
    times = pd.to_datetime(orders["ordered_at"], utc=True).astype("datetime64[us, UTC]").astype("int64")
    return orders.assign(row_id=range(len(orders)), t=times, **absent).drop(columns="ordered_at")


def sql_features(orders: pd.DataFrame, as_of: str, zone: str) -> pd.DataFrame:
    """All features by SQL, index `customer_id`, columns in the order of the catalogue."""
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.register("given", raw_rows(orders))
        connection.execute(
            "CREATE TABLE raw AS SELECT row_id, customer_id::VARCHAR AS customer_id, t, amount::DOUBLE AS amount,"
            " order_id::VARCHAR AS order_id, quantity::DOUBLE AS quantity, discount_amount::DOUBLE AS discount_amount,"
            " coupon_code::VARCHAR AS coupon_code, product_id::VARCHAR AS product_id, category::VARCHAR AS category,"
            " channel::VARCHAR AS channel FROM given"
        )
        connection.execute(MACROS.format(as_of=microseconds(as_of), zone=zone))
        for name, query in (("lines", LINES), ("events", EVENTS), ("orders", ORDERS)):
            connection.execute(f"CREATE TABLE {name} AS {query}")
        groups = [connection.execute(query).df().set_index("customer_id").astype("float64") for query in GROUPS]
    table = pd.concat([group.reindex(groups[0].index) for group in groups], axis="columns").sort_index()
    for column, names in NEEDS.items():
        if column not in orders:
            table[list(names)] = np.nan
    assert sorted(table.columns) == sorted(CATALOGUE)
    return table[CATALOGUE]


def differences(expected: pd.DataFrame, got: pd.DataFrame) -> list[str]:
    """One line per feature that differs: how often, and the first customer with both values."""
    found = []
    for name in CATALOGUE:
        want, have = expected[name].to_numpy("float64"), got[name].to_numpy("float64")
        wrong = np.flatnonzero(~np.isclose(have, want, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
        if len(wrong):
            at = wrong[0]
            found.append(f"{name}: {len(wrong)} of {len(want)}, {expected.index[at]}: {want[at]!r} != {have[at]!r}")
    return found


def check(orders: pd.DataFrame, as_of: str, zone: str) -> None:
    """Compare index, columns, types, nulls and values of both computations."""
    got = build_features(orders, as_of, ReadOptions(timezone=zone))
    expected = sql_features(orders, as_of, zone)
    assert sorted(got.columns) == sorted(CATALOGUE)
    assert {name for name in CATALOGUE if got[name].dtype == "int64"} == WHOLE
    assert list(got.index) == list(expected.index)
    assert not differences(expected, got)


@cache
def cdnow() -> pd.DataFrame:
    """The full CDNOW log, dates as texts."""
    return pd.read_csv(ROOT / "training/data/cdnow_orders.csv.gz", dtype={"customer_id": str, "ordered_at": str})


Line = dict[str, Any]


def new_lines(rng: np.random.Generator, at: datetime, **shared: object) -> list[Line]:
    """Positive line items of one order at one instant, with what an order can carry."""

    def one_of(values: tuple[object, ...]) -> object:
        return values[rng.integers(len(values))]

    return [
        {
            **shared,
            "ordered_at": at,
            "amount": round(float(rng.lognormal(3, 1)) + 0.01, 2),
            "product_id": one_of((None, *(f"p{k}" for k in range(12)))),
            "category": one_of((None, "books", "music", "toys")),
            "quantity": one_of((None, 1.0, 1.0, 2.0, 5.0)),
            "discount_amount": one_of((None, 0.0, 0.0, 2.5, round(float(rng.random()), 2))),
            "coupon_code": one_of((None, None, None, None, "SPRING")),
        }
        for _ in range(rng.integers(1, 5))
    ]


def reversed_line(line: Line, share: float, at: datetime) -> Line:
    """A negative line that takes back a share of another."""
    pieces = None if line["quantity"] is None else -line["quantity"]
    return {**line, "amount": -round(line["amount"] * share, 2), "quantity": pieces, "ordered_at": at}


def plain(lines: list[Line], rng: np.random.Generator, at: datetime) -> list[Line]:
    """An order as it is."""
    return lines


def netted(lines: list[Line], rng: np.random.Generator, at: datetime) -> list[Line]:
    """A negative line at the order's own instant."""
    return [*lines, reversed_line(lines[0], 0.5, at)]


def partly_refunded(lines: list[Line], rng: np.random.Generator, at: datetime) -> list[Line]:
    """Negative lines of the same order id, at two later instants."""
    later = [at + timedelta(days=float(rng.random() * 40)) for _ in range(2)]
    return [*lines, reversed_line(lines[0], 0.25, later[0]), reversed_line(lines[-1], 1.0, later[1])]


def delivered_late(lines: list[Line], rng: np.random.Generator, at: datetime) -> list[Line]:
    """The last line of the order comes days after the first."""
    later = at + timedelta(days=float(rng.random() * 20))
    return [*lines[:-1], lines[-1] | {"ordered_at": later}, lines[0] | {"ordered_at": later}, lines[0]]


def refunded(lines: list[Line], rng: np.random.Generator, at: datetime) -> list[Line]:
    """A later refund under an order id of its own, and one that arrives in two parts."""
    other = str(lines[0]["order_id"]) + "R"
    later = at + timedelta(days=float(rng.random() * 60), microseconds=1)
    back = [reversed_line(line, 0.75, later) | {"order_id": other, "channel": None} for line in lines]
    return [*lines, *back, reversed_line(lines[0], 0.1, later + timedelta(days=3)) | {"order_id": other}]


def worthless(lines: list[Line], rng: np.random.Generator, at: datetime) -> list[Line]:
    """An order whose total is exactly zero, or negative, or one free line."""
    share = float(rng.choice([0.0, 1.0, 2.0]))
    if share == 0.0:
        return [lines[0] | {"amount": 0.0}]
    return [lines[0], reversed_line(lines[0], share, at)]


def without_id(lines: list[Line], rng: np.random.Generator, at: datetime) -> list[Line]:
    """Rows that are events of their own."""
    moved = at + timedelta(microseconds=int(rng.integers(1, 10**9)))
    return [line | {"order_id": None, "ordered_at": moved} for line in lines]


Shape = Callable[[list[Line], np.random.Generator, datetime], list[Line]]
SHAPES: tuple[Shape, ...] = (
    *[plain] * 8,
    *[netted, partly_refunded, delivered_late, refunded] * 2,
    worthless,
    without_id,
)


def random_instant(rng: np.random.Generator) -> datetime:
    """A moment around the cut-offs, to the microsecond; one in five is exactly on or just before a window's edge."""
    if rng.random() < 0.2:
        edge = datetime.fromisoformat(str(rng.choice(CUT_OFFS))) - timedelta(days=int(rng.choice(EDGES)))
        return edge - timedelta(microseconds=int(rng.integers(2)))
    return datetime(2021, 6, 1) + timedelta(seconds=int(rng.integers(1000 * 86_400)), microseconds=int(rng.integers(9)))


def generated_orders(seed: int) -> pd.DataFrame:
    """Line items of about 400 customers in random row order, with UTC times."""
    rng = np.random.default_rng(seed)
    ids = iter(rng.permutation(9000))
    rows: list[Line] = []
    for customer in range(400):
        shapes = SHAPES if customer % 20 else (worthless, refunded)
        at = random_instant(rng)
        for nth in range(rng.geometric(0.2)):
            at = at if rng.random() < 0.1 else random_instant(rng)
            order_id = f"shared{nth}" if rng.random() < 0.05 else f"o{next(ids):06d}"
            channel = rng.choice(["web", "shop", "phone", ""]) or None
            lines = new_lines(rng, at, customer_id=f"c{customer:04d}", order_id=order_id, channel=channel)
            rows += shapes[rng.integers(len(shapes))](lines, rng, at)
    frame = pd.DataFrame(rows).sample(frac=1.0, random_state=seed, ignore_index=True)
    frame["ordered_at"] = pd.to_datetime(frame["ordered_at"]).astype("datetime64[us]").dt.tz_localize("UTC")
    return frame


@pytest.mark.parametrize("as_of", CDNOW_CUT_OFFS)
def test_cdnow(as_of: str) -> None:
    check(cdnow(), as_of, "UTC")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("as_of", CUT_OFFS)
def test_generated(as_of: str, zone: str) -> None:
    check(generated_orders(22), as_of, zone)


def test_generated_log_has_the_hard_cases() -> None:
    """The generator still makes what it is there for."""
    orders = generated_orders(22)
    assert 5000 < len(orders) < 8000
    on_edge = {pd.Timestamp(cut, tz="UTC") - pd.Timedelta(days=days) for cut in CUT_OFFS for days in EDGES}
    assert on_edge <= set(orders["ordered_at"])
    assert orders["order_id"].isna().any()
    assert (orders.groupby("order_id")["customer_id"].nunique() > 1).any()
    totals = orders.groupby(["customer_id", "order_id"])["amount"].sum()
    assert (totals == 0).any()
    assert (totals < 0).any()
    spans = orders.groupby(["customer_id", "order_id"])["ordered_at"].agg(["min", "max"])
    cut = pd.Timestamp(CUT_OFFS[1], tz="UTC")
    assert ((spans["min"] < cut) & (spans["max"] >= cut)).any()
