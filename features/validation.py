"""Raw Arrow table → valid orders and the rows set aside, each with the rule it broke."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.accounts import Accounts
from features.arrays import IntArray, RuleArray
from features.arrow import array, filled, texts, to_numpy
from features.assemble import Assembled, assemble, plain_status
from features.columns import (
    AMOUNT,
    CURRENCY,
    CUSTOMER_ID,
    EXPLANATIONS,
    NUMBERS,
    ORDERED_AT,
    QUANTITY,
    STATUS,
    TEXTS,
    UNIT_PRICE,
    UNKNOWN_CURRENCY,
    Rule,
)
from features.errors import OrdersError, listed
from features.options import ReadOptions
from features.orders import OrderLog
from features.parsing import amounts, instants, numbers, text_codes
from features.raw import RawOrders
from features.refused import forms_of, marked
from features.typed import Codes, TypedOrders

PLACEHOLDER_BEFORE_US = -315_619_200_000_000  # 1960-01-01: older "orders" are mostly placeholder dates
_OF_THOUSANDTHS: Final = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
"""Currencies whose amounts have three digits behind the mark (ISO 4217)."""
_OF_NOBODY: Final = (Rule.NO_CUSTOMER, Rule.UNREADABLE_DATE)
_SHORTENED: Final = re.compile(r"\d([.,]\d+)?[Ee]\+\d+")


@dataclass(frozen=True)
class Intake:
    """A read order log and its accounts.

    Attributes
    ----------
    log
        The valid rows.
    rejected
        One row for each unusable one: `row` (1-based), `rule`, `explanation`, then the columns as read.
    """

    log: OrderLog
    rejected: pa.Table
    accounts: Accounts


def validate(raw: RawOrders, options: ReadOptions, now: int | None) -> Intake:
    """Parse, apply the rules of the order contract, and account for every row.

    Raises
    ------
    OrdersError
        The table as a whole is unusable: a column of a wrong type, day and month order not
        announced, or more than one currency.
    """
    typed = _typed(raw, options)
    currency = _currency(typed, options)
    done = assemble(
        typed,
        now=now,
        zone=options.zone,
        currency=currency,
        drop_repeated_lines=options.drop_repeated_lines,
    )
    rejected = _rejected(raw, done)
    by_rule = Counter({one["values"]: one["counts"] for one in rejected.column("rule").value_counts().to_pylist()})
    accounts = Accounts(
        n_valid=done.log.n_rows,
        n_customers=done.log.n_customers,
        rejected_by_rule=by_rule,
        identical_rows=done.identical_rows,
        placeholder_dates=int((done.log.ordered_at < PLACEHOLDER_BEFORE_US).sum()),
        lost_refunds=int(np.isin(done.broken[typed.amount < 0.0], _OF_NOBODY).sum()),
        opposite_quantities=_opposite_quantities(typed, done),
        statuses=_statuses(typed, done),
        shortened_ids=_shortened_ids(raw, done.log),
        date_forms=forms_of(_refused(rejected, Rule.UNREADABLE_DATE, ORDERED_AT)),
        amount_forms=_amount_forms(rejected, options),
        marked_amounts=_marked_amounts(raw, currency, options),
    )
    return Intake(done.log, rejected, accounts)


def _opposite_quantities(typed: TypedOrders, done: Assembled) -> int:
    if QUANTITY not in typed.numbers:
        return 0
    return int(((typed.numbers[QUANTITY] < 0.0) & (typed.amount > 0.0) & (done.broken == 0)).sum())


def _statuses(typed: TypedOrders, done: Assembled) -> Counter[str]:
    column = typed.texts.get(STATUS)
    if column is None:
        return Counter()
    used = column.codes[(done.broken == 0) & (column.codes >= 0)]
    found: Counter[str] = Counter()
    for value, count in zip(column.values, np.bincount(used, minlength=len(column.values)).tolist(), strict=True):
        found[plain_status(value)] += count
    return +found  # without those that no usable row has


def _shortened_ids(raw: RawOrders, log: OrderLog) -> int:
    if pa.types.is_integer(raw.table.schema.field(CUSTOMER_ID).type):
        return 0
    return sum("+" in one and _SHORTENED.fullmatch(one) is not None for one in log.customer_ids)


def _amount_forms(rejected: pa.Table, options: ReadOptions) -> Counter[str]:
    column = _refused(rejected, Rule.UNREADABLE_AMOUNT, AMOUNT if AMOUNT in rejected.column_names else UNIT_PRICE)
    values, _ = numbers(column, AMOUNT, options)  # of a price that can be read, the quantity is missing
    return forms_of(column.take(array(np.flatnonzero(np.isnan(values)))))


def _marked_amounts(raw: RawOrders, currency: str, options: ReadOptions) -> Counter[str]:
    if options.thousands or currency in _OF_THOUSANDTHS:
        return Counter()
    names = raw.table.column_names
    return marked(raw.table.column(AMOUNT if AMOUNT in names else UNIT_PRICE), options.decimal)


def _refused(rejected: pa.Table, rule: Rule, name: str) -> pa.ChunkedArray:
    if not rejected.num_rows:
        return rejected.column(name)
    return rejected.filter(pc.equal(rejected.column("rule"), texts([rule.label])[0])).column(name)


def rules_broken(raw: RawOrders, options: ReadOptions, now: int | None) -> RuleArray:
    """`Rule` that each row of the table breaks, 0 where it is usable, shape (n_rows,)."""
    return assemble(_typed(raw, options), now=now, zone=options.zone).broken


def _typed(raw: RawOrders, options: ReadOptions) -> TypedOrders:
    table = raw.table
    broken: RuleArray = np.zeros(table.num_rows, dtype=np.uint8) if raw.refused is None else raw.refused.copy()
    extra = {}
    for name in NUMBERS:
        if name in table.column_names:
            extra[name], unreadable = numbers(table.column(name), name, options)
            broken[unreadable] = Rule.UNREADABLE_NUMBER
    if AMOUNT in table.column_names and pa.types.is_floating(table.schema.field(AMOUNT).type):
        broken[_written_nan(table.column(AMOUNT))] = Rule.AMOUNT_NOT_FINITE
    return TypedOrders(
        customer=text_codes(table.column(CUSTOMER_ID), CUSTOMER_ID),
        ordered_at=instants(table.column(ORDERED_AT), options),
        amount=amounts(table, options),
        texts={name: text_codes(table.column(name), name) for name in TEXTS if name in table.column_names},
        numbers=extra,
        broken=broken,
    )


def _currency(typed: TypedOrders, options: ReadOptions) -> str:
    return currency_of(typed.texts.get(CURRENCY), options)


def currency_of(column: Codes | None, options: ReadOptions) -> str:
    """The one currency of a log, from its column and what was said of it.

    Raises
    ------
    OrdersError
        There are several, or another than was said.
    """
    if column is None:
        return options.currency or UNKNOWN_CURRENCY
    found = sorted({str(value).strip().upper() for value in column.values})
    if options.currency and found and found != [options.currency.upper()]:
        raise OrdersError(
            f"--currency {options.currency} contradicts the currency column, which holds {listed(found)}."
        )
    if len(found) > 1:
        raise OrdersError(
            f"The log mixes {len(found)} currencies: {listed(found)}. Amounts of different currencies are never "
            "added: convert them first, or train one model per currency."
        )
    return found[0] if found else options.currency or UNKNOWN_CURRENCY


def _written_nan(column: pa.ChunkedArray) -> IntArray:
    return np.flatnonzero(np.isnan(to_numpy(filled(column, 0.0))))


def _rejected(raw: RawOrders, done: Assembled) -> pa.Table:
    places = np.flatnonzero(done.broken)
    n_malformed = len(raw.malformed)
    rules = [Rule(int(code)) for code in done.broken[places]] + [Rule.MALFORMED_ROW] * n_malformed
    rows = raw.table.take(array(places)) if len(places) else raw.table.slice(0, 0)  # to take none copies all
    whole = pa.table(
        {
            "row": array(np.array([*raw.row_numbers(places), *raw.malformed], dtype=np.int64)),
            "rule": texts([rule.label for rule in rules]),
            "explanation": texts([EXPLANATIONS[rule] for rule in rules]),
            **{name: _padded(rows.column(name), n_malformed) for name in rows.column_names},
            "text": pa.chunked_array([pa.nulls(len(places), pa.string()), texts(list(raw.malformed.values()))]),
        }
    )
    return whole.sort_by("row")


def _padded(column: pa.ChunkedArray, n_nulls: int) -> pa.ChunkedArray:
    return pa.chunked_array([*column.chunks, pa.nulls(n_nulls, column.type)], column.type)
