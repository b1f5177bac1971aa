"""One base, three doors: batch from the store, stateless calls and stored customers answer alike; pages of scores."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from features.columns import UNKNOWN_CURRENCY
from features.errors import HorizonError, OutputError
from features.instants import isoformat, parse_instant
from features.options import ReadOptions
from features.orders import OrderLog
from features.validation import validate
from model.bundle import Bundle, load_bundle
from serving.batch import score_base
from serving.envelope import RequestError
from serving.intake import take
from serving.order_store import OrderStore
from serving.questions import MAX_ITEMS, CustomerQuery, CustomersQuery
from serving.requests import CurrencyMismatch, CustomerUnknown, answer, answer_stored
from serving.schemas import CustomerPrediction, CustomerScores, CustomersPage, HorizonPrediction, ModelIdentity
from serving.score_store import CursorUnknown, NoScores, page
from serving.scorer import Question
from serving.store_log import raw_orders, scores_into
from serving.table import SCHEMA

NOW = parse_instant("2024-03-01T15:00:00")
SCORED_AT = "2024-03-01T00:00:00Z"
AsSent = Callable[[pd.DataFrame], list[dict[str, Any]]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OrderStore]:
    opened = OrderStore.open(f"sqlite:///{tmp_path / 'orders.db'}")
    yield opened
    opened.close()


def fill(store: OrderStore, orders: list[dict[str, Any]]) -> None:
    for low in range(0, len(orders), MAX_ITEMS):
        found = take(store, json.dumps({"orders": orders[low : low + MAX_ITEMS]}).encode(), NOW, UNKNOWN_CURRENCY)
        assert found["refused"] == []


def log_of(store: OrderStore) -> OrderLog:
    return validate(raw_orders(store).read(), ReadOptions(), NOW).log


def score_into(store: OrderStore, bundle: Bundle, **question: Any) -> None:
    log = log_of(store)
    with scores_into(store, SCORED_AT, bundle.model.primary_horizon) as writer:
        score_base(bundle, log, log.complete_until, writer, Question(**question))


def test_the_columns_of_a_score_are_the_same_wherever_they_are_named(store: OrderStore) -> None:
    made = store.read(lambda connection: {column["name"] for column in sa.inspect(connection).get_columns("scores")})
    assert made == {"run", *SCHEMA.names}
    answered = {name for name in CustomerScores.model_fields if name not in ("predictions", "model")}
    answered |= {name for name in HorizonPrediction.model_fields if name != "reasons"}
    assert answered | {f"model_{name}" for name in ModelIdentity.model_fields} == set(SCHEMA.names)


@pytest.mark.slow
def test_batch_stateless_and_stored_agree_bit_for_bit_on_every_cdnow_customer(
    cdnow_bundle_folder: Path, cdnow_frame: pd.DataFrame, store: OrderStore, as_sent: AsSent
) -> None:
    bundle = load_bundle(cdnow_bundle_folder)
    frame = cdnow_frame.assign(order_id=np.arange(len(cdnow_frame)).astype(str), quantity=cdnow_frame.quantity * 1.0)
    names = ["order_id", "customer_id", "ordered_at", "amount", "quantity"]
    fill(store, frame[names].to_dict("records"))
    log = log_of(store)
    as_of = log.complete_until
    score_into(store, bundle)
    sent, stateless = as_sent(frame[names]), {}
    for low in range(0, len(sent), MAX_ITEMS):
        body = json.dumps({"customers": sent[low : low + MAX_ITEMS], "as_of": isoformat(as_of)}).encode()
        stateless |= {found["customer_id"]: found for found in answer(bundle, body, as_of)["customers"]}
    query = CustomerQuery(as_of=isoformat(as_of), unknown="prior")
    for customer_id, found in stateless.items():
        assert answer_stored(bundle, store, customer_id, query, as_of) == found
    batch = {place: dict(every_page(store, horizon)) for place, horizon in enumerate(bundle.model.horizons)}
    assert set(batch[0]) == set(stateless)
    for customer_id, found in stateless.items():
        assert found.pop("rejected_orders") == {}
        assert found.pop("orders_after_as_of") == 0
        for place, horizon in enumerate(found["predictions"]):
            row = batch[place][customer_id]
            assert row == {**found, "predictions": [horizon]}


def every_page(store: OrderStore, horizon: int, **query: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    cursor = None
    while True:
        found = page(store, CustomersQuery(horizon_days=horizon, limit=1000, cursor=cursor, **query))
        CustomersPage.model_validate(found)
        yield from ((row["customer_id"], row) for row in found["customers"])
        cursor = found["next_cursor"]
        if cursor is None:
            return


@pytest.fixture
def filled(store: OrderStore, shop: OrderLog) -> OrderStore:
    """A store with the orders of 300 customers of the simulated shop."""
    some = shop.customers(0, 300)
    owner = np.repeat(some.customer_ids, np.diff(some.starts))
    rows = zip(owner, some.ordered_at.tolist(), some.amount.tolist(), strict=True)
    orders = [
        {"order_id": str(place), "customer_id": str(who), "ordered_at": isoformat(at), "amount": amount}
        for place, (who, at, amount) in enumerate(rows)
    ]
    fill(store, orders)
    return store


def test_a_stored_customer_is_answered_as_of_any_moment(filled: OrderStore, bundle: Bundle, shop: OrderLog) -> None:
    customer_id = str(shop.customer_ids[0])
    found = answer_stored(bundle, filled, customer_id, CustomerQuery(), NOW)
    CustomerPrediction.model_validate(found)
    assert found["as_of"] == isoformat(NOW)
    early = answer_stored(bundle, filled, customer_id, CustomerQuery(as_of="2023-01-01", horizon_days=[30]), NOW)
    assert early["historic_number_of_orders"] <= found["historic_number_of_orders"]
    assert [one["horizon_days"] for one in early["predictions"]] == [30]
    with pytest.raises(HorizonError, match="Fitted"):
        answer_stored(bundle, filled, customer_id, CustomerQuery(horizon_days=[7]), NOW)


def test_an_unknown_customer_is_an_error_or_the_prior(store: OrderStore, bundle: Bundle) -> None:
    with pytest.raises(CustomerUnknown, match="unknown=prior"):
        answer_stored(bundle, store, "nobody", CustomerQuery(), NOW)
    found = answer_stored(bundle, store, "nobody", CustomerQuery(unknown="prior"), NOW)
    assert (found["basis"], found["predictions"][0]["predicted_clv"]) == ("prior", bundle.model.prior.clv[0])


def test_stored_amounts_in_another_currency_are_refused(store: OrderStore, bundle: Bundle) -> None:
    fill(store, [{"order_id": "1", "customer_id": "a", "ordered_at": "2024-01-01", "amount": 5.0, "currency": "USD"}])
    with pytest.raises(CurrencyMismatch, match="EUR, USD"):
        answer_stored(bundle, store, "a", CustomerQuery(), NOW)


def test_unpaid_orders_are_kept_but_set_aside(store: OrderStore, bundle: Bundle) -> None:
    paid = {"customer_id": "a", "ordered_at": "2024-01-01", "amount": 5.0}
    fill(store, [{**paid, "order_id": "1"}, {**paid, "order_id": "2", "status": "pending"}])
    found = answer_stored(bundle, store, "a", CustomerQuery(), NOW)
    assert (found["historic_clv"], found["rejected_orders"]) == (5.0, {"never_paid": 1})
    fill(store, [{**paid, "order_id": "2", "status": "completed"}])
    assert answer_stored(bundle, store, "a", CustomerQuery(), NOW)["historic_clv"] == 10.0


def test_pages_hold_every_customer_once_in_order(filled: OrderStore, bundle: Bundle) -> None:
    score_into(filled, bundle)
    for sort in ("-predicted_clv", "churn_probability", "-historic_clv"):
        rows, cursor = [], None
        while True:
            found = page(filled, CustomersQuery(sort=sort, limit=37, cursor=cursor, horizon_days=30))
            rows += found["customers"]
            cursor = found["next_cursor"]
            if cursor is None:
                break
        assert len({row["customer_id"] for row in rows}) == len(rows) == 300
        name = sort.lstrip("-")
        values = [row.get(name, row["predictions"][0].get(name)) for row in rows]
        assert values == sorted(values, reverse=sort.startswith("-"))


def test_filters_select_what_the_answers_say(filled: OrderStore, bundle: Bundle) -> None:
    score_into(filled, bundle)
    everyone = dict(every_page(filled, 90))
    for query in ({"segment": "repeat_buyers"}, {"lifecycle_status": "lapsed"}, {"value_tier": "top"}):
        ((field, value),) = query.items()
        wanted = {
            customer_id
            for customer_id, row in everyone.items()
            if (value in row["segments"] if field == "segment" else row[field] == value)
        }
        assert wanted
        assert set(dict(every_page(filled, 90, **query))) == wanted
    with pytest.raises(ValidationError, match="is no segment; known: bought_last_3_months"):
        CustomersQuery(segment="repeat%")


def test_a_later_batch_replaces_the_one_before_whole(filled: OrderStore, bundle: Bundle) -> None:
    with pytest.raises(NoScores, match="clv score store --out store"):
        page(filled, CustomersQuery())
    score_into(filled, bundle, horizons=[30, 90])
    first = page(filled, CustomersQuery(limit=10))
    with pytest.raises(RuntimeError), scores_into(filled, SCORED_AT, 90):
        raise RuntimeError
    assert page(filled, CustomersQuery(limit=10)) == first
    score_into(filled, bundle, horizons=[30])
    following = page(filled, CustomersQuery(limit=10, cursor=first["next_cursor"]))
    assert following["customers"][0]["predictions"][0]["horizon_days"] == 90
    with pytest.raises(RequestError, match="Scored: 30"):
        page(filled, CustomersQuery(horizon_days=90))
    score_into(filled, bundle, horizons=[30])
    with pytest.raises(NoScores, match="begin again"):
        page(filled, CustomersQuery(limit=10, cursor=first["next_cursor"]))


def test_of_two_batches_at_once_the_later_one_stands(filled: OrderStore, bundle: Bundle) -> None:
    slow = scores_into(filled, "slow", 90)
    slow.__enter__()
    score_into(filled, bundle)
    with pytest.raises(OutputError, match="later batch"):
        slow.__exit__(None, None, None)
    assert page(filled, CustomersQuery())["scored_at"] == SCORED_AT


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "WzFd",
        "bnVsbA",
        *map(cursor_of, ('[1, Infinity, "a", "x"]', '[1, NaN, "a", "x"]', '[1e30, 1, "a", "x"]', "[" * 3000)),
        cursor_of('[1, 1, "\\u0000", "x"]'),
        cursor_of('[1, 1, "\\ud800", "x"]'),
    ],
)
def test_a_cursor_that_was_not_given_is_refused(filled: OrderStore, bundle: Bundle, cursor: str) -> None:
    score_into(filled, bundle)
    with pytest.raises(CursorUnknown, match="cursor is not one"):
        page(filled, CustomersQuery(cursor=cursor))


def test_a_cursor_of_another_question_is_refused(filled: OrderStore, bundle: Bundle) -> None:
    score_into(filled, bundle)
    cursor = page(filled, CustomersQuery(limit=10))["next_cursor"]
    with pytest.raises(CursorUnknown, match="another question"):
        page(filled, CustomersQuery(limit=10, sort="predicted_clv", cursor=cursor))
