"""What the door lets in, sets aside, or refuses."""

from __future__ import annotations

import gzip
import shlex
import sqlite3
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features import databases
from features.errors import OrdersError, UsageError
from features.frame import orders_from_frame
from features.instants import parse_instant
from features.options import DateOrder, ReadOptions
from features.reading import read_orders
from features.sources import open_raw
from features.validation import Intake

NOW = parse_instant("2025-01-01")
HEADER = "customer_id,ordered_at,amount\n"
Write = Callable[..., str]


def rules(intake: Intake) -> dict[str, int]:
    assert intake.accounts.n_valid + intake.accounts.n_rejected == intake.accounts.n_read
    return intake.accounts.rejected_by_rule


def test_every_row_is_accounted_for_with_its_first_broken_rule(csv_of: Write) -> None:
    path = csv_of(
        HEADER + "a,2024-01-01,10\n,2024-01-01,10\nb,yesterday,10\nb,2024-02-30,10\nc,2024-01-01,ten\n"
        "d,2024-01-01,inf\ne,2024-01-01,1e308\nf,2999-01-01,5\ng,1900-01-01,5\nh,2024-01-01,nan\ni,2024-01-01,\n"
    )
    intake = read_orders(path, now=NOW)
    assert rules(intake) == {
        "amount_not_finite": 2,
        "unreadable_amount": 2,
        "unreadable_date": 2,
        "amount_too_large": 1,
        "later_than_now": 1,
        "no_customer": 1,
    }
    assert list(intake.log.customer_ids) == ["a", "g"]
    assert intake.accounts.placeholder_dates == 1
    assert intake.rejected.column("row").to_pylist() == [2, 3, 4, 5, 6, 7, 8, 10, 11]


def test_customer_ids_are_not_mangled(csv_of: Write) -> None:
    long, emoji = "x" * 10_000, "🛒 anna"
    path = csv_of(HEADER + "".join(f"{name},2024-01-01,1\n" for name in ("00012", "12.0", "12", emoji, long)))
    assert set(read_orders(path).log.customer_ids) == {"00012", "12.0", "12", emoji, long}


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


def test_a_file_without_one_usable_row_is_refused(csv_of: Write) -> None:
    with pytest.raises(OrdersError, match=r"no usable order.*no_customer 1"):
        read_orders(csv_of(HEADER + ",2024-01-01,1\n"))


def test_a_missing_column_is_named_and_a_mapping_proposed(csv_of: Write) -> None:
    path = csv_of("Customer ID,InvoiceDate,Total\na,2024-01-01,1\n")
    with pytest.raises(
        OrdersError, match='--map customer_id="Customer ID" --map ordered_at=InvoiceDate --map amount=Total'
    ):
        read_orders(path)


def test_a_row_cut_in_the_middle_is_set_aside_with_its_text(csv_of: Write) -> None:
    intake = read_orders(csv_of(HEADER + "a,2024-01-01,1\nb,2024-01-0"))
    assert rules(intake) == {"malformed_row": 1}
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


def test_a_third_of_null_ids_is_counted(csv_of: Write) -> None:
    rows = "".join(f"{'' if i % 10 < 3 else i},2024-01-01,1\n" for i in range(100))
    assert rules(read_orders(csv_of(HEADER + rows))) == {"no_customer": 30}


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


def test_national_dates_are_never_guessed(csv_of: Write) -> None:
    path = csv_of(HEADER + "a,13/02/2024,1\na,14/02/2024 10:30,1\n")
    with pytest.raises(OrdersError, match=r"13/02/2024, 14/02/2024 10:30.*--dates dmy"):
        read_orders(path)
    log = read_orders(path, ReadOptions(dates=DateOrder.DMY)).log
    assert log.ordered_at.tolist() == [parse_instant("2024-02-13"), parse_instant("2024-02-14T10:30")]
    with pytest.raises(OrdersError, match="cannot be mdy"):
        read_orders(path, ReadOptions(dates=DateOrder.MDY))


def test_naive_times_are_read_in_the_told_zone(csv_of: Write) -> None:
    path = csv_of(HEADER + "a,2024-07-01 00:30:00,1\na,2024-07-01T00:30:00Z,1\n")
    berlin = read_orders(path, ReadOptions(timezone="Europe/Berlin")).log
    assert berlin.ordered_at.tolist() == [parse_instant("2024-06-30T22:30"), parse_instant("2024-07-01T00:30")]
    assert len(set(read_orders(path).log.ordered_at.tolist())) == 1
    with pytest.raises(UsageError, match="no time zone"):
        read_orders(path, ReadOptions(timezone="Mars/Olympus"))


