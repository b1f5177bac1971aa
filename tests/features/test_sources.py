"""Files, folders, globs and databases: what is read of them, and what is refused."""

from __future__ import annotations

import errno
import gzip
import io
import re
import sqlite3
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features import databases
from features.errors import OrdersError, UsageError
from features.instants import parse_instant
from features.options import ReadOptions
from features.reading import read_orders
from features.sources import open_raw

HEADER = "customer_id,ordered_at,amount\n"
Write = Callable[..., str]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_delimiter_bom_and_gzip(tmp_path: Path, delimiter: str) -> None:
    text = "\ufeff" + (HEADER + "a,2024-01-01,1.5\n").replace(",", delimiter)
    path = tmp_path / "orders.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert read_orders(str(path)).log.amount.tolist() == [1.5]


def test_a_file_without_rows_is_refused(csv_of: Write) -> None:
    with pytest.raises(OrdersError, match="is empty"):
        read_orders(csv_of(""))
    with pytest.raises(OrdersError, match="header but no orders"):
        read_orders(csv_of(HEADER))


def test_a_row_cut_in_the_middle_is_set_aside_with_its_text(csv_of: Write) -> None:
    intake = read_orders(csv_of(HEADER + "a,2024-01-01,1\nb,2024-01-0"))
    assert intake.accounts.rejected_by_rule == {"malformed_row": 1}
    assert intake.rejected.to_pylist()[0]["row"] == 2
    assert intake.rejected.to_pylist()[0]["text"] == "b,2024-01-0"


def test_row_numbers_stay_right_behind_a_malformed_row(csv_of: Write) -> None:
    intake = read_orders(csv_of(HEADER + "a,2024-01-01,1\nb,2024\n,2024-01-01,1\nc,2024-01-01,1\n"))
    assert [(row["row"], row["rule"]) for row in intake.rejected.to_pylist()] == [
        (2, "malformed_row"),
        (3, "no_customer"),
    ]


def test_a_gzip_cut_short_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + "a,2024-01-01,1\n" * 5000).encode())
    path = tmp_path / "orders.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OrdersError, match="cut short or damaged"):
        read_orders(str(path))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(OrdersError, match="no such file"):
        read_orders(str(tmp_path / "nothing.csv"))


@pytest.mark.parametrize(
    ("column", "kind"), [("ordered_at", pa.int64()), ("amount", pa.bool_()), ("customer_id", pa.list_(pa.int64()))]
)
def test_a_parquet_column_of_a_wrong_type_is_refused(tmp_path: Path, column: str, kind: pa.DataType) -> None:
    columns = {"customer_id": pa.array(["a"]), "ordered_at": pa.array(["2024-01-01"]), "amount": pa.array([1.0])}
    columns[column] = pa.nulls(1, kind)
    pq.write_table(pa.table(columns), tmp_path / "orders.parquet")
    with pytest.raises(OrdersError, match=column):
        read_orders(str(tmp_path / "orders.parquet"))


def test_parquet_types_are_read_exactly(tmp_path: Path) -> None:
    table = pa.table(
        {
            "customer_id": pa.array([7, 7, 8]),
            "ordered_at": pa.array([0, 1_000_000_001, 5], pa.timestamp("ns", tz="UTC")),
            "amount": pa.array(["1.10", "2.20", "3.30"]).cast(pa.decimal128(10, 2)),
        }
    )
    pq.write_table(table, tmp_path / "orders.parquet")
    log = read_orders(str(tmp_path / "orders.parquet")).log
    assert list(log.customer_ids) == ["7", "8"]
    assert log.amount.tolist() == [1.1, 2.2, 3.3]
    assert log.ordered_at.tolist() == [0, 1_000_000, 0]


