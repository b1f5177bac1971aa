"""The handlers of the routes: a call → a reply. No HTTP mechanics here, those are the front's."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Protocol, TypeVar, get_args, get_origin

import orjson
from pydantic import BaseModel, ValidationError

from features.columns import UNKNOWN_CURRENCY
from features.errors import ClvError
from features.instants import isoformat
from serving.answer import identity
from serving.envelope import RequestError, details
from serving.intake import take
from serving.observing import Observed
from serving.openapi import document
from serving.page import PAGE
from serving.questions import CustomerQuery, CustomersQuery
from serving.requests import answer, answer_stored, answer_together
from serving.score_store import page as page_of_scores
from serving.served import Served
from serving.together import Together

JSON: Final = b"application/json"
Headers = tuple[tuple[bytes, bytes], ...]
Q = TypeVar("Q", bound=BaseModel)
_SMALL_BYTES: Final = 16_384
"""Calls up to this size are answered on the event loop: a thread would cost more than it frees."""
_MOST_AT_ONCE: Final = 8
"""Customers, likewise: each may have orders of another form, which are scored on their own."""
_SLOWER: Final = (b'"explain"', b"\\")
"""What calls that may take longer have in them; a key may be written with an escape."""
_AT_ONCE: Final = ("model", "docs", "readyz", "page")
_PLACES: Final = re.compile(r"'[^']*/[^']*'")
"""Folders and URLs in a message."""


class OrderUnknown(ClvError):
    """No order of that id is stored."""

    status, code = 404, "order_unknown"


@dataclass(frozen=True)
class Call:
    """A request as a handler sees it.

    Attributes
    ----------
    id
        What stood for the name in braces.
    query
        Values by name, in their order.
    now
        Instant of the request, µs UTC.
    """

    id: str
    query: Mapping[str, Sequence[str]]
    body: bytes
    if_none_match: bytes
    now: int


Handler = Callable[["Call"], "Reply"]


class InThread(Protocol):
    """Runs a handler in a thread, the scoring one or one of the store's."""

    def __call__(self, handler: Handler, call: Call, *, scores: bool) -> Awaitable[Reply]:
        """Reply of the handler."""
        ...


