"""The whole base → rows of a table, block by block, with the accounts and totals of what was scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from features.matrix import blocks
from features.orders import OrderLog
from model.bundle import Bundle
from model.terms import factors
from serving.output import Writer
from serving.scorer import EVERYTHING, Answers, Question, score
from serving.table import to_table

BLOCK_ROWS: Final = 100_000


@dataclass(frozen=True)
class Total:
    """Predicted value of the whole base within a horizon, and the interval that holds its sum, money."""

    horizon_days: int
    clv: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Tally:
    """Accounts of scored customers.

    Attributes
    ----------
    n_prior
        Customers without an order before `as_of`.
    sums
        By horizon in days: the sum of predicted values, and the sum of their own variances.
    """

    n_customers: int = 0
    n_prior: int = 0
    n_rows: int = 0
    n_after_as_of: int = 0
    sums: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        """Accounts of both."""
        known = {days: self.sums.get(days, (0.0, 0.0)) for days in {**self.sums, **other.sums}}
        more = {days: other.sums.get(days, (0.0, 0.0)) for days in known}
        return Tally(
            self.n_customers + other.n_customers,
            self.n_prior + other.n_prior,
            self.n_rows + other.n_rows,
            self.n_after_as_of + other.n_after_as_of,
            {days: (clv + more[days][0], own + more[days][1]) for days, (clv, own) in known.items()},
        )

    def totals(self, bundle: Bundle, level: float) -> tuple[Total, ...]:
        """Predicted value of all of them within each horizon, with its interval."""
        bounds = {days: bundle.model.part(days).spread.bounds_of_sum(*both, level) for days, both in self.sums.items()}
        return tuple(Total(days, clv, *bounds[days]) for days, (clv, _) in self.sums.items())


NOTHING_MADE: Final = Tally()


def score_base(
    bundle: Bundle,
    log: OrderLog,
    as_of: int,
    writer: Writer,
    question: Question = EVERYTHING,
    *,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Score every customer of a log.

    Parameters
    ----------
    writer
        Where the rows go, as `serving.output.output` or `serving.store_log.scores_into` opens it.
    on_rows
        Told how many orders were looked at, after each block; what it raises ends the work.

    Raises
    ------
    HorizonError
        A horizon was not fitted.
    """
    tally = NOTHING_MADE
    for low, high in blocks(log.starts, BLOCK_ROWS):
        some = log.customers(low, high)
        answers = score(bundle, some, as_of, question)
        rows = to_table(bundle, answers)
        writer.write(rows)
        after = int(answers.after_as_of.sum())
        tally += Tally(high - low, int((~answers.known).sum()), rows.num_rows, after, dict(_sums(bundle, answers)))
        on_rows(some.n_rows)
    return tally


def _sums(bundle: Bundle, answers: Answers) -> Iterator[tuple[int, tuple[float, float]]]:
    """By horizon, the sum of the values and that of their own variances."""
    taken, net = answers.predictions, answers.net
    by = factors(taken, net)
    for place, days in enumerate(net.horizons):
        probability, clv = net.purchase_probability[:, place], net.clv[:, place]
        own = bundle.model.part(days).spread.variance(probability, clv) * by[:, place] ** 2
        yield days, (float(taken.clv[:, place].sum()), float(own.sum()))
