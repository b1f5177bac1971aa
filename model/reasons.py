"""Why a customer is worth what is predicted, in money: additive, exact for the product of probability and spend.

    p s - p' s' = (p - p')(s + s')/2 + (s - s')(p + p')/2

where p', s' belong to the typical customer (every attribution at its base). Each difference is shared out by the
attributions to its own margin (TreeSHAP of the trees, the distance of the buy-till-you-die score to the base's mean),
along the secant of the link. What is added afterwards, the season and what agreeing with other horizons changes, are
lines of their own. A family's line sums its features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit

from features.arrays import FloatArray
from features.catalogue import CATALOGUE
from features.matrix import FeatureMatrix
from model.btyd import summarise
from model.clv import BTYD_INPUTS, BtydScores, ClvModel, HorizonModel, Part, btyd_scores, input_names
from model.predictions import Predictions

TYPICAL, SEASON, HORIZONS = "typical_customer", "season_and_level", "agreement_of_horizons"
LINES: Final = {
    TYPICAL: "what the typical customer is worth",
    SEASON: "the season and the level of the shop",
    HORIZONS: "making the horizons agree",
}
RHYTHM: Final = "rhythm"
FAMILIES: Final = {
    "rfm": "how recently, how often and for how much they bought",
    "spend": "how large their orders are",
    "windows": "what they bought of late",
    "cadence": "the gaps between their orders",
    "trend": "whether they buy more or less than before",
    "basket": "what is in their orders",
    "calendar": "when they order",
    "first_order": "how it began",
    RHYTHM: "whether someone of their rhythm still comes back",
}
"""Families of reasons, the catalogue's groups and the buy-till-you-die model, in a marketer's words."""
_FLAT: Final = 1e-9


@dataclass(frozen=True)
class Reasons:
    """Effects on the predicted value of one horizon, money; they add up to it with the other lines.

    Attributes
    ----------
    typical, season, horizons
        Value of the typical customer; what season and level add; what agreeing with other horizons changes;
        shape (n,) each.
    effects
        By family, in the order of `FAMILIES`, shape (n, n_families).
    """

    typical: FloatArray
    season: FloatArray
    horizons: FloatArray
    effects: FloatArray

    def scaled(self, by: FloatArray) -> Reasons:
        """The same in other money: every line times a factor of its customer, shape (n,)."""
        return Reasons(self.typical * by, self.season * by, self.horizons * by, self.effects * by[:, None])


def explain(model: ClvModel, matrix: FeatureMatrix, answers: Predictions) -> tuple[Reasons, ...]:
    """Explain every fitted horizon of `answers`, which the model gave for the same matrix."""
    of, known, names = summarise(matrix), matrix.columns(model.features), input_names(model.features)
    _, more_value = model.season.shifts(matrix.as_of)
    found = []
    for place, part in enumerate(model.parts):
        btyd = btyd_scores(model.btyd, of, part.horizon_days)
        inputs = np.concatenate([known, btyd.inputs], axis=1)
        found.append(_one(part, _families(names), inputs, btyd, answers.clv[:, place], more_value[place]))
    return tuple(found)


def _one(
    part: HorizonModel, of_family: FloatArray, inputs: FloatArray, btyd: BtydScores, clv: FloatArray, more: float
) -> Reasons:
    typical, share = part.typical, part.value_share
    z, dz = _margin(part.churn, inputs, part.curve.joined(btyd.rhythm), typical.probability, of_family)
    spend, d_spend = _margin(part.spend, inputs, btyd.spend, typical.spend, of_family)
    value, d_value = _margin(part.value, inputs, btyd.value, typical.value, of_family)
    p, p_base, dp = _shared(expit, z, dz)
    _, log_p_base, d_log_p = _shared(_log_expit, z, dz)
    s, s_base, ds = _shared(
        np.exp, part.log_spend(spend, value, p), (1.0 - share) * d_spend + share * (d_value - d_log_p)
    )
    effects = dp * ((s + s_base) / 2.0)[:, None] + ds * ((p + p_base) / 2.0)[:, None]
    z_before = z - dz.sum(axis=1) - typical.shift
    before = expit(z_before) * s_base * np.exp(share * (log_p_base - _log_expit(z_before)) - typical.scale)
    turned = p * s * np.exp(more)
    return Reasons(before, p_base * s_base - before + (turned - p * s), clv - turned, effects)


def _log_expit(margin: FloatArray) -> FloatArray:
    return np.asarray(-np.logaddexp(0.0, -margin))


def _families(names: Sequence[str]) -> FloatArray:
    """Which family each input belongs to, as columns of zeros and ones, shape (n_inputs, n_families)."""
    groups = {entry.name: entry.group for entry in CATALOGUE} | dict.fromkeys(BTYD_INPUTS, RHYTHM)
    return np.array([[groups[name] == family for family in FAMILIES] for name in names], dtype=np.float64)


def _margin(
    part: Part, inputs: FloatArray, score: FloatArray, typical: float, of_family: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Margin, shape (n,), and the families' attributions to its distance from the base, shape (n, n_families)."""
    found = np.asarray(part.trees.predict(inputs, pred_contrib=True, num_threads=1), dtype=np.float64)
    by_family = part.blend.trees * (found[:, :-1] @ of_family)
    by_family[:, list(FAMILIES).index(RHYTHM)] += part.blend.btyd * (score - typical)
    base = part.blend.trees * found[:, -1] + part.blend.btyd * typical + part.blend.level
    return base + by_family.sum(axis=1), by_family


def _shared(
    link: Callable[[FloatArray], FloatArray], margin: FloatArray, by_family: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Value and base value behind a link; the difference shared out along the secant (at its foot the slope)."""
    distance = by_family.sum(axis=1)
    here, base, near = link(margin), link(margin - distance), np.abs(distance) < _FLAT
    slope = np.where(near, (link(margin + 1e-6) - link(margin - 1e-6)) / 2e-6, 0.0)
    np.divide(here - base, distance, out=slope, where=~near)
    return here, base, slope[:, None] * by_family
