"""Which of a log's columns is which of the contract's, and what to propose when one is missing."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from features.columns import ALL, AMOUNT, CURRENCY, ORDER_ID, QUANTITY, REQUIRED, STATUS, UNIT_PRICE
from features.errors import OrdersError, listed

_SYNONYMS: Final = {
    "customer_id": (
        "customerid",
        "customer",
        "userid",
        "clientid",
        "contactid",
        "email",
        "emailbilling",
        "billingemail",
        "customeremail",
        "contactemail",
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
        "createdutc",
        "datetime",
        "timestamp",
        "datecreatedgmt",
        "paidat",
        "purchasedate",
    ),
    "amount": (
        "amount",
        "total",
        "ordertotal",
        "ordertotalamount",
        "totalamount",
        "grandtotal",
        "revenue",
        "value",
        "sales",
        "netsales",
        "price",
        "nettotal",
        "spend",
    ),
    "order_id": ("orderid", "invoiceno", "invoice", "ordernumber", "orderno"),
    "unit_price": ("unitprice", "itemprice", "lineitemprice"),
    "quantity": ("quantity", "qty", "lineitemquantity"),
}
_OFTEN_CAPITAL: Final = (ORDER_ID, STATUS, CURRENCY)
"""Optional columns that are worth a word where they are there under our name, but for capitals or spaces."""
_STATUSES: Final = ("status", "financialstatus", "orderstatus", "paymentstatus", "poststatus", "статус", "этапсделки")
_CLOSE: Final = 0.8
"""How much alike two names are at least, in [0, 1]: a slip of the pen, not customer_note for customer_id."""
_PRICED: Final = (UNIT_PRICE, QUANTITY)
"""What an amount is made of where a log has none."""


def resolve(available: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Contract name → column of the log, for every contract column that is there.

    Raises
    ------
    OrdersError
        A required column, or one that was mapped, is missing; the text proposes a mapping. Or a log with an amount
        has its unit price mapped.
    """
    chosen = {name: mapping.get(name, name) for name in ALL}
    if UNIT_PRICE in mapping and AMOUNT not in mapping and AMOUNT in mapping.values():  # a column said to be another
        chosen.pop(AMOUNT)
    found = {name: column for name, column in chosen.items() if column in available}
    required = set(REQUIRED)
    if AMOUNT in found:
        if UNIT_PRICE in mapping:
            raise OrdersError(
                f"The log has an amount ({found[AMOUNT]!r}) and --map names a unit_price: the one is the value of the "
                "row, the other makes it, times the quantity. Leave --map unit_price out, or map amount elsewhere."
            )
        found.pop(UNIT_PRICE, None)
    elif all(name in found for name in _PRICED) and (UNIT_PRICE in mapping or _guess(AMOUNT, available) is None):
        required.remove(AMOUNT)
    absent = [name for name in ALL if name not in found and (name in required or name in mapping)]
    doubled = [column for column in found.values() if list(available).count(column) > 1]
    if doubled:
        raise OrdersError(f"The order log has more than one column named {listed(doubled)}: rename one of them.")
    if absent:
        raise OrdersError(_missing(absent, available, mapping))
    return found


def unread_status(available: Sequence[str], found: Mapping[str, str]) -> str:
    """A word on a column that looks like orders' status and is not read; empty where there is none.

    `found` is what `resolve` gave.
    """
    column = _status(available)
    if STATUS in found or column is None or column in found.values():
        return ""
    return (
        f"Column {column!r} is not read: if it says which orders were paid, add --map status={shlex.quote(column)}, "
        "or orders that never were count, too."
    )


def _status(available: Sequence[str]) -> str | None:
    plain = {_plain(column): column for column in available}
    return next((plain[name] for name in _STATUSES if name in plain), None)


def _plain(column: str) -> str:
    return re.sub(r"[\W_]", "", column.lower())


def _missing(absent: Sequence[str], available: Sequence[str], mapping: Mapping[str, str]) -> str:
    wanted = [f"{name} (mapped to {mapping[name]!r})" if name in mapping else name for name in absent]
    names = list(absent)
    if AMOUNT in absent and AMOUNT not in mapping and _guess(AMOUNT, available) is None:
        names = [name for name in absent if name != AMOUNT] + [*_PRICED, ORDER_ID]
    guesses = {name: guess for name in names if (guess := _guess(name, available))}
    plain = {column.lower().replace(" ", "_"): column for column in available}
    written = {name: _status(available) if name == STATUS else plain.get(name) for name in _OFTEN_CAPITAL}
    known = {*available, *mapping}
    guesses |= {name: column for name, column in written.items() if column and name not in known}
    proposals = [
        f"--map {name}={shlex.quote(guess)}" for name, guess in guesses.items() if guess != mapping.get(name, name)
    ]
    repair = f"Try {' '.join(proposals)}" if proposals else f"Name them with --map {names[0]}=COLUMN"
    return (
        f"The order log has no column {listed(wanted)}. It has: {listed(available)}. "
        f"customer_id, ordered_at and amount (or unit_price and quantity) are required. {repair}."
    )


def _guess(name: str, available: Sequence[str]) -> str | None:
    plain = {_plain(column): column for column in available}
    for synonym in (name.replace("_", ""), *_SYNONYMS.get(name, ())):
        if synonym in plain:
            return plain[synonym]
    close = difflib.get_close_matches(name.replace("_", ""), list(plain), n=1, cutoff=_CLOSE)
    return plain[close[0]] if close else None
