"""Many JSON objects held against their pydantic schema a column at a time.

Where everything is as it should be, which is nearly always, this costs a quarter of validating object by object.
It only ever says "yes, pydantic would take all of these"; anything else is left to pydantic, which knows what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import countOf, itemgetter
from typing import Any, Final

from pydantic import TypeAdapter

_NULL: Final = type(None)
_TYPES: Final[Mapping[str, set[type]]] = {"str": {str}, "float": {float, int}, "list": {list}, "typed-dict": {dict}}


def conform(objects: Sequence[Any], kind: Any) -> bool:
    """Whether all parsed JSON values are valid objects of a TypedDict; False also means "not sure"."""
    return _field_of(kind).takes(objects)


@dataclass(frozen=True)
class _Field:
    """What a field takes.

    Attributes
    ----------
    types
        Types of the values, `NoneType` among them where the field is nullable.
    rules
        The schema, with the rules that values have to keep.
    items
        What a list holds.
    fields
        What an object holds.
    """

    required: bool
    types: frozenset[type]
    rules: Mapping[str, Any]
    items: _Field | None = None
    fields: Mapping[str, _Field] | None = None

    def takes(self, column: Sequence[Any]) -> bool:
        """Whether all values are valid."""
        alike = bool(column) and countOf(map(type, column), type(column[0])) == len(column)
        found = {type(column[0])} if alike else set(map(type, column))
        if not self.types >= found:
            return False
        values = [value for value in column if value is not None] if _NULL in found else column
        if not values:
            return True
        if self.fields is not None:
            return _objects_conform(values, self.fields)
        if self.items is not None:
            return self.items.takes(list(chain.from_iterable(values)))
        return self._holds_texts(values) if str in self.types else self._holds_numbers(values)

    def _holds_numbers(self, values: Sequence[float]) -> bool:
        return bool(min(values) >= self.rules["ge"] and max(values) <= self.rules["le"])

    def _holds_texts(self, values: Sequence[str]) -> bool:
        lengths = set(map(len, values))
        if min(lengths) < self.rules.get("min_length", 0) or max(lengths) > self.rules["max_length"]:
            return False
        pattern = self.rules.get("pattern")
        return pattern is None or all(map(re.compile(pattern).search, values))


def _objects_conform(objects: Sequence[Any], fields: Mapping[str, _Field]) -> bool:
    sent: set[str] = set().union(*objects)
    if not fields.keys() >= sent:
        return False
    for name, field in fields.items():
        values = _values_of(objects, name) if name in sent else []
        if (field.required and len(values) < len(objects)) or not field.takes(values):
            return False
    return True


def _values_of(objects: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """Values of a key in the objects that have it."""
    try:
        return list(map(itemgetter(name), objects))
    except KeyError:
        return [one[name] for one in objects if name in one]


@cache
def _field_of(kind: Any) -> _Field:
    schema: Any = TypeAdapter(kind).core_schema
    known = {one["ref"]: one for one in schema.get("definitions", ())}
    return _field(schema.get("schema", schema) if known else schema, True, known)


def _field(schema: Any, required: bool, known: Mapping[str, Any]) -> _Field:
    """Field of a schema; a kind that is not understood here is a KeyError when it is first used."""
    nullable = schema["type"] == "nullable"
    of = schema["schema"] if nullable else schema
    of = known[of["schema_ref"]] if of["type"] == "definition-ref" else of
    types = frozenset(_TYPES[of["type"]] | ({_NULL} if nullable else set()))
    if of["type"] == "list":
        return _Field(required, types, of, items=_field(of["items_schema"], True, known))
    if of["type"] == "typed-dict":
        inner = {name: _field(one["schema"], one["required"], known) for name, one in of["fields"].items()}
        return _Field(required, types, of, fields=inner)
    return _Field(required, types, of)
