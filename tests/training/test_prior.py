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
from training.prior import fit_prior

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
