"""Bytes → an envelope and its items: valid ones typed, the others with the error that stands in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from features.errors import ClvError
from serving.conforming import conform

MAX_DETAILS = 5
E = TypeVar("E", bound=BaseModel)
T = TypeVar("T")


class RequestError(ClvError):
    """The envelope of a request is unusable; `details` names at most five places."""

    status, code = 422, "invalid_request"

    def __init__(self, message: str, details: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(message)
        self.details = list(details)


class NotJson(RequestError):
    """The body cannot be parsed."""

    status, code = 400, "not_json"


class TooManyItems(RequestError):
    """More customers or orders than one call may carry."""

    status, code = 413, "too_many_items"


@dataclass(frozen=True)
class Item(Generic[T]):
    """One of the envelope's list: usable, or with the error that stands in its place.

    Attributes
    ----------
    problem
        Code, message and details.
    given
        The object as it was sent, where it is one: to name it by its id.
    """

    value: T | None
    problem: dict[str, Any] | None = None
    given: Mapping[str, Any] | None = None

    def named(self, field: str) -> str | None:
        """Id of the item, as far as it can be told."""
        source: Any = self.given if self.value is None else self.value
        found = source.get(field) if isinstance(source, Mapping) else getattr(source, field, None)
        return found if isinstance(found, str) else None


def opened(
    body: bytes, envelope: type[E], field: str, kind_of: Callable[[Any], Any], most: int
) -> tuple[E, list[Item[Any]]]:
    """Validate a body: the envelope as a whole, its items all at once, and one by one where some are not sound.

    Parameters
    ----------
    envelope, field
        Model of the body, and its field that lists the items.
    kind_of
        Gives the TypedDict that an item is held against.
    most
        Items that a call may carry.

    Raises
    ------
    RequestError
        Not JSON (400), of a wrong shape (422), or with too many items (413).
    """
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"The body is not JSON: {error.msg} at byte {error.pos}.") from error
    candidates = raw.get(field) if isinstance(raw, dict) else None
    if not isinstance(candidates, list):
        raise RequestError(f'The body must be an object with a list: {{"{field}": [{{…}}]}}.')
    try:
        request = envelope.model_validate_json(orjson.dumps({**raw, field: []}))
    except TypeError:
        raise RequestError("The request is nested too deeply.") from None
    except ValidationError as error:
        raise RequestError("The request has unusable fields.", details(error)) from None
    if len(candidates) > most:
        raise TooManyItems(f"{len(candidates)} {field} in one call; at most {most}: send several calls.")
    return request, _items(candidates, [kind_of(candidate) for candidate in candidates])


def _items(candidates: Sequence[Any], kinds: Sequence[Any]) -> list[Item[Any]]:
    by_kind: dict[Any, list[Any]] = {}
    for candidate, kind in zip(candidates, kinds, strict=True):
        by_kind.setdefault(kind, []).append(candidate)
    sound = {kind for kind, of_kind in by_kind.items() if conform(of_kind, kind)}
    pairs = zip(candidates, kinds, strict=True)
    return [Item(candidate) if kind in sound else _item(candidate, kind) for candidate, kind in pairs]


def _item(candidate: Any, kind: Any) -> Item[Any]:
    try:
        return Item(_adapter(kind).validate_json(orjson.dumps(candidate)))
    except (ValidationError, TypeError) as error:
        found = details(error) if isinstance(error, ValidationError) else [{"at": "", "rule": "nested too deeply"}]
        return Item(None, problem("invalid_item", "Some fields are unusable.", found), _as_object(candidate))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _as_object(candidate: Any) -> Mapping[str, Any] | None:
    return candidate if isinstance(candidate, dict) else None


def problem(code: str, message: str, found: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """What is wrong with an item."""
    return {"code": code, "message": message, "details": list(found)}


def details(error: ValidationError) -> list[dict[str, str]]:
    """At most five places with the rule each broke; never the rejected values."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [{"at": ".".join(map(str, e["loc"]))[:200], "rule": e["msg"][:200]} for e in found[:MAX_DETAILS]]