def test_a_folder_and_a_glob_of_parquet_files(tmp_path: Path) -> None:
    for part in ("a", "b"):
        row = {"customer_id": [part], "ordered_at": ["2024-01-01"], "amount": [1.0]}
        pq.write_table(pa.table(row), tmp_path / f"{part}.parquet")
    assert read_orders(str(tmp_path)).log.n_customers == 2
    assert read_orders(f"{tmp_path}/*.parquet").log.n_customers == 2
    assert read_orders(f"{tmp_path}/a*.parquet").log.n_customers == 1


def test_a_remote_path_goes_through_arrow_filesystems(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(HEADER + "a,2024-01-01,1\n")
    assert read_orders((tmp_path / "orders.csv").as_uri()).accounts.n_valid == 1


def test_a_database_needs_table_or_query(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("create table orders (customer_id text, ordered_at text, amount real)")
        shop.execute("insert into orders values ('a', '2024-01-01 10:00:00', 9.5), ('b', '2024-01-02', 1)")
    shop.close()
    assert read_orders(url, ReadOptions(table="orders")).log.amount.tolist() == [9.5, 1.0]
    query = "select customer_id, ordered_at, amount from orders where amount > 5"
    assert read_orders(url, ReadOptions(query=query)).accounts.n_valid == 1
    with pytest.raises(UsageError, match="--table"):
        read_orders(url)
    with pytest.raises(OrdersError, match="no such table"):
        read_orders(url, ReadOptions(table="missing"))


def test_ids_of_a_database_keep_all_their_digits() -> None:
    numbers = [Decimal("9007199254740993"), Decimal("12345678901234567890123456789012"), Decimal("100.00"), None]
    ids = ["9007199254740993", "12345678901234567890123456789012", "100", None]
    assert databases._array(numbers, "customer_id").to_pylist() == ids
    assert databases._array([Decimal("2.50")], "amount").to_pylist() == [2.5]


def test_a_password_never_shows(tmp_path: Path) -> None:
    with pytest.raises(OrdersError) as caught:
        read_orders("postgresql://shop:s3cr3t@127.0.0.1:9/shop", ReadOptions(table="orders"))
    assert "s3cr3t" not in str(caught.value)


def test_a_quote_that_is_not_closed_is_refused(csv_of: Write) -> None:
    with pytest.raises(OrdersError, match="quote that is not closed near row 2"):
        read_orders(csv_of(HEADER + 'a,2024-01-01,1\n"b,2024-01-01,2\nc,2024-01-01,3\nd,2024-01-01,4\n'))
    noted = HEADER.replace("\n", ",note\n") + "a,2024-01-01,1,\nb,2024-01-02,2,{}\nc,2024-01-03,3,{}\nd,2024-01-04,4,\n"
    with pytest.raises(OrdersError, match="quote that is not closed near row 2"):  # the last column, unmapped
        read_orders(csv_of(noted.format('"soon', "")))
    with pytest.raises(OrdersError, match="quote that is not closed near row 2"):
        read_orders(csv_of(noted.format('"' + "long " * 40_000, "")))
    with pytest.raises(OrdersError, match="not closed in customer_id near row 1"):
        read_orders(csv_of(HEADER + '"a,2024-01-01,1\nb",2024-01-01,2\nc,2024-01-01,3\n'))


def test_inches_and_notes_of_several_lines_are_no_open_quotes(csv_of: Write) -> None:
    note = HEADER.replace("\n", ",note\n")
    assert read_orders(csv_of(note + 'a,2024-01-01,1,12" ruler\nb,2024-01-01,2,\n')).accounts.n_valid == 2
    assert read_orders(csv_of(note + 'a,2024-01-01,1,"call\nfirst"\nb,2024-01-01,2,3" nails\n')).accounts.n_valid == 2
    long = '"' + "word " * 30_000 + '"'
    assert read_orders(csv_of(note + f"a,2024-01-01,1,{long}\n\n" + 'b,2024-01-01,2,3" nails\n')).accounts.n_valid == 2
    assert read_orders(csv_of(HEADER + '"a\n",2024-01-01,1\nb,2024-01-01,2\n')).accounts.n_valid == 2


def test_headers_that_cannot_be_trusted(csv_of: Write) -> None:
    with pytest.raises(OrdersError, match="more than one column named amount"):
        read_orders(csv_of("customer_id,ordered_at,amount,amount\na,2024-01-01,1,2\n"))
    assert read_orders(csv_of("\n\n" + HEADER + "a,2024-01-01,1\n")).accounts.n_valid == 1


def test_latin_1_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_bytes((HEADER + "müller,2024-01-01,1\n").encode("latin-1"))
    with pytest.raises(OrdersError, match="as UTF-8"):
        read_orders(str(tmp_path / "orders.csv"))


def test_a_glob_does_not_descend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tmp_path, tmp_path / "old"):
        folder.mkdir(exist_ok=True)
        row = {"customer_id": ["a"], "ordered_at": ["2024-01-01"], "amount": [1.0]}
        pq.write_table(pa.table(row), folder / "orders.parquet")
    assert read_orders(f"{tmp_path}/*.parquet").accounts.n_valid == 1
    assert read_orders(f"{tmp_path}/**.parquet").accounts.n_valid == 2
    monkeypatch.chdir(tmp_path)
    found = {place: read_orders(place).accounts.n_valid for place in ("*.parquet", "./*.parquet", "o*/*.parquet", ".")}
    assert found == {"*.parquet": 1, "./*.parquet": 1, "o*/*.parquet": 1, ".": 2}


def test_hidden_folders_are_not_read_and_a_delta_table_is_refused(tmp_path: Path) -> None:
    row = pa.table({"customer_id": ["a"], "ordered_at": ["2024-01-01"], "amount": [1.0]})
    for folder in (".", "country=DE", "_temporary/0", ".ipynb_checkpoints"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        pq.write_table(row, tmp_path / folder / "orders.parquet")
    assert read_orders(str(tmp_path)).accounts.n_valid == 2
    (tmp_path / "old" / "_delta_log").mkdir(parents=True)  # another table, of which no file is read
    assert read_orders(f"{tmp_path}/*.parquet").accounts.n_valid == 1
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(OrdersError, match="is a Delta table"):
        read_orders(str(tmp_path))


@pytest.mark.parametrize(
    ("first", "second", "ids"),
    [
        (pa.array([12], pa.int32()), pa.array([2**40], pa.int64()), ["1099511627776", "12"]),
        (pa.array(["12"]), pa.array(["12"]).dictionary_encode(), ["12"]),
        (pa.nulls(1), pa.array(["00012"]), ["00012"]),
        (pa.array([12]), pa.array(["00012"]), ["00012", "12"]),
        (pa.array([12]), pa.array([12.0]), ["12"]),
        (pa.array([7], pa.uint32()), pa.array([2**40]), ["1099511627776", "7"]),
        (pa.array([12]), pa.array([b"12"]), None),
    ],
)
def test_files_of_a_folder_are_read_as_they_are_or_refused(
    tmp_path: Path, first: pa.Array, second: pa.Array, ids: list[str] | None
) -> None:
    for name, column, amount in (("1", first, pa.float32()), ("2", second, pa.float64())):
        table = {"customer_id": column, "ordered_at": ["2024-01-01"], "amount": pa.array([123456789.01], amount)}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    if ids is None:
        with pytest.raises(
            OrdersError, match=r"Column 'customer_id' is of type .* in '.*2.parquet', and of type int64"
        ):
            read_orders(str(tmp_path))
        return
    raw = open_raw(str(tmp_path), ReadOptions()).read().table
    assert [str(one) for one in raw.column("customer_id").to_pylist() if one is not None][-1] in ids
    assert raw.column("amount").to_pylist()[1] == 123456789.01
    assert pc.unique(raw.column("customer_id").cast(pa.string())).drop_null().sort().to_pylist() == ids


def test_a_column_of_later_files_alone_counts(tmp_path: Path) -> None:
    row = {"customer_id": ["a"], "ordered_at": ["2024-01-01"], "amount": [1.0]}
    pq.write_table(pa.table(row), tmp_path / "1.parquet")
    pq.write_table(pa.table({**row, "status": ["cancelled"]}), tmp_path / "2.parquet")
    assert read_orders(str(tmp_path)).accounts.rejected_by_rule == {"never_paid": 1}


def test_amounts_and_dates_of_several_types_are_one_column(tmp_path: Path) -> None:
    day, number = datetime(2024, 1, 2), Decimal("2.50")
    kinds = [
        (pa.date32(), pa.int64(), 2, 3),
        (pa.timestamp("ns"), pa.float64(), 2.5, 3.0),
        (pa.timestamp("ms"), pa.decimal128(10, 2), number, None),
        (pa.date64(), pa.decimal128(12, 2), number, 1),
    ]
    for place, (moment, money, amount, quantity) in enumerate(kinds):
        columns = {
            "customer_id": ["a"],
            "ordered_at": pa.array([day], moment),
            "amount": pa.array([amount], money),
            "quantity": pa.array([quantity], pa.float64() if quantity is None else None),
        }
        pq.write_table(pa.table(columns), tmp_path / f"{place}.parquet")
    log = read_orders(str(tmp_path)).log
    assert log.ordered_at.tolist() == [parse_instant("2024-01-02")] * 4
    assert sorted(log.amount.tolist()) == [2.0, 2.5, 2.5, 2.5]


def test_zoned_and_naive_times_in_one_folder_are_refused(tmp_path: Path) -> None:
    for name, zone in (("1", None), ("2", "UTC")):
        times = pa.array([0], pa.timestamp("us", zone))
        table = {"customer_id": ["a"], "ordered_at": times, "amount": [1.0]}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    with pytest.raises(OrdersError, match="Column 'ordered_at' is of type timestamp"):
        read_orders(str(tmp_path))


def test_rows_of_a_compressed_file_are_guessed_by_its_beginning(tmp_path: Path) -> None:
    n_rows = 300_000
    text = HEADER + "".join(f"c{number % 50},2024-01-01,1\n" for number in range(n_rows))
    with gzip.open(tmp_path / "orders.csv.gz", "wt") as file:
        file.write(text)
    assert n_rows <= open_raw(str(tmp_path / "orders.csv.gz"), ReadOptions()).n_rows_about <= 1.5 * n_rows


@pytest.mark.parametrize("in_memory", [1, 10**6])
def test_a_database_column_may_change_its_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr("features.databases._CHUNK_ROWS", 2)
    monkeypatch.setattr("features.databases._IN_MEMORY", in_memory)  # bytes: beyond them rows wait on disk
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("create table orders (customer_id, ordered_at text, amount real)")
        rows = [(1, "2024-01-01", 1.0), (2, "2024-01-01", 1.0), ("x3", "2024-01-01", 1.0)]
        shop.executemany("insert into orders values (?, ?, ?)", rows)
    shop.close()
    log = read_orders(f"sqlite:///{tmp_path / 'shop.db'}", ReadOptions(table="orders")).log
    assert list(log.customer_ids) == ["1", "2", "x3"]


def test_parameters_of_a_database_url_never_show(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("create table orders (customer_id text, ordered_at text, amount real)")
    shop.close()
    with pytest.raises(OrdersError, match="no orders") as caught:
        read_orders(f"sqlite:///{tmp_path / 'shop.db'}?timeout=9.77", ReadOptions(table="orders"))
    assert "9.77" not in str(caught.value)


def test_every_file_of_a_folder_is_read_or_named(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text(HEADER + "a,2024-01-01,1\n\nb,2024\n,2024-01-03,1\n")
    with pa.CompressedOutputStream(pa.OSFile(str(tmp_path / "2.csv.zst"), "wb"), "zstd") as stream:
        stream.write(b"amount;status;customer_id;ordered_at\n3;completed;a;2024-02-01\nx;;b;2024-02-02\n4;2024\n")
    (tmp_path / "3.txt").write_text((HEADER + "c,2024-03-01,5\n").replace(",", "\t"))
    intake = read_orders(str(tmp_path))
    assert intake.log.customer_ids.tolist() == ["a", "c"]
    assert intake.log.amount.tolist() == [1.0, 3.0, 5.0]
    assert intake.accounts.statuses == {"completed": 1}
    assert [(row["row"], row["rule"]) for row in intake.rejected.to_pylist()] == [
        (2, "malformed_row"), (3, "no_customer"), (5, "unreadable_amount"), (6, "malformed_row"),
    ]  # fmt: skip
    assert read_orders(f"{tmp_path}/*.csv").accounts.n_read == 3
    (tmp_path / "4.csv").write_text("customer_id,when,amount\na,2024-01-01,1\n")
    with pytest.raises(OrdersError, match=r"4\.csv': The order log has no column ordered_at"):
        read_orders(str(tmp_path))
    (tmp_path / "4.csv").rename(tmp_path / "4.xlsx")
    with pytest.raises(OrdersError, match=r"^4\.xlsx: such files cannot be read.* Save a workbook's sheet"):
        read_orders(str(tmp_path))
    (tmp_path / "4.xlsx").unlink()
    pq.write_table(pa.table({"customer_id": ["a"]}), tmp_path / "5.parquet")
    with pytest.raises(OrdersError, match=r"holds Parquet files and others, 1\.csv, 2\.csv\.zst, 3\.txt, 5\.parquet"):
        read_orders(str(tmp_path))


@pytest.mark.parametrize("name", ["2.csv.xz", "part-00001", "2.csv.gzip", "2.avro", "2.jsonl"])
def test_what_lies_among_orders_and_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "1.csv").write_text(HEADER + "a,2024-01-01,1\n")
    for bystander in ("README.md", "_SUCCESS", ".1.csv.crc", "schema.sql", "below_$folder$"):
        (tmp_path / bystander).write_text("none of it")
    assert read_orders(str(tmp_path)).accounts.n_read == 1
    below = tmp_path / "below"
    below.mkdir()
    (below / name).write_text(HEADER + "a,2024-01-02,1\n")
    for source in (str(tmp_path), f"{tmp_path}/**"):
        with pytest.raises(OrdersError, match=f"^below/{re.escape(name)}: such files cannot be read"):
            read_orders(source)


def test_a_file_that_links_name_again_counts_once(tmp_path: Path) -> None:
    for month in ("1997-1", "1997-2"):
        (tmp_path / month).mkdir()
        (tmp_path / month / "orders.csv").write_text(
            HEADER + f"a,{month}-1,1\n".replace("-1", "-01").replace("-2", "-02")
        )
    (tmp_path / "latest").symlink_to("1997-2")
    (tmp_path / "loop").symlink_to(".")
    for source in (str(tmp_path), f"{tmp_path}/*/orders.csv", f"{tmp_path}/**.csv"):
        assert read_orders(source).accounts.n_read == 2
    (tmp_path / "3.csv").symlink_to("missing.csv")
    with pytest.raises(OrdersError, match=r"^3\.csv: a link to what is not there"):
        read_orders(str(tmp_path))


def test_decimals_are_the_nearest_doubles_whatever_their_scale(tmp_path: Path) -> None:
    amounts = ["77.21", "3.30", "0.07", "1999.99"]
    kinds = {"1": pa.float64(), "2": pa.decimal128(12, 2), "3": pa.decimal128(18, 4)}
    for name, kind in kinds.items():
        values = pa.array([float(one) for one in amounts]) if kind == pa.float64() else pa.array(amounts).cast(kind)
        table = pa.table({"customer_id": [f"{name}{n}" for n in range(4)], "ordered_at": ["2024-01-01"] * 4})
        pq.write_table(table.append_column("amount", values), tmp_path / f"{name}.parquet")
    assert read_orders(str(tmp_path)).log.amount.tolist() == [float(one) for one in amounts] * 3


def test_whole_decimals_are_ids_like_the_numbers_they_are(tmp_path: Path) -> None:
    def ids(*values: str) -> list[str]:
        numbers = pa.array(values).cast(pa.decimal128(38, 10))
        rows = {"customer_id": numbers, "ordered_at": ["2024-01-01"] * len(values), "amount": [1.0] * len(values)}
        pq.write_table(pa.table(rows), tmp_path / "orders.parquet")
        return read_orders(str(tmp_path / "orders.parquet")).log.customer_ids.tolist()

    assert ids("0", "1", "20", "12345678901234567890") == ["0", "1", "12345678901234567890", "20"]
    with pytest.raises(OrdersError, match=r"customer_id of type decimal.* cannot be read as text: write ids as texts"):
        ids("1.5")


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"customer_id": ["a"]}), tmp_path / "1.parquet")
    (tmp_path / "2.parquet").touch()
    with pytest.raises(OrdersError, match=r"2\.parquet' cannot be read: .* 0 bytes.*write it again\.$"):
        read_orders(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PAR1rest", r"name that ends in \.parquet"),
        (b"\xfd7zXZrest", "compressed in a way that is not read: unpack it"),
        (b"PK\x03\x04rest", "is a workbook or an archive"),
        (gzip.compress(HEADER.encode()), r"name that ends in \.gz"),
        ((HEADER + "a,2024-01-01,1\n").encode("utf-16"), "is UTF-16: export it as UTF-8"),
        (b"\xef\xbb\xbfsep=;\r\ncustomer_id;ordered_at;amount\r\n", "a line for Excel, 'sep=;': delete that line"),
    ],
    ids=["parquet", "xz", "workbook", "gzip", "utf-16", "a line for Excel"],
)
def test_what_is_no_csv_is_called_what_it_is(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "orders.csv").write_bytes(content)
    with pytest.raises(OrdersError, match=says):
        read_orders(str(tmp_path / "orders.csv"))


