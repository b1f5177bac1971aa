"""Orders of customers, sent or stored → answers: parse, set bad ones aside, score, put all back in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from features.assemble import Assembled, assemble
from features.columns import CURRENCY, ORDERED_AT, Rule
from features.errors import ClvError
from features.instants import NO_INSTANT, instants_of
from features.orders import OrderLog
from features.typed import TypedOrders
from model.bundle import Bundle
from model.predictions import place_of
from serving.answer import records
from serving.envelope import MAX_DETAILS, RequestError, invalid_item, opened
from serving.histories import column, keys_of, kind_of, mixed_currencies, typed, typed_columns, unusable
from serving.order_store import OrderStore
from serving.questions import MAX_ITEMS, NOT_ISO, CustomerQuery, PredictRequest
from serving.scorer import Question, score

Record: TypeAlias = dict[str, Any]
_MOST_KINDS: Final = 64
"""Sets of optional keys in one call: customers of each are scored on their own, a few milliseconds each."""


class _Open(NamedTuple):
    """A customer who waits for the answer: the list and the place where it goes, and whether older orders were cut."""

    customer: Record
    into: list[Record]
    place: int
    cut: bool


@dataclass(frozen=True)
class _Alike:
    """What customers who are scored together have in common: the question, and how they sent their orders.

    Attributes
    ----------
    as_of
        The moment asked for; None stands for the request's time.
    keys
        Optional keys of their orders, see `keys_of`.
    columnar
        Whether the orders came as columns.
    """

    question: Question
    as_of: int | None
    keys: frozenset[str]
    columnar: bool


Groups: TypeAlias = dict[_Alike, list[_Open]]


class CustomerUnknown(ClvError):
    """No order of the customer is stored."""

    status, code = 404, "customer_unknown"


class CurrencyMismatch(ClvError):
    """Amounts in several currencies, or in another one than the model's."""

    status, code = 422, "currency_mismatch"


def answer(bundle: Bundle, body: bytes, now: int, most: int = MAX_ITEMS) -> Record:
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
    (found,) = answer_together(bundle, [body], now, most)
    if isinstance(found, ClvError):
        raise found
    return found


def answer_together(
    bundle: Bundle, bodies: Sequence[bytes], now: int, most: int = MAX_ITEMS
) -> list[Record | ClvError]:
    """Answer several requests at the price of a few: customers who are asked alike are scored together.

    The numbers are those of each request alone, since no customer's depend on whoever else is scored.
    """
    alike: Groups = {}
    answers = [_opened(bundle, body, alike, most) for body in bodies]
    for common, asked in alike.items():
        _fill(bundle, common, now, asked)
    return answers


def _opened(bundle: Bundle, body: bytes, alike: Groups, most: int) -> Record | ClvError:
    """The answer of a request, its customers still open but for the unusable ones; they join those who ask alike."""
    try:
        sent = opened(body, PredictRequest, "customers", kind_of, most)
        request = sent.envelope
        for days in request.horizon_days or ():
            place_of(days, bundle.model.horizons)
    except ClvError as error:
        return error
    question, cut = request.question(), request.history_complete_since is not None
    waiting: dict[tuple[frozenset[str], bool], list[_Open]] = {}
    found: list[Record] = []
    for place, customer in enumerate(sent.items):
        if place in sent.problems:
            found.append({"customer_id": sent.named(place, "customer_id"), "error": sent.problems[place]})
            continue
        history = customer["orders"]
        keys = keys_of(history)
        wrong = unusable(history, keys, bundle.provenance.currency)
        found.append({"customer_id": customer["customer_id"], "error": wrong} if wrong else {})
        if not wrong:
            waiting.setdefault((keys, isinstance(history, dict)), []).append(_Open(customer, found, place, cut))
    if len(waiting) > _MOST_KINDS:
        return RequestError(
            f"The customers of this call have {len(waiting)} different sets of optional fields in their orders, and at "
            f"most {_MOST_KINDS} are allowed: send all of them for every customer, null where a value is unknown."
        )
    for (keys, columnar), asked in waiting.items():
        alike.setdefault(_Alike(question, request.as_of, keys, columnar), []).extend(asked)
    return {"customers": found}


def _fill(bundle: Bundle, common: _Alike, now: int, asked: Sequence[_Open]) -> None:
    """Score customers who are asked alike; each answer, or error, is put in its place."""
    customers = [one.customer for one in asked]
    orders = typed(customers, common.keys, common.columnar)
    if (orders.ordered_at == NO_INSTANT).any():
        undated = set(orders.customer.codes[orders.ordered_at == NO_INSTANT].tolist())
        for place in undated:
            asked[place].into[asked[place].place] = _undated(customers[place])
        sound = [one for place, one in enumerate(asked) if place not in undated]
        if sound:
            _fill(bundle, common, now, sound)
        return
    ids = [customer["customer_id"] for customer in customers]
    as_of = now if common.as_of is None else common.as_of
    for one, found in zip(asked, _score(bundle, orders, ids, as_of, now, common.question, customers), strict=True):
        if one.cut:
            found["flags"] = [*found["flags"], "history_cut"]
        one.into[one.place] = found


def _undated(customer: Record) -> Record:
    history = customer["orders"]
    instants = instants_of(column(history, ORDERED_AT))
    places = np.flatnonzero(instants == NO_INSTANT)[:MAX_DETAILS].tolist()
    at = "orders.ordered_at.{}" if isinstance(history, dict) else "orders.{}.ordered_at"
    found = [{"at": at.format(place), "rule": NOT_ISO} for place in places]
    return {
        "customer_id": customer["customer_id"],
        "error": invalid_item(found),
    }


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
    if mixed := mixed_currencies(optional.get(CURRENCY, ()), expected):
        raise CurrencyMismatch(mixed)
    orders = typed_columns(
        np.zeros(n_rows, dtype=np.int32),
        np.array([] if stored is None else stored.ordered_at, dtype=np.int64),
        np.array([] if stored is None else stored.amount, dtype=np.float64),
        optional,
    )
    as_of = now if query.as_of is None else query.as_of
    return _score(bundle, orders, [customer_id], as_of, now, query.question(), [{}])[0]


def _score(
    bundle: Bundle,
    orders: TypedOrders,
    ids: Sequence[str],
    as_of: int,
    now: int,
    question: Question,
    acquired: Sequence[Mapping[str, Any]],
) -> list[Record]:
    """Records of customers whose place stands for them in `orders`."""
    done = assemble(orders, now=now, zone=bundle.provenance.zone, currency=bundle.provenance.currency)
    answers = score(bundle, _with_missing(done, len(ids)), as_of, question, acquired)
    rejected = _rejected_by_customer(orders, done)
    more = {
        "customer_id": ids,
        "rejected_orders": [rejected.get(place, {}) for place in range(len(ids))],
        "orders_after_as_of": answers.after_as_of,
    }
    return records(bundle, answers, more)


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
