"""The engine's promises: nothing from the future, no dependence on row order or chunks, exact primitives."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features.matrix
from features.catalogue import CATALOGUE
from features.docs import catalogue_markdown
from features.frame import build_features
from features.history import Purchases
from features.instants import DAY_US, parse_instant
from features.matrix import feature_matrix
from features.orders import OrderLog
from features.segments import Segments

AS_OF = parse_instant("1998-01-15T12:00:00")
groups = st.lists(st.lists(st.floats(-1e6, 1e6), max_size=6), min_size=1, max_size=8)


def bits(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values).tobytes()


@settings(max_examples=80, deadline=None)
@given(groups)
def test_primitives_agree_with_plain_python(rows: list[list[float]]) -> None:
    flat = np.array([value for group in rows for value in group], dtype=np.float64)
    found = Segments(np.array([len(group) for group in rows], dtype=np.int64))
    plain: dict[str, Callable[[list[float]], float]] = {
        "sum": sum,
        "max": lambda g: max(g) if g else np.nan,
        "min": lambda g: min(g) if g else np.nan,
        "first": lambda g: g[0] if g else np.nan,
        "last": lambda g: g[-1] if g else np.nan,
        "mean": lambda g: statistics.fmean(g) if g else np.nan,
        "std": lambda g: statistics.stdev(g) if len(g) > 1 else np.nan,
        "median": lambda g: statistics.median(g) if g else np.nan,
    }
    for name, expected in plain.items():
        wanted = [expected(group) for group in rows]
        with np.errstate(divide="ignore", invalid="ignore"):  # as in the engine's loop
            special = {
                "std": lambda: found.std(flat, found.mean(flat)),
                "median": lambda: found.ranks(flat, found.lengths).median,
            }
            values = special[name]() if name in special else getattr(found, name)(flat)
        np.testing.assert_allclose(values, wanted, rtol=1e-9, atol=1e-6, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 4), max_size=6), min_size=1, max_size=8))
def test_distinct_counts_agree_with_sets(rows: list[list[int]]) -> None:
    flat = np.array([code for group in rows for code in group], dtype=np.int64)
    found = Segments(np.array([len(group) for group in rows], dtype=np.int64))
    assert found.n_distinct(flat).tolist() == [len({c for c in group if c >= 0}) for group in rows]


def test_orders_at_or_after_as_of_change_no_feature(cdnow_frame: pd.DataFrame) -> None:
    known = build_features(cdnow_frame, "1998-01-15T12:00:00")
    later = pd.to_datetime(cdnow_frame.ordered_at) >= pd.Timestamp("1998-01-15T12:00:00")
    changed = cdnow_frame.assign(amount=cdnow_frame.amount.where(~later, cdnow_frame.amount * 7 + 1))
    extra = pd.DataFrame(
        {
            "customer_id": ["00001", "brand new"],
            "ordered_at": ["1998-01-15T12:00:00", "1998-02-01"],
            "amount": [9.0, 9.0],
        }
    )
    again = build_features(pd.concat([changed, extra]), "1998-01-15T12:00:00")
    assert later.sum() > 1000
    assert list(again.index) == list(known.index)
    assert bits(again.to_numpy(np.float64)) == bits(known.to_numpy(np.float64))


def test_an_order_on_each_edge(log_of: Callable[..., OrderLog]) -> None:
    rows = [("a", "2024-01-01T00:00:00", 1.0), ("a", "2024-01-31T00:00:00", 2.0), ("a", "2024-03-01T00:00:00", 4.0)]
    log = log_of(rows)
    at = {
        name: feature_matrix(log, parse_instant("2024-03-01"), [name]).values[0, 0]
        for name in ("frequency", "orders_30d")
    }
    assert at == {"frequency": 2.0, "orders_30d": 1.0}
    microsecond_later = feature_matrix(log, parse_instant("2024-03-01") + 1, ["frequency", "orders_30d"]).values[0]
    assert microsecond_later.tolist() == [3.0, 1.0]


@pytest.mark.parametrize("seed", [1, 2])
def test_shuffling_the_rows_changes_no_bit(cdnow_frame: pd.DataFrame, seed: int) -> None:
    mixed = cdnow_frame.sample(frac=1.0, random_state=seed)
    a, b = build_features(cdnow_frame, "1998-04-02"), build_features(mixed, "1998-04-02")
    assert list(a.index) == list(b.index)
    assert bits(a.to_numpy(np.float64)) == bits(b.to_numpy(np.float64))


@pytest.mark.parametrize("block_rows", [1, 777, 10**9])
def test_chunking_changes_no_bit(cdnow: OrderLog, monkeypatch: pytest.MonkeyPatch, block_rows: int) -> None:
    part = cdnow.customers(0, 3000)
    whole = feature_matrix(part, AS_OF)
    monkeypatch.setattr(features.matrix, "BLOCK_ROWS", block_rows)
    blocks = list(features.matrix.blocks(part.starts, block_rows))
    assert (len(blocks) == 3000, len(blocks) == 1) == (block_rows == 1, block_rows == 10**9)
    chunked = feature_matrix(part, AS_OF)
    assert bits(chunked.values) == bits(whole.values)
    assert np.array_equal(chunked.customers, whole.customers)
    pieces = [feature_matrix(part.customers(low, high), AS_OF).values for low, high in blocks]
    assert bits(np.concatenate(pieces)) == bits(whole.values)


def test_line_items_are_summed_to_orders_and_refunds_keep_their_time(log_of: Callable[..., OrderLog]) -> None:
    log = log_of(
        [
            ("a", "2024-01-01T10:00", 5.0),
            ("a", "2024-01-01T10:01", 7.0),
            ("a", "2024-01-01T10:00", -1.0),
            ("a", "2024-01-20T00:00", -2.0),
        ],
        order_id=["o1", "o1", "o1", "o1"],
        product_id=["p", "q", None, "p"],
    )
    names = ["frequency", "gross_spend", "historic_clv", "n_refunds", "n_products", "spend_max"]
    assert feature_matrix(log, parse_instant("2024-01-10"), names).values[0].tolist() == [1, 11.0, 11.0, 0, 2, 11.0]
    assert feature_matrix(log, parse_instant("2024-02-01"), names).values[0].tolist() == [1, 11.0, 9.0, 1, 2, 11.0]


def test_absent_optional_columns_give_null_not_zero(log_of: Callable[..., OrderLog]) -> None:
    frame = build_features(
        pd.DataFrame({"customer_id": ["a"], "ordered_at": ["2024-01-01"], "amount": [1.0]}), "2024-02-01"
    )
    needing = [entry.name for entry in CATALOGUE if entry.needs]
    assert frame[needing].isna().all(axis=None)
    never = [entry.name for entry in CATALOGUE if entry.null == "never"]
    assert not frame[never].isna().any(axis=None)


def test_a_window_that_nobody_counts_is_named(log_of: Callable[..., OrderLog]) -> None:
    orders = Purchases(log_of([("a", "2024-01-01", 5.0)]), parse_instant("2024-02-01"), CATALOGUE.values)
    assert orders.orders_within(30).tolist() == [0.0]
    for ask in (orders.orders_within, orders.net_value):
        with pytest.raises(ValueError, match="60 days before as_of: add it to WINDOW_EDGES_DAYS"):
            ask(60)


def test_every_value_lies_in_its_announced_range(cdnow: OrderLog) -> None:
    matrix = feature_matrix(cdnow, AS_OF)
    for entry in CATALOGUE:
        known = matrix.column(entry.name)
        known = known[~np.isnan(known)]
        if not len(known):
            assert entry.needs or entry.name == "days_since_refund", entry.name
            continue
        assert entry.low is None or known.min() >= entry.low, entry.name
        assert entry.high is None or known.max() <= entry.high, entry.name
        assert entry.dtype != "int" or np.all(known == np.round(known)), entry.name


def test_the_catalogue_is_documented(pytestconfig: pytest.Config) -> None:
    page = pytestconfig.rootpath / "docs" / "features.md"
    assert page.read_text() == catalogue_markdown(), "run `make docs`"
    assert len(CATALOGUE) >= 35
    assert all(entry.definition and entry.unit and entry.null for entry in CATALOGUE)


def test_ages_are_whole_days_whatever_the_hour(log_of: Callable[..., OrderLog]) -> None:
    log = log_of([("a", "2024-01-01T15:07", 1.0)])
    ages = [feature_matrix(log, parse_instant("2024-01-02T15:07") + s, ["recency_days"]).values[0, 0] for s in (-1, 0)]
    assert ages == [0.0, 1.0]


def test_business_days_follow_the_time_zone(log_of: Callable[..., OrderLog]) -> None:
    rows = [("a", "2025-03-29T23:30Z", 1.0)]  # Saturday in UTC, Sunday in Berlin, the night the clocks change
    for zone, day in (("UTC", "2025-03-29"), ("Europe/Berlin", "2025-03-30")):
        log = log_of(rows, timezone=zone)
        local = pd.Timestamp(rows[0][1]).tz_convert(zone)
        assert str(local.date()) == day
        found = feature_matrix(log, parse_instant("2025-06-01"), ["weekend_share", "evening_share"]).values[0]
        assert found.tolist() == [1.0, float(local.hour >= 18)]


def test_a_giant_customer_is_a_block_of_its_own() -> None:
    starts = np.array([0, 10, 100_010, 100_020], dtype=np.int64)
    assert list(features.matrix.blocks(starts, 1000)) == [(0, 1), (1, 2), (2, 3)]


def test_customers_without_an_order_have_no_row(log_of: Callable[..., OrderLog]) -> None:
    log = log_of([("a", "2024-01-01", 0.0), ("b", "2024-01-01", -5.0), ("c", "2024-01-01", 5.0)])
    matrix = feature_matrix(log, parse_instant("2024-01-01") + DAY_US)
    assert list(log.customer_ids[matrix.customers]) == ["c"]


@pytest.mark.parametrize("column", ["coupon_code", "channel", "order_id"])
def test_ties_beside_a_column_without_any_value(log_of: Callable[..., OrderLog], column: str) -> None:
    log = log_of([("a", "2024-01-01", 1.0), ("a", "2024-01-01", 2.0)], **{column: [None, None]})
    assert log.amount.tolist() == [1.0, 2.0]


def test_lines_that_cancel_out_are_no_order(log_of: Callable[..., OrderLog]) -> None:
    lines = [("a", "2024-01-01", amount) for amount in (0.1, 0.2, -0.3)] + [("a", "2024-01-05", 5.0)]
    log = log_of(lines, order_id=["o1", "o1", "o1", "o2"], quantity=[1.0, 1.0, -1.0, 1.0])
    assert feature_matrix(log, parse_instant("2024-02-01"), ["frequency", "spend_min"]).values[0].tolist() == [1.0, 5.0]
