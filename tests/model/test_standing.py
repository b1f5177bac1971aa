"""Percentiles, tiers and RFM scores: frozen with the model, tie-aware, the same for whoever else is scored."""

from __future__ import annotations

import numpy as np
import pytest

from features.matrix import feature_matrix
from features.orders import OrderLog
from model.bundle import Bundle, load_bundle
from model.standing import Standing, rfm_scores

LINEAR = Standing(np.arange(101.0), np.zeros((3, 4)), 30.0)


def test_percentiles_run_from_0_to_100_and_share_ties() -> None:
    assert LINEAR.percentile(np.array([-5.0, 0.0, 37.5, 100.0, 1e9])).tolist() == [0.0, 0.0, 37.5, 100.0, 100.0]
    tied = Standing(np.array([0.0] * 51 + [1.0] * 50), np.zeros((3, 4)), 30.0)
    assert tied.percentile(np.array([0.0, 1.0])).tolist() == [25.0, 75.5]


def test_tiers_are_20_60_20_and_their_cut_points_are_known() -> None:
    assert LINEAR.tier(LINEAR.percentile(np.array([0.0, 19.9, 20.0, 79.9, 80.0, 500.0]))).tolist() == [
        "bottom", "bottom", "middle", "middle", "top", "top",
    ]  # fmt: skip
    assert LINEAR.cut_points == (20.0, 80.0)


def test_a_base_stands_as_it_was_measured(bundle: Bundle, bundle_folder: object, shop: OrderLog) -> None:
    matrix = feature_matrix(shop, shop.complete_until)
    standing = bundle.model.standing
    clv = bundle.model.predict(matrix).clv[:, 1]
    assert bundle.model.primary_horizon == 90
    tiers, counts = np.unique(standing.tier(standing.percentile(clv)).astype(str), return_counts=True)
    shares = dict(zip(tiers, counts / len(clv), strict=True))
    assert shares == pytest.approx({"bottom": 0.2, "middle": 0.6, "top": 0.2}, abs=0.02)
    again = load_bundle(bundle_folder).model.standing
    assert again.percentile(clv).tobytes() == standing.percentile(clv).tobytes()
    scores = rfm_scores(matrix, standing.edges)
    assert scores.min() >= 1
    assert scores.max() <= 5
    assert np.corrcoef(scores[:, 0], -matrix.column("recency_days"))[0, 1] > 0.8
