"""The smooth view of who buys again: known truth, its edges, and one answer however many are asked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from model.curve import Curve
from training.curve import fit_curve


def rhythms(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([np.log1p(rng.poisson(2.0, n)), rng.uniform(0.0, 6.0, n), rng.normal(-1.0, 1.0, n)])


def odds(rhythm: np.ndarray) -> np.ndarray:
    """A truth that no straight line tells: interest is greatest some while after the last purchase."""
    return 0.8 * rhythm[:, 0] - 0.4 * (rhythm[:, 1] - 3.0) ** 2 + 0.3 * rhythm[:, 2]


def fitted(share: float = 1.0) -> Curve:
    rhythm = rhythms(30_000, 1)
    season = np.where(np.arange(30_000) % 2, 0.5, -0.5)
    bought = (np.random.default_rng(2).random(30_000) < expit(odds(rhythm) + season)).astype(float)
    return fit_curve(rhythm, bought, season, share)


def test_a_known_curve_is_recovered_at_the_mean_season() -> None:
    new = rhythms(2000, 3)
    assert np.abs(expit(fitted().joined(new)) - expit(odds(new))).mean() < 0.01


def test_share_joins_it_with_the_formulas() -> None:
    new, curve = rhythms(50, 4), fitted()
    assert (fitted(0.0).joined(new) == new[:, 2]).all()
    assert fitted(0.5).joined(new) == pytest.approx((curve.joined(new) + new[:, 2]) / 2)


def test_beyond_what_was_learnt_from_it_goes_on_level() -> None:
    curve = fitted()
    edge, far = curve.highest.copy(), curve.highest + np.array([9.0, 9.0, 0.0])
    assert curve.joined(far[None, :]) == curve.joined(edge[None, :])


def test_one_customer_alone_gets_the_same_bits_as_among_many() -> None:
    many, curve = rhythms(501, 5), fitted(0.5)
    alone = np.concatenate([curve.joined(row[None, :]) for row in many])
    assert alone.tobytes() == curve.joined(many).tobytes()


def test_few_examples_say_little() -> None:
    rhythm = rhythms(12, 6)
    curve = fit_curve(rhythm, np.array([1.0, 0.0] * 6), np.zeros(12), 1.0)
    assert np.ptp(curve.joined(rhythm)) < 3.0  # twelve points and ten weights: without the ridge it would separate them
