"""Orders that a shop posts → the store: every usable order is stored whole, every other row is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from features.columns import LINE_ITEM_COLUMNS, ORDER_ID, Rule
from features.instants import DAY_US
from serving.envelope import Item, opened, problem
from serving.order_store import OrderStore
from serving.schemas import MAX_ORDERS, OrdersRequest, PostedOrder


def take(store: OrderStore, body: bytes, now: int) -> dict[str, Any]:
    """Store the orders of a call; doing so twice changes nothing.

    Parameters
    ----------
    now
        Instant in µs UTC; orders later than one day after it are refused.

    Raises
    ------
    RequestError
        The envelope is unusable; nothing was stored.
    StoreError
        The store does not answer; nothing was stored.
    """
    _, items = opened(body, OrdersRequest, "orders", PostedOrder, MAX_ORDERS)
    refused = _refused(items, now)
    usable = [item.value for place, item in enumerate(items) if place not in refused and item.value is not None]
    store.upsert([order.model_dump(exclude_unset=True) for order in usable])
    return {
        "stored_orders": len({order.order_id for order in usable}),
        "refused": [
            {"index": place, "order_id": items[place].named(ORDER_ID), "error": error}
            for place, error in sorted(refused.items())
        ],
    }


def _refused(items: Sequence[Item[PostedOrder]], now: int) -> dict[int, dict[str, Any]]:
    """Problem of each row that is not stored, by its place; half an order is never stored."""
    refused = {place: error for place, item in enumerate(items) if (error := _problem(item, now))}
    groups: dict[str | None, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(item.named(ORDER_ID), []).append(place)
    groups.pop(None, None)
    for places in groups.values():
        sound = [place for place in places if place not in refused]
        if len(sound) < len(places):
            reason = problem("order_incomplete", "Another line of this order is unusable: send all of them again.")
        elif conflict := _conflict([order for place in places if (order := items[place].value)]):
            reason = problem("conflicting_order", conflict)
        else:
            continue
        refused |= dict.fromkeys(sound, reason)
    return refused


def _problem(item: Item[PostedOrder], now: int) -> dict[str, Any] | None:
    if item.value is None:
        return item.problem
    if item.value.ordered_at > now + DAY_US:
        return problem(Rule.LATER_THAN_NOW.label, "ordered_at lies in the future.")
    if any("\0" in text for text in item.value.model_dump().values() if isinstance(text, str)):
        return problem("unusable_text", "A text holds the character U+0000, which no database stores: take it out.")
    return None


def _conflict(lines: Sequence[PostedOrder]) -> str | None:
    """Why rows of one order id cannot be the lines of one order."""
    if len({line.customer_id for line in lines}) > 1:
        return "The order id stands on rows of different customers: send one order of one customer."
    if len(lines) > 1 and not all(line.model_fields_set & set(LINE_ITEM_COLUMNS) for line in lines):
        return "The order id stands on several rows without product_id or quantity: send one row per order."
    return None
