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

    horizon_days: int
    prediction_start: str
    prediction_end: str
    purchase_probability: Annotated[float, Field(ge=0, le=1)]
    churn_probability: Annotated[float, Field(ge=0, le=1)]
    predicted_number_of_orders: Annotated[float, Field(ge=0)]
    predicted_average_order_value: Annotated[float, Field(ge=0)] | None
    predicted_clv: Annotated[float, Field(ge=0)]
    predicted_clv_lower: Annotated[float, Field(ge=0)] | None
    predicted_clv_upper: Annotated[float, Field(ge=0)] | None
    interval_level: Annotated[float, Field(gt=0, lt=1)]
    margin: Annotated[float, Field(gt=0, le=1)]
    discount_rate: Annotated[float, Field(ge=0)]
    total_clv: Annotated[float, Field(description="margin × historic_clv + predicted_clv")]
    reasons: Annotated[
        list[Reason] | None, Field(description="Only with `explain`, for customers with an order; else absent.")
    ] = None


class CustomerScores(Given):
    """What is known and expected of one customer. A null always has a code in `null_reasons`."""

    customer_id: str
    currency: str
    as_of: str
    basis: Annotated[str, Field(description="`model`, or `prior` for a customer without an order.")]
    historic_clv: float
    historic_number_of_orders: int
    average_order_value: float | None
    average_days_between_orders: float | None
    days_since_last_order: int | None
    p_alive: Annotated[float, Field(ge=0, le=1)] | None
    expected_date_of_next_order_window_start: str | None
    expected_date_of_next_order: Annotated[
        str | None, Field(description="Median, given that the customer orders within the longest horizon.")
    ]
    expected_date_of_next_order_window_end: str | None
    percentile: Annotated[
        float,
        Field(
            ge=0, le=100, description="Share of the training's base with a lower CLV in the primary horizon, percent."
        ),
    ]
    value_tier: Tier
    lifecycle_status: Lifecycle
    rfm_score: Annotated[str | None, Field(pattern="^[1-5]{3}$")]
    predictions: list[HorizonPrediction]
    segments: Annotated[list[str], Field(description="Every named rule that holds (serving/segments.py).")]
    null_reasons: dict[str, str]
    flags: list[str]
    model: ModelIdentity


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
        list[float], Field(description="Predicted CLV at which the middle and the top tier begin, money.")
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
    store: Annotated[str, Field(description="`ok`, or why the order store cannot be reached.")]


class ErrorAnswer(Given):
    """Body of every answer that is not a success."""

    error: Problem
