"""Which of a log's columns is which of the contract's, and what to propose when one is missing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Final

from features.columns import ALL, REQUIRED
from features.errors import OrdersError, listed

_SYNONYMS: Final = {
    "customer_id": (
        "customerid",
        "customer",
        "userid",
        "clientid",
        "contactid",
        "email",
        "custid",
        "buyerid",
    ),
    "ordered_at": (
        "orderedat",
        "orderdate",
        "datecreated",
        "date",
        "invoicedate",
        "createdat",
        "timestamp",
        "datetime",
        "datecreatedgmt",
        "paidat",
        "purchasedate",
    ),
    "amount": (
        "amount",
        "total",
        "ordertotal",
        "revenue",
        "value",
        "sales",
        "netsales",
        "price",
        "nettotal",
        "spend",
    ),
}


def resolve(available: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Contract name → column of the log, for every contract column that is there.

    Raises
    ------
    OrdersError
        A required column, or one that was mapped, is missing; the text proposes a mapping.
    """
    chosen = {name: mapping.get(name, name) for name in ALL}
    found = {name: column for name, column in chosen.items() if column in available}
    absent = [name for name in ALL if name not in found and (name in REQUIRED or name in mapping)]
    doubled = [column for column in found.values() if list(available).count(column) > 1]
    if doubled:
        raise OrdersError(f"The order log has more than one column named {listed(doubled)}: rename one of them.")
    if absent:
        raise OrdersError(_missing(absent, available, mapping))
    return found


def _missing(absent: Sequence[str], available: Sequence[str], mapping: Mapping[str, str]) -> str:
    wanted = [f"{name} (mapped to {mapping[name]!r})" if name in mapping else name for name in absent]
    proposals = [f"--map {name}={_quoted(guess)}" for name in absent if (guess := _guess(name, available))]
    repair = f"Try {' '.join(proposals)}" if proposals else "Name them with --map customer_id=COLUMN"
    return (
        f"The order log has no column {listed(wanted)}. It has: {listed(available)}. "
        f"customer_id, ordered_at and amount are required. {repair}."
    )


def _guess(name: str, available: Sequence[str]) -> str | None:
    plain = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in available}
    for synonym in (name.replace("_", ""), *_SYNONYMS.get(name, ())):
        if synonym in plain:
            return plain[synonym]
    close = difflib.get_close_matches(name.replace("_", ""), list(plain), n=1, cutoff=0.7)
    return plain[close[0]] if close else None


def _quoted(column: str) -> str:
    return f'"{column}"' if " " in column else column
