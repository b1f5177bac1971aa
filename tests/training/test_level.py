"""The level: a season of one's own, what lasts, and what the calendar does to all of retail."""

from __future__ import annotations

import numpy as np
import pytest

from features.instants import DAY_US, parse_instant
from training.level import CALENDAR_SHARE, RETAIL_CALENDAR, Forecast, forecasts, retail_calendar
from training.simulation import regular, simulate
from training.windows import NO_SALES, Sales, Windows, sales, sampling_variance


def windows(ratios: list[float], variance: float = 0.0025) -> Windows:
    """Matured windows of 30 days, oldest first, the last one just ended."""
    n = len(ratios)
    place = np.arange(-n, 0).astype(float)
    return Windows(place, 400.0 + 30.0 * np.arange(n), np.array(ratios, dtype=float), np.full(n, variance))


def forecast(past: Windows, tenure_bins: np.ndarray, as_of: int, days: int, sold: Sales = NO_SALES) -> Forecast:
    """The horizon that begins at once."""
    return forecasts(past, tenure_bins, as_of, days, np.zeros(1), sold)[0]


OLD = np.full(500, 60.0)
"""Everyone has known the shop for 60 bins: what was learnt from is an average over years."""


SPRING, AUTUMN, NEW_YEAR = (parse_instant(day) for day in ("2023-03-01", "2023-11-01", "2024-01-01"))


def test_the_level_is_the_calendars_without_history_and_near_it_with_little() -> None:
    nothing, one = forecast(windows([]), OLD, SPRING, 30), forecast(windows([0.5]), OLD, SPRING, 30)
    assert nothing.mean == pytest.approx(CALENDAR_SHARE * RETAIL_CALENDAR[2], abs=0.01)
    assert nothing.sd == 0.3
    assert nothing.mean < one.mean < 0.4


def test_a_first_christmas_is_expected_before_it_was_seen() -> None:
    even = windows([0.0] * 7)
    before, after = forecast(even, OLD, AUTUMN, 61), forecast(even, OLD, NEW_YEAR, 31)
    assert 0.05 < before.mean < CALENDAR_SHARE * max(RETAIL_CALENDAR)
    assert -0.1 < after.mean < -0.02


