"""What is asked about a log whose rows are all valid."""

from __future__ import annotations

from dataclasses import replace

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
    (said,) = doubts(without(without(usual, 31, 58), 200, 220))
    assert "from 2022-02-01 (and 1 shorter gaps)" in said


def test_holidays_and_small_shops_raise_no_question(usual: OrderLog) -> None:
    assert doubts(without(usual, 31, 43)) == []
    few = usual.only(np.arange(0, 2_000, 200))
    assert np.diff(np.unique((few.ordered_at - START) // DAY_US)).max() > 14
    assert doubts(few) == []


def test_a_last_week_that_is_hardly_there_is_asked_after(usual: OrderLog) -> None:
    late = usual.ordered_at >= START + (DAYS - 7) * DAY_US
    (said,) = doubts(usual.rows(~late | (np.arange(usual.n_rows) % 20 == 0)))
    assert said.startswith("The last 7 days have ")
    assert said.endswith("is the export complete? --as-of names the day up to which it is.")


def test_an_account_that_is_no_customer_is_named(usual: OrderLog) -> None:
    ids = usual.customer_ids.copy()
    ids[0] = "00000000-guest"
    # a third of the orders: the rows of the first 700 customers are all those of one account
    starts = np.concatenate([[0], usual.starts[700:]])
    (said,) = doubts(replace(usual, customer_ids=np.concatenate([ids[:1], ids[700:]]), starts=starts))
    assert said.startswith("'00000000-guest' has 3")
    assert "a guest account or a till?" in said


def test_ids_that_people_take_for_the_same_are_shown(usual: OrderLog) -> None:
    ids = usual.customer_ids.copy()
    ids[:4] = "0090417", "90417", "Ann@example.com", "ann@example.com "
    (said,) = doubts(replace(usual, customer_ids=ids))
    assert said.startswith("4 customer ids differ from another by capitals, spaces around them or zeros in front alone")
    assert "('0090417', '90417')" in said
