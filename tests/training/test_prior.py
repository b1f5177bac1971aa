"""Newcomers: what they are worth, by how they came, from customers whose first horizon has passed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from features.instants import parse_instant
from features.orders import OrderLog
from model.bundle import Provenance, load_bundle, save_bundle
from serving.requests import answer
from training.fitting import fit
from training.prior import first_horizons, fit_prior

Make = Callable[..., OrderLog]
AS_OF = parse_instant("2024-04-01")


@pytest.fixture
def by_channel(log_of: Make) -> OrderLog:
    """100 customers from e-mail who come back for 20, 100 from ads who do not, 5 from a stall."""
    rows, channels = [], []
    for number in range(205):
        channel = "email" if number < 100 else "ads" if number < 200 else "stall"
        rows.append((f"c{number:03d}", "2024-01-01", 10.0))
        channels.append(channel)
        if channel == "email":
            rows.append((f"c{number:03d}", "2024-01-15", 20.0))
            channels.append("ads")  # how the second order came says nothing of how the customer did
    return log_of(rows, channel=channels)


def test_a_channel_has_a_value_of_its_own_shrunk_to_that_of_all(by_channel: OrderLog) -> None:
    prior = fit_prior(by_channel, AS_OF, (30,))
    everyone = 100 * 20.0 / 205
    assert prior.clv[0] == pytest.approx(everyone)
    assert set(prior.by["channel"]) == {"email", "ads"}
    assert prior.of({"channel": "email"}).clv[0] == pytest.approx(100 / 150 * 20.0 + 50 / 150 * everyone)
    assert prior.of({"channel": "ads"}).clv[0] == pytest.approx(50 / 150 * everyone)


def test_an_unknown_channel_and_none_get_the_value_of_all(by_channel: OrderLog) -> None:
    prior = fit_prior(by_channel, AS_OF, (30,))
    assert prior.of({"channel": "stall"}) is prior
    assert prior.of({"category": "shoes"}) is prior
    found = prior.predictions((30,), 3, [{}, {"channel": "email"}, {"channel": "moon"}])
    assert found.clv[0] == found.clv[2] < found.clv[1]


@pytest.mark.parametrize(
    ("falls_by", "low", "high"),
    [(0.0, 0.97, 1.03), (0.1, 0.3, 0.5)],  # of the mean of all: the newest bring 0.27 of it
    ids=["as ever", "worse and worse"],
)
def test_newcomers_count_the_more_of_late_the_more_they_change(
    log_of: Make, falls_by: float, low: float, high: float
) -> None:
    rng = np.random.default_rng(3)
    rows = []
    for number in range(2400):
        month = number // 100
        at = np.datetime64("2022-04-01") + month * 30 + int(rng.integers(0, 30))
        rows.append((f"c{number:04d}", str(at), 10.0))
        if rng.random() < 0.6:
            rows.append((f"c{number:04d}", str(at + 10), float(rng.gamma(2.0, 5.0)) * np.exp(-falls_by * month)))
    log = log_of(rows)
    seen = first_horizons(log, 0, AS_OF, 30)
    assert low < fit_prior(log, AS_OF, (30,)).clv[0] / seen.means()[2] < high


def test_newcomers_of_another_century_break_nothing(log_of: Make) -> None:
    rows = [(f"{year}-{number}", f"{year}-05-01", 10.0) for year in (1805, 2023) for number in range(30)]
    log = log_of([*rows, *[(name, f"{at[:4]}-05-09", 7.0) for name, at, _ in rows]])
    assert fit_prior(log, AS_OF, (30,)).clv[0] == pytest.approx(7.0)


def test_a_request_may_say_how_a_newcomer_came(shop: OrderLog, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    from dataclasses import replace

    of_customer = rng.integers(0, 2, shop.n_customers)
    codes = np.repeat(of_customer, np.diff(shop.starts)).astype(np.int32)
    log = replace(shop, optional={"channel": codes}, values={"channel": np.array(["ads", "email"], dtype=object)})
    provenance = Provenance("2024-02-25T00:00:00Z", "x", "EUR", "UTC", ("channel",))
    save_bundle(tmp_path / "bundle", fit(log, log.complete_until, (30,)), provenance)
    bundle = load_bundle(tmp_path / "bundle")
    body = (
        b'{"customers": [{"customer_id": "a", "orders": [], "channel": "email"}, '
        b'{"customer_id": "b", "orders": [], "channel": "ads"}, {"customer_id": "c", "orders": []}]}'
    )
    found = [one["predictions"][0]["predicted_clv"] for one in answer(bundle, body, AS_OF)["customers"]]
    expected = [bundle.model.prior.of(how).clv[0] for how in ({"channel": "email"}, {"channel": "ads"}, {})]
    assert found == expected
    assert len(set(found)) == 3


@pytest.fixture
def giveaway(log_of: Make, shop: OrderLog) -> OrderLog:
    """The shop, and 300 people who took a free sample, of whom 6 ordered for 50 a month before the end."""
    ids = shop.customer_ids[np.repeat(np.arange(shop.n_customers), np.diff(shop.starts))]
    at = shop.ordered_at.astype("datetime64[us]").astype(str)
    rows = list(zip(ids.tolist(), at.tolist(), shop.amount.tolist(), strict=True))
    rows += [(f"free{number:03d}", "2023-10-01", 0.0) for number in range(300)]
    return log_of([*rows, *[(f"free{number:03d}", "2024-02-01", 50.0) for number in range(6)]])


def test_what_rounding_leaves_of_a_refund_is_no_first_spend(log_of: Make) -> None:
    log = log_of(
        [("a", "2024-01-01", 9.0), ("a", "2024-01-05", 0.1), ("a", "2024-01-06", 0.2), ("a", "2024-01-07", -0.3)]
    )
    found = first_horizons(log, 0, AS_OF, 30)
    assert (found.orders.tolist(), found.spend.tolist()) == ([2.0], [0.0])


def test_who_took_a_free_sample_is_no_newcomer(giveaway: OrderLog, shop: OrderLog) -> None:
    prior = fit_prior(giveaway, giveaway.complete_until, (30,))
    newcomer = fit_prior(shop, shop.complete_until, (30,))
    assert newcomer.without_order is None
    assert prior.clv[0] == pytest.approx(newcomer.clv[0], rel=0.02)
    assert prior.without_order is not None
    assert prior.without_order.clv[0] == pytest.approx(300 / 350 * 6 * 50.0 / 300 + 50 / 350 * prior.clv[0])
    assert prior.without_order.orders[0] == pytest.approx(300 / 350 * 6 / 300 + 50 / 350 * prior.orders[0])


def test_free_samples_are_answered_by_what_such_people_did(giveaway: OrderLog, tmp_path: Path) -> None:
    provenance = Provenance("2024-02-25T00:00:00Z", "x", "XXX", "UTC", ())
    model = fit(giveaway, giveaway.complete_until, (30,))
    save_bundle(tmp_path / "bundle", model, provenance)
    bundle = load_bundle(tmp_path / "bundle")
    body = (
        b'{"customers": [{"customer_id": "new", "orders": []}, '
        b'{"customer_id": "later", "orders": [{"ordered_at": "2024-05-01", "amount": 0}]}, '
        b'{"customer_id": "free", "orders": [{"ordered_at": "2024-01-01", "amount": 0}]}, '
        b'{"customer_id": "back", "orders": [{"ordered_at": "2024-01-01", "amount": -5}]}]}'
    )
    found = [one["predictions"][0]["predicted_clv"] for one in answer(bundle, body, AS_OF)["customers"]]
    assert model.prior.without_order is not None
    free = model.prior.without_order.clv[0]
    assert free < 0.5 * model.prior.clv[0]
    assert found == [model.prior.clv[0], model.prior.clv[0], free, free]
