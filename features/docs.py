"""`docs/features.md`, written from the catalogue: `python -m features.docs > docs/features.md`."""

from __future__ import annotations

import features.definitions  # noqa: F401  fills the catalogue
from features.catalogue import CATALOGUE, Feature

_HEAD = """# Features

Generated from the catalogue by `make docs`; do not edit.

All features speak of a moment `as_of` and see only rows with `ordered_at < as_of`. An *order* is an event
with a positive value (line items of one order id are summed first); a *refund* is one with a negative value, at
its own time. *Net* takes refunds off. Ages are whole days, floor((as_of - ordered_at) / 86 400 s); windows
[as_of - w, as_of) are cut on microseconds; gaps keep fractions of days. Calendar days, weekdays, hours and months
are those of the business time zone. Within an order, a null quantity or discount counts as 0. Orders at one
instant stand in the order of their order ids (none first), then amounts, then the other columns by name, texts
before numbers, nulls first. A feature that needs a column which the log lacks is null for everyone.
Customers without an order before `as_of` have no row.

| group | feature | type | unit | range | null means | definition |
|---|---|---|---|---|---|---|
"""


def catalogue_markdown() -> str:
    """Return the whole page."""
    return _HEAD + "".join(_row(entry) for entry in CATALOGUE)


def _row(entry: Feature) -> str:
    low, high = ("" if bound is None else f"{bound:g}" for bound in (entry.low, entry.high))
    span = f"{low or '-∞'} … {high or '∞'}"
    cells = [entry.group, f"`{entry.name}`", entry.dtype, entry.unit, span, entry.null, entry.definition]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    print(catalogue_markdown(), end="")
