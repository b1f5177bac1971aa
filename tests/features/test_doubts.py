"""What is asked about a log whose rows are all valid."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from features.doubts import doubts
from features.instants import DAY_US, parse_instant
from features.orders import OrderLog
from training.simulation import regular

START = parse_instant("2022-01-01")
DAYS = 500


@pytest.fixture(scope="module")
def usual() -> OrderLog:
    """About 40 orders a day until 2023-05-15, with nothing wrong."""
    return regular(2_000, DAYS, seed=3).log(START)


def without(log: OrderLog, first: int, last: int) -> OrderLog:
    day = (log.ordered_at - START) // DAY_US
    return log.rows((day < first) | (day > last))


def test_nothing_is_asked_of_a_usual_log_or_an_empty_one(usual: OrderLog, shop: OrderLog) -> None:
    assert doubts(usual) == []
    assert doubts(shop) == []
    assert doubts(without(usual, 0, DAYS)) == []


def test_lost_weeks_are_asked_after(usual: OrderLog) -> None:
    (said,) = doubts(without(usual, 31, 58))
    assert said.startswith("There is no order on the 28 days from 2022-02-01: was the shop closed, or")
    (said,) = doubts(without(without(usual, 31, 61), 200, 229))
    assert "31 days from 2022-02-01 (nor in another such time)" in said


def test_days_are_those_of_the_business_time_zone(usual: OrderLog) -> None:
    east = -9 * 3_600_000_000  # midnight in Tokyo
    log = replace(usual, ordered_at=usual.ordered_at + east, complete_until=usual.complete_until + east)
    (said,) = doubts(replace(without(log, 31, 61), zone=ZoneInfo("Asia/Tokyo")))
    assert "days from 2022-02-02" in said  # of UTC, in which the rows were left out, the 1st at 15:00


def test_what_comes_again_and_again_raises_no_question(usual: OrderLog) -> None:
    """Holidays, billing days, seasons, small shops."""
    assert doubts(without(usual, 31, 55)) == []
    billed = replace(usual, ordered_at=usual.ordered_at // (30 * DAY_US) * 30 * DAY_US)
    assert doubts(billed) == []
    assert doubts(without(without(usual, 31, 90), 31 + 365, 90 + 365)) == []
    few = usual.only(np.arange(0, 2_000, 500))
    assert np.diff(np.unique((few.ordered_at - START) // DAY_US)).max() > 28
    assert doubts(few) == []


@pytest.mark.parametrize("n_days", [7, 21])
def test_last_weeks_that_are_hardly_there_are_asked_after(usual: OrderLog, n_days: int) -> None:
    few = np.arange(usual.n_rows) % 20 == 0
    day = (usual.ordered_at - START) // DAY_US
    late = day >= DAYS - n_days
    (said,) = doubts(usual.rows(~late | few))
    assert re.match(rf"The last {n_days} days have \d% of the usual orders: is the export complete\?", said)
    a_year_before = (day >= DAYS - 365 - n_days) & (day < DAYS - 365)
    assert doubts(usual.rows(~(late | a_year_before) | few)) == []


def test_placeholder_dates_are_no_closed_shop(usual: OrderLog) -> None:
    at = usual.ordered_at.copy()
    at[usual.starts[:40]] = 0
    said = doubts(replace(usual, ordered_at=at))
    assert said == ["40 orders are dated 52 years before all others: placeholder dates? They count as first orders."]


def test_logs_with_an_order_or_two_are_read(log_of: Callable[..., OrderLog]) -> None:
    assert doubts(log_of([("a", "2024-01-01", 5.0), ("a", "2024-02-01", -5.0)])) == []
    lines = log_of([("a", "2024-01-01", 5.0), ("a", "2024-02-01", 4.0)], order_id=["1", "1"], quantity=[1.0, 2.0])
    assert doubts(lines) == []


def test_an_account_that_is_no_customer_is_told(usual: OrderLog) -> None:
    ids = usual.customer_ids.copy()
    # a third of the orders: the rows of the first 700 customers are all those of one account
    starts = np.concatenate([[0], usual.starts[700:]])
    (said,) = doubts(replace(usual, customer_ids=np.concatenate([ids[:1], ids[700:]]), starts=starts))
    assert said.startswith("One customer id has 3")
    assert "a guest account or a till?" in said


@pytest.mark.parametrize("name", ["0", "NULL", "None", "guest", "\\N"])
def test_an_id_that_says_there_is_none_is_asked_after(usual: OrderLog, name: str) -> None:
    ids = usual.customer_ids.astype(object)
    orders = np.diff(usual.starts)
    ids[orders.argmax()] = name
    said = doubts(replace(usual, customer_ids=ids))[0]
    assert said.startswith(f"The customer id {name!r} has {orders.max()} orders: does it stand for guests")
    ids = usual.customer_ids.astype(object)
    ids[orders.argmin()] = name  # with an order or two, somebody may be called so
    assert not any("stand for guests" in said for said in doubts(replace(usual, customer_ids=ids)))


@pytest.mark.parametrize(
    ("ids", "n", "by"),
    [
        (["0090417", "90417", "001Dxk", "001DXk"], 2, "zeros in front"),
        (["Ann@example.com", "ann@example.com "], 2, "an address's capitals, spaces around them"),
        (["91700", "91700.0", "91700.5", "v1.0", "v1"], 2, "`.0` behind"),
        (
            ["+7 (916) 555-01-02", "89165550102", "'79165550102", "5550102", "19165550103", "29165550103"],
            5,
            "how a phone number is written",
        ),
    ],
)
def test_ids_that_people_take_for_the_same_are_counted(usual: OrderLog, ids: list[str], n: int, by: str) -> None:
    """Which ones they are is nobody's business who reads a scheduler's log."""
    changed = usual.customer_ids.astype(object)
    changed[: len(ids)] = ids
    log = replace(usual, customer_ids=changed)
    (said,) = doubts(log)
    assert said.startswith(f"{n} customer ids differ from another only by {by} and count as different ones")
    assert ("phone numbers" in said) == (by == "how a phone number is written")
    assert not any(one in said for one in ids)
    assert doubts(log, drawn=True) == []


def test_ids_that_differ_otherwise_raise_no_question(usual: OrderLog) -> None:
    changed = usual.customer_ids.astype(object)
    changed[:5] = "9165550102", "29165550102", "9165550103 by phone", "six", "Six"
    assert doubts(replace(usual, customer_ids=changed)) == []  # long numbers are no phone numbers in themselves


def test_exports_that_overlap_are_asked_after(usual: OrderLog) -> None:
    cost = np.where(np.arange(usual.n_rows) % 3, 1.0, np.nan)
    twice = 1 + (np.arange(usual.n_rows) % 40 == 0)
    before = np.append(0, np.cumsum(twice))
    log = replace(
        usual,
        starts=before[usual.starts],
        ordered_at=np.repeat(usual.ordered_at + 1_000_000, twice),
        amount=np.repeat(usual.amount, twice),
        optional={"cost": np.repeat(cost, twice)},
    )
    (said,) = doubts(log)
    n_doubled = log.n_rows - usual.n_rows
    assert said.startswith(f"{n_doubled:,} of {log.n_rows:,} rows equal another, the time of day included: do two")
    assert doubts(log, drawn=True) == [said]
    assert doubts(replace(log, optional={**log.optional, "order_id": np.arange(log.n_rows)})) == []
    midnight = log.ordered_at // DAY_US * DAY_US
    assert doubts(replace(log, ordered_at=midnight)) == []  # of dates alone nobody can tell
    assert doubts(
        replace(log, starts=np.append(log.starts, log.n_rows), customer_ids=np.append(log.customer_ids, "new"))
    ) == [said]


def test_a_total_that_stands_on_every_line_is_asked_after(usual: OrderLog, log_of: Callable[..., OrderLog]) -> None:
    lines = np.repeat(np.arange(300), 3)
    ids, days = lines % 90, np.datetime64("2023-01-01") + lines % 200

    def told(amount: np.ndarray) -> list[str]:
        log = log_of([], customer_id=ids.astype(str), ordered_at=days, amount=amount, order_id=lines, quantity=1.0)
        return [said for said in doubts(log) if "total" in said]

    (said,) = told(10.0 + lines)
    assert said.startswith(
        "100% of the orders of several lines have one amount on all of them: is it the order's total"
    )
    assert told(10.0 + lines % 5) == []  # a shop with five prices
    assert told(10.0 + lines + np.arange(900) % 3) == []
