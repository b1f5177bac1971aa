"""Out-of-time evaluation: fit on the past of a moment, predict once, compare with what happened.

The embargo is the horizon itself: every label window that is learnt from ends at or before the
moment of the test, and the fit is handed a log that holds nothing later.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from features.arrays import FloatArray, ObjectArray
from features.errors import HorizonError, TrainingError
from features.history import before
from features.instants import DAY_US, isoformat
from features.machine import CORES
from features.orders import OrderLog
from model.baselines import BgNbdGammaGamma, CarryForward
from model.predictions import Model, Predictions
from model.spread import DEFAULT_LEVEL
from training.bootstrap import Draws, Estimate, drawn, intervals, paired_differences
from training.checks import Figures, checks
from training.cutoffs import MIN_HISTORY_DAYS, history_days, longest_horizon, repair
from training.examples import Snapshots
from training.fitting import SEED, Stage, fit_and_answer, quiet
from training.guards import require_blind_features
from training.labels import Labels, label_window, require_matured
from training.metrics import Scored, evaluate, profit
from training.rivals import ON_REQUEST, Fitted, fit_bgnbd_gamma_gamma, fit_rfm_score, simulated_bounds

CLV: Final = "clv"
CARRY_FORWARD: Final = "carry_forward"
BGNBD_GAMMA_GAMMA: Final = "bgnbd_gamma_gamma"
RFM_SCORE: Final = "rfm_score"
BASELINES: Final = (CARRY_FORWARD, BGNBD_GAMMA_GAMMA, RFM_SCORE)
DEFAULT_CASES: Final = 3


@dataclass(frozen=True)
class Answered:
    """One model's answers in a case: scored, measured, and the seconds of fitting and predicting.

    Intervals that are simulated are not in the seconds: they are drawn beside the bootstrap.
    """

    scored: Scored
    metrics: Mapping[str, float | None]
    seconds: float


@dataclass(frozen=True)
class Case:
    """One test: a moment, a horizon, and every model's answer.

    Attributes
    ----------
    models
        By name; `clv` is ours.
    intervals
        Ours by metric, with its bootstrap 95 % interval.
    differences
        Per baseline and metric: ours less theirs, paired bootstrap 95 % interval.
    left_out
        Net value that the labels do not show, as `Labels.left_out`, of all customers.
    checks
        Figures beyond the table, by name: see `training.checks.checks`.
    """

    as_of: int
    horizon_days: int
    customer_ids: ObjectArray
    actual_total: float
    left_out: float
    models: Mapping[str, Answered]
    intervals: Mapping[str, Estimate]
    differences: Mapping[str, Mapping[str, Estimate]]
    checks: Mapping[str, Figures]

    @property
    def has_signal(self) -> bool:
        """Whether the past tells anything about the future: the interval of Spearman lies above 0."""
        return "spearman" in self.intervals and self.intervals["spearman"].lower > 0.0

    def document(self, margin: float = 1.0, contact_cost: float = 0.0) -> dict[str, Any]:
        """Return the case as a JSON document: undefined values are null, every key is present.

        `margin` (share of value) and `contact_cost` (money) turn the value at the top 10 and 20 % into profit.
        """

        def profits(scored: Scored) -> dict[str, float | None]:
            return {f"top{k}_profit": profit(scored, k / 100, margin, contact_cost) for k in (10, 20)}

        return {
            "as_of": isoformat(self.as_of),
            "horizon_days": self.horizon_days,
            "n_customers": len(self.customer_ids),
            "actual_total": self.actual_total,
            "left_out_total": self.left_out,
            "usable_signal": self.has_signal,
            "checks": {name: dict(figures) for name, figures in self.checks.items()},
            "models": {
                name: {**a.metrics, **profits(a.scored), "seconds": a.seconds, "ci": self._ci(name)}
                for name, a in self.models.items()
            },
        }

    def _ci(self, name: str) -> dict[str, Any]:
        """Ours itself, and what it is better or worse by than another: `clv_less_this`."""
        found, said = (self.intervals, "estimate") if name == CLV else (self.differences[name], "clv_less_this")
        return {metric: {said: e.estimate, "lower": e.lower, "upper": e.upper} for metric, e in found.items()}


def default_cases(log: OrderLog, horizon_days: int) -> list[int]:
    """Up to three moments, a horizon apart, the last as late as its window matures; ascending.

    Raises
    ------
    HorizonError
        The history leaves no window to learn from before one to test on, of shorter horizons it does.
    TrainingError
        Of no horizon it does.
    """
    newest = log.complete_until - horizon_days * DAY_US
    oldest = log.began_at + (horizon_days + MIN_HISTORY_DAYS) * DAY_US
    cases = [at for k in range(DEFAULT_CASES) if (at := newest - k * horizon_days * DAY_US) >= oldest]
    if not cases:
        end = log.complete_until
        longest = longest_horizon(log, end)
        raise (HorizonError if longest else TrainingError)(
            f"A horizon of {horizon_days} days leaves no window to learn from before one to test on: the log has "
            f"{history_days(log, end)} days. {repair(longest)}"
        )
    return sorted(cases)


def run_case(
    log: OrderLog,
    as_of: int,
    horizon_days: int,
    *,
    rivals: Sequence[str] = (),
    seed: int = SEED,
    stage: Stage = quiet,
    snapshots: Snapshots | None = None,
) -> Case:
    """Fit before `as_of`, predict once, measure beside the baselines and the named `rivals.ON_REQUEST`.

    `snapshots` of the same log are used and added to: each sees only what lies before its cut-off.

    Raises
    ------
    HorizonError
        The window after `as_of` has not matured, or the history before it is too short.
    TrainingError
        Too little to learn from before `as_of`.
    """
    _require_history(log, as_of, horizon_days)
    require_matured(log, as_of, horizon_days)
    past, known = before(log, as_of), snapshots or Snapshots(log)
    clock = time.perf_counter()
    ours, own = fit_and_answer(past, as_of, (horizon_days,), seed=seed, stage=stage, snapshots=known)
    seconds = {CLV: time.perf_counter() - clock}
    matrix = known.at(as_of).matrix
    require_blind_features(log, matrix)
    labels = label_window(log, matrix.customers, as_of, horizon_days)
    others = _others(known, past, as_of, horizon_days, rivals)
    scored = {CLV: _scored(own, labels)}
    for name, (model, spent) in others.items():
        clock = time.perf_counter()
        scored[name] = _scored(model.predict(matrix), labels)
        seconds[name] = spent + time.perf_counter() - clock

    def measured(name: str) -> tuple[Scored, Draws]:
        """The model's answers with the intervals that only a simulation gives, and what the bootstrap makes of them."""
        found = scored[name]
        if name != CLV and isinstance(model := others[name][0], BgNbdGammaGamma):
            lower, upper = simulated_bounds(model, matrix, DEFAULT_LEVEL)
            found = replace(found, lower=lower, upper=upper)
        return found, drawn(found)

    longest_first = sorted(scored, key=lambda name: name != BGNBD_GAMMA_GAMMA)
    with ThreadPoolExecutor(max_workers=CORES) as pool:
        done = dict(zip(longest_first, pool.map(measured, longest_first), strict=True))
    measures = {name: done[name] for name in scored}
    draws = {name: found for name, (_, found) in measures.items()}
    return Case(
        as_of,
        horizon_days,
        past.customer_ids[matrix.customers],
        float(labels.spend.sum()),
        float(labels.left_out.sum()),
        {name: Answered(s, evaluate(s), seconds[name]) for name, (s, _) in measures.items()},
        intervals(draws[CLV]),
        {name: paired_differences(draws[CLV], draws[name]) for name in others},
        checks(ours, own, matrix, labels, log),
    )


