"""Orders in the store: what was posted is there, once and whole, whoever writes beside whom."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from features.columns import NUMBERS, ORDER_ID, TEXTS
from features.errors import OutputError, StoreError, UsageError
from features.instants import parse_instant
from serving import score_store
from serving.envelope import NotJson, RequestError, TooManyItems
from serving.intake import take
from serving.order_store import ORDERS, SENDABLE, OrderStore

NOW = parse_instant("2024-03-01T15:00:00")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'orders.db'}"
        return
    server = sa.make_url(request.getfixturevalue("postgres")).set(drivername="postgresql+psycopg")
    name = f"orders{random.getrandbits(40)}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"create database {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[OrderStore]:
    opened = OrderStore.open(url)
    yield opened
    opened.close()


def order(order_id: str, customer: str = "anna", amount: float = 10.0, **more: Any) -> dict[str, Any]:
    return {"order_id": order_id, "customer_id": customer, "ordered_at": "2024-01-05", "amount": amount, **more}


def post(store: OrderStore, *orders: Any) -> dict[str, Any]:
    return take(store, json.dumps({"orders": orders}).encode(), NOW, "EUR")


def amounts(store: OrderStore, customer: str = "anna") -> dict[str, list[float]]:
    found = store.of_customer(customer)
    out: dict[str, list[float]] = {}
    if found is not None:
        for order_id, amount in zip(found.optional[ORDER_ID], found.amount, strict=True):
            out.setdefault(order_id, []).append(amount)
    return {order_id: sorted(lines) for order_id, lines in sorted(out.items())}


def test_every_column_of_the_contract_can_be_stored() -> None:
    assert {ORDER_ID, *SENDABLE} == {*TEXTS, *NUMBERS}


def test_the_migrations_make_the_tables_that_are_used(store: OrderStore) -> None:
    differences = store.read(
        lambda connection: compare_metadata(MigrationContext.configure(connection), ORDERS.metadata)
    )
    wrong = [found for found in differences if found[0] in ("add_table", "add_column", "modify_type")]
    assert wrong == []


def test_posting_twice_changes_nothing_and_posting_anew_replaces(store: OrderStore) -> None:
    for _ in range(2):
        assert post(store, order("1"), order("2", amount=5.5)) == {"stored_orders": 2, "refused": []}
        assert amounts(store) == {"1": [10.0], "2": [5.5]}
    post(store, order("1", customer="berta", amount=11.0))
    assert amounts(store) == {"2": [5.5]}
    assert amounts(store, "berta") == {"1": [11.0]}


def test_the_lines_of_an_order_are_replaced_together(store: OrderStore) -> None:
    lines = [order("1", amount=value, product_id=name) for name, value in (("a", 1.0), ("b", 2.0), ("c", 3.0))]
    post(store, *lines)
    assert amounts(store) == {"1": [1.0, 2.0, 3.0]}
    post(store, *lines[1:2])
    assert amounts(store) == {"1": [2.0]}


def test_a_refund_under_its_orders_id_stays_beside_it(store: OrderStore) -> None:
    post(store, order("1"))
    post(store, order("1", amount=-4.0))
    assert amounts(store) == {"1": [-4.0, 10.0]}
    post(store, order("1", amount=12.0))
    assert amounts(store) == {"1": [-4.0, 12.0]}
    assert store.delete("1")
    assert not store.delete("1")
    assert store.of_customer("anna") is None


def test_several_refunds_under_their_orders_id_come_in_one_call(store: OrderStore) -> None:
    bits = [order("1", amount=-amount, ordered_at=f"2024-01-{day:02}") for day, amount in ((6, 1.0), (7, 2.0))]
    assert post(store, order("1"), *bits)["refused"] == []
    assert amounts(store) == {"1": [-2.0, -1.0, 10.0]}
    at_once = post(store, bits[0], {**bits[0], "amount": -3.0})
    assert {row["error"]["code"] for row in at_once["refused"]} == {"conflicting_order"}
    assert amounts(store) == {"1": [-2.0, -1.0, 10.0]}


def test_refunds_with_ids_of_their_own_go_with_their_order(store: OrderStore) -> None:
    def refund(order_id: str, parent: str, customer: str = "anna", amount: float = -4.0) -> dict[str, Any]:
        return order(order_id, customer, amount=amount, ordered_at="2024-01-09", parent_order_id=parent)

    post(store, order("1"), order("2"), refund("r1", "1"), refund("r2", "2"), refund("r3", "1", "berta"))
    post(store, refund("renewal", "1", amount=9.0))
    assert store.delete("1")
    assert amounts(store) == {"2": [10.0], "r2": [-4.0], "renewal": [9.0]}
    assert amounts(store, "berta") == {"r3": [-4.0]}  # another customer's: not this order's
    assert store.delete("r2")
    assert amounts(store) == {"2": [10.0], "renewal": [9.0]}


@pytest.mark.parametrize(
    ("then", "left"),
    [
        ([order("1", amount=-4.0, product_id="a"), order("1", amount=0.0, product_id="b")], [-4.0, 0.0, 10.0]),
        ([order("1"), order("1", amount=-4.0, ordered_at="2024-01-09")], [-4.0, 10.0]),
        ([order("1", product_id="a"), order("1", amount=-1.0, product_id="discount")], [-4.0, -1.0, 10.0]),
    ],
    ids=["a refund with a line of nothing", "both sent again", "an order with a line of discount"],
)
def test_an_order_and_its_refund_are_told_apart(store: OrderStore, then: list[Any], left: list[float]) -> None:
    post(store, order("1"))
    post(store, order("1", amount=-4.0, ordered_at="2024-01-09"))
    assert post(store, *then)["refused"] == []
    assert amounts(store) == {"1": left}


def test_a_store_of_a_newer_version_is_left_alone(store: OrderStore, url: str) -> None:
    store.write(lambda connection: connection.execute(sa.text("update alembic_version set version_num = '9999'")))
    with pytest.raises(StoreError, match="newer version"):
        OrderStore.open(url)


def test_an_id_that_no_database_holds_is_unknown(store: OrderStore) -> None:
    assert store.of_customer("a\0b") is None
    assert not store.delete("a\0b")


def test_a_column_that_any_order_sent_is_known_for_all(store: OrderStore) -> None:
    post(store, order("1"))
    assert store.columns() == []
    post(store, order("2", customer="berta", coupon_code=None, quantity=2.0))
    assert store.columns() == ["coupon_code", "quantity"]
    found = store.of_customer("anna")
    assert found is not None
    assert found.optional == {"order_id": ("1",), "coupon_code": (None,), "quantity": (None,)}


def test_an_order_twice_in_a_call_is_stored_once(store: OrderStore) -> None:
    assert post(store, order("1"), order("1")) == {"stored_orders": 1, "refused": []}
    assert post(store, order("2"), order("2"), order("2", amount=-4.0, ordered_at="2024-01-06"))["refused"] == []
    assert post(store, *[order("3", quantity=1.0)] * 2) == {"stored_orders": 1, "refused": []}
    assert amounts(store) == {"1": [10.0], "2": [-4.0, 10.0], "3": [10.0, 10.0]}


def test_what_cannot_be_stored_is_named_and_the_rest_is_stored(store: OrderStore) -> None:
    found = post(
        store,
        order("1"),
        order("2", amount="5"),
        order("3", product_id="a"),
        order("3", product_id=7),
        order("4"),
        order("4", amount=11.0),
        order("5", product_id="a"),
        order("5", customer="berta", product_id="b"),
        order("6", ordered_at="2024-03-05"),
        order("7", status="a\0b"),
        "no order",
        order("8", currency="usd"),
    )
    assert found["stored_orders"] == 1
    assert [(row["index"], row["order_id"], row["error"]["code"]) for row in found["refused"]] == [
        (1, "2", "invalid_item"),
        (2, "3", "order_incomplete"),
        (3, "3", "invalid_item"),
        (4, "4", "conflicting_order"),
        (5, "4", "conflicting_order"),
        (6, "5", "conflicting_order"),
        (7, "5", "conflicting_order"),
        (8, "6", "later_than_now"),
        (9, "7", "unusable_text"),
        (10, None, "invalid_item"),
        (11, "8", "currency_mismatch"),
    ]
    assert amounts(store) == {"1": [10.0]}


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"{", NotJson), (b"[]", RequestError), (b'{"orders": [' + b"1," * 10_000 + b"1]}", TooManyItems)],
)
def test_an_unusable_envelope_stores_nothing(store: OrderStore, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        take(store, body, NOW, "EUR")


def test_ids_of_any_characters_come_back(store: OrderStore) -> None:
    odd = "ä/%'\"\\ \t" + "漢" * 490
    post(store, order(odd, customer=odd))
    assert amounts(store, odd) == {odd: [10.0]}


def test_opening_again_keeps_what_is_there(store: OrderStore, url: str) -> None:
    post(store, order("1"))
    again = OrderStore.open(url)
    assert amounts(again) == {"1": [10.0]}
    again.close()


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ("mysql+pymysql://host/db", UsageError, "cannot be an order store"),
        ("postgresql://user:secret@127.0.0.1:1/none", StoreError, "does not answer"),
        ("postgresql://user:pa@secret:wörd@host:5432/db", UsageError, "no usable SQLAlchemy URL"),
        ("postgresql://user:pa@secret@127.0.0.1:1/db", StoreError, "does not answer"),
        ("postgresql:user:secret@host/db", UsageError, "'…@host/db' is no usable"),
        ("sqlite:////proc/no/such/place.db", StoreError, "cannot be made: No such file"),
    ],
)
def test_a_store_that_cannot_be_had_is_said_plainly(wrong: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        OrderStore.open(wrong)
    assert "secret" not in str(raised.value)


_WRITER = """
import random, sys
from serving.order_store import OrderStore
store, dice = OrderStore(sys.argv[1]), random.Random(int(sys.argv[2]))
for turn in range(10**6):
    orders = []
    for order_id in dice.sample([f"{sys.argv[2]}-{n}" for n in range(20)] + [f"all-{n}" for n in range(5)], 4):
        value = float(dice.randrange(10**6))
        lines = dice.randrange(1, 4)
        orders += [
            {"order_id": order_id, "customer_id": "one", "ordered_at": 0, "amount": value, "product_id": str(lines)}
            for _ in range(lines)
        ]
    store.upsert(orders)
    print(repr([(o["order_id"], o["amount"], o["product_id"]) for o in orders]), flush=True)
    if turn + 1 >= int(sys.argv[3]):
        break
