"""Bytes → an envelope and its items: valid ones typed, the others with the error that stands in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from features.errors import ClvError

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


def opened(body: bytes, envelope: type[E], field: str, kind: type[T], most: int) -> tuple[E, list[Item[T]]]:
    """Validate a whole body at once; only when that fails, item by item.

    Parameters
    ----------
    envelope, field, kind
        Model of the body, its field that lists the items, and their model.
    most
        Items that a call may carry.

    Raises
    ------
    RequestError
        Not JSON (400), of a wrong shape (422), or with too many items (413).
    """
    try:
        request = envelope.model_validate_json(body)
        items = [Item(value) for value in getattr(request, field)]
    except ValidationError:
        request, items = _item_by_item(body, envelope, field, kind)
    if len(items) > most:
        raise TooManyItems(f"{len(items)} {field} in one call; at most {most}: send several calls.")
    return request, items


def _item_by_item(body: bytes, envelope: type[E], field: str, kind: type[T]) -> tuple[E, list[Item[T]]]:
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
    return request, [_item(candidate, kind) for candidate in candidates]


def _item(candidate: Any, kind: type[T]) -> Item[T]:
    try:
        return Item(_adapter(kind).validate_json(orjson.dumps(candidate)))  # type: ignore[arg-type]  # hashable
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
