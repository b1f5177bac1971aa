"""The order contract's column names, their kinds, and the rules a row can break."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

CUSTOMER_ID: Final = "customer_id"
ORDERED_AT: Final = "ordered_at"
AMOUNT: Final = "amount"
ORDER_ID: Final = "order_id"
STATUS: Final = "status"
DISCOUNT_AMOUNT: Final = "discount_amount"
COUPON_CODE: Final = "coupon_code"
PRODUCT_ID: Final = "product_id"
CATEGORY: Final = "category"
QUANTITY: Final = "quantity"
CHANNEL: Final = "channel"
CURRENCY: Final = "currency"
UNIT_PRICE: Final = "unit_price"
"""Price of a piece: times the quantity it stands for the amount where a log has none."""

REQUIRED: Final = (CUSTOMER_ID, ORDERED_AT, AMOUNT)
NUMBERS: Final = (DISCOUNT_AMOUNT, QUANTITY, "cost")
TEXTS: Final = (
    ORDER_ID,
    STATUS,
    COUPON_CODE,
    PRODUCT_ID,
    CATEGORY,
    CHANNEL,
    "attribution_medium",
    "country",
    "state",
    "postcode",
    CURRENCY,
    "parent_order_id",
)
OPTIONAL: Final = (*TEXTS, *NUMBERS)
COUNTED: Final = frozenset({AMOUNT, UNIT_PRICE, *NUMBERS})
"""Columns whose values are calculated with."""
ALL: Final = (*REQUIRED, *OPTIONAL, UNIT_PRICE)

ACQUISITION_COLUMNS: Final = (CHANNEL, CATEGORY)
"""What is known of a newcomer by the first order."""

LINE_ITEM_COLUMNS: Final = (PRODUCT_ID, QUANTITY)
"""Either of them mapped makes the rows line items, to be summed per order id."""

MAX_AMOUNT: Final = 1e12
UNKNOWN_CURRENCY: Final = "XXX"
NEVER_PAID: Final = frozenset(
    {
        "pending",
        "pending payment",
        "failed",
        "cancelled",
        "canceled",
        "draft",
        "checkout draft",
        "auto draft",
        "trash",
        "voided",
        "fraud",
    }
)
"""Order statuses that never became money, lower case, without WooCommerce's `wc-` prefix, words apart by spaces."""


class Rule(IntEnum):
    """Why a row cannot be used; the first rule broken, in this order, is the one reported. 0: none."""

    MALFORMED_ROW = 1
    NO_CUSTOMER = 2
    UNREADABLE_DATE = 3
    UNREADABLE_AMOUNT = 4
    UNREADABLE_NUMBER = 5
    AMOUNT_NOT_FINITE = 6
    AMOUNT_TOO_LARGE = 7
    LATER_THAN_NOW = 8
    NEVER_PAID = 9
    REPEATED_ORDER_ID = 10
    CONFLICTING_ORDER_ID = 11
    REPEATED_LINE_ITEM = 12

    @property
    def label(self) -> str:
        """Name as written in tables, logs and answers."""
        return self.name.lower()


EXPLANATIONS: Final[dict[Rule, str]] = {
    Rule.MALFORMED_ROW: "the row has more or fewer fields than the header",
    Rule.NO_CUSTOMER: "customer_id is empty",
    Rule.UNREADABLE_DATE: "ordered_at is empty, not between 1800 and 2999, or not as --dates says (iso, dmy, mdy)",
    Rule.UNREADABLE_AMOUNT: "amount, or unit_price or quantity, is empty or no number as --decimal, --thousands and "
    "--currency-symbol say",
    Rule.AMOUNT_NOT_FINITE: "amount is infinite or not a number",
    Rule.AMOUNT_TOO_LARGE: "amount, discount, quantity or cost is beyond 1e12",
    Rule.UNREADABLE_NUMBER: "discount_amount, quantity or cost is not a number",
    Rule.LATER_THAN_NOW: "ordered_at lies in the future",
    Rule.NEVER_PAID: "status says that the order was never paid",
    Rule.REPEATED_ORDER_ID: "a copy of an order id already read, equal in every column",
    Rule.CONFLICTING_ORDER_ID: "an order id on rows that differ: keep the right one, or map product_id or quantity",
    Rule.REPEATED_LINE_ITEM: "a copy of a line item of the same order (dropping was asked for)",
}
