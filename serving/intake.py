"""Orders that a shop posts → the store: every usable order is stored whole, every other row is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from features.columns import CURRENCY, CUSTOMER_ID, LINE_ITEM_COLUMNS, ORDER_ID, ORDERED_AT, Rule
from features.instants import DAY_US, NO_INSTANT, instants_of
from serving.envelope import Opened, invalid_item, opened, problem
from serving.histories import mixed_currencies
from serving.order_store import OrderStore, parts_of
from serving.questions import MAX_ITEMS, NOT_ISO, OrdersRequest, PostedOrder

Row: TypeAlias = dict[str, Any]


def take(store: OrderStore, body: bytes, now: int, currency: str, most: int = MAX_ITEMS) -> dict[str, Any]:
    """Store the orders of a call; doing so twice changes nothing.

    Parameters
    ----------
    now
        Instant in µs UTC; orders later than one day after it are refused.
    currency
        Of the model that answers; orders in another are refused. Where it is unknown, all are taken.

    Raises
    ------
    RequestError
        The envelope is unusable; nothing was stored.
    StoreError
        The store does not answer; nothing was stored.
    """
    sent = opened(body, OrdersRequest, "orders", lambda _: PostedOrder, most)
    sound = [{} if place in sent.problems else item for place, item in enumerate(sent.items)]
    instants = instants_of([row.get(ORDERED_AT, "") for row in sound]).tolist()
    rows = [{**row, ORDERED_AT: at} for row, at in zip(sound, instants, strict=True)]
    refused = _refused(sent, rows, now, currency)
    usable = _once([row for place, row in enumerate(rows) if place not in refused])
    store.upsert(usable)
    return {
        "stored_orders": len({row[ORDER_ID] for row in usable}),
        "refused": [
            {"index": place, "order_id": sent.named(place, ORDER_ID), "error": error}
            for place, error in sorted(refused.items())
        ],
    }


def _refused(sent: Opened[OrdersRequest], rows: Sequence[Row], now: int, currency: str) -> dict[int, dict[str, Any]]:
    """Problem of each row that is not stored, by its place; half an order is never stored."""
    problems = (sent.problems.get(place) or _problem(row, now, currency) for place, row in enumerate(rows))
    refused = {place: error for place, error in enumerate(problems) if error is not None}
    groups: dict[str | None, list[int]] = {}
    for place in range(len(rows)):
        groups.setdefault(sent.named(place, ORDER_ID), []).append(place)
    groups.pop(None, None)
    for places in groups.values():
        sound = [place for place in places if place not in refused]
        if len(sound) < len(places):
            reason = problem("order_incomplete", "Another line of this order is unusable: send all of them again.")
        elif conflict := _conflict(_once([rows[place] for place in places])):
            reason = problem("conflicting_order", conflict)
        else:
            continue
        refused |= dict.fromkeys(sound, reason)
    return refused


def _problem(row: Row, now: int, currency: str) -> dict[str, Any] | None:
    if row[ORDERED_AT] == NO_INSTANT:
        return invalid_item([{"at": ORDERED_AT, "rule": NOT_ISO}])
    if row[ORDERED_AT] > now + DAY_US:
        return problem(Rule.LATER_THAN_NOW.label, "ordered_at lies in the future.")
    if any("\0" in text for text in row.values() if isinstance(text, str)):
        return problem("unusable_text", "A text holds the character U+0000, which no database stores: take it out.")
    if mixed := mixed_currencies([row.get(CURRENCY)], currency):
        return problem("currency_mismatch", mixed)
    return None


def _once(rows: Sequence[Row]) -> list[Row]:
    """Rows without copies: those equal to one before in every field, lines of an order aside."""
    return list(
        {place if _is_line(row) else tuple(sorted(row.items())): row for place, row in enumerate(rows)}.values()
    )


def _is_line(row: Row) -> bool:
    return not row.keys().isdisjoint(LINE_ITEM_COLUMNS)


def _conflict(rows: Sequence[Row]) -> str | None:
    """Why rows of one order id cannot be the lines of one order and its refunds."""
    if len({row[CUSTOMER_ID] for row in rows}) > 1:
        return "The order id stands on rows of different customers: send one order of one customer."
    for refund, part in parts_of(rows).items():
        moments = {row[ORDERED_AT] for row in part}
        if len(part) > 1 and not all(map(_is_line, part)) and not (refund and len(moments) == len(part)):
            return "The order id stands on several rows without product_id or quantity: send one row per order."
    return None
