"""Table of contents of a training: evaluate on the held-out window, then fit on everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from features.errors import TrainingError, UsageError
from features.history import before
from features.instants import DAY_US, isoformat
from features.orders import OrderLog
from model.bundle import Provenance
from model.clv import ClvModel
from training.backtest import Case, run_case
from training.cutoffs import checked_horizons
from training.examples import Snapshots
from training.fingerprint import data_fingerprint
from training.fitting import Stage, fit, quiet
from training.gate import Verdict, gate


@dataclass(frozen=True)
class Trained:
    """A fitted model with its evidence.

    Attributes
    ----------
    cases
        The held-out window of each horizon, predicted by a model that was fitted before it.
    dropped_horizons
        Default horizons that the history was too short for, or too thin.
    n_customers
        Customers with rows before `as_of`.
    """

    model: ClvModel
    provenance: Provenance
    cases: tuple[Case, ...]
    dropped_horizons: tuple[int, ...]
    n_customers: int

    @property
    def primary(self) -> Case:
        """The case that tiers and the gate speak of: 90 days, or the fitted horizon next to it."""
        days = self.model.primary_horizon
        return next(case for case in self.cases if case.horizon_days == days)

    @property
    def verdicts(self) -> list[Verdict]:
        """The gate's findings."""
        return gate(self.primary)


def train(
    log: OrderLog,
    as_of: int,
    horizons: Sequence[int] | None,
    timezone: str,
    *,
    stage: Stage = quiet,
) -> Trained:
    """Evaluate out of time, then fit the model that will be used, on all windows that end by `as_of`.

    Parameters
    ----------
    horizons
        Days ahead; None takes those of 30, 90, 180, 365 that the history allows.
    timezone
        Name of the log's business time zone, kept with the model.

    Raises
    ------
    HorizonError, TrainingError
        The history is too short for a horizon, or too small to learn from.
    UsageError
        `as_of` lies after the end of the log.
    """
    if as_of > log.complete_until:
        raise UsageError(
            f"as_of {isoformat(as_of)} lies after the end of the log: nothing is known from "
            f"{isoformat(log.complete_until)} on."
        )
    _, past = before(log, as_of).with_rows()
    if not past.n_rows:
        raise TrainingError(f"No order lies before {isoformat(as_of)}: nothing to train on.")
    chosen, dropped = checked_horizons(past, as_of, horizons)
    known = Snapshots(past)
    cases: list[Case] = []
    for days in chosen:
        try:
            cases.append(run_case(past, as_of - days * DAY_US, days, stage=stage, snapshots=known))
        except TrainingError:
            if horizons or not cases:
                raise
            dropped = tuple(sorted((*dropped, days)))
    fitted = [case.horizon_days for case in cases]
    model = fit(past, as_of, fitted, stage=stage, snapshots=known)
    provenance = Provenance(
        trained_on=isoformat(as_of),
        data_fingerprint=data_fingerprint(past),
        currency=log.currency,
        timezone=timezone,
        optional_columns=tuple(sorted(log.optional)),
    )
    return Trained(model, provenance, tuple(cases), dropped, past.n_customers)
