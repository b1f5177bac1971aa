"""The total order of rows: the reason why a shuffled log gives the same sums to the last bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.arrays import AnyArray, BoolArray, CodeArray, IntArray
from features.columns import ORDER_ID
from features.typed import Codes, TypedOrders


@dataclass(frozen=True)
class Ordered:
    """Rows in the total order, with what was gathered to order them, shape (n,) each.

    Attributes
    ----------
    customer
        Code of the row's customer, ascending with the ids.
    event_at
        Instant of the row's event.
    tied
        Places whose row has the customer and event time of the one before, shape (n_tied,).
    """

    rows: IntArray
    customer: CodeArray
    event_at: IntArray
    tied: IntArray

    def keep(self, mask: BoolArray) -> Ordered:
        """Return some of the rows."""
        return Ordered(self.rows[mask], self.customer[mask], self.event_at[mask], np.empty(0, dtype=np.int64))


def total_order(orders: TypedOrders, usable: IntArray | None, event_at: IntArray) -> Ordered:
    """Permute the usable rows (None: all) into: customer, event time, order id, row time, amount, other columns.

    Two fast sorts do nearly all the work; only rows that tie on customer and time are
    compared further, so that a shuffled log gives the same sums to the last bit.
    """
    customer, at = _ranked_customers(orders.customer), event_at
    if usable is not None:
        customer, at = customer[usable], at[usable]
    rows = usable
    if not _is_sorted(customer, at):
        if (by_customer := _order_of_runs(customer, at)) is not None:
            order = by_customer
        elif np.any(at[1:] < at[:-1]):
            by_time = np.argsort(at)
            order = by_time.take(stable_order(customer.take(by_time)))
        else:
            order = stable_order(customer)
        rows, customer, at = order if rows is None else rows.take(order), customer.take(order), at.take(order)
    if rows is None:
        rows = np.arange(len(at))
    tied = np.flatnonzero((customer[1:] == customer[:-1]) & (at[1:] == at[:-1])) + 1
    if len(tied):
        in_tie = np.zeros(len(at), dtype=np.bool_)
        in_tie[tied - 1] = in_tie[tied] = True
        places = np.flatnonzero(in_tie)
        inner = np.lexsort([rows[places], *reversed(_tie_keys(orders, rows[places])), at[places], customer[places]])
        rows = rows.copy()
        rows[places] = rows[places][inner]
    return Ordered(rows, customer, at, tied)


def stable_order(codes: CodeArray) -> IntArray:
    """Stable argsort of codes >= 0, by 16 low bits, then by 16 high ones: numpy sorts so short values by counting."""
    order = np.argsort(codes.astype(np.uint16), kind="stable")
    high = codes >> 16
    if high.any():
        order = order[np.argsort(high.astype(np.uint16)[order], kind="stable")]
    return order


def _order_of_runs(customer: CodeArray, at: IntArray) -> IntArray | None:
    """Order of a log that is stored by customer, oldest first, customers in any order; None where it is not."""
    opens = np.ones(len(customer), dtype=np.bool_)
    np.not_equal(customer[1:], customer[:-1], out=opens[1:])
    first = np.flatnonzero(opens)
    codes = customer[first]
    if len(first) > codes.max() + 1 or np.bincount(codes).max() > 1 or np.any((at[1:] < at[:-1]) & ~opens[1:]):
        return None
    runs = np.argsort(codes)
    lengths = np.diff(first, append=len(customer))[runs]
    order = np.repeat(first[runs] - (np.cumsum(lengths) - lengths), lengths)
    order += np.arange(len(order))
    return order


def _is_sorted(customer: CodeArray, at: IntArray) -> bool:
    if np.any(customer[1:] < customer[:-1]):
        return False
    later = (customer[1:] > customer[:-1]) | ((customer[1:] == customer[:-1]) & (at[1:] >= at[:-1]))
    return bool(later.all())


def _ranked_customers(customer: Codes) -> CodeArray:
    """Each row's customer as a place in ascending order of the ids; files deliver their codes so."""
    if np.all(customer.values[1:] >= customer.values[:-1]):
        return customer.codes
    rank = np.empty(len(customer.values), dtype=np.int32)
    rank[np.argsort(customer.values, kind="stable")] = np.arange(len(rank), dtype=np.int32)
    return rank[customer.codes]


def _tie_keys(orders: TypedOrders, rows: IntArray) -> list[AnyArray]:
    """Columns that settle ties, most important first."""
    texts = {name: column.ranked(rows) for name, column in sorted(orders.texts.items())}
    keys: list[AnyArray] = [texts.pop(ORDER_ID)] if ORDER_ID in texts else []
    keys += [orders.ordered_at[rows], orders.amount[rows]]
    numbers = [np.nan_to_num(column[rows], nan=-np.inf) for _, column in sorted(orders.numbers.items())]
    return [*keys, *texts.values(), *numbers]