"""


@pytest.mark.slow
def test_eight_writers_lose_nothing_when_one_is_killed(store: OrderStore, url: str, tmp_path: Path) -> None:
    writers = []
    for number in range(8):
        turns = "1000000" if number == 0 else "25"
        words = [sys.executable, "-c", _WRITER, url, str(number), turns]
        with (tmp_path / f"{number}.log").open("w") as out:
            writers.append(subprocess.Popen(words, stdout=out, cwd=tmp_path, env={**os.environ, "PYTHONSAFEPATH": "1"}))
    assert [writer.wait(timeout=240) for writer in writers[1:]] == [0] * 7
    deadline = time.monotonic() + 60
    while not (tmp_path / "0.log").read_text().count("\n") and time.monotonic() < deadline:
        time.sleep(0.1)
    writers[0].send_signal(signal.SIGKILL)
    writers[0].wait()
    wanted: dict[str, tuple[float, str]] = {}
    for number in range(8):
        lines = (tmp_path / f"{number}.log").read_text().splitlines()
        assert lines
        for acknowledged in map(eval, lines):
            wanted |= {order_id: (amount, product) for order_id, amount, product in acknowledged}
    found = store.of_customer("one")
    assert found is not None
    stored: dict[str, list[tuple[float, str]]] = {}
    for order_id, amount, product in zip(
        found.optional[ORDER_ID], found.amount, found.optional["product_id"], strict=True
    ):
        stored.setdefault(order_id, []).append((amount, product))
    for lines_of in stored.values():
        assert len(set(lines_of)) == 1, "lines of two writers are mixed"
        assert len(lines_of) == int(lines_of[0][1]), "an order is not whole"
    own = {order_id: value for order_id, value in wanted.items() if not order_id.startswith(("all-", "0-"))}
    assert own == {order_id: stored[order_id][0] for order_id in own}
    assert set(wanted) <= set(stored)


@pytest.mark.parametrize("n_customers", [0, 1, 4, 7])
def test_a_dropped_batch_leaves_no_row_and_takes_none_of_another(
    store: OrderStore, monkeypatch: pytest.MonkeyPatch, n_customers: int
) -> None:
    monkeypatch.setattr(score_store, "_DELETED_AT_ONCE", 2)
    ids = ("a", "B", "ä", "10", "9", "a b", "Z")[:n_customers]
    alike = {"predicted_clv": 1.0, "churn_probability": 0.5, "historic_clv": 1.0, "segments": "[]", "flags": "[]"}
    dropped, kept = (score_store.ScoreRun.begin(store, "2024-01-01", 90) for _ in range(2))
    for run in (dropped, kept):
        for days in (30, 90):
            if ids:
                run.write([{**alike, "customer_id": name, "horizon_days": days} for name in ids])
    dropped.drop()
    left = store.read(lambda connection: connection.execute(sa.text("select run from scores")).scalars().all())
    assert left == [kept.run] * 2 * n_customers
    kept.drop()
    assert not store.read(lambda connection: connection.execute(sa.text("select run from scores")).all())


def test_what_an_interrupted_drop_left_is_nobodys_and_goes_with_the_next_batch(
    store: OrderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"predicted_clv": 1.0, "churn_probability": 0.5, "historic_clv": 1.0, "segments": "[]", "flags": "[]"}
    row |= {"customer_id": "erased", "horizon_days": 90}
    dropped = score_store.ScoreRun.begin(store, "2024-01-01", 90)
    dropped.write([row])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as at_once:
        at_once.setattr(score_store, "_delete", killed)
        with pytest.raises(KeyboardInterrupt):
            dropped.drop()
    later = score_store.ScoreRun.begin(store, "2024-01-02", 90)
    assert later.run != dropped.run
    later.write([{**row, "customer_id": "b"}])
    later.finish()
    found = store.read(lambda connection: connection.execute(sa.text("select customer_id from scores")).scalars().all())
    assert found == ["b"]
    with pytest.raises(OutputError, match="later batch"):
        dropped.finish()