def test_money_marks_are_read_only_when_told(csv_of: Write) -> None:
    path = csv_of('customer_id;ordered_at;amount\na;2024-01-01;"1.234,50 €"\na;2024-01-02;-5,00 €\n')
    with pytest.raises(OrdersError, match="unreadable_amount 2"):
        read_orders(path)
    told = ReadOptions(decimal=",", thousands=".", currency_symbol="€")
    assert read_orders(path, told).log.amount.tolist() == [1234.5, -5.0]


@pytest.mark.parametrize(
    ("amounts", "repair"),
    [
        (["1.234,50 €", "5,00 €"], '--currency-symbol "€" --decimal , --thousands .'),
        (["5,00", "1.234,50", "2.000"], "--decimal , --thousands ."),
        (["$1,234.50", "$5.00"], "--currency-symbol $ --thousands ,"),
        (["1'234.50"], '--thousands "\'"'),
        (["EUR 5.00"], "--currency-symbol EUR"),
    ],
)
def test_amounts_that_an_option_would_read_are_told_by_their_form(
    csv_of: Write, amounts: list[str], repair: str
) -> None:
    rows = "".join(f"a;2024-01-0{day};{text}\n" for day, text in enumerate(amounts, 1))
    path = csv_of(HEADER.replace(",", ";") + "b;2024-01-09;1\n" + rows)
    summary = read_orders(path).accounts.summary()
    assert f"Say {repair}, where all amounts are written so." in summary
    assert "234" not in summary  # what was written is nobody's business
    words = dict(zip(*[iter(shlex.split(repair))] * 2, strict=True))
    told = ReadOptions(**{name[2:].replace("-", "_"): mark for name, mark in words.items()})
    assert read_orders(path, told).accounts.n_rejected == 0


def test_of_two_ways_to_write_amounts_the_more_frequent_one_is_proposed(csv_of: Write) -> None:
    path = csv_of(HEADER.replace(",", ";") + "a;2024-01-01;€5,25\n" * 3 + "b;2024-01-02;€5.25\n" + "c;2024-01-02;5\n")
    assert read_orders(path).accounts.repair == '--currency-symbol "€" --decimal ,'


def test_an_option_that_hides_what_is_written_as_usual_is_told(csv_of: Write) -> None:
    path = csv_of(HEADER.replace(",", ";") + "a;2024-01-01;5.25\nb;2024-01-02;7\n")
    assert "Say --decimal ., where" in read_orders(path, ReadOptions(decimal=",")).accounts.summary()


def test_a_missing_quantity_is_no_unreadable_price(csv_of: Write) -> None:
    path = csv_of(
        "customer_id,ordered_at,unit_price,quantity\na,2024-01-01,2.5,\nb,2024-01-01,2.5,2\nc,2024-01-01,x,2\n"
    )
    accounts = read_orders(path).accounts
    assert (accounts.rejected_by_rule, accounts.amount_forms) == ({"unreadable_amount": 2}, {"x": 1})


@pytest.mark.parametrize(
    "amount",
    [
        "10%",
        "free",
        "(5.00)",
        "1,234",
        "anna@shop.de",
        "5.00.1",
        "Anna 12",
        "1,234.567890123456789012",
        "9" + " " * 5_000 + "#x",
    ],
)
def test_no_option_is_proposed_where_none_is_sure(csv_of: Write, amount: str) -> None:
    accounts = read_orders(csv_of(HEADER.replace(",", ";") + f"b;2024-01-09;1\na;2024-01-09;{amount}\n")).accounts
    assert accounts.repair is None
    assert "Unreadable amounts look like '" in accounts.summary()
    assert amount not in accounts.summary()
    assert "Anna" not in accounts.summary()


def test_dates_that_a_spreadsheet_counts_are_told(csv_of: Write) -> None:
    summary = read_orders(csv_of(HEADER + "a,45123,1\nb,45124.5,1\nc,2024-01-09,1\n")).accounts.summary()
    assert "Unreadable dates look like '99999' (1), '99999.9' (1). A spreadsheet keeps dates as such" in summary


def test_ids_that_a_spreadsheet_shortened_are_told(csv_of: Write) -> None:
    rows = "4.91303E+12,2024-01-01,1\n4E+12,2024-01-01,1\nJUNE+1,2024-01-01,1\n4903760000000,2024-01-01,1\n"
    accounts = read_orders(csv_of(HEADER + rows)).accounts
    assert (accounts.n_customers, accounts.shortened_ids) == (4, 2)
    assert "2 customer ids are numbers that a spreadsheet has shortened" in accounts.summary()


