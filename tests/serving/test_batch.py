"""The whole base to files and tables: whole or not at all, and the same numbers as the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from features.errors import HorizonError, OrdersError, OutputError, UsageError
from features.instants import isoformat
from features.orders import OrderLog
from model.bundle import Bundle, load_bundle
from serving.batch import score_base
from serving.output import output
from serving.questions import MAX_ITEMS
from serving.requests import answer
from serving.scorer import Question
from serving.table import SCHEMA

SCORED_AT = "2026-01-01T00:00:00Z"
_NESTED = {"predictions", "segments", "null_reasons", "model", "flags", "rejected_orders", "orders_after_as_of"}


def run(bundle: Bundle, log: OrderLog, out: Path | str, **how: Any) -> Any:
    with output(str(out), SCHEMA.with_metadata({"scored_at": SCORED_AT})) as writer:
        return score_base(bundle, log, log.complete_until, writer, **how)


def test_batch_and_service_agree_bit_for_bit_on_every_cdnow_customer(
    cdnow_bundle_folder: Path,
    cdnow: OrderLog,
    cdnow_frame: pd.DataFrame,
    tmp_path: Path,
    as_sent: Callable[[pd.DataFrame], list[dict[str, Any]]],
) -> None:
    bundle = load_bundle(cdnow_bundle_folder)
    done = run(bundle, cdnow, tmp_path / "scores.parquet")
    assert (done.n_customers, done.n_rows, done.n_prior) == (23_570, 47_140, 68)
    batch = {
        (row["customer_id"], row["horizon_days"]): row for row in pq.read_table(tmp_path / "scores.parquet").to_pylist()
    }
    as_of = isoformat(cdnow.complete_until)
    asked = 0
    columns = ["customer_id", "ordered_at", "amount", "quantity"]
    customers = as_sent(cdnow_frame.assign(quantity=cdnow_frame.quantity.astype(float))[columns])
    for first in range(0, len(customers), MAX_ITEMS):
        body = json.dumps({"customers": customers[first : first + MAX_ITEMS], "as_of": as_of}).encode()
        for found in answer(bundle, body, cdnow.complete_until)["customers"]:
            facts = {key: value for key, value in found.items() if key not in _NESTED}
            for horizon in found["predictions"]:
                row = batch[found["customer_id"], horizon["horizon_days"]]
                expected = {**facts, **horizon}
                assert {key: row[key] for key in expected} == expected
                assert json.loads(row["null_reasons"]) == found["null_reasons"]
                asked += 1
    assert asked == len(batch)


def test_one_customer_a_call_gives_the_same_bits_as_a_full_call(bundle: Bundle, shop: OrderLog) -> None:
    ids = np.repeat(shop.customer_ids, np.diff(shop.starts))
    customers: dict[str, Any] = {name: {"customer_id": name, "orders": []} for name in shop.customer_ids}
    for name, at, amount in zip(ids, shop.ordered_at, shop.amount, strict=True):
        customers[name]["orders"].append({"ordered_at": isoformat(at), "amount": amount})

    def ask(some: list[Any]) -> list[Any]:
        return answer(bundle, json.dumps({"customers": some, "as_of": "2024-03-01"}).encode(), 2 * 10**15)["customers"]

    everyone = list(customers.values())
    whole = ask(everyone)
    for place in range(0, len(everyone), 9):
        assert ask([everyone[place]]) == [whole[place]]


def test_files_hold_the_announced_columns(bundle: Bundle, shop: OrderLog, tmp_path: Path) -> None:
    for name in ("scores.parquet", "scores.csv", "scores.csv.gz"):
        run(bundle, shop, tmp_path / name, question=Question([90]))
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table.schema.names == SCHEMA.names
    assert table.schema.metadata[b"scored_at"] == SCORED_AT.encode()
    assert table.num_rows == shop.n_customers
    for name in ("scores.csv", "scores.csv.gz"):
        read = pa_csv.read_csv(tmp_path / name)
        assert read.column("predicted_clv").to_pylist() == table.column("predicted_clv").to_pylist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv", "scores.csv.gz", "scores.parquet"]


def test_days_are_cut_in_the_models_zone_and_money_is_in_its_currency(
    bundle: Bundle, shop: OrderLog, tmp_path: Path
) -> None:
    run(bundle, shop, tmp_path / "a.parquet")
    run(bundle, replace(shop, zone=ZoneInfo("Asia/Tokyo")), tmp_path / "b.parquet")
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.parquet"))
    with pytest.raises(OrdersError, match="speaks EUR, the orders USD"):
        run(bundle, replace(shop, currency="USD"), tmp_path / "c.parquet")


def test_small_blocks_give_the_same_file(
    bundle: Bundle, shop: OrderLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(bundle, shop, tmp_path / "a.parquet")
    monkeypatch.setattr("serving.batch.BLOCK_ROWS", 50)
    run(bundle, shop, tmp_path / "b.parquet")
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.parquet"))


def test_an_interrupted_run_leaves_what_was_there(bundle: Bundle, shop: OrderLog, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    out.write_text("yesterday's")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(bundle, shop, out, on_rows=interrupt)
    assert out.read_text() == "yesterday's"
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


def test_outputs_that_cannot_be_written_are_named(bundle: Bundle, shop: OrderLog, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.parquet, \.csv"):
        run(bundle, shop, tmp_path / "scores.xlsx")
    with pytest.raises(UsageError, match="a folder that does not exist"):
        run(bundle, shop, tmp_path / "no such folder" / "scores.parquet")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(UsageError, match="is a folder: name a file"):
        run(bundle, shop, tmp_path / "folder.parquet")
    with pytest.raises(OutputError, match="cannot be written"):
        run(bundle, shop, f"sqlite:///{tmp_path}/nowhere/x.db")
    with pytest.raises(HorizonError, match="Fitted: 30, 90"):
        run(bundle, shop, tmp_path / "scores.parquet", question=Question([365]))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.parquet"]


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv", "scores/"])
def test_of_two_runs_to_one_place_the_second_is_refused(
    name: str, bundle: Bundle, shop: OrderLog, tmp_path: Path
) -> None:
    out = f"{tmp_path}/{name}"

    def second(_: int) -> None:
        with pytest.raises(UsageError, match="Another run is writing to"):
            run(bundle, shop, out)

    done = run(bundle, shop, out, on_rows=second)
    again = run(bundle, shop, out)
    assert done.n_rows == again.n_rows
    assert [path.name for path in tmp_path.iterdir()] == [name.rstrip("/")]
    if name != "scores.csv":
        assert pq.read_table(out).num_rows == done.n_rows


def test_what_a_killed_run_left_is_no_part_of_the_next_one(bundle: Bundle, shop: OrderLog, tmp_path: Path) -> None:
    left = tmp_path / ".scores.partial" / "old"
    left.mkdir(parents=True)
    (left / "part-00007.parquet").write_text("half")
    run(bundle, shop, f"{tmp_path}/scores/")
    assert [path.name for path in (tmp_path / "scores").iterdir()] == ["part-00000.parquet"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_said_plainly(bundle: Bundle, shop: OrderLog, tmp_path: Path) -> None:
    (tmp_path / ".scores.csv.partial").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        run(bundle, shop, tmp_path / "scores.csv")
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_table_is_replaced_in_one_transaction(
    kind: str, bundle: Bundle, shop: OrderLog, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'scores.db'}" if kind == "sqlite" else request.getfixturevalue("postgres")
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    for horizons, n_rows in (([30, 90], 2 * shop.n_customers), ([30], shop.n_customers)):
        run(bundle, shop, url, question=Question(horizons))
        with engine.connect() as connection:
            assert connection.execute(sa.text("select count(*) from clv_scores")).scalar() == n_rows

    def fail(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(bundle, shop, url, on_rows=fail)
    run(bundle, shop, tmp_path / "scores.parquet", question=Question([30]))
    with engine.connect() as connection:
        found = {
            row[0]: row[1] for row in connection.execute(sa.text("select customer_id, predicted_clv from clv_scores"))
        }
    engine.dispose()
    assert found == {
        row["customer_id"]: row["predicted_clv"] for row in pq.read_table(tmp_path / "scores.parquet").to_pylist()
    }


def test_a_table_is_found_by_its_schema(bundle: Bundle, shop: OrderLog, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'scores.db'}"
    with output(url, SCHEMA, table="main.scores") as writer:
        score_base(bundle, shop, shop.complete_until, writer, question=Question([30]))
    with sa.create_engine(url).connect() as connection:
        assert connection.execute(sa.text("select count(*) from scores")).scalar() == shop.n_customers


def test_a_table_of_another_shape_is_left_alone(bundle: Bundle, shop: OrderLog, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("create table clv_scores (id integer)"))
        connection.execute(sa.text("insert into clv_scores values (7)"))
    with pytest.raises(OutputError, match="clv_scores"):
        run(bundle, shop, f"sqlite:///{tmp_path / 'shop.db'}")
    with engine.connect() as connection:
        assert connection.execute(sa.text("select id from clv_scores")).scalars().all() == [7]
    engine.dispose()
