"""A request's bytes → answers: parse, set bad items aside, score, put everything back in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from pydantic import ValidationError

from features.arrays import FloatArray
from features.assemble import Assembled, assemble
from features.columns import ACQUISITION_COLUMNS, NUMBERS, ORDER_ID, REQUIRED, TEXTS, UNKNOWN_CURRENCY, Rule
from features.errors import ClvError
from features.orders import OrderLog
from features.typed import Codes, TypedOrders
from model.bundle import Bundle
from serving.answer import records
from serving.schemas import MAX_CUSTOMERS, Customer, PredictRequest
from serving.scorer import score

MAX_DETAILS = 5


class RequestError(ClvError):
    """The envelope of a request is unusable; `details` names at most five places."""

    status, code = 422, "invalid_request"

    def __init__(self, message: str, details: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(message)
        self.details = list(details)


class NotJson(RequestError):
    """The body cannot be parsed."""

    status, code = 400, "not_json"


class TooManyCustomers(RequestError):
    """More customers than one call may carry."""

    status, code = 413, "too_many_customers"


@dataclass(frozen=True)
class Item:
    """A customer of the request: usable, or with the error that stands in its place."""

    customer: Customer | None
    error: dict[str, Any] | None = None


def answer(bundle: Bundle, body: bytes, now: int) -> dict[str, Any]:
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
    request, items = parse(body)
    items = [_in_currency(item, bundle.provenance.currency) for item in items]
    as_of = now if request.as_of is None else request.as_of
    answers: list[dict[str, Any]] = [{} for _ in items]
    for places in _same_columns(items):
        customers = [customer for place in places if (customer := items[place].customer)]
        for place, found in zip(places, _score(bundle, customers, as_of, now, request), strict=True):
            answers[place] = found
    for place, item in enumerate(items):
        if item.error is not None:
            answers[place] = item.error
    return {"customers": answers}


def parse(body: bytes) -> tuple[PredictRequest, list[Item]]:
    """Validate the whole body at once; only when that fails, item by item.

    Raises
    ------
    RequestError
        Not JSON (400), of a wrong shape (422), or with too many customers (413).
    """
    try:
        request = PredictRequest.model_validate_json(body)
        items = [Item(customer) for customer in request.customers]
    except ValidationError:
        request, items = _parse_items(body)
    if len(items) > MAX_CUSTOMERS:
        raise TooManyCustomers(f"{len(items)} customers in one call; at most {MAX_CUSTOMERS}: send several calls.")
    return request, items


def _parse_items(body: bytes) -> tuple[PredictRequest, list[Item]]:
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"The body is not JSON: {error.msg} at byte {error.pos}.") from error
    customers = raw.get("customers") if isinstance(raw, dict) else None
    if not isinstance(customers, list):
        raise RequestError('The body must be an object with a list: {"customers": [{"customer_id": …, "orders": …}]}.')
    try:
        request = PredictRequest.model_validate_json(orjson.dumps({**raw, "customers": []}))
    except TypeError:
        raise RequestError("The request is nested too deeply.") from None
    except ValidationError as error:
        raise RequestError("The request has unusable fields.", _details(error)) from None
    return request, [_item(candidate) for candidate in customers]


def _item(candidate: Any) -> Item:
    try:
        return Item(Customer.model_validate_json(orjson.dumps(candidate)))
    except (ValidationError, TypeError) as error:
        given = candidate.get("customer_id") if isinstance(candidate, dict) else None
        details = _details(error) if isinstance(error, ValidationError) else [{"at": "", "rule": "nested too deeply"}]
        problem = {
            "code": "invalid_customer",
            "message": "Some fields of this customer are unusable.",
            "details": details,
        }
        return Item(
            None,
            {
                "customer_id": given if isinstance(given, str) else None,
                "error": problem,
            },
        )


def _details(error: ValidationError) -> list[dict[str, str]]:
    """At most five places with the rule each broke; never the rejected values."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [{"at": ".".join(map(str, e["loc"]))[:200], "rule": e["msg"][:200]} for e in found[:MAX_DETAILS]]


def _in_currency(item: Item, expected: str) -> Item:
    """Refuse a customer whose orders are in another currency than the model's, or in two."""
    orders = () if item.customer is None else item.customer.orders
    found = {order.currency.strip().upper() for order in orders if order.currency and order.currency.strip()}
    if expected != UNKNOWN_CURRENCY:
        found.add(expected)
    if item.customer is None or len(found) < 2:
        return item
    message = f"Amounts in {', '.join(sorted(found)[:MAX_DETAILS])} cannot be added: convert them to {expected} first."
    problem = {"code": "currency_mismatch", "message": message, "details": []}
    return Item(None, {"customer_id": item.customer.customer_id, "error": problem})