def test_without_an_amount_it_is_the_unit_price_times_the_quantity(csv_of: Write) -> None:
    columns = "CustomerID;InvoiceDate;UnitPrice;Quantity;InvoiceNo\n"
    path = csv_of(columns + "a;2024-01-01;2,5;4;1\na;2024-01-01;1;3;1\na;2024-01-05;2,5;-1;C1\nb;2024-01-05;;2;2\n")
    proposed = (
        "--map customer_id=CustomerID --map ordered_at=InvoiceDate --map unit_price=UnitPrice --map quantity=Quantity "
        "--map order_id=InvoiceNo"
    )
    with pytest.raises(OrdersError, match=proposed):
        read_orders(path)
    mapping = dict(word.split("=") for word in proposed.split() if "=" in word)
    intake = read_orders(path, ReadOptions(mapping=mapping, decimal=","))
    assert rules(intake) == {"unreadable_amount": 1}
    assert sorted(intake.log.amount.tolist()) == [-2.5, 3.0, 10.0]
    assert intake.log.event is not None
    assert len(set(intake.log.event)) == 2  # an order of two lines, and its refund


def test_a_total_of_another_name_stands_before_a_unit_price(csv_of: Write) -> None:
    path = csv_of("customer_id,ordered_at,total,unit_price,quantity\na,2024-01-01,5,2,3\n")
    with pytest.raises(OrdersError, match="--map amount=total"):
        read_orders(path)
    assert read_orders(path, ReadOptions(mapping={"unit_price": "unit_price"})).log.amount.tolist() == [6.0]


def test_words_for_nothing_are_no_unreadable_amounts(csv_of: Write) -> None:
    rows = "".join(f"a,2024-01-0{day},{text}\n" for day, text in enumerate(["NULL", " ", "n/a", "-", "5"], 1))
    accounts = read_orders(csv_of(HEADER + rows)).accounts
    assert (accounts.rejected_by_rule, accounts.amount_forms.total()) == ({"unreadable_amount": 4}, 0)


def test_an_amount_stands_before_a_unit_price(csv_of: Write) -> None:
    path = csv_of("customer_id,ordered_at,amount,unit_price,quantity\na,2024-01-01,7,2,3\n")
    assert read_orders(path).log.amount.tolist() == [7.0]
    with pytest.raises(OrdersError, match="the one is the value of the row, the other makes it"):
        read_orders(path, ReadOptions(mapping={"unit_price": "unit_price"}))


def test_two_currencies_are_refused(csv_of: Write) -> None:
    path = csv_of("customer_id,ordered_at,amount,currency\na,2024-01-01,1,EUR\na,2024-01-02,1,USD\n")
    with pytest.raises(OrdersError, match="2 currencies: EUR, USD"):
        read_orders(path)


def test_orders_never_paid_do_not_count(csv_of: Write) -> None:
    path = csv_of(
        "customer_id,ordered_at,amount,status\na,2024-01-01,1,completed\na,2024-01-02,2,wc-pending\n"
        "a,2024-01-03,4,Cancelled\na,2024-01-04,8,refunded\n"
    )
    intake = read_orders(path)
    assert rules(intake) == {"never_paid": 2}
    assert intake.log.amount.tolist() == [1.0, 8.0]
    assert intake.accounts.statuses == {"completed": 1, "refunded": 1}
    assert "counted as paid: completed 1, refunded 1" in intake.accounts.summary()


def test_statuses_that_count_are_named_the_most_frequent_first(csv_of: Write) -> None:
    rows = "".join(f"a,2024-01-{day:02},1,{status}\n" for status in "abcdefg" for day in range(1, 28 - ord(status) % 7))
    summary = read_orders(csv_of("customer_id,ordered_at,amount,status\n" + rows)).accounts.summary()
    shown = summary.partition("counted as paid: ")[2]
    assert shown.endswith("and 2 other statuses.")
    counts = [int(part.split()[1]) for part in shown.removesuffix(" and 2 other statuses.").split(", ")]
    assert len(counts) == 5
    assert counts == sorted(counts, reverse=True)


def test_quantities_that_contradict_their_amount_are_told(csv_of: Write) -> None:
    path = csv_of("customer_id,ordered_at,amount,quantity\na,2024-01-01,5,-1\na,2024-01-02,-5,-1\na,2024-01-03,5,1\n")
    accounts = read_orders(path).accounts
    assert (accounts.n_valid, accounts.opposite_quantities) == (3, 1)
    assert "1 rows have a quantity below 0 and an amount above" in accounts.summary()


def test_a_repeated_order_id_without_line_items(csv_of: Write) -> None:
    path = csv_of(
        "customer_id,ordered_at,amount,order_id\na,2024-01-01,1,o1\na,2024-01-01,1,o1\n"
        "a,2024-01-02,2,o2\na,2024-01-02,3,o2\na,2024-01-03,4,o3\n"
    )
    intake = read_orders(path)
    assert rules(intake) == {"conflicting_order_id": 2, "repeated_order_id": 1}
    assert intake.log.amount.tolist() == [1.0, 4.0]


def test_identical_rows_without_an_order_id_are_kept_and_counted(csv_of: Write) -> None:
    intake = read_orders(csv_of(HEADER + "a,2024-01-01,1\na,2024-01-01,1\n"))
    assert (intake.accounts.n_valid, intake.accounts.identical_rows) == (2, 1)