@dataclass(frozen=True)
class Reply:
    """What is sent back."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: Headers = ()


class Api:
    """One method per route, named as in `serving.routes`."""

    def __init__(self, served: Served, observed: Observed, max_items: int) -> None:
        self._served, self._observed, self._max_items = served, observed, max_items
        self._together = Together(self._predict_together)

    async def reply(self, name: str, call: Call, in_thread: InThread) -> Reply:
        """Reply to a call: at once, together with the calls of the same moment, or from a thread where it may wait."""
        if name == "predict" and _is_small(call.body):
            return await self._together.ask(call.body)
        handler: Handler = getattr(self, name)
        return handler(call) if name in _AT_ONCE else await in_thread(handler, call, scores=name == "predict")

    def _predict_together(self, bodies: Sequence[bytes]) -> list[Reply | Exception]:
        now = time.time_ns() // 1000
        found = answer_together(self._served.needed_bundle(), bodies, now, self._max_items)
        return [one if isinstance(one, ClvError) else self._answered(one, now) for one in found]

    def _answered(self, found: dict[str, Any], now: int) -> Reply:
        self._observed.customers(found["customers"])
        return Reply(orjson.dumps(found), headers=(_scored_at(now),))

    def predict(self, call: Call) -> Reply:
        """Answer for the customers of the body."""
        found = answer(self._served.needed_bundle(), call.body, call.now, self._max_items)
        return self._answered(found, call.now)

    def customer(self, call: Call) -> Reply:
        """Answer for a customer from the stored orders."""
        bundle, store = self._served.needed_bundle(), self._served.needed_store()
        found = answer_stored(bundle, store, call.id, _query(CustomerQuery, call.query), call.now)
        self._observed.customers([found])
        reply = _tagged(call, orjson.dumps(found), _without_times(found))
        return replace(reply, headers=(*reply.headers, _scored_at(call.now)))

    def customers(self, call: Call) -> Reply:
        """List customers of the last batch scores."""
        body = orjson.dumps(page_of_scores(self._served.needed_store(), _query(CustomersQuery, call.query)))
        return _tagged(call, body, body)

    def post_orders(self, call: Call) -> Reply:
        """Store orders."""
        bundle = self._served.bundle
        currency = UNKNOWN_CURRENCY if bundle is None else bundle.provenance.currency
        taken = take(self._served.needed_store(), call.body, call.now, currency, self._max_items)
        return Reply(orjson.dumps(taken))

    def delete_order(self, call: Call) -> Reply:
        """Delete an order and its refunds."""
        if not self._served.needed_store().delete(call.id):
            raise OrderUnknown("No order of that id is stored.")
        return Reply(b"", 204)

    def model(self, call: Call) -> Reply:
        """Say which model answers."""
        bundle = self._served.needed_bundle()
        origin = bundle.provenance
        shown = {
            **identity(bundle),
            "horizons": list(bundle.model.horizons),
            "primary_horizon_days": bundle.model.primary_horizon,
            "tier_cut_points": list(bundle.model.standing.cut_points),
            "currency": origin.currency,
            "timezone": origin.timezone,
            "features": list(bundle.model.features),
            "optional_columns": list(origin.optional_columns),
        }
        body = orjson.dumps(shown)
        return _tagged(call, body, body)

    def readyz(self, _call: Call) -> Reply:
        """Say whether a model is loaded, which one, and what is not as it should be."""
        served = self._served
        state = {  # where things lie, and why the store is out, is in the log alone: anybody may ask here
            "ready": served.bundle is not None,
            "model": None if served.bundle is None else identity(served.bundle),
            "refused": served.refused and _PLACES.sub("'…'", served.refused),
            "store": "unavailable" if served.store_problem else "ok",
        }
        return Reply(orjson.dumps(state), 503 if served.bundle is None else 200)

    def docs(self, _call: Call) -> Reply:
        """Give the OpenAPI document."""
        bundle = self._served.bundle
        return Reply(orjson.dumps(document(() if bundle is None else bundle.model.horizons)))

    def page(self, _call: Call) -> Reply:
        """Give the page."""
        return Reply(PAGE, content_type=b"text/html; charset=utf-8")


def _scored_at(now: int) -> tuple[bytes, bytes]:
    return b"x-scored-at", isoformat(now).encode()


def _is_small(body: bytes) -> bool:
    few = len(body) <= _SMALL_BYTES and body.count(b'"customer_id"') <= _MOST_AT_ONCE
    return few and not any(mark in body for mark in _SLOWER)


@cache
def _listed(kind: type[BaseModel]) -> frozenset[str]:
    """Parameters that may be given several times."""
    kinds = {name: get_args(field.annotation) for name, field in kind.model_fields.items()}
    return frozenset(name for name, choices in kinds.items() if any(get_origin(one) is list for one in choices))


def _query(kind: type[Q], query: Mapping[str, Sequence[str]]) -> Q:
    """Check a query string by its model. Raises RequestError."""
    listed = _listed(kind)
    repeated = [name for name, values in query.items() if len(values) > 1 and name not in listed]
    if repeated:
        raise RequestError("A parameter is given twice.", [{"at": repeated[0][:200], "rule": "may be given once"}])
    given: dict[str, Any] = {name: list(values) if name in listed else values[0] for name, values in query.items()}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise RequestError("The query has unusable fields.", details(error)) from None


def _without_times(found: Mapping[str, Any]) -> bytes:
    """What makes an answer another one: without the moment it was asked for, which is no news."""
    predictions = [{**one, "prediction_start": None, "prediction_end": None} for one in found["predictions"]]
    return orjson.dumps({**found, "as_of": None, "predictions": predictions})


def _tagged(call: Call, body: bytes, content: bytes) -> Reply:
    """Reply with a weak ETag, or with 304 where the client has this answer already."""
    tag = b'W/"' + hashlib.blake2b(content, digest_size=12).hexdigest().encode() + b'"'
    reply = Reply(body, headers=((b"etag", tag), (b"cache-control", b"no-cache")))
    known = {part.strip().removeprefix(b"W/") for part in call.if_none_match.split(b",")}  # RFC 9110, 8.8.3.2: weakly
    return replace(reply, body=b"", status=304) if tag[2:] in known or b"*" in known else reply
