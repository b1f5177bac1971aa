"""Typed columns in any row order → rules → `OrderLog` in the total order.

Both doors end here: files (`features.validation`, after parsing) and requests (after their schema).
What a row must satisfy and how rows are ordered is therefore defined once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, tzinfo

import numpy as np

from features.arrays import AnyArray, BoolArray, IntArray, RuleArray
from features.columns import (
    ACQUISITION_COLUMNS,
    MAX_AMOUNT,
    NEVER_PAID,
    ORDER_ID,
    STATUS,
    UNKNOWN_CURRENCY,
    Rule,
)
from features.instants import DAY_US, EARLIEST_US, LATEST_US, next_midnight
from features.ordering import Ordered, total_order
from features.orders import OrderLog
from features.typed import TypedOrders


@dataclass(frozen=True)
class Assembled:
    """The log, and for every row read the `Rule` it broke (0: the row is in the log)."""

    log: OrderLog
    broken: RuleArray
    identical_rows: int


def assemble(
    orders: TypedOrders,
    *,
    now: int | None = None,
    zone: tzinfo = UTC,
    currency: str = UNKNOWN_CURRENCY,
    drop_repeated_lines: bool = False,
) -> Assembled:
    """Apply the row rules, put the rows that hold in the total order, and count the rest.

    Parameters
    ----------
    now
        Rows later than one day after it break `later_than_now`; None skips the rule.
    drop_repeated_lines
        Whether identical line items of one order are dropped after the first.
    """
    broken = _row_rules(orders, now)
    usable = np.flatnonzero(broken == 0) if broken.any() else None
    ordered = total_order(orders, usable, _event_at(orders, usable))
    same_as_previous = _same_as_previous(orders, ordered)
    dropped = _repeated(orders, ordered.rows, same_as_previous, broken, drop_repeated_lines)
    identical = int((same_as_previous & ~dropped).sum())
    kept = ordered.keep(~dropped) if dropped.any() else ordered
    return Assembled(_log(orders, kept, zone, currency), broken, identical)


def _row_rules(orders: TypedOrders, now: int | None) -> RuleArray:
    n_rows = len(orders.amount)
    broken = np.zeros(n_rows, dtype=np.uint8) if orders.broken is None else orders.broken.copy()
    rules: list[tuple[Rule, BoolArray]] = [
        (Rule.NO_CUSTOMER, orders.customer.codes < 0),
        (Rule.UNREADABLE_DATE, (orders.ordered_at < EARLIEST_US) | (orders.ordered_at > LATEST_US)),
    ]
    if len(orders.amount) and not (orders.amount.min() >= -MAX_AMOUNT and orders.amount.max() <= MAX_AMOUNT):
        rules += [
            (Rule.UNREADABLE_AMOUNT, np.isnan(orders.amount)),
            (Rule.AMOUNT_NOT_FINITE, np.isinf(orders.amount)),
            (Rule.AMOUNT_TOO_LARGE, np.abs(orders.amount) > MAX_AMOUNT),
        ]
    rules += [(Rule.AMOUNT_TOO_LARGE, np.abs(column) > MAX_AMOUNT) for column in orders.numbers.values()]
    if now is not None:
        rules.append((Rule.LATER_THAN_NOW, orders.ordered_at > now + DAY_US))
    if STATUS in orders.texts:
        rules.append((Rule.NEVER_PAID, _never_paid(orders)))
    for rule, breaks in rules:
        if breaks.any():
            broken[breaks & ((broken == 0) | (broken > rule))] = rule
    return broken


def _never_paid(orders: TypedOrders) -> BoolArray:
    """Rows whose status says so; a line item without a status has that of its order's other lines."""
    status = orders.texts[STATUS]
    words = (re.sub(r"[\s_-]+", " ", plain_status(value)) for value in status.values)
    unpaid = np.array([value in NEVER_PAID for value in words] + [False])[status.codes]
    blank = status.codes < 0
    if not (orders.has_line_items and unpaid.any() and blank.any()):
        return np.asarray(unpaid)
    lines = np.flatnonzero(orders.texts[ORDER_ID].codes >= 0)
    group = _orders_of(orders, lines)
    n_orders = int(group.max(initial=-1)) + 1
    told = np.bincount(group, weights=~blank[lines], minlength=n_orders)
    told_unpaid = np.bincount(group, weights=unpaid[lines], minlength=n_orders)
    unpaid[lines] |= blank[lines] & ((told > 0) & (told_unpaid == told))[group]
    return np.asarray(unpaid)


def plain_status(status: object) -> str:
    """An order's status in lower case, without spaces around it and WooCommerce's prefix."""
    return str(status).strip().lower().removeprefix("wc-")


def _orders_of(orders: TypedOrders, lines: IntArray) -> IntArray:
    """Number of the order, of a customer, that each line item belongs to, shape (n_lines,)."""
    order_id = orders.texts[ORDER_ID]
    keys = orders.customer.codes[lines].astype(np.int64) * len(order_id.values) + order_id.codes[lines]
    return np.asarray(np.unique(keys, return_inverse=True)[1])


