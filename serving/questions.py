"""What the service takes: the one definition, for validation, OpenAPI and tests alike.

Numbers are strict (no NaN, no infinity, no "5"); unknown keys are refused, so that a typing
mistake cannot silently drop a column.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Final, Literal, Required, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict

from features.columns import MAX_AMOUNT
from features.instants import from_iso, to_us
from model.spread import DEFAULT_LEVEL
from model.terms import Terms
from serving.schemas import Lifecycle, Tier
from serving.scorer import Question
from serving.segments import SEGMENTS

MAX_ITEMS: Final = 10_000
"""Customers, or orders, of a call, where the operator does not say."""
NOT_ISO = "is not ISO 8601, such as 2024-05-01 or 2024-05-01T10:00:00Z"
MAX_ID = 500
"""Characters of a stored id: what an index of any database takes."""


def _instant(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError("must be a text in ISO 8601, such as 2024-05-01T10:00:00Z")
    try:
        return to_us(from_iso(value))
    except (ValueError, OverflowError):
        raise ValueError(f"{NOT_ISO}; + is written %2B in a query" if " " in value else NOT_ISO) from None


_DAY = r"((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-9])|(0[13-9]|1[0-2])-30|(0[13578]|1[02])-31)"
_TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{3}|\.\d{6})?)?(Z|[+-](0\d|1[0-4]):[0-5]\d)?"
_ISO = {
    "type": "string",
    "pattern": rf"^(18|19|2[0-9])\d\d-{_DAY}(T{_TIME})?$",
    "description": "ISO 8601 date or date-time, from 1800 to 2999; without an offset it is read as UTC.",
    "examples": ["2024-05-01T10:00:00Z"],
}
Instant = Annotated[int, BeforeValidator(_instant), WithJsonSchema(_ISO)]
"""Microseconds since 1970-01-01 UTC, written as ISO 8601."""

Moment = Annotated[str, Field(max_length=40), WithJsonSchema(_ISO)]
"""The same, left as a text: many are read at once (`features.instants.instants_of`)."""

Money = Annotated[float, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=20_000)]
Id = Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"\S")]
HorizonDays = Annotated[int, Field(ge=1, le=36_500)]


_EXACT: Final = ConfigDict(strict=True, extra="forbid")


class Strict(BaseModel):
    """Base of every envelope that is read: strict types, no unknown keys."""

    model_config = ConfigDict(**_EXACT, frozen=True)


class Order(TypedDict, total=False):
    """One order, line item or refund (negative amount).

    A key that is sent with null means "none" (no coupon); a key left out of all orders of a
    customer means "not known", and features that need it are null.
    """

    __pydantic_config__ = _EXACT  # type: ignore[misc]  # pydantic's way

    ordered_at: Required[Moment]
    amount: Required[Money]
    order_id: Text | None
    status: Text | None
    discount_amount: Money | None
    coupon_code: Text | None
    product_id: Text | None
    category: Text | None
    quantity: Money | None
    channel: Text | None
    attribution_medium: Text | None
    country: Text | None
    state: Text | None
    postcode: Text | None
    cost: Money | None
    currency: Text | None
    parent_order_id: Text | None


def _columns_of(kind: Any) -> dict[str, Any]:
    """Keys of a TypedDict, each with a list of its values."""
    out: dict[str, Any] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        needed = get_origin(hint) is Required
        of = types.GenericAlias(list, (get_args(hint)[0] if needed else hint,))
        out[name] = Required[of] if needed else of
    return out


OrderColumns: Any = TypedDict("OrderColumns", _columns_of(Order), total=False)  # type: ignore[misc]  # derived
OrderColumns.__doc__ = "The same orders as columns of equal length: a list of values per key."
OrderColumns.__pydantic_config__ = _EXACT  # type: ignore[attr-defined]


class Newcomer(TypedDict, total=False):
    """Who a customer is, and how they came."""

    customer_id: Required[Id]
    channel: Annotated[Text | None, Field(description="How a newcomer came; used while there is no order.")]
    category: Annotated[Text | None, Field(description="What a newcomer came for; used while there is no order.")]


class Customer(Newcomer):
    """A customer and all of their orders, in any order."""

    __pydantic_config__ = _EXACT  # type: ignore[misc]

    orders: list[Order]


class ColumnarCustomer(Newcomer):
    """The same with the orders as columns: shorter, and quicker to read."""

    __pydantic_config__ = _EXACT  # type: ignore[misc]

    orders: OrderColumns


class Asked(Strict):
    """How customers are to be answered, whether their orders are sent or stored."""

    as_of: Annotated[
        Instant | None,
        Field(description="Moment the answer speaks for; the request's time if absent."),
    ] = None
    horizon_days: Annotated[
        list[HorizonDays] | None,
        Field(description="Horizons to answer, all fitted ones if absent.", min_length=1),
    ] = None
    interval_level: Annotated[
        float,
        Field(description="Chance with which an interval holds the value.", ge=0.01, le=0.99, allow_inf_nan=False),
    ] = DEFAULT_LEVEL
    explain: Annotated[bool, Field(description="Give reasons in money; costs about a millisecond a customer.")] = False
    margin: Annotated[
        float,
        Field(description="Share of net value that the shop keeps; predicted money is multiplied by it.", gt=0, le=1),
    ] = 1.0
    discount_rate: Annotated[
        float,
        Field(description="Yearly rate at which money to come loses worth.", ge=0, le=10, allow_inf_nan=False),
    ] = 0.0

    def question(self) -> Question:
        """The same for the scorer."""
        terms = Terms(self.margin, self.discount_rate)
        horizons = None if self.horizon_days is None else tuple(self.horizon_days)
        return Question(horizons, self.interval_level, self.explain, terms)


class PredictRequest(Asked):
    """Customers to predict, each by raw orders."""

    customers: list[Customer | ColumnarCustomer]
    history_complete_since: Annotated[
        Instant | None,
        Field(description="Say it when older orders are not sent: every answer is then flagged `history_cut`."),
    ] = None


class CustomerQuery(Asked):
    """Query of `GET /v1/customers/{customer_id}`."""

    model_config = ConfigDict(strict=False)

    unknown: Annotated[
        Literal["error", "prior"],
        Field(description="What to answer for a customer without stored orders: 404, or what a new one is worth."),
    ] = "error"


def _known_segment(name: str) -> str:
    if name not in SEGMENTS:
        raise ValueError(f"is no segment; known: {', '.join(SEGMENTS)}")
    return name


Segment = Annotated[str, AfterValidator(_known_segment), WithJsonSchema({"type": "string", "enum": list(SEGMENTS)})]
Sort = Literal[
    "-predicted_clv", "predicted_clv", "-churn_probability", "churn_probability", "-historic_clv", "historic_clv"
]  # fmt: skip


class CustomersQuery(Strict):
    """Query of `GET /v1/customers`: customers of the last batch scores, one page of them."""

    model_config = ConfigDict(strict=False)

    segment: Annotated[Segment | None, Field(description="Only customers in this segment.")] = None
    lifecycle_status: Annotated[Lifecycle | None, Field(description="Only customers of this status.")] = None
    value_tier: Annotated[Tier | None, Field(description="Only customers of this tier.")] = None
    horizon_days: Annotated[
        HorizonDays | None,
        Field(description="Horizon to list and to sort by; the model's primary one if absent."),
    ] = None
    sort: Annotated[Sort, Field(description="Field to sort by; a minus sorts from the highest down.")] = (
        "-predicted_clv"
    )
    limit: Annotated[int, Field(description="Customers on a page.", ge=1, le=1000)] = 100
    cursor: Annotated[str | None, Field(description="`next_cursor` of the page before.", max_length=4000)] = None


StoredId = Annotated[str, Field(min_length=1, max_length=MAX_ID, pattern=r"\S")]


class PostedOrder(Order):
    """One order, line item or refund to be stored. All lines of an order id are sent in one call."""

    __pydantic_config__ = _EXACT  # type: ignore[misc]

    order_id: Required[StoredId]  # type: ignore[misc]  # here it is needed
    customer_id: Required[StoredId]


class OrdersRequest(Strict):
    """Orders to store."""

    orders: list[PostedOrder]
