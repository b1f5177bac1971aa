"""Orders of customers, sent or stored → answers: parse, set bad ones aside, score, put all back in its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from features.arrays import CodeArray, FloatArray, IntArray
from features.assemble import Assembled, assemble
from features.columns import ACQUISITION_COLUMNS, CURRENCY, NUMBERS, ORDER_ID, REQUIRED, TEXTS, UNKNOWN_CURRENCY, Rule
from features.errors import ClvError
from features.instants import NO_INSTANT, instants_of
from features.orders import OrderLog
from features.typed import Codes, TypedOrders
from model.bundle import Bundle
from model.predictions import place_of
from serving.answer import records
from serving.envelope import MAX_DETAILS, Item, opened, problem
from serving.order_store import OrderStore
from serving.questions import MAX_CUSTOMERS, NOT_ISO, Customer, CustomerQuery, Order, PredictRequest
from serving.scorer import Question, score

Record: TypeAlias = dict[str, Any]
_REQUIRED: Final = frozenset(REQUIRED)


@dataclass(frozen=True)
class _Open:
    """A customer who waits for the answer: the record that takes it, and whether older orders were left out."""

    customer: Customer
    record: Record
    cut: bool


Groups: TypeAlias = dict[tuple[Question, int | None, frozenset[str]], list[_Open]]
"""Customers who are asked alike: the question, `as_of` where it was given, and the optional keys that they sent."""


class CustomerUnknown(ClvError):
    """No order of the customer is stored."""

    status, code = 404, "customer_unknown"


class CurrencyMismatch(ClvError):
    """Amounts in several currencies, or in another one than the model's."""

    status, code = 422, "currency_mismatch"


def answer(bundle: Bundle, body: bytes, now: int) -> Record:
    """Answer a request; one bad customer is a typed error in its place and the rest are answered.

    Parameters
    ----------
    now
        Instant in µs UTC: the default of `as_of`, and the end of what an order's time may be.

    Raises
    ------
    RequestError
        The envelope is unusable.
    HorizonError
        A horizon was not fitted.
    """
    (found,) = answer_together(bundle, [body], now)
    if isinstance(found, ClvError):
        raise found
    return found


def answer_together(bundle: Bundle, bodies: Sequence[bytes], now: int) -> list[Record | ClvError]:
    """Answer several requests at the price of a few: customers who are asked alike are scored together.

    The numbers are those of each request alone, since no customer's depend on whoever else is scored.
    """
    alike: Groups = {}
    answers = [_opened(bundle, body, alike) for body in bodies]
    for (question, as_of, keys), asked in alike.items():
        _fill(bundle, question, now if as_of is None else as_of, now, keys, asked)
    return answers


def _opened(bundle: Bundle, body: bytes, alike: Groups) -> Record | ClvError:
    """The answer of a request, its customers still open but for the unusable ones; they join those who ask alike."""
    try:
        request, items = opened(body, PredictRequest, "customers", Customer, MAX_CUSTOMERS)
        for days in request.horizon_days or ():
            place_of(days, bundle.model.horizons)
    except ClvError as error:
        return error
    question, cut = request.question(), request.history_complete_since is not None
    records_of = [_failed(item) for item in items]
    for item, record in zip(items, records_of, strict=True):
        if item.value is None:
            continue
        keys = _optional_keys(item.value.orders)
        currencies = [order.get(CURRENCY) for order in item.value.orders] if CURRENCY in keys else []
        if mixed := _mixed_currencies(currencies, bundle.provenance.currency):
            record["error"] = problem("currency_mismatch", mixed)
        else:
            alike.setdefault((question, request.as_of, keys), []).append(_Open(item.value, record, cut))
    return {"customers": records_of}


def _optional_keys(orders: Sequence[Order]) -> frozenset[str]:
    """Optional keys that any of a customer's orders sent: what is absent in all of them is not 0, but not known."""
    return frozenset().union(*orders) - _REQUIRED


def _fill(
    bundle: Bundle, question: Question, as_of: int, now: int, keys: frozenset[str], asked: Sequence[_Open]
) -> None:
    """Score customers who sent the same keys; each answer, or error, is written into the record of its place."""
    customers = [one.customer for one in asked]
    orders = typed(customers, keys)
    if (orders.ordered_at == NO_INSTANT).any():
        undated = set(orders.customer.codes[orders.ordered_at == NO_INSTANT].tolist())
        for place in undated:
            asked[place].record.update(_undated(customers[place]))
        sound = [one for place, one in enumerate(asked) if place not in undated]
        if sound:
            _fill(bundle, question, as_of, now, keys, sound)
        return
    acquired = [_acquired(customer) for customer in customers]
    ids = [customer.customer_id for customer in customers]
    for one, found in zip(asked, _score(bundle, orders, ids, as_of, now, question, acquired), strict=True):
        one.record.clear()
        one.record.update(found)
        if one.cut:
            one.record["flags"] = [*found["flags"], "history_cut"]


def _undated(customer: Customer) -> Record:
    instants = instants_of([order["ordered_at"] for order in customer.orders])
    places = np.flatnonzero(instants == NO_INSTANT)[:MAX_DETAILS].tolist()
    found = [{"at": f"orders.{place}.ordered_at", "rule": NOT_ISO} for place in places]
    return {"customer_id": customer.customer_id, "error": problem("invalid_item", "Some fields are unusable.", found)}


