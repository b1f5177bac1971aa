"""Accounts of what was made of a base: customers, rows, totals. No model is needed to keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from model.bundle import Bundle

BLOCK_ROWS: Final = 100_000


@dataclass(frozen=True)
class Total:
    """Predicted value of a base within a horizon, and the interval that holds its sum, money."""

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
        By horizon in days, of customers with an order before `as_of`: the sum of predicted values, and the sum of their
        own variances.
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
        """Predicted value within each horizon of customers with an order before `as_of`, with its interval."""
        bounds = {days: bundle.model.part(days).spread.bounds_of_sum(*both, level) for days, both in self.sums.items()}
        return tuple(Total(days, clv, *bounds[days]) for days, (clv, _) in self.sums.items())


NOTHING_MADE: Final = Tally()