def _others(
    known: Snapshots, past: OrderLog, as_of: int, horizon_days: int, rivals: Sequence[str]
) -> dict[str, tuple[Model, float]]:
    """Baselines and rivals, each with the seconds of its fit."""
    found: dict[str, tuple[Model, float]] = {CARRY_FORWARD: (CarryForward((horizon_days,)), 0.0)}
    always: dict[str, Fitted] = {BGNBD_GAMMA_GAMMA: fit_bgnbd_gamma_gamma, RFM_SCORE: fit_rfm_score}
    for name, fitted in {**always, **{name: ON_REQUEST[name] for name in rivals}}.items():
        clock = time.perf_counter()
        found[name] = (fitted(known, past, as_of, horizon_days), time.perf_counter() - clock)
    return found


def _require_history(log: OrderLog, as_of: int, horizon_days: int) -> None:
    if as_of - (horizon_days + MIN_HISTORY_DAYS) * DAY_US < log.began_at:
        days = history_days(log, as_of)
        raise HorizonError(
            f"Before {isoformat(as_of)} the log has {days} days; a horizon of {horizon_days} days needs "
            f"{MIN_HISTORY_DAYS} more than its own length to learn from. "
            f"The longest possible there is {max(0, days - MIN_HISTORY_DAYS)} days."
        )


def _scored(answers: Predictions, labels: Labels) -> Scored:
    columns = (answers.clv, answers.purchase_probability, answers.lower, answers.upper)
    clv, probability, lower, upper = (np.ascontiguousarray(column[:, 0]) for column in columns)
    return Scored(labels.spend, labels.purchased, clv, probability, lower, upper)


def predictions_table(
    cases: Sequence[Case],
) -> dict[str, FloatArray | ObjectArray | list[Any]]:
    """Columns of `--predictions`: one row per case and customer, of `clv` only."""
    rows = [(case, case.models[CLV].scored) for case in cases]
    return {
        "customer_id": np.concatenate([case.customer_ids for case, _ in rows]),
        "as_of": [isoformat(case.as_of) for case, _ in rows for _ in case.customer_ids],
        "horizon_days": [case.horizon_days for case, _ in rows for _ in case.customer_ids],
        "actual": np.concatenate([s.actual for _, s in rows]),
        "predicted_clv": np.concatenate([s.clv for _, s in rows]),
        "purchase_probability": np.concatenate([s.probability for _, s in rows]),
        "lower": np.concatenate([s.lower for _, s in rows]),
        "upper": np.concatenate([s.upper for _, s in rows]),
    }