def answer_stored(bundle: Bundle, store: OrderStore, customer_id: str, query: CustomerQuery, now: int) -> Record:
    """Answer for one customer from the stored orders, as if they had been sent.

    Raises
    ------
    CustomerUnknown
        Nothing is stored, and the prior was not asked for.
    HorizonError, StoreError, CurrencyMismatch
        A horizon was not fitted; the store does not answer; amounts cannot be added.
    """
    stored = store.of_customer(customer_id)
    if stored is None and query.unknown == "error":
        raise CustomerUnknown(
            "No order of this customer is stored. Ask with unknown=prior for what a new one is worth."
        )
    n_rows, optional = (0, {}) if stored is None else (len(stored.amount), stored.optional)
    expected = bundle.provenance.currency
    if mixed := _mixed_currencies(optional.get(CURRENCY, ()), expected):
        raise CurrencyMismatch(mixed)
    orders = _columns(
        np.zeros(n_rows, dtype=np.int32),
        np.array([] if stored is None else stored.ordered_at, dtype=np.int64),
        np.array([] if stored is None else stored.amount, dtype=np.float64),
        optional,
    )
    as_of = now if query.as_of is None else query.as_of
    return _score(bundle, orders, [customer_id], as_of, now, query.question(), [{}])[0]


def _failed(item: Item[Customer]) -> Record:
    return {"customer_id": item.named("customer_id"), "error": item.problem}


def _mixed_currencies(currencies: Iterable[str | None], expected: str) -> str | None:
    """Say why amounts cannot be added; None where they can."""
    found = {currency.strip().upper() for currency in currencies if currency and currency.strip()}
    if expected != UNKNOWN_CURRENCY:
        found.add(expected)
    if len(found) < 2:
        return None
    return f"Amounts in {', '.join(sorted(found)[:MAX_DETAILS])} cannot be added: convert them to {expected} first."


def _score(
    bundle: Bundle,
    orders: TypedOrders,
    ids: Sequence[str],
    as_of: int,
    now: int,
    question: Question,
    acquired: Sequence[Mapping[str, str]],
) -> list[Record]:
    """Records of customers whose place stands for them in `orders`."""
    done = assemble(orders, now=now, zone=bundle.provenance.zone, currency=bundle.provenance.currency)
    answers = score(bundle, _with_missing(done, len(ids)), as_of, question, acquired)
    rejected = _rejected_by_customer(orders, done)
    found = records(bundle, answers)
    for place, (record, customer_id) in enumerate(zip(found, ids, strict=True)):
        record["customer_id"] = customer_id
        record["rejected_orders"] = rejected.get(place, {})
        record["orders_after_as_of"] = int(answers.after_as_of[place])
    return found


def _acquired(customer: Customer) -> dict[str, str]:
    """How a newcomer came, as far as the request says."""
    said = {name: getattr(customer, name) for name in ACQUISITION_COLUMNS}
    return {name: value for name, value in said.items() if value is not None}


def typed(customers: Sequence[Customer], keys: Iterable[str]) -> TypedOrders:
    """Orders as columns; the place in the request stands for the customer, so that ids may repeat.

    `keys` are the optional columns that these customers sent.
    """
    orders = [order for customer in customers for order in customer.orders]
    lengths = [len(customer.orders) for customer in customers]
    return _columns(
        np.repeat(np.arange(len(customers), dtype=np.int32), lengths),
        instants_of([order["ordered_at"] for order in orders]),
        np.array([order["amount"] for order in orders], dtype=np.float64),
        {name: [order.get(name) for order in orders] for name in keys},
        len(customers),
    )


def _columns(
    owners: CodeArray,
    ordered_at: IntArray,
    amount: FloatArray,
    optional: Mapping[str, Sequence[Any]],
    n_customers: int = 1,
) -> TypedOrders:
    texts = {name: optional[name] for name in TEXTS if name in optional}
    if ORDER_ID in texts:  # an order id is the customer's own: two customers of a call may share one
        pairs = zip(owners.tolist(), texts[ORDER_ID], strict=True)
        texts[ORDER_ID] = [f"{owner} {text}" if text and text.strip() else None for owner, text in pairs]
    return TypedOrders(
        customer=Codes(owners, np.arange(n_customers).astype(object)),
        ordered_at=ordered_at,
        amount=amount,
        texts={name: _codes(column) for name, column in texts.items()},
        numbers={name: _numbers(optional[name]) for name in NUMBERS if name in optional},
    )


def _codes(texts: Sequence[str | None]) -> Codes:
    distinct: dict[str, int] = {}
    codes = [distinct.setdefault(text, len(distinct)) if text and text.strip() else -1 for text in texts]
    return Codes(np.array(codes, dtype=np.int32), np.array([*distinct, None], dtype=object)[:-1])


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _with_missing(done: Assembled, n_customers: int) -> OrderLog:
    """Return the log with every customer of the request, also those without a usable order."""
    log = done.log
    present = log.customer_ids.astype(np.int64)
    lengths = np.zeros(n_customers, dtype=np.int64)
    lengths[present] = np.diff(log.starts)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return replace(log, customer_ids=np.arange(n_customers).astype(object), starts=starts)


def _rejected_by_customer(orders: TypedOrders, done: Assembled) -> dict[int, dict[str, int]]:
    out: dict[int, dict[str, int]] = {}
    places = np.flatnonzero(done.broken > 0)
    for owner, code in zip(orders.customer.codes[places].tolist(), done.broken[places].tolist(), strict=True):
        counts = out.setdefault(owner, {})
        counts[Rule(code).label] = counts.get(Rule(code).label, 0) + 1
    return out
