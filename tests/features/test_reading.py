"""What the door lets in, sets aside, or refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

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


def test_a_file_without_one_usable_row_is_refused(csv_of: Write) -> None:
    with pytest.raises(OrdersError, match=r"no usable order.*no_customer 1"):
        read_orders(csv_of(HEADER + ",2024-01-01,1\n"))


def test_a_missing_column_is_named_and_a_mapping_proposed(csv_of: Write) -> None:
    path = csv_of("Customer ID,InvoiceDate,Total\na,2024-01-01,1\n")
    with pytest.raises(
        OrdersError, match="--map customer_id='Customer ID' --map ordered_at=InvoiceDate --map amount=Total"
    ):
        read_orders(path)


def test_a_third_of_null_ids_is_counted(csv_of: Write) -> None:
    rows = "".join(f"{'' if i % 10 < 3 else i},2024-01-01,1\n" for i in range(100))
    assert rules(read_orders(csv_of(HEADER + rows))) == {"no_customer": 30}


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


def test_a_line_item_without_a_status_has_that_of_its_order(csv_of: Write) -> None:
    """As exports that say what an order is on its first line alone."""
    path = csv_of(
        "order_id,customer_id,ordered_at,amount,quantity,status\n"
        "1,a,2024-01-01,10,1,voided\n1,a,2024-01-01,5,1,\n"
        "2,a,2024-01-02,20,1,paid\n2,a,2024-01-02,7,1,\n"
        "3,a,2024-01-03,1,1,voided\n3,a,2024-01-03,2,1,paid\n3,a,2024-01-03,3,1,\n"
        "1,b,2024-01-01,11,1,\n,b,2024-01-01,12,1,\n"
    )
    intake = read_orders(path)
    assert rules(intake) == {"never_paid": 3}
    assert sorted(intake.log.amount.tolist()) == [2.0, 3.0, 7.0, 11.0, 12.0, 20.0]
    without_lines = csv_of(
        "order_id,customer_id,ordered_at,amount,status\n1,a,2024-01-01,10,voided\n1,a,2024-01-02,5,\n"
    )
    assert read_orders(without_lines).log.amount.tolist() == [5.0]


@pytest.mark.parametrize("status", ["pending_payment", "Pending Payment", "pending-payment", "fraud", "checkout-draft"])
def test_a_status_is_known_however_its_words_stand_apart(csv_of: Write, status: str) -> None:
    path = csv_of(f"customer_id,ordered_at,amount,status\na,2024-01-01,1,{status}\na,2024-01-02,2,on-hold\n")
    intake = read_orders(path)
    assert (rules(intake), intake.accounts.statuses) == ({"never_paid": 1}, {"on-hold": 1})


@pytest.mark.parametrize("name", ["Financial Status", "Статус", "payment_status", "Order status"])
def test_a_status_under_another_name_is_pointed_at(csv_of: Write, name: str) -> None:
    path = csv_of(f"customer_id,ordered_at,amount,{name}\na,2024-01-01,1,paid\n")
    mapped = ReadOptions(mapping={"status": name})
    assert f"{name!r} is not read: if it says which orders were paid" in open_raw(path, ReadOptions()).hint
    assert open_raw(path, mapped).hint == ""
    assert open_raw(path, ReadOptions(mapping={"channel": name})).hint == ""
    with pytest.raises(OrdersError, match=f"--map status='?{name}"):
        read_orders(csv_of(f"Email,Created at,Total,{name}\na,2024-01-01,1,paid\n"))


def test_statuses_that_count_are_named_the_most_frequent_first(csv_of: Write) -> None:
    rows = "".join(
        f"a,2024-01-{day:02},1,{status}\n" for status in "abcdefghijklmn" for day in range(1, 28 - ord(status) % 7)
    )
    summary = read_orders(csv_of("customer_id,ordered_at,amount,status\n" + rows)).accounts.summary()
    shown = summary.partition("counted as paid: ")[2]
    assert shown.endswith("and 2 other statuses (leave out of the export what is not).")
    counts = [int(part.split()[1]) for part in shown.removesuffix(" and 2 other statuses.").split(", ")]
    assert len(counts) == 12
    assert counts == sorted(counts, reverse=True)


def test_quantities_that_contradict_their_amount_are_told(csv_of: Write) -> None:
    path = csv_of("customer_id,ordered_at,amount,quantity\na,2024-01-01,5,-1\na,2024-01-02,-5,-1\na,2024-01-03,5,1\n")
    accounts = read_orders(path).accounts
    assert (accounts.n_valid, accounts.opposite_quantities) == (3, 1)
    assert "1 rows have a quantity below 0 and an amount above" in accounts.summary()


def test_refunds_that_are_nobodys_are_told(csv_of: Write) -> None:
    """As a shop's table has them, whose refunds name their order alone: totals stay too high without them."""
    accounts = read_orders(
        csv_of(HEADER + "a,2024-01-01,20\n,2024-01-02,-5\nb,,-7\n,2024-01-02,5\nc,2024-01-03,-1\n")
    ).accounts
    assert accounts.lost_refunds == 2
    assert "2 of the rejected rows are refunds" in accounts.summary()
    assert "refunds" not in read_orders(csv_of(HEADER + "a,2024-01-01,20\n,2024-01-02,5\n")).accounts.summary()