def test_text_views_are_read(tmp_path: Path) -> None:
    columns = {"customer_id": ["a", "b"], "ordered_at": ["2024-01-01", "?"], "amount": ["1", "2"]}
    views = {name: pa.array(values).cast(pa.string_view()) for name, values in columns.items()}
    pq.write_table(pa.table(views), tmp_path / "orders.parquet")
    intake = read_orders(str(tmp_path / "orders.parquet"))
    assert (intake.accounts.n_valid, intake.rejected.column("customer_id").to_pylist()) == (1, ["b"])


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(UsageError, match="needs the driver pymysql, which is not installed"):
        open_raw("mysql+pymysql://somebody@nowhere/shop", ReadOptions(table="orders"))


def test_rows_of_a_database_that_find_no_room_say_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("create table orders (customer_id, ordered_at, amount)")
        connection.execute("insert into orders values ('a', '2024-01-01', 1)")

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(databases.tempfile, "SpooledTemporaryFile", lambda **_: Full())
    with pytest.raises(OrdersError, match=r"No space left on device\. Set TMPDIR"):
        read_orders(f"sqlite:///{tmp_path / 'shop.db'}", ReadOptions(table="orders"))


def test_a_shops_own_names_are_proposed(csv_of: Write) -> None:
    header = "Order ID,Status,Currency,Customer Note,Email (Billing),Order Date,OrderTotalAmount($)\n"
    proposed = (
        "Try --map customer_id='Email (Billing)' --map ordered_at='Order Date' --map amount='OrderTotalAmount($)' "
        "--map order_id='Order ID' --map status=Status --map currency=Currency."
    )
    with pytest.raises(OrdersError) as raised:
        read_orders(csv_of(header + "1,completed,EUR,,a@x.com,2024-01-01,5\n"))
    assert str(raised.value).endswith(proposed)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(OrdersError, match=r"no database at .*typo\.db': no such file"):
        read_orders(f"sqlite:///{tmp_path / 'typo.db'}", ReadOptions(table="orders"))
    assert not list(tmp_path.iterdir())
