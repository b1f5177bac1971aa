"""What texts that could not be read look like, without showing one, and the option that would read them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrow import texts
from features.columns import AMOUNT
from features.options import ReadOptions
from features.parsing import numbers

_MARK: Final = r"(?:[^\w\s.,'’+()…%*−–—-]{1,3}|[A-Z]{3}|руб\.?|р\.|грн\.?|тг\.?|лв\.?|zł|Kč|Ft|kr\.?|lei)?"
"""Of a currency: a symbol, its code, or what stands for it in shops that write words."""
_MONEY: Final = re.compile(rf"\s*({_MARK})\s*([+-]?\d[\d.,'’\s]*?)\s*({_MARK})\s*")
_GROUPED: Final = re.compile(
    r"[+-]?\d{1,3}(?:(?P<thousands>[.,'’\s])\d{3})(?:(?P=thousands)\d{3})*(?P<decimal>[.,])?\d*"
)
_PLAIN: Final = re.compile(r"[+-]?\d+(?:(?P<decimal>[.,])(?:\d\d?|\d{4,}))?")
_NOTHING: Final = frozenset({"", "null", "none", "nan", "na", "n/a", "-", "\\n"})
"""Texts that say that there is no value."""
_LONGEST: Final = 20
_SHOWN: Final = 3
_COUNTED_DATES: Final = (
    (r"9{5}(\.9+)?", "A spreadsheet keeps dates as such numbers: give the column a date format and export it again"),
    (r"9{10}(\.9+)?", "Seconds since 1970? Write them as dates, ISO 8601"),
    (r"9{13}", "Milliseconds since 1970? Write them as dates, ISO 8601"),
)


def forms_of(column: pa.ChunkedArray) -> Counter[str]:
    """How often texts of each form occur: digits are 9, letters x but for a currency's code. Nulls have none."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return Counter()
    found: Counter[str] = Counter()
    for one in column.value_counts().to_pylist():
        if one["values"] and one["values"].strip().lower() not in _NOTHING:
            found[_form(one["values"])] += one["counts"]
    return found


def marked(column: pa.ChunkedArray, mark: str) -> Counter[str]:
    """How many texts have digits on both sides of the decimal mark: three behind it, as a thousand has, or `other`."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return Counter()
    values, counts = column.value_counts().flatten()
    three = pc.match_substring_regex(values, rf"^\D*[1-9]\d{{0,2}}{re.escape(mark)}\d{{3}}\D*$")
    every = pc.match_substring_regex(values, rf"\d{re.escape(mark)}\d")
    found = {f"9{mark}999": counts.filter(three), "other": counts.filter(pc.and_not(every, three))}
    return +Counter({form: pc.sum(some).as_py() or 0 for form, some in found.items()})


def _form(text: str) -> str:
    text = text.strip()
    form = re.sub(r"\d", "9", text[:_LONGEST])
    if len(text) > _LONGEST or _MONEY.fullmatch(form) is None:
        form = re.sub(r"[^\W\d_]+", "x", form)
    return form if len(text) <= _LONGEST else form + "…"


def shown_forms(forms: Counter[str]) -> str:
    """The most frequent forms, and how often each occurs."""
    return ", ".join(f"'{form}' ({count:,})" for form, count in forms.most_common(_SHOWN))


def dates_repair(forms: Collection[str]) -> str | None:
    """What numbers in the place of dates may be; None for anything else."""
    return next((repair for kind, repair in _COUNTED_DATES if any(re.fullmatch(kind, form) for form in forms)), None)


def amounts_repair(forms: Iterable[str]) -> str | None:
    """Options under which the first of the forms, and others as far as they agree, are numbers; None where none is.

    They hold for all amounts of a log, so that it must not be written in two ways.
    """
    given: dict[str, str] = {}
    for form in forms:
        tried = {**_marks(form), **given}
        if tried != given and _reads(form, tried):
            given = tried
    if len(given) > 1 and given.get("decimal") == ".":
        given.pop("decimal")  # as if nothing is said
    return " ".join(f"--{name.replace('_', '-')} {_quoted(mark)}" for name, mark in sorted(given.items())) or None


def _marks(form: str) -> dict[str, str]:
    money = _MONEY.fullmatch(form)
    if money is None:
        return {}
    number = _PLAIN.fullmatch(money[2]) or _GROUPED.fullmatch(money[2])
    marks = {} if number is None else {name: mark for name, mark in number.groupdict().items() if mark}
    if marks.get("thousands") and "decimal" not in marks and money[2].count(marks["thousands"]) == 1:
        return {}  # 9,999 may be either
    if marks.get("thousands") == ".":
        marks["decimal"] = ","
    symbol = money[1] or money[3]
    return {**marks, "currency_symbol": symbol} if symbol else marks


def _reads(form: str, marks: dict[str, str]) -> bool:
    if marks.get("thousands") == marks.get("decimal", "."):
        return False
    values, _ = numbers(pa.chunked_array([texts([form])]), AMOUNT, ReadOptions(**marks))  # type: ignore[arg-type]
    return bool(np.isfinite(values[0]))


def _quoted(mark: str) -> str:
    if mark.isspace():
        return '" "'  # whatever space it is, all are read alike
    return f'"{mark}"' if mark in ("'", "’") or not mark.isascii() else mark