def test_an_order_may_be_refunded_bit_by_bit_under_its_id(csv_of: Write) -> None:
    rows = ["-01,100", "-05,-10", "-09,-20", "-09,-20", "-11,-1", "-11,-2"]
    path = csv_of("customer_id,ordered_at,amount,order_id\n" + "".join(f"a,2024-01{row},o1\n" for row in rows))
    intake = read_orders(path)
    assert intake.log.amount.tolist() == [100.0, -10.0, -20.0]
    assert rules(intake) == {"repeated_order_id": 1, "conflicting_order_id": 2}  # of one moment


def test_order_ids_on_unusable_rows_alone(csv_of: Write) -> None:
    with pytest.raises(OrdersError, match="holds no usable order"):
        read_orders(csv_of("customer_id,ordered_at,amount,order_id\n,2024-01-01,1,o1\n"))


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


@pytest.mark.parametrize(
    "amount", ["($12.50)", "$12.50-", "-$12.50", "$-12.50", "(12.50)", "12.50-", "\u221212.50", "- $12.50"]
)
def test_an_accountants_refund_is_read(csv_of: Write, amount: str) -> None:
    path = csv_of(HEADER + f"a,2024-01-01,$20.00\na,2024-01-02,{amount}\n")
    assert read_orders(path, ReadOptions(currency_symbol="$")).log.amount.tolist() == [20.0, -12.5]


@pytest.mark.parametrize("amount", ["(-5)", "--5", "+5-", "()", "(5", "5)", "-"])
def test_signs_that_contradict_each_other_are_not_read(csv_of: Write, amount: str) -> None:
    assert rules(read_orders(csv_of(HEADER + f"a,2024-01-01,1\na,2024-01-02,{amount}\n"))) == {"unreadable_amount": 1}


@pytest.mark.parametrize("space", [" ", "\u00a0", "\u202f", "\u2009"])
def test_all_spaces_between_thousands_are_alike(csv_of: Write, space: str) -> None:
    path = csv_of("customer_id;ordered_at;amount\n" + f"a;2024-01-01;12{space}500,50 ₽\na;2024-01-02;1 2;3\n")
    told = ReadOptions(thousands=" ", decimal=",", currency_symbol="₽")
    assert read_orders(path, told).log.amount.tolist() == [12_500.5]
    assert read_orders(path, replace(told, thousands="\u00a0")).log.amount.tolist() == [12_500.5]


def test_column_names_that_are_not_utf8_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes("Клиент;Дата;Сумма\na;2024-01-01;5\n".encode("cp1251"))
    with pytest.raises(OrdersError, match=r"not UTF-8\. Export it as UTF-8"):
        read_orders(str(path), ReadOptions(mapping={"customer_id": "Клиент"}))


def test_thousands_marks_group_by_three(csv_of: Write) -> None:
    intake = read_orders(csv_of(HEADER + 'a,2024-01-01,"12,50"\na,2024-01-02,"1,250.5"\n'), ReadOptions(thousands=","))
    assert intake.log.amount.tolist() == [1250.5]
    assert rules(intake) == {"unreadable_amount": 1}