def test_a_christmas_seen_before_is_repeated_and_one_that_was_none_is_not_expected_again() -> None:
    none = forecast(windows([0.0] * 36), OLD, AUTUMN, 61)
    assert abs(none.mean) < 0.05
    months = (AUTUMN // DAY_US + np.arange(-36, 0) * 30 + 15).astype("datetime64[D]").astype("datetime64[M]")
    strong = 2.0 * np.array(RETAIL_CALENDAR)[months.astype(int) % 12]
    assert forecast(windows(list(strong)), OLD, AUTUMN, 61).mean == pytest.approx(2.0 * 0.3, abs=0.12)


def test_the_calendar_is_that_of_the_days_of_each_window() -> None:
    bins = np.array([-1.0, 0.0, 1.0])
    found = retail_calendar(bins, parse_instant("2023-12-01"))  # November, December, its last day and January
    assert found[0] == pytest.approx(RETAIL_CALENDAR[10])
    assert found[1] == pytest.approx(RETAIL_CALENDAR[11])
    assert RETAIL_CALENDAR[0] < found[2] < RETAIL_CALENDAR[0] + 0.03
    assert abs(np.mean(RETAIL_CALENDAR)) < 0.005


def test_the_calendar_is_what_the_census_counted() -> None:
    """Monthly Retail Trade, not adjusted, millions of dollars: GAFO, and electronic shopping and mail-order houses."""
    counted = np.array(
        [
            [
                [43533, 45999, 51526, 51479, 55557, 53585, 52522, 58714, 53061, 56556, 65498, 94583],  # 1996
                [47409, 47286, 55045, 52639, 57737, 55641, 55712, 60967, 55307, 59385, 67945, 98314],  # 1997
            ],
            [
                [4549, 4226, 4703, 4566, 4563, 4250, 4442, 4586, 4875, 5816, 6676, 7854],
                [5042, 4577, 5594, 5491, 5304, 5204, 5198, 5165, 6080, 6693, 7029, 8690],
            ],
        ]
    )
    months = np.arange("1996-01", "1998-02", dtype="datetime64[M]").astype("datetime64[D]")
    days = np.diff(months).astype(int).reshape(2, 12)
    a_day = np.log(counted / days)
    growth = (a_day[:, 1] - a_day[:, 0]).mean(axis=1)  # a year
    of_month = a_day - (growth[:, np.newaxis] * np.arange(24) / 12).reshape(2, 2, 12)
    season = of_month.mean(axis=1)
    season -= np.average(season, axis=1, weights=days.mean(axis=0))[:, np.newaxis]
    assert np.allclose(season.mean(axis=0), RETAIL_CALENDAR, atol=0.006)


def test_the_level_repeats_a_season_seen_before() -> None:
    def season(month: float) -> float:
        return float(0.4 * np.cos(2 * np.pi * (month + 0.5) * 30 / 365.25))

    found = forecast(windows([season(month) for month in range(-36, 0)]), OLD, SPRING, 30)
    assert found.mean == pytest.approx(season(0), abs=0.1)
    assert found.sd < 0.15


def test_the_level_of_a_longer_horizon_is_that_of_all_its_months() -> None:
    ratios = [0.4 * np.cos(2 * np.pi * (month + 0.5) * 30 / 365.25) for month in range(-36, 0)]
    year = forecast(windows(ratios), OLD, SPRING, 365)
    assert abs(year.mean) < 0.08
    assert abs(year.mean) < abs(forecast(windows(ratios), OLD, SPRING, 90).mean)


def test_later_horizons_are_those_of_their_own_months() -> None:
    ratios = [0.4 * np.cos(2 * np.pi * (month + 0.5) * 30 / 365.25) for month in range(-36, 0)]
    later = forecasts(windows(ratios), OLD, SPRING, 30, np.array([0.0, 2.0, 6.0]))
    for begins, one in zip((0, 2, 6), later, strict=True):
        assert one.mean == pytest.approx(0.4 * np.cos(2 * np.pi * (begins + 0.5) * 30 / 365.25), abs=0.1)
    both = forecasts(windows(ratios), OLD, SPRING, 60, np.array([0.0]))[0]
    first, second = forecasts(windows(ratios), OLD, SPRING, 30, np.array([0.0, 1.0]))
    assert both.mean == pytest.approx((first.mean + second.mean) / 2.0, abs=0.01)


def test_what_lasts_counts_by_the_share_of_a_year_that_was_seen() -> None:
    found = [forecast(windows([0.2] * n), OLD, SPRING, 90) for n in (3, 6, 9, 13)]
    assert found[1].mean < 0.06  # half a year of it may be half a season
    assert found[-1].mean == pytest.approx(0.2, abs=0.02)
    assert [one.mean for one in found] == sorted(one.mean for one in found)
    assert [one.sd for one in found] == sorted((one.sd for one in found), reverse=True)


def test_the_level_is_clipped() -> None:
    assert forecast(windows([9.0] * 36), OLD, SPRING, 30).mean <= 2.5


def test_a_season_may_be_strong() -> None:
    """Halloween, garden, ski: seven times the average in the season, a seventh out of it."""
    ratios = [2.0 * np.cos(2 * np.pi * (month + 0.5) * 30 / 365.25) for month in range(-36, 0)]
    peak, trough = forecasts(windows(ratios), OLD, SPRING, 30, np.array([0.0, 6.0]))
    assert peak.mean == pytest.approx(2.0, abs=0.25)
    assert trough.mean == pytest.approx(-2.0, abs=0.25)


def test_few_orders_a_month_are_no_reason_to_expect_more() -> None:
    """Five orders a month as often too many as too few: lucky months must not weigh more."""
    rng, places, found = np.random.default_rng(1), np.arange(-36.0, 0.0), []
    for _ in range(60):
        n_orders = np.maximum(rng.poisson(5.0, 36), 1).astype(float)
        variance = np.array([sampling_variance(n, 5.0) for n in n_orders])
        past = Windows(places, 400.0 + 30.0 * np.arange(36), np.log(n_orders / 5.0), variance)
        found.append(forecast(past, OLD, SPRING, 365).mean)
    assert abs(np.mean(found)) < 0.03


def test_the_first_months_of_a_log_tell_the_season_ahead_where_the_shop_is_older() -> None:
    season = np.where(np.arange(12) < 3, -0.5, 0.17)  # the quarter that comes next was low a year ago
    ratios = windows([0.0, *[0.1] * 8])  # begin in the fourth month, and know nothing of it
    sold = Sales(np.arange(-12.0, 0.0), season, np.full(12, 0.0025))
    at_first, known = forecast(ratios, OLD, SPRING, 90), forecast(ratios, OLD, SPRING, 90, sold)
    assert known.mean < at_first.mean - 0.1
    even = forecast(ratios, OLD, SPRING, 90, Sales(sold.place, np.full(12, 9.0), sold.variance))
    assert even.mean == pytest.approx(at_first.mean, abs=0.06)


def test_sales_speak_only_where_the_log_began_amid_the_life_of_its_shop() -> None:
    start = parse_instant("2022-01-01")
    as_of = start + 400 * DAY_US
    for joined_over in (0.2, 0.4, 0.9):  # all customers won in a burst, or a shop that begins
        young = simulate(1_500, 400, seed=3, joined_over=joined_over).log(start)
        assert [len(sold.place) for sold in sales(young, as_of)] == [0, 0]
    whole = regular(1_500, 1_200, seed=3).log(start - 800 * DAY_US)
    cut = whole.rows((whole.ordered_at >= start) & (whole.ordered_at < as_of))
    orders, value = sales(cut, as_of)
    assert orders.place.tolist() == value.place.tolist() == list(range(-13, 0))
    totals = [
        cut.amount[(cut.ordered_at >= as_of + bin_ * 30 * DAY_US) & (cut.ordered_at < as_of + (bin_ + 1) * 30 * DAY_US)]
        for bin_ in range(-13, 0)
    ]
    assert np.exp(value.log_total) == pytest.approx([amounts.sum() for amounts in totals])
    assert np.exp(orders.log_total) == pytest.approx([len(amounts) for amounts in totals])
    assert sales(cut.rows(cut.ordered_at < start + 200 * DAY_US), start + 200 * DAY_US)[0].place.tolist() == []