def test_identical_line_items_are_dropped_only_when_told(csv_of: Write) -> None:
    path = csv_of(
        "customer_id,ordered_at,amount,order_id,product_id\n" + "a,2024-01-01,1,o1,p\n" * 2 + "a,2024-01-01,1,o1,q\n"
    )
    kept = read_orders(path)
    assert (kept.accounts.n_valid, kept.accounts.identical_rows) == (3, 1)
    dropped = read_orders(path, ReadOptions(drop_repeated_lines=True))
    assert rules(dropped) == {"repeated_line_item": 1}


def test_cdnow_is_read_whole(cdnow_path: Path) -> None:
    intake = read_orders(str(cdnow_path))
    assert (intake.accounts.n_read, intake.accounts.n_rejected, intake.log.n_customers) == (69_659, 0, 23_570)
    assert intake.log.amount.sum() == pytest.approx(2_500_315.63)
    assert intake.accounts.identical_rows == 255


def test_a_frame_is_read_like_a_file() -> None:
    frame = pd.DataFrame(
        {"customer_id": [1, 2], "ordered_at": pd.to_datetime(["2024-01-01", None]), "amount": [1.0, 2.0]}
    )
    intake = orders_from_frame(frame)
    assert rules(intake) == {"unreadable_date": 1}
    assert list(intake.log.customer_ids) == ["1"]


def test_unknown_names_in_a_mapping_are_refused() -> None:
    with pytest.raises(UsageError, match="order contract: custmer"):
        ReadOptions(mapping={"custmer": "x"})


def test_an_empty_frame_is_an_empty_log() -> None:
    frame = pd.DataFrame({"customer_id": ["a"], "ordered_at": ["2024-01-01"], "amount": [1.0]}, dtype=object)
    assert orders_from_frame(frame.iloc[:0]).accounts.n_read == 0
    assert orders_from_frame(pd.DataFrame(columns=["customer_id", "ordered_at", "amount"])).accounts.n_read == 0


def test_zoned_times_of_a_frame_are_read_without_a_warning() -> None:
    times = pd.to_datetime(["2024-07-01T00:30"]).tz_localize("Europe/Berlin")
    log = orders_from_frame(pd.DataFrame({"customer_id": ["a"], "ordered_at": times, "amount": [1.0]})).log
    assert log.ordered_at.tolist() == [parse_instant("2024-06-30T22:30")]


def test_a_refund_under_its_orders_id_is_no_copy_of_it(csv_of: Write) -> None:
    path = csv_of("customer_id,ordered_at,amount,order_id\na,2024-01-01,10,1\na,2024-01-05,10,2\na,2024-06-05,-10,2\n")
    intake = read_orders(path)
    assert (intake.accounts.n_rejected, intake.log.amount.tolist()) == (0, [10.0, 10.0, -10.0])


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
    assert rules(read_orders(str(tmp_path))) == {"never_paid": 1}


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


def test_a_column_named_amount_may_be_said_to_be_the_quantity(csv_of: Write) -> None:
    path = csv_of("customer_id,ordered_at,amount,price\na,2024-01-01,3,2.5\n")
    told = ReadOptions(mapping={"quantity": "amount", "unit_price": "price"})
    assert read_orders(path, told).log.amount.tolist() == [7.5]


def test_the_first_rule_that_a_row_breaks_is_told(csv_of: Write) -> None:
    path = csv_of("customer_id,ordered_at,amount,quantity\n,2024-01-01,1,two\na,soon,1,two\nb,2024-01-01,1,two\n")
    found = rules(orders := read_orders(csv_of(Path(path).read_text() + "c,2024-01-01,1,2\n")))
    assert found == {"no_customer": 1, "unreadable_date": 1, "unreadable_number": 1}
    assert orders.rejected.column("row").to_pylist() == [1, 2, 3]


def test_a_skipped_hour_does_not_depend_on_other_rows(csv_of: Write) -> None:
    row, zone = "a,2024-03-31 02:30:00,1\n", ReadOptions(timezone="Europe/Berlin")
    alone = read_orders(csv_of(HEADER + row), zone).log.ordered_at.tolist()
    beside = read_orders(csv_of(HEADER + row + "b,soon,1\n"), zone).log.ordered_at.tolist()
    assert alone == beside == [parse_instant("2024-03-31T01:00:00Z")]


def test_thousands_marks_group_by_three(csv_of: Write) -> None:
    intake = read_orders(csv_of(HEADER + 'a,2024-01-01,"12,50"\na,2024-01-02,"1,250.5"\n'), ReadOptions(thousands=","))
    assert intake.log.amount.tolist() == [1250.5]
    assert rules(intake) == {"unreadable_amount": 1}


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
