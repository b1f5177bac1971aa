"""Bytes in, answers out, without HTTP: shapes, typed errors in place, strictness."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from features.errors import HorizonError
from features.instants import parse_instant
from model.bundle import Bundle
from serving.envelope import NotJson, RequestError, TooManyItems
from serving.openapi import EXAMPLE
from serving.requests import answer
from serving.schemas import CustomerPrediction, PredictResponse

NOW = parse_instant("2024-03-01T15:07:00")
ORDERS = [{"ordered_at": "2023-11-02", "amount": 30.0}, {"ordered_at": "2024-01-11T09:00:00+01:00", "amount": 42.5}]


def ask(bundle: Bundle, *customers: Any, **envelope: Any) -> list[dict[str, Any]]:
    body = json.dumps({"customers": customers, **envelope}).encode()
    found = answer(bundle, body, NOW)
    PredictResponse.model_validate(found)
    return found["customers"]


def customer(name: str = "a", orders: Any = ORDERS, **more: Any) -> dict[str, Any]:
    return {"customer_id": name, "orders": orders, **more}


def test_the_facts_are_the_customers_own(bundle: Bundle) -> None:
    found = ask(bundle, customer())[0]
    assert found["historic_clv"] == 72.5
    assert found["historic_number_of_orders"] == 2
    assert found["average_order_value"] == 36.25
    assert found["average_days_between_orders"] == pytest.approx(70 + 8 / 24)
    assert found["days_since_last_order"] == 50
    assert found["as_of"] == "2024-03-01T15:07:00Z"
    assert found["null_reasons"] == {}


def test_the_identities_hold(bundle: Bundle) -> None:
    for horizon in ask(bundle, customer())[0]["predictions"]:
        assert horizon["purchase_probability"] + horizon["churn_probability"] == pytest.approx(1.0, abs=1e-15)
        product = horizon["predicted_number_of_orders"] * horizon["predicted_average_order_value"]
        assert product == pytest.approx(horizon["predicted_clv"], rel=1e-12)
        assert horizon["total_clv"] == pytest.approx(72.5 + horizon["predicted_clv"])


def test_horizons_are_answered_as_asked_and_agree_with_all_of_them(bundle: Bundle) -> None:
    everything = ask(bundle, customer())[0]["predictions"]
    assert [p["horizon_days"] for p in everything] == [30, 90]
    assert ask(bundle, customer(), horizon_days=[90])[0]["predictions"] == everything[1:]
    assert everything[0]["predicted_clv"] <= everything[1]["predicted_clv"]
    with pytest.raises(HorizonError, match="Fitted: 30, 90"):
        ask(bundle, customer(), horizon_days=[365])


def test_any_moment_that_may_be_asked_for_is_answered(bundle: Bundle) -> None:
    for as_of in ("1800-01-01", "2999-12-31"):
        assert ask(bundle, customer(), as_of=as_of)[0]["predictions"]


def test_one_order_has_nulls_with_reasons(bundle: Bundle) -> None:
    found = ask(bundle, customer(orders=ORDERS[:1]))[0]
    assert found["average_days_between_orders"] is None
    assert found["p_alive"] is None  # the shop is the textbook's: nobody leaves after the first order
    assert found["null_reasons"] == {"average_days_between_orders": "one_order", "p_alive": "one_purchase_day"}


@pytest.mark.parametrize(
    "orders", [[], [{"ordered_at": "2024-01-01", "amount": 0.0}], [{"ordered_at": "2025-01-01", "amount": 5}]]
)
def test_without_an_order_the_answer_is_the_prior(bundle: Bundle, orders: list[Any]) -> None:
    found = ask(bundle, customer(orders=orders), as_of="2024-03-01")[0]
    assert found["basis"] == "prior"
    assert found["historic_number_of_orders"] == 0
    assert found["predictions"][0]["predicted_clv"] == bundle.model.prior.clv[0]
    assert set(found["null_reasons"].values()) == {"no_orders"}


def test_orders_after_as_of_are_counted_not_used(bundle: Bundle) -> None:
    late = [*ORDERS, {"ordered_at": "2024-02-20", "amount": 999.0}]
    then = ask(bundle, customer(), as_of="2024-02-01")[0]
    also = ask(bundle, customer(orders=late), as_of="2024-02-01")[0]
    assert (then.pop("orders_after_as_of"), also.pop("orders_after_as_of")) == (0, 1)
    assert then == also


def test_orders_that_break_a_rule_are_counted_by_rule(bundle: Bundle) -> None:
    orders = [
        {"ordered_at": "2024-01-01", "amount": 5.0, "status": "completed", "order_id": "1"},
        {"ordered_at": "2024-01-02", "amount": 5.0, "status": "wc-failed", "order_id": "2"},
        {"ordered_at": "2024-01-01", "amount": 5.0, "status": "completed", "order_id": "1"},
        {"ordered_at": "2999-01-01", "amount": 5.0, "status": "completed", "order_id": "3"},
    ]
    found = ask(bundle, customer(orders=orders))[0]
    assert found["rejected_orders"] == {"later_than_now": 1, "never_paid": 1, "repeated_order_id": 1}
    assert found["historic_number_of_orders"] == 1


def test_a_cut_history_is_flagged(bundle: Bundle) -> None:
    assert ask(bundle, customer(), history_complete_since="2023-06-01")[0]["flags"] == ["history_cut"]


def columns(orders: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [order[name] for order in orders] for name in orders[0]}


def test_orders_as_columns_are_answered_like_objects(bundle: Bundle) -> None:
    rich = [{**order, "order_id": str(n), "coupon_code": None, "quantity": n} for n, order in enumerate(ORDERS, 1)]
    asked = [customer("a"), customer("b", columns(ORDERS)), customer("c", rich), customer("d", columns(rich))]
    a, b, c, d = (one for one in ask(bundle, *asked))
    assert {**a, "customer_id": "b"} == b
    assert {**c, "customer_id": "d"} == d
    assert ask(bundle, customer("e", {"ordered_at": [], "amount": []}))[0]["basis"] == "prior"


@pytest.mark.parametrize(
    ("orders", "at"),
    [
        ({"ordered_at": ["2024-01-01", "2024-01-02"], "amount": [5.0]}, "orders.ordered_at"),
        ({"ordered_at": ["2024-01-01", "soon"], "amount": [5.0, 5.0]}, "orders.ordered_at.1"),
        ({"ordered_at": ["2024-01-01"], "amount": ["5"]}, "orders.amount.0"),
        ({"ordered_at": ["2024-01-01"]}, "orders.amount"),
        ({"ordered_at": ["2024-01-01"], "amount": [5.0], "amuont": [6.0]}, "orders.amuont"),
        ({"ordered_at": "2024-01-01", "amount": [5.0]}, "orders.ordered_at"),
    ],
)
def test_bad_columns_are_a_typed_error_in_their_place(bundle: Bundle, orders: Any, at: str) -> None:
    good, bad = ask(bundle, customer("good"), customer("bad", orders))
    assert good["predictions"]
    assert bad["customer_id"] == "bad"
    assert bad["error"]["details"][0]["at"] == at


BAD = {
    "NaN": '{"ordered_at": "2024-01-01", "amount": NaN}',
    "infinity": '{"ordered_at": "2024-01-01", "amount": 1e400}',
    "number as text": '{"ordered_at": "2024-01-01", "amount": "5"}',
    "boolean": '{"ordered_at": "2024-01-01", "amount": true}',
    "too large": '{"ordered_at": "2024-01-01", "amount": 1e13}',
    "no date": '{"ordered_at": "soon", "amount": 5}',
    "epoch": '{"ordered_at": 1700000000, "amount": 5}',
    "missing": '{"ordered_at": "2024-01-01"}',
    "unknown key": '{"ordered_at": "2024-01-01", "amount": 5, "amuont": 6}',
    "null": "null",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_customer_is_a_typed_error_in_its_place_and_the_rest_are_answered(bundle: Bundle, name: str) -> None:
    good = json.dumps(customer("good"))
    body = f'{{"customers": [{good}, {{"customer_id": "bad", "orders": [{BAD[name]}]}}, {good}]}}'
    if name in ("NaN", "infinity"):
        with pytest.raises(NotJson):  # not JSON numbers at all: nothing can be set aside
            answer(bundle, body.encode(), NOW)
        return
    found = answer(bundle, body.encode(), NOW)
    PredictResponse.model_validate(found)
    first, bad, last = found["customers"]
    assert first == last == ask(bundle, customer("good"))[0]
    assert bad["customer_id"] == "bad"
    assert bad["error"]["code"] == "invalid_item"
    assert bad["error"]["details"][0]["at"].startswith("orders.0")


def test_error_details_name_at_most_five_places_and_no_value(bundle: Bundle) -> None:
    secret = [{"ordered_at": "anna@example.com", "amount": "4111111111111111"}] * 9
    error = ask(bundle, customer("x", secret))[0]["error"]
    assert len(error["details"]) == 5
    assert "anna" not in json.dumps(error)
    assert "4111" not in json.dumps(error)


def test_two_items_with_one_id_are_two_customers(bundle: Bundle) -> None:
    a, b = ask(bundle, customer("same"), customer("same", ORDERS[:1]))
    assert (a["historic_number_of_orders"], b["historic_number_of_orders"]) == (2, 1)


def test_customers_of_a_call_do_not_touch_each_other(bundle: Bundle) -> None:
    shared_order_id = customer("a", [{**ORDERS[0], "order_id": "1"}]), customer("b", [{**ORDERS[0], "order_id": "1"}])
    with_coupon = customer("c", [{**ORDERS[0], "coupon_code": "X", "discount_amount": 3.0}])
    everyone = [*shared_order_id, with_coupon, customer("d")]
    assert ask(bundle, *everyone) == [ask(bundle, one)[0] for one in everyone]


def test_a_call_of_very_different_customers_is_refused(bundle: Bundle) -> None:
    keys = ("coupon_code", "channel", "category", "country", "state", "postcode", "status")
    many = [
        customer(str(number), [{**ORDERS[0], **{key: None for place, key in enumerate(keys) if number >> place & 1}}])
        for number in range(65)
    ]
    assert len(ask(bundle, *many[:64])) == 64
    with pytest.raises(RequestError, match="65 different sets of optional fields"):
        ask(bundle, *many)


def test_envelopes_that_cannot_be_used(bundle: Bundle) -> None:
    for body, kind in [(b"{", NotJson), (b"[]", RequestError), (b'{"customers": 5}', RequestError)]:
        with pytest.raises(kind):
            answer(bundle, body, NOW)
    with pytest.raises(RequestError) as caught:
        ask(bundle, customer(), as_of="tomorrow", horizons=[30])
    assert {detail["at"] for detail in caught.value.details} == {"as_of", "horizons"}
    with pytest.raises(TooManyItems, match="at most 10000"):
        answer(bundle, b'{"customers": [' + b",".join([b'{"customer_id": "a", "orders": []}'] * 10_001) + b"]}", NOW)
    for as_of in ("9999-12-31", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(RequestError):
            ask(bundle, customer(), as_of=as_of)
    deep = b"[" * 300 + b"]" * 300
    with pytest.raises(RequestError, match="nested too deeply"):
        answer(bundle, b'{"customers": [], "x": ' + deep + b"}", NOW)
    nested = answer(bundle, b'{"customers": [{"customer_id": "a", "orders": ' + deep + b"}]}", NOW)
    assert nested["customers"][0]["error"]["code"] == "invalid_item"


def test_a_large_order_is_one_in_money_that_counts_like_euros(bundle: Bundle) -> None:
    def segments(currency: str) -> list[str]:
        speaking = replace(bundle, provenance=replace(bundle.provenance, currency=currency))
        return ask(speaking, customer(orders=[{**ORDERS[0], "amount": 151.0}]))[0]["segments"]

    assert "large_single_order" in segments("EUR")
    assert "large_single_order" in segments("XXX")
    assert "large_single_order" not in segments("JPY")
    assert set(segments("EUR")) - set(segments("JPY")) == {"large_single_order"}


def test_another_currency_is_an_error_in_its_place(bundle: Bundle) -> None:
    dollars = customer("usd", [{**ORDERS[0], "currency": "USD"}])
    euros = customer("eur", [{**ORDERS[0], "currency": " eur "}])
    blank = customer("blank", [{**ORDERS[0], "currency": " "}])
    first, second, third = ask(bundle, dollars, euros, blank)
    assert first["error"]["code"] == "currency_mismatch"
    assert second["basis"] == third["basis"] == "model"


def test_two_orders_on_one_day_say_why_p_alive_is_null(bundle: Bundle) -> None:
    found = ask(bundle, customer(orders=[ORDERS[0], ORDERS[0]]))[0]
    assert found["null_reasons"] == {"p_alive": "one_purchase_day"}


def test_an_interval_widens_with_its_level_and_holds_the_expectation(bundle: Bundle) -> None:
    narrow, wide = (ask(bundle, customer(), interval_level=level)[0]["predictions"] for level in (0.5, 0.95))
    for inner, outer in zip(narrow, wide, strict=True):
        assert outer["predicted_clv_lower"] <= inner["predicted_clv_lower"] <= inner["predicted_clv"]
        assert inner["predicted_clv"] <= inner["predicted_clv_upper"] <= outer["predicted_clv_upper"]
        assert (inner["interval_level"], outer["interval_level"]) == (0.5, 0.95)
    with pytest.raises(RequestError, match="unusable fields"):
        ask(bundle, customer(), interval_level=1.0)


def test_the_next_order_is_never_expected_in_the_past(bundle: Bundle) -> None:
    found = ask(bundle, customer(), as_of="2024-03-01")[0]
    dates = [found[f"expected_date_of_next_order{part}"] for part in ("_window_start", "", "_window_end")]
    assert dates == sorted(dates)
    assert dates[0] >= "2024-03-01"
    assert dates[-1] <= "2024-05-30"


def test_an_empty_call_has_an_empty_answer(bundle: Bundle) -> None:
    assert ask(bundle) == []


def test_the_documented_example_works(bundle: Bundle) -> None:
    found = answer(bundle, json.dumps(EXAMPLE).encode(), NOW)["customers"]
    assert CustomerPrediction.model_validate(found[0]).basis == "model"


def test_the_same_question_has_the_same_answer(bundle: Bundle) -> None:
    assert ask(bundle, customer(), as_of="2024-03-01") == ask(bundle, customer(), as_of="2024-03-01")


def test_reasons_come_when_asked_and_add_up(bundle: Bundle) -> None:
    plain, explained, newcomer = (
        ask(bundle, customer())[0],
        ask(bundle, customer(), explain=True)[0],
        ask(bundle, customer(orders=[]), explain=True)[0],
    )
    assert "reasons" not in plain["predictions"][0]
    assert "reasons" not in newcomer["predictions"][0]
    for horizon in explained["predictions"]:
        assert sum(reason["effect"] for reason in horizon["reasons"]) == pytest.approx(
            horizon["predicted_clv"], rel=1e-9
        )
        assert all(reason["text"] for reason in horizon["reasons"])
    CustomerPrediction.model_validate(explained)