def _event_at(orders: TypedOrders, usable: IntArray | None) -> IntArray:
    """Instant of the event each row belongs to, shape (n_rows read,).

    A line item belongs to its order, at the order's first line; a negative line that comes
    later is a refund at its own time. Without line items a row is its own event.
    """
    if not orders.has_line_items:
        return orders.ordered_at
    order_id = orders.texts[ORDER_ID]
    rows = np.arange(len(orders.amount)) if usable is None else usable
    lines = rows[order_id.codes[rows] >= 0]
    own, group = orders.ordered_at[lines], _orders_of(orders, lines)
    first = np.full(int(group.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, group, own)
    event_at = orders.ordered_at.copy()
    event_at[lines] = np.where(orders.amount[lines] >= 0.0, first[group], own)
    return event_at


def _same_as_previous(orders: TypedOrders, ordered: Ordered) -> BoolArray:
    """Rows equal to the one before in every column; nulls equal nulls."""
    columns: list[AnyArray] = [orders.ordered_at, orders.amount]
    columns += [column.codes for column in orders.texts.values()]
    columns += list(orders.numbers.values())
    places, rows = ordered.tied, ordered.rows
    for column in columns:  # few rows are left after the first
        if not len(places):
            break
        here, before = column[rows[places]], column[rows[places - 1]]
        places = places[(here == before) | ((here != here) & (before != before))]
    same = np.zeros(len(rows), dtype=np.bool_)
    same[places] = True
    return same


def _repeated(
    orders: TypedOrders,
    rows: IntArray,
    same: BoolArray,
    broken: RuleArray,
    drop_lines: bool,
) -> BoolArray:
    """Mark rows of repeated order ids (or, when asked, repeated lines); writes their rule into `broken`."""
    dropped = np.zeros(len(rows), dtype=np.bool_)
    if ORDER_ID not in orders.texts or not len(orders.texts[ORDER_ID].values):
        return dropped
    order_id = orders.texts[ORDER_ID].codes[rows]
    if orders.has_line_items:
        if drop_lines:
            dropped = same & (order_id >= 0)
            broken[rows[dropped]] = Rule.REPEATED_LINE_ITEM
        return dropped
    identical = same & (order_id >= 0)
    kind = order_id.astype(np.int64)
    refunds = np.flatnonzero((order_id >= 0) & (orders.amount[rows] < 0.0))
    if len(refunds):  # no copies of their order, nor, at other times, of one another
        each = np.stack([order_id[refunds], orders.ordered_at[rows[refunds]]])
        kind[refunds] = len(orders.texts[ORDER_ID].values) + np.unique(each, axis=1, return_inverse=True)[1].ravel()
    left = np.flatnonzero((order_id >= 0) & ~identical)
    counts = np.bincount(kind[left], minlength=int(kind.max(initial=0)) + 1)
    conflicting = np.flatnonzero((order_id >= 0) & (counts[kind] > 1))
    broken[rows[identical]] = Rule.REPEATED_ORDER_ID
    broken[rows[conflicting]] = Rule.CONFLICTING_ORDER_ID
    dropped[identical] = True
    dropped[conflicting] = True
    return dropped


def _log(orders: TypedOrders, ordered: Ordered, zone: tzinfo, currency: str) -> OrderLog:
    rows, customer = ordered.rows, ordered.customer
    opens = np.ones(len(rows), dtype=np.bool_)
    np.not_equal(customer[1:], customer[:-1], out=opens[1:])
    firsts = np.flatnonzero(opens)
    amount = orders.amount.take(rows)
    amount += 0.0  # no negative zero
    lines = orders.has_line_items
    ordered_at = orders.ordered_at[rows] if lines else ordered.event_at
    optional: dict[str, AnyArray] = {name: column.codes[rows] for name, column in orders.texts.items()}
    optional |= {name: column[rows] for name, column in orders.numbers.items()}
    return OrderLog(
        customer_ids=orders.customer.values.take(orders.customer.codes[rows[firsts]]),
        starts=np.concatenate([firsts, [len(rows)]]),
        ordered_at=ordered_at,
        amount=amount,
        event=_events(orders, ordered) if lines else None,
        event_at=ordered.event_at if lines else None,
        optional=optional,
        values={name: orders.texts[name].values for name in ACQUISITION_COLUMNS if name in orders.texts},
        complete_until=next_midnight(int(ordered_at.max()), zone) if len(rows) else 0,
        currency=currency,
        zone=zone,
    )


def _events(orders: TypedOrders, ordered: Ordered) -> IntArray:
    """Number the events of sorted line items; a line without an order id is an event of its own."""
    customer, at, order_id = ordered.customer, ordered.event_at, orders.texts[ORDER_ID].codes[ordered.rows]
    opens = np.ones(len(order_id), dtype=np.bool_)
    opens[1:] = (customer[1:] != customer[:-1]) | (at[1:] != at[:-1]) | (order_id[1:] != order_id[:-1])
    opens |= order_id < 0
    return np.cumsum(opens) - 1
