"""A sample of the customers of a large log, with all of their orders: what a model is trained on.

Customers are lined up by activity (how many rows, then how recent) and every n-th is taken from a random start.
Each layer of activity is thereby in the sample with its share, up to one customer; and since each customer has the same
chance, no weights are needed: means, probabilities and quantiles of the sample are those of the base.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa

from features.accounts import NOTHING_READ
from features.arrays import IntArray, ObjectArray
from features.arrow import array, to_numpy
from features.columns import CUSTOMER_ID
from features.orders import OrderLog
from features.parsing import text_codes
from features.parts import Parts
from features.raw import RawOrders
from features.validation import Intake, validate

MOST_CUSTOMERS: Final = 200_000
"""More of them cost time and memory, and move figures as another seed does: see docs/sampling.md."""
MOST_ROWS: Final = 5_000_000
"""The same where customers have many orders each, as in a grocery."""
SEED: Final = 11


def read_sample(
    parts: Parts,
    n_customers: int = MOST_CUSTOMERS,
    n_rows: int = MOST_ROWS,
    *,
    seed: int = SEED,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Intake:
    """Read a log, or some of its customers where it has more than so many, or so many rows; all rows are accounted for.

    `on_rows` is told how many orders were looked at, part by part.

    Raises
    ------
    OrdersError
        The orders cannot be used.
    """
    rng = np.random.default_rng(seed)
    if parts.n_parts == 1:
        intake = parts.intake(0)
        share = min(n_customers / max(1, intake.log.n_customers), n_rows / max(1, intake.log.n_rows))
        return intake if share >= 1.0 else replace(intake, log=intake.log.only(drawn(intake.log, share, rng)))
    accounts, rows, rejected = NOTHING_READ, [], []
    share = min(1.0, n_customers / max(1, parts.n_ids), n_rows / parts.n_rows)
    for place in range(parts.n_parts):
        raw = parts.raw(place)
        intake = validate(raw, parts.settings, parts.now)
        chosen = intake.log.customer_ids[drawn(intake.log, share, rng)]
        rows.append(_usable_rows(raw, intake.rejected, chosen))
        rejected.append(intake.rejected)
        accounts += intake.accounts
        on_rows(intake.accounts.n_valid)
    few = validate(RawOrders(pa.concat_tables(rows), {}), parts.settings, parts.now)
    log = replace(few.log, complete_until=parts.complete_until)
    return Intake(log, pa.concat_tables(rejected), accounts)


def drawn(log: OrderLog, share: float, rng: np.random.Generator) -> IntArray:
    """Positions of a share of the customers, ascending."""
    last_at = log.ordered_at[log.starts[1:] - 1]
    by_activity = np.lexsort([last_at, np.diff(log.starts)])
    places = np.floor((np.arange(int(log.n_customers * share) + 2) + rng.random()) / share).astype(np.int64)
    return np.sort(by_activity[places[places < log.n_customers]])


def _usable_rows(raw: RawOrders, rejected: pa.Table, customers: ObjectArray) -> pa.Table:
    """Rows of some customers without those that were rejected, be it beside rows of other customers."""
    codes = text_codes(raw.table.column(CUSTOMER_ID), CUSTOMER_ID)
    taken = set(customers)  # np.isin would compare each text with each other one
    wanted = np.array([*(value in taken for value in codes.values), False])[codes.codes]
    numbers = raw.row_numbers(np.arange(raw.table.num_rows))
    return raw.table.take(array(np.flatnonzero(wanted & ~np.isin(numbers, to_numpy(rejected.column("row"))))))
