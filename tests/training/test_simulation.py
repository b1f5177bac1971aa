"""Each simulated shop behaves as its docstring says, counted from its orders."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import spearmanr

from features.arrays import FloatArray
from features.instants import DAY_US, parse_instant
from training.simulation import SHOPS, Simulated, contract, growing, regular, season, seasonal, simulate, unpredictable

START = parse_instant("2023-01-01")


def gaps(shop: Simulated) -> tuple[FloatArray, FloatArray]:
    """Days between orders of the same customer, and the number of that customer, shape (n_gaps,) each."""
    order = np.lexsort((shop.day, shop.customer))
    customer, day = shop.customer[order], shop.day[order]
    same = customer[1:] == customer[:-1]
    return np.diff(day)[same], customer[1:][same]


def joined(shop: Simulated) -> FloatArray:
    first = np.full(len(shop.rate), np.inf)
    np.minimum.at(first, shop.customer, shop.day)
    return first


def spend(shop: Simulated, since: float, until: float) -> FloatArray:
    during = (shop.day >= since) & (shop.day < until)
    return np.bincount(shop.customer[during], shop.amount[during], minlength=len(shop.rate))


def rank_correlation(shop: Simulated, cutoff: float, days: float) -> float:
    """Spearman of past and future spend of the customers who had joined by the cut-off."""
    known = joined(shop) < cutoff
    return float(spearmanr(spend(shop, 0, cutoff)[known], spend(shop, cutoff, days)[known]).statistic)


@pytest.mark.parametrize("name", SHOPS)
def test_a_seed_decides_everything(name: str) -> None:
    one, again, other = (SHOPS[name](200, 500, seed) for seed in (3, 3, 4))
    for field in fields(Simulated):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(again, field.name))
    assert len(one.day) != len(other.day)


@pytest.mark.parametrize("name", SHOPS)
def test_a_shop_is_a_valid_log(name: str) -> None:
    shop = SHOPS[name](300, 500, 1)
    assert (np.diff(shop.day) >= 0).all()
    assert 0 <= shop.day[0] <= shop.day[-1] < 500
    assert (shop.amount >= 0.01).all()
    np.testing.assert_allclose(shop.amount, shop.amount.round(2), rtol=1e-12)
    assert set(shop.customer) == set(range(300))
    log = shop.log(START)
    assert len(log.ordered_at) == len(shop.day)
    assert START <= log.ordered_at.min() <= log.ordered_at.max() < START + 500 * DAY_US


@pytest.mark.parametrize("name", SHOPS)
def test_nobody_buys_after_leaving(name: str) -> None:
    shop = SHOPS[name](2000, 700, 2)
    assert (shop.day <= shop.leaves_on[shop.customer]).all()
    left = shop.leaves_on[np.isfinite(shop.leaves_on)]
    assert (left < 700).all()
    assert (len(left) > 300) == (name != "unpredictable")


@pytest.mark.parametrize("name", SHOPS)
def test_values_have_the_stated_means(name: str) -> None:
    shop = SHOPS[name](20_000, 700, 3)
    early = shop.day < 60  # before values rise
    assert (shop.amount / shop.mean_value[shop.customer])[early].mean() == pytest.approx(1.0, abs=0.03)


def test_the_textbooks_shop_stays_as_it_was() -> None:
    """Recorded figures: models and tests were tuned on these logs."""
    shop = simulate(900, 420, seed=5)
    assert len(shop.day) == len(SHOPS["bg_nbd"](900, 420, 5).day) == 3507
    assert shop.amount.sum() == pytest.approx(178_447.57, abs=0.005)
    assert shop.day.sum() == pytest.approx(688_219.3724073591, rel=1e-9)


def test_regular_gaps_spread_half_as_much_as_poisson() -> None:
    shop = regular(20_000, 3000, 4)
    often = np.flatnonzero((shop.rate > 1 / 40) & (joined(shop) < 500))
    days, customer = gaps(shop)
    relative = (days * shop.rate[customer])[np.isin(customer, often)]
    assert relative.mean() == pytest.approx(1.0, abs=0.03)
    assert relative.std() == pytest.approx(0.5, abs=0.03)


def test_seasonal_orders_peak_before_christmas() -> None:
    shop = seasonal(20_000, 730, 5)
    second_year = shop.day[shop.day >= 365] - 365
    per_day = np.histogram(second_year, [120, 181, 243, 304, 365])[0] / [61, 62, 61, 61]
    assert per_day[3] > 2.0 * per_day[1]
    assert per_day[1] == pytest.approx(per_day[0], rel=0.15)
    assert season(np.arange(365.0) + 0.5).mean() == pytest.approx(1.0)
    assert season(np.array([340.0, 705.0])) / season(np.array([180.0])) == pytest.approx([4.0, 4.0], rel=1e-6)


def test_seasonal_purchases_are_poisson_on_the_clock_of_the_season() -> None:
    """Rate times the season's days of activity gives the number of repeat orders back."""
    shop = seasonal(20_000, 730, 6)
    ticks = np.concatenate([[0.0], np.cumsum(season(np.arange(730) + 0.5))])
    since, until = (np.interp(day, np.arange(731), ticks) for day in (joined(shop), np.minimum(shop.leaves_on, 730)))
    assert len(shop.day) - 20_000 == pytest.approx((shop.rate * (until - since)).sum(), rel=0.03)


