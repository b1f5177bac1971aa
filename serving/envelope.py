"""Bytes → an envelope and its items: valid ones typed, the others with the error that stands in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from features.errors import ClvError
from serving.conforming import conform

MAX_DETAILS = 5
E = TypeVar("E", bound=BaseModel)


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
class Opened(Generic[E]):
    """A body that was read: the envelope, and its items.

    Attributes
    ----------
    items
        The usable ones as their schema says, the others as they were sent.
    problems
        What is wrong with an item, by its place: code, message and details.
    """

    envelope: E
    items: list[Any]
    problems: Mapping[int, dict[str, Any]]

    def named(self, place: int, field: str) -> str | None:
        """Id of an item, as far as it can be told."""
        item = self.items[place]
        found = item.get(field) if isinstance(item, dict) else None
        return found if isinstance(found, str) else None


def opened(body: bytes, envelope: type[E], field: str, kind_of: Callable[[Any], Any], most: int) -> Opened[E]:
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
    return Opened(request, candidates, _problems(candidates, kind_of))


def _problems(items: list[Any], kind_of: Callable[[Any], Any]) -> dict[int, dict[str, Any]]:
    """What is wrong with items, by their place; where some are not sound, each takes the form its schema gives it."""
    kinds, found = list(map(kind_of, items)), {}
    for kind in dict.fromkeys(kinds):
        places = [place for place, one in enumerate(kinds) if one is kind]
        if conform([items[place] for place in places], kind):
            continue
        for place in places:
            try:
                items[place] = _adapter(kind).validate_json(orjson.dumps(items[place]))
            except ValidationError as error:
                found[place] = invalid_item(details(error))
            except TypeError:
                found[place] = invalid_item([{"at": "", "rule": "nested too deeply"}])
    return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def problem(code: str, message: str, found: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """What is wrong with an item."""
    return {"code": code, "message": message, "details": list(found)}


def invalid_item(found: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Fields of an item that break their rules."""
    return problem("invalid_item", "Some fields are unusable.", found)


def details(error: ValidationError) -> list[dict[str, str]]:
    """At most five places with the rule each broke; never the rejected values."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [{"at": ".".join(map(str, e["loc"]))[:200], "rule": _said(e)} for e in found[:MAX_DETAILS]]


def _said(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "There is no such field: /docs.json lists all."
    return error["msg"].removeprefix("Value error, ")[:500]
