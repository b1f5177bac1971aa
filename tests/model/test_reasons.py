"""Reasons in money: they add up, for every customer, and point where they should."""

from __future__ import annotations

import numpy as np
import pytest

from features.matrix import feature_matrix
from features.orders import OrderLog
from model.bundle import Bundle, load_bundle
from model.reasons import FAMILIES, explain


def sums(bundle: Bundle, log: OrderLog) -> tuple[np.ndarray, np.ndarray]:
    matrix = feature_matrix(log, log.complete_until)
    answers = bundle.model.predict(matrix)
    found = explain(bundle.model, matrix, answers)
    total = [r.typical + r.season + r.horizons + r.effects.sum(axis=1) for r in found]
    return np.stack(total, axis=1), answers.clv


def test_reasons_add_up_to_the_prediction(bundle: Bundle, shop: OrderLog) -> None:
    total, clv = sums(bundle, shop)
    np.testing.assert_allclose(total, clv, rtol=1e-9)


@pytest.mark.slow
def test_reasons_add_up_for_every_cdnow_customer(cdnow_bundle_folder: object, cdnow: OrderLog) -> None:
    total, clv = sums(load_bundle(cdnow_bundle_folder), cdnow)
    assert len(clv) == 23_502
    np.testing.assert_allclose(total, clv, rtol=1e-9)


def test_the_typical_customer_is_one_and_the_season_is_one(bundle: Bundle, shop: OrderLog) -> None:
    matrix = feature_matrix(shop, shop.complete_until)
    for found in explain(bundle.model, matrix, bundle.model.predict(matrix)):
        assert np.ptp(found.typical) < 1e-9
        assert np.ptp(found.season) < 1e-9
        assert (found.typical > 0).all()


def test_a_long_silence_is_a_reason_against(bundle: Bundle, shop: OrderLog) -> None:
    matrix = feature_matrix(shop, shop.complete_until)
    found = explain(bundle.model, matrix, bundle.model.predict(matrix))[-1]
    rhythm = found.effects[:, list(FAMILIES).index("rhythm")]
    recency = matrix.column("recency_days")
    often = matrix.column("frequency") > 2
    assert np.corrcoef(rhythm[often], recency[often])[0, 1] < -0.2


def test_every_group_of_the_catalogue_is_a_family() -> None:
    from features.catalogue import CATALOGUE

    assert {entry.group for entry in CATALOGUE} <= set(FAMILIES)
