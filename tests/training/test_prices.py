"""What became of prices, told from customers who came again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.instants import DAY_US, parse_instant
from features.orders import OrderLog
from training.backtest import CLV, run_case
from training.fitting import fit
from training.prices import MOST_BINS, STEADY, Prices, prices_of
from training.simulation import regular
from training.windows import BIN_DAYS, YEAR_DAYS

START = parse_instant("2022-01-01")
DAYS = 720


def dearer(factor: np.ndarray, log: OrderLog) -> OrderLog:
    return replace(log, amount=log.amount * factor)


def day_of(log: OrderLog) -> np.ndarray:
    return (log.ordered_at - START) / DAY_US


@pytest.fixture(scope="module")
def even() -> OrderLog:
    """A shop whose prices stay."""
    return regular(1_500, DAYS, seed=3).log(START)


def test_prices_that_stay_are_found_to_stay(even: OrderLog) -> None:
    found = prices_of(even, even.complete_until)
    assert np.abs(found.mean).max() < 0.03
    assert np.sqrt(found.ahead) < 0.05


def test_a_steady_rise_is_found(even: OrderLog) -> None:
    rising = dearer(1.4 ** (day_of(even) / YEAR_DAYS), even)
    found = prices_of(rising, rising.complete_until)
    ago = (len(found.mean) - np.arange(len(found.mean)) - 0.5) * BIN_DAYS / YEAR_DAYS
    newer = ago < 1.4  # first orders do not count: few have come again in the first months
    np.testing.assert_allclose(found.mean[newer], -np.log(1.4) * ago[newer], atol=0.05)


def test_a_step_is_found_within_months(even: OrderLog) -> None:
    """Not the whole of it: before the same months have come again it may be a season in part."""
    raised = dearer(np.where(day_of(even) < 600.0, 1.0, 2.0), even)
    found = prices_of(raised, raised.complete_until)
    assert (found.mean[-12:-8] < -0.75 * np.log(2.0)).all()
    assert (found.mean[-12:-8] > -1.05 * np.log(2.0)).all()
    assert found.mean[-2:] == pytest.approx(0.0, abs=0.05)


def test_a_season_of_baskets_is_no_price(even: OrderLog) -> None:
    """Twice as much before each Christmas, the newest of which has just been: prices stay all the same."""
    to_christmas = np.abs((day_of(even) - 345.0 + YEAR_DAYS / 2.0) % YEAR_DAYS - YEAR_DAYS / 2.0)
    log = dearer(np.where(to_christmas < 30.0, 2.0, 1.0), even)
    found = prices_of(log, log.complete_until)
    assert np.abs(found.mean).max() < 0.15


def test_one_missing_decimal_point_moves_no_price(even: OrderLog) -> None:
    amount = even.amount.copy()
    amount[np.flatnonzero(day_of(even) > DAYS - 20.0)[0]] *= 1e6
    found = prices_of(replace(even, amount=amount), even.complete_until)
    assert np.abs(found.mean).max() < 0.05


def test_one_price_for_everyone_is_no_division_by_zero(even: OrderLog) -> None:
    same = replace(even, amount=np.full(even.n_rows, 9.9))
    assert np.abs(prices_of(same, same.complete_until).mean).max() == 0.0
    raised = dearer(np.where(day_of(even) < 600.0, 1.0, 1.2), same)
    assert (prices_of(raised, raised.complete_until).mean[-12:-5] < -0.5 * np.log(1.2)).all()


def test_nothing_is_said_where_nobody_came_three_times(even: OrderLog) -> None:
    first, second = even.starts[:-1], np.minimum(even.starts[:-1] + 1, even.starts[1:] - 1)
    keep = np.zeros(even.n_rows, dtype=np.bool_)
    keep[np.concatenate([first, second])] = True
    assert prices_of(even.rows(keep), even.complete_until) is STEADY
    assert prices_of(even.rows(np.zeros(even.n_rows, dtype=np.bool_)), even.complete_until) is STEADY


def test_a_placeholder_date_costs_no_time(even: OrderLog) -> None:
    at = even.ordered_at.copy()
    at[even.starts[:50] + 1] = at[even.starts[:50]] = 0  # 1970
    assert len(prices_of(replace(even, ordered_at=at), even.complete_until).mean) == MOST_BINS


def test_newcomers_are_valued_in_todays_prices(even: OrderLog) -> None:
    """Those of the past spent in prices of the past, half of today's in the beginning."""
    rising = dearer(1.4 ** (day_of(even) / YEAR_DAYS), even)
    usual, dear = (fit(log, log.complete_until, (90,)).prior.clv[0] for log in (even, rising))
    assert dear / usual == pytest.approx(1.4 ** (DAYS / YEAR_DAYS), rel=0.1)
    assert STEADY.todays(even, even.complete_until) is even


def test_bins_before_the_oldest_one_have_its_price_and_those_ahead_todays() -> None:
    prices = Prices(np.array([-0.2, -0.1]), np.diag([0.04, 0.01]), ahead=0.09)
    mean, covariance = prices.over(np.array([-3.0, -2.0, -1.0, 0.0, 1.0]))
    assert mean.tolist() == [-0.2, -0.2, -0.1, 0.0, 0.0]
    assert covariance[0, 1] == 0.04
    assert covariance[4, 4] == pytest.approx(0.09 * 45.0 / YEAR_DAYS)
    assert covariance[3, 4] == pytest.approx(0.09 * 15.0 / YEAR_DAYS)
    assert not covariance[:3, 3:].any()


@pytest.mark.slow
def test_a_shop_that_raised_its_prices_is_not_forecast_at_the_old_ones(even: OrderLog) -> None:
    """By a half, five months ago: without prices the forecast was 8 % further below than that of the even shop."""
    raised = dearer(np.where(day_of(even) < 480.0, 1.0, 1.5), even)
    as_of = even.complete_until - 90 * DAY_US
    plain, dear = (np.log1p(run_case(log, as_of, 90).models[CLV].metrics["bias"]) for log in (even, raised))
    assert abs(dear - plain) < 0.05
