"""What the summary tells of texts that could not be read."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from features.options import ReadOptions
from features.reading import read_orders

HEADER = "customer_id,ordered_at,amount\n"
Write = Callable[..., str]


@pytest.mark.parametrize(
    ("amounts", "repair"),
    [
        (["1.234,50 €", "5,00 €"], '--currency-symbol "€" --decimal , --thousands .'),
        (["5,00", "1.234,50", "2.000"], "--decimal , --thousands ."),
        (["$1,234.50", "$5.00"], "--currency-symbol $ --thousands ,"),
        (["1'234.50"], '--thousands "\'"'),
        (["EUR 5.00"], "--currency-symbol EUR"),
        (["5,00 руб.", "1\u00a0234,50 руб."], '--currency-symbol "руб." --decimal , --thousands " "'),
        (["5,00 kr"], "--currency-symbol kr --decimal ,"),
    ],
)
def test_amounts_that_an_option_would_read_are_told_by_their_form(
    csv_of: Write, amounts: list[str], repair: str
) -> None:
    rows = "".join(f"a;2024-01-0{day};{text}\n" for day, text in enumerate(amounts, 1))
    path = csv_of(HEADER.replace(",", ";") + "b;2024-01-09;1\n" + rows)
    summary = read_orders(path).accounts.summary()
    assert summary.endswith(f" Where all amounts are written so, say {repair}")
    assert "234" not in summary  # what was written is nobody's business
    words = dict(zip(*[iter(shlex.split(repair))] * 2, strict=True))
    told = ReadOptions(**{name[2:].replace("-", "_"): mark for name, mark in words.items()})
    assert read_orders(path, told).accounts.n_rejected == 0


def test_of_two_ways_to_write_amounts_the_more_frequent_one_is_proposed(csv_of: Write) -> None:
    path = csv_of(HEADER.replace(",", ";") + "a;2024-01-01;€5,25\n" * 3 + "b;2024-01-02;€5.25\n" + "c;2024-01-02;5\n")
    assert read_orders(path).accounts.repairs.endswith('say --currency-symbol "€" --decimal ,')


def test_an_option_that_hides_what_is_written_as_usual_is_told(csv_of: Write) -> None:
    path = csv_of(HEADER.replace(",", ";") + "a;2024-01-01;5.25\nb;2024-01-02;7\n")
    assert read_orders(path, ReadOptions(decimal=",")).accounts.summary().endswith("say --decimal .")


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
        "((5.00))",
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
    assert " say " not in accounts.repairs
    assert "Unreadable amounts look like '" in accounts.summary()
    assert amount not in accounts.summary()
    assert "Anna" not in accounts.summary()


def test_dates_that_a_spreadsheet_counts_are_told(csv_of: Write) -> None:
    summary = read_orders(csv_of(HEADER + "a,45123,1\nb,45124.5,1\nc,2024-01-09,1\n")).accounts.summary()
    assert "Unreadable dates look like '99999' (1), '99999.9' (1). A spreadsheet keeps dates as such" in summary
    summary = read_orders(csv_of(HEADER + "a,1704067200,1\nb,1801011212,1\nc,2024-01-09,1\n")).accounts.summary()
    assert "look like '9999999999' (2). Seconds since 1970?" in summary
    summary = read_orders(csv_of(HEADER + "a,yesterday,1\nb,2024-01-09,1\n")).accounts.summary()
    repair = (
        "Write all as ISO 8601, or, with the year in four digits and the month as a number, say --dates dmy or mdy."
    )
    assert f"look like 'x' (1). {repair}" in summary
    summary = read_orders(csv_of(HEADER + "a,1704067200000,1\nb,1801011212345,1\nc,20240109,1\n")).accounts.summary()
    assert "look like '9999999999999' (2). Milliseconds since 1970?" in summary


def test_amounts_that_may_be_thousands_are_told(csv_of: Write) -> None:
    rows = "".join(f"a;2024-01-01;{text}\n" for text in ("4.500", "12.794", "950", "-1.250") * 20)
    path = csv_of(HEADER.replace(",", ";") + rows)
    said = read_orders(path).accounts.summary()
    assert "60 amounts are written as 9.999 is, hardly any as 9.99, and are read as less than a thousand." in said
    assert said.endswith("If they are thousands, say --thousands . --decimal ,")
    told = read_orders(path, ReadOptions(thousands=".", decimal=","))
    assert told.log.amount.max() == 12_794.0
    assert "written as" not in told.accounts.summary()
    assert "written as" not in read_orders(path, ReadOptions(currency="KWD")).accounts.summary()
    for decimal in ("4.79", "4.7943", "0.125"):
        assert (
            "written as"
            not in read_orders(csv_of(HEADER.replace(",", ";") + rows + f"b;2024-01-01;{decimal}\n")).accounts.summary()
        )
    path = csv_of(HEADER.replace(",", ";") + rows.replace(".", ","))
    assert read_orders(path, ReadOptions(decimal=",")).accounts.summary().endswith("say --thousands , --decimal .")


def test_ids_that_a_spreadsheet_shortened_are_told(csv_of: Write) -> None:
    rows = "4.91303E+12,2024-01-01,1\n4E+12,2024-01-01,1\nJUNE+1,2024-01-01,1\n4903760000000,2024-01-01,1\n"
    accounts = read_orders(csv_of(HEADER + rows)).accounts
    assert (accounts.n_customers, accounts.shortened_ids) == (4, 2)
    assert "2 customer ids are numbers that a spreadsheet has shortened" in accounts.summary()


def test_words_for_nothing_are_no_unreadable_amounts(csv_of: Write) -> None:
    rows = "".join(f"a,2024-01-0{day},{text}\n" for day, text in enumerate(["NULL", " ", "n/a", "-", "5"], 1))
    accounts = read_orders(csv_of(HEADER + rows)).accounts
    assert (accounts.rejected_by_rule, accounts.amount_forms.total()) == ({"unreadable_amount": 4}, 0)


def test_a_typographers_minus_is_a_minus(csv_of: Write) -> None:
    path = csv_of(HEADER.replace(",", ";") + "a;2024-01-01;5\na;2024-01-02;\u22122.5\nb;2024-01-03;–3\n")
    intake = read_orders(path)
    assert sorted(intake.log.amount.tolist()) == [-2.5, 5.0]
    assert "'–9' (1)" in intake.accounts.repairs
    assert " say " not in intake.accounts.repairs  # a dash is no currency
