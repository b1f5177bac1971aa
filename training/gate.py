"""May a model be promoted? Four conditions on the held-out window, each with its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from training.backtest import BGNBD_GAMMA_GAMMA, CARRY_FORWARD, CLV, Case

MAX_BIAS: Final = 0.25


@dataclass(frozen=True)
class Verdict:
    """Outcome of one condition, in words."""

    holds: bool
    text: str


def gate(case: Case) -> list[Verdict]:
    """Judge a held-out case: a signal, better than carry-forward, not worse than BG/NBD + Gamma-Gamma, total near."""
    ours = case.models[CLV].metrics
    theirs = case.models[CARRY_FORWARD].metrics
    return [
        _has_signal(case),
        _beats_carry_forward(case, ours["normalized_gini"], theirs["normalized_gini"]),
        _not_worse_than_btyd(case),
        _total_holds(ours["bias"]),
    ]


def _has_signal(case: Case) -> Verdict:
    found = case.intervals.get("spearman")
    if found is None:
        return Verdict(False, f"no usable signal: {_undefined(case)}")
    return Verdict(
        case.has_signal,
        f"{'' if case.has_signal else 'no usable signal: '}Spearman of predicted and actual value is "
        f"{found.estimate:+.3f} [{found.lower:+.3f}, {found.upper:+.3f}]; the interval must lie above 0",
    )


def _beats_carry_forward(case: Case, ours: float | None, theirs: float | None) -> Verdict:
    if ours is None or theirs is None:
        return Verdict(False, f"normalised Gini is undefined: {_undefined(case)}")
    return Verdict(
        ours > theirs,
        f"normalised Gini {ours:.3f} must exceed carry-forward's {theirs:.3f}",
    )


def _undefined(case: Case) -> str:
    alike = "all spent or were predicted the same" if case.actual_total > 0.0 else "nothing was spent"
    return f"{alike} in the held-out window"


def _not_worse_than_btyd(case: Case) -> Verdict:
    difference = case.differences[BGNBD_GAMMA_GAMMA].get("normalized_gini")
    if difference is None:
        return Verdict(False, "normalised Gini cannot be compared with BG/NBD + Gamma-Gamma")
    return Verdict(
        difference.upper >= 0.0,
        f"normalised Gini less that of BG/NBD + Gamma-Gamma is {difference.estimate:+.4f} "
        f"[{difference.lower:+.4f}, {difference.upper:+.4f}]; the interval must reach 0",
    )


def _total_holds(bias: float | None) -> Verdict:
    if bias is None:
        return Verdict(False, "total bias is undefined: nothing was spent in the held-out window")
    return Verdict(abs(bias) <= MAX_BIAS, f"total bias {bias:+.1%} must lie within ±{MAX_BIAS:.0%}")