def test_growing_gains_customers_and_prices() -> None:
    shop = growing(40_000, 1095, 7)
    by_year = np.histogram(joined(shop), [0, 365, 730, 1095])[0]
    assert by_year[1:] / by_year[:-1] == pytest.approx([4.0, 4.0], rel=0.1)
    relative = shop.amount / shop.mean_value[shop.customer]
    by_year = [relative[(shop.day >= low) & (shop.day < high)].mean() for low, high in pairwise((0, 365, 730, 1095))]
    assert [after / before for before, after in pairwise(by_year)] == pytest.approx([1.1, 1.1], abs=0.03)


def test_contract_orders_come_every_month_at_one_price() -> None:
    shop = contract(5000, 900, 8)
    days, _ = gaps(shop)
    assert 28.0 <= days.min() < 28.1 < 31.9 < days.max() <= 32.0
    assert days.mean() == pytest.approx(30.0, abs=0.05)
    np.testing.assert_array_equal(shop.amount, np.round(shop.mean_value, 2)[shop.customer])


def test_contract_loses_a_twentieth_a_month() -> None:
    shop = contract(20_000, 900, 9)
    first = joined(shop)
    stayed = [(shop.leaves_on - first > 30 * month)[first < 700].mean() for month in range(4)]
    assert stayed[0] == 1.0
    assert [after / before for before, after in pairwise(stayed)] == pytest.approx([0.95] * 3, abs=0.01)


def test_the_unpredictable_shop_cannot_be_ranked() -> None:
    """The past says nothing: neither spend nor the number or value of orders correlates with the future."""
    n = 20_000
    shop = unpredictable(n, 500, 10)
    assert abs(rank_correlation(shop, 400, 500)) < 3 / np.sqrt(n)
    past = np.bincount(shop.customer[shop.day < 400], minlength=n)
    mean_value = spend(shop, 0, 400) / past
    for known in (past, mean_value):
        assert abs(spearmanr(known, spend(shop, 400, 500)).statistic) < 3 / np.sqrt(n)
    future = np.bincount(shop.customer[shop.day >= 400], minlength=n)
    assert future.mean() == pytest.approx(100 / 60, rel=0.03)
    assert future.var() / future.mean() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("name", [name for name in SHOPS if name != "unpredictable"])
def test_the_other_shops_can_be_ranked(name: str) -> None:
    assert rank_correlation(SHOPS[name](20_000, 730, 11), 640, 730) > 0.1