def _same_columns(items: Sequence[Item]) -> Iterator[list[int]]:
    """Places of customers that sent the same optional keys: what is absent for one is not 0 for it."""
    groups: dict[frozenset[str], list[int]] = {}
    for place, item in enumerate(items):
        if item.customer is not None:
            keys = frozenset().union(*(order.model_fields_set for order in item.customer.orders))
            groups.setdefault(keys - set(REQUIRED), []).append(place)
    yield from groups.values()


def _score(
    bundle: Bundle,
    customers: Sequence[Customer],
    as_of: int,
    now: int,
    request: PredictRequest,
) -> list[dict[str, Any]]:
    done = assemble(
        typed(customers),
        now=now,
        zone=bundle.provenance.zone,
        currency=bundle.provenance.currency,
    )
    everyone = _with_missing(done, len(customers))
    answers = score(
        bundle,
        everyone,
        as_of,
        request.horizon_days,
        request.interval_level,
        explained=request.explain,
        acquired=[_acquired(customer) for customer in customers],
    )
    rejected = _rejected_by_customer(customers, done)
    cut = [] if request.history_complete_since is None else ["history_cut"]
    found = records(bundle, answers)
    for place, (record, customer) in enumerate(zip(found, customers, strict=True)):
        record["customer_id"] = customer.customer_id
        record["flags"] = [*record["flags"], *cut]
        record["rejected_orders"] = rejected.get(place, {})
        record["orders_after_as_of"] = int(answers.after_as_of[place])
    return found


def _acquired(customer: Customer) -> dict[str, str]:
    """How a newcomer came, as far as the request says."""
    said = {name: getattr(customer, name) for name in ACQUISITION_COLUMNS}
    return {name: value for name, value in said.items() if value is not None}


def typed(customers: Sequence[Customer]) -> TypedOrders:
    """Orders as columns; the place in the request stands for the customer, so that ids may repeat."""
    orders = [order for customer in customers for order in customer.orders]
    sent = frozenset().union(*(order.model_fields_set for order in orders))
    lengths = [len(customer.orders) for customer in customers]
    owners = np.repeat(np.arange(len(customers), dtype=np.int32), lengths)
    texts = {name: [getattr(order, name) for order in orders] for name in TEXTS if name in sent}
    if ORDER_ID in texts:  # an order id is the customer's own: two customers of a call may share one
        pairs = zip(owners.tolist(), texts[ORDER_ID], strict=True)
        texts[ORDER_ID] = [f"{owner} {text}" if text else None for owner, text in pairs]
    return TypedOrders(
        customer=Codes(owners, np.arange(len(customers)).astype(object)),
        ordered_at=np.array([order.ordered_at for order in orders], dtype=np.int64),
        amount=np.array([order.amount for order in orders], dtype=np.float64),
        texts={name: _codes(column) for name, column in texts.items()},
        numbers={name: _numbers([getattr(order, name) for order in orders]) for name in NUMBERS if name in sent},
    )


def _codes(texts: Sequence[str | None]) -> Codes:
    distinct: dict[str, int] = {}
    codes = [distinct.setdefault(text, len(distinct)) if text and text.strip() else -1 for text in texts]
    return Codes(np.array(codes, dtype=np.int32), np.array([*distinct, None], dtype=object)[:-1])


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _with_missing(done: Assembled, n_customers: int) -> OrderLog:
    """Return the log with every customer of the request, also those without a usable order."""
    log = done.log
    present = log.customer_ids.astype(np.int64)
    lengths = np.zeros(n_customers, dtype=np.int64)
    lengths[present] = np.diff(log.starts)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return replace(log, customer_ids=np.arange(n_customers).astype(object), starts=starts)


def _rejected_by_customer(customers: Sequence[Customer], done: Assembled) -> dict[int, dict[str, int]]:
    out: dict[int, dict[str, int]] = {}
    if done.broken.any():
        owner = np.repeat(np.arange(len(customers)), [len(customer.orders) for customer in customers])
        for place, code in zip(
            owner[done.broken > 0].tolist(),
            done.broken[done.broken > 0].tolist(),
            strict=True,
        ):
            counts = out.setdefault(place, {})
            counts[Rule(code).label] = counts.get(Rule(code).label, 0) + 1
    return out
