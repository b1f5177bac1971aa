"""What the service gives: the one definition, for OpenAPI, the client and tests alike."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Tier = Literal["bottom", "middle", "top"]
Lifecycle = Literal["prospect", "new", "active", "loyal", "at_risk", "lapsed", "reactivated"]


class Given(BaseModel):
    """Base of everything that is answered."""

    model_config = ConfigDict(extra="forbid")


class ModelIdentity(Given):
    """Which model answered."""

    name: str
    version: str
    trained_on: str
    data_fingerprint: str


class Reason(Given):
    """What a family of features (or a line of the model) adds to `predicted_clv`, money; all add up to it."""

    feature: str
    text: str
    effect: float


class HorizonPrediction(Given):
    """Expectations for one horizon, from `prediction_start` up to `prediction_end`."""

    horizon_days: Annotated[int, Field(description="Days ahead that the numbers speak for.")]
    prediction_start: Annotated[str, Field(description="First instant of the horizon: `as_of`.")]
    prediction_end: Annotated[str, Field(description="First instant after the horizon.")]
    purchase_probability: Annotated[
        float, Field(ge=0, le=1, description="Chance of at least one order within the horizon.")
    ]
    churn_probability: Annotated[
        float, Field(ge=0, le=1, description="Chance of no order within the horizon: 1 - purchase_probability.")
    ]
    predicted_number_of_orders: Annotated[float, Field(ge=0, description="Orders to expect within the horizon.")]
    predicted_average_order_value: Annotated[
        float | None,
        Field(ge=0, description="predicted_clv / predicted_number_of_orders, money; null where no order is expected."),
    ]
    predicted_clv: Annotated[
        float, Field(ge=0, description="Net value to expect within the horizon, on the terms asked for, money.")
    ]
    predicted_clv_lower: Annotated[
        float | None, Field(ge=0, description="Lower end of the prediction interval; null without an order.")
    ]
    predicted_clv_upper: Annotated[
        float | None,
        Field(
            ge=0,
            description="Upper end of the prediction interval; null without an order. Where the chance of no purchase "
            "is above the level, nothing spent is all that the interval must hold: it then ends at predicted_clv.",
        ),
    ]
    interval_level: Annotated[float, Field(gt=0, lt=1, description="Chance with which the interval holds the value.")]
    margin: Annotated[float, Field(gt=0, le=1, description="Share of value that the shop keeps, as asked for.")]
    discount_rate: Annotated[
        float, Field(ge=0, description="Yearly rate at which money to come loses worth, as asked for.")
    ]
    total_clv: Annotated[float, Field(description="margin × historic_clv + predicted_clv, money.")]
    reasons: Annotated[
        list[Reason] | None, Field(description="Only with `explain`, for customers with an order; else absent.")
    ] = None


class CustomerScores(Given):
    """What is known and expected of one customer. A null always has a code in `null_reasons`."""

    customer_id: Annotated[str, Field(description="As it is written in the orders.")]
    currency: Annotated[str, Field(description="Of every amount, ISO 4217; XXX where training did not name one.")]
    as_of: Annotated[str, Field(description="The moment the numbers speak for; only orders before it count.")]
    basis: Annotated[
        str,
        Field(
            description="`model`; or `prior` for a customer without an order: what a new customer brings on average, "
            "or, with rows of 0 or refunds alone, what such customers brought; percentile and tier included."
        ),
    ]
    historic_clv: Annotated[float, Field(description="Net value of all orders so far, refunds taken off, money.")]
    historic_number_of_orders: Annotated[int, Field(description="Orders so far; refunds are none.")]
    average_order_value: Annotated[float | None, Field(description="Net value so far per order, money.")]
    average_days_between_orders: Annotated[float | None, Field(description="Mean gap between orders, days.")]
    days_since_last_order: Annotated[int | None, Field(description="Whole days since the last order.")]
    p_alive: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="Chance that the customer is still one at all, by the buy-till-you-die model alone; not the "
            "chance of an order within a horizon, in which trees have a say and which may be above it.",
        ),
    ]
    expected_date_of_next_order_window_start: Annotated[
        str | None, Field(description="Date before which the next order comes one time in ten.")
    ]
    expected_date_of_next_order: Annotated[
        str | None,
        Field(
            description="Median, given that the customer orders within the longest horizon: look at "
            "purchase_probability, too, before a mail is sent by it. Never before `as_of`."
        ),
    ]
    expected_date_of_next_order_window_end: Annotated[
        str | None, Field(description="Date after which the next order comes one time in ten.")
    ]
    percentile: Annotated[
        float,
        Field(
            ge=0, le=100, description="Share of the training's base with a lower CLV in the primary horizon, percent."
        ),
    ]
    value_tier: Annotated[
        Tier, Field(description="`bottom` 20 %, `middle` 60 % or `top` 20 % of the training's base, by percentile.")
    ]
    lifecycle_status: Annotated[
        Lifecycle,
        Field(
            description="The first that holds: `prospect`: no order; `lapsed`, `at_risk`: silent for four, two own "
            "usual gaps, be it after a single order; `new`: one order; `reactivated`: the last order ended a silence "
            "of four gaps; `loyal`: three orders or more, as often as usual in the shop; `active`: all others. The "
            "own usual gap is the mean of the own gaps and of one that is usual in the shop. All who bought once are "
            "the segment `first_time_buyers`."
        ),
    ]
    rfm_score: Annotated[
        str | None,
        Field(pattern="^[1-5]{3}$", description="Recency, frequency, monetary value, 1 to 5 each; 555 is best."),
    ]
    predictions: Annotated[list[HorizonPrediction], Field(description="One for each horizon asked for.")]
    segments: Annotated[list[str], Field(description="Every named rule that holds.")]
    null_reasons: Annotated[dict[str, str], Field(description="Why a field is null, a code by field.")]
    flags: Annotated[
        list[str],
        Field(
            description="What to know first: `single_order`; from three orders on `long_gap`: silent for longer than "
            "ever, and `amount_outlier`: one order of more than ten times the median; `history_cut`: the call said "
            "that older orders are not sent."
        ),
    ]
    model: Annotated[ModelIdentity, Field(description="Which model answered.")]


class CustomerPrediction(CustomerScores):
    """The answer for one customer, and what became of the orders it was made from."""

    rejected_orders: Annotated[dict[str, int], Field(description="Orders set aside, by the rule they broke.")]
    orders_after_as_of: int


class Problem(Given):
    """What is wrong: a code to branch on, a sentence to read, the places."""

    code: str
    message: str
    details: list[dict[str, str]]
    request_id: str | None = None


class FailedCustomer(Given):
    """A typed error in the place of an answer."""

    customer_id: str | None
    error: Problem


class PredictResponse(Given):
    """One entry per customer, in the order asked."""

    customers: list[CustomerPrediction | FailedCustomer]


class CustomersPage(Given):
    """One page of the last batch scores."""

    scored_at: Annotated[str, Field(description="When the batch was scored.")]
    customers: list[CustomerScores]
    next_cursor: Annotated[str | None, Field(description="Send it as `cursor` for the next page; null on the last.")]


class RefusedOrder(Given):
    """A row of the call that was not stored."""

    index: Annotated[int, Field(description="Place in the call, from 0.")]
    order_id: str | None
    error: Problem


class OrdersAnswer(Given):
    """What became of the orders; those that are not named were stored."""

    stored_orders: Annotated[int, Field(description="Order ids that stand in the store as they were sent.")]
    refused: list[RefusedOrder]


class ModelInfo(ModelIdentity):
    """The model that is loaded."""

    horizons: list[int]
    primary_horizon_days: Annotated[int, Field(description="The horizon that percentile and value_tier speak of.")]
    tier_cut_points: Annotated[
        list[float],
        Field(
            description="Predicted CLV at which the middle and the top tier begin, money, in the season at "
            "`trained_on`: a later season is taken out of a prediction before it is compared."
        ),
    ]
    currency: str
    timezone: str
    features: list[str]
    optional_columns: list[str]


class Readiness(Given):
    """Whether a model is loaded, and what is not as it should be."""

    ready: bool
    model: ModelIdentity | None
    refused: Annotated[str | None, Field(description="Why the model that was named last does not answer.")]
    store: Annotated[str, Field(description="`ok`, or `unavailable`; why is in the log.")]


class ErrorAnswer(Given):
    """Body of every answer that is not a success."""

    error: Problem
