"""Arrow columns of any type → the contract's types. Nothing is guessed; what cannot be read is null.

Texts are parsed once per distinct value, first by Arrow in one go, one by one only where that fails.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import BoolArray, FloatArray, IntArray
from features.arrow import array, filled, to_numpy
from features.columns import AMOUNT, QUANTITY, UNIT_PRICE
from features.encoding import dictionary_of, indices_of
from features.errors import OrdersError, listed
from features.instants import NO_INSTANT, from_iso, to_us
from features.options import DateOrder, ReadOptions
from features.typed import Codes

_NATIONAL: Final = re.compile(
    r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([AaPp][Mm])?)?"
)
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ANY_SPACE: Final = r"[\s\x{a0}\x{2007}\x{2009}\x{202f}]"
"""White space, the kinds that no line is broken at among them."""
_NOT_FINITE: Final = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)


def text_codes(column: pa.ChunkedArray, name: str) -> Codes:
    """Codes of a text column, distinct values ascending; blank and null are -1.

    Ids stay as they are written: `00012`, `12.0` and `12` are three customers.

    Raises
    ------
    OrdersError
        The column's type is nested, binary or boolean.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_nested(kind) or pa.types.is_boolean(kind) or _is_binary(kind):
        raise OrdersError(f"Column {name} has the type {column.type}; it must hold texts or whole numbers.")
    encoded = dictionary_of(column)
    values = _as_text(encoded.dictionary, name)
    order = to_numpy(pc.sort_indices(values))
    ordered = np.array(values.take(array(order)).to_pylist(), dtype=object)
    rank = np.full(len(values) + 1, -1, dtype=np.int32)
    rank[order] = np.arange(len(values), dtype=np.int32)
    blank = to_numpy(filled(pc.utf8_length(pc.utf8_trim_whitespace(values)), 0))[order] == 0
    codes = rank.take(indices_of(encoded, null=len(values)))
    if blank.any():
        kept = np.append(np.where(blank, -1, np.cumsum(~blank) - 1), -1).astype(np.int32)
        codes, ordered = kept[codes], ordered[~blank]
    return Codes(codes, ordered)


def instants(column: pa.ChunkedArray, options: ReadOptions) -> IntArray:
    """Instants in µs UTC, NO_INSTANT where a value is no date; naive times are read in the zone.

    Raises
    ------
    OrdersError
        The type is no date or text; or texts are in a national form that was not announced, or
        in another order of day and month than announced (three examples are shown).
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _timestamps(column.cast(kind), options.zone)
    if not _is_text(kind):
        raise OrdersError(
            f"Column ordered_at has the type {column.type}; it must hold dates, timestamps or ISO 8601 texts."
        )
    encoded = dictionary_of(column)
    texts = _as_text(encoded.dictionary, "ordered_at")
    return np.append(_instants_of_texts(texts, options), NO_INSTANT)[indices_of(encoded, null=len(texts))]


def amounts(table: pa.Table, options: ReadOptions) -> FloatArray:
    """Value of each row: its amount or, in a log without, its unit price times its quantity; NaN where it has none."""
    if AMOUNT in table.column_names:
        return numbers(table.column(AMOUNT), AMOUNT, options)[0]
    price, quantity = (numbers(table.column(name), name, options)[0] for name in (UNIT_PRICE, QUANTITY))
    with np.errstate(invalid="ignore"):  # nothing of an infinite price
        return price * quantity


def numbers(column: pa.ChunkedArray, name: str, options: ReadOptions) -> tuple[FloatArray, IntArray]:
    """Return float64 values and the places of texts that are no number; null and unreadable are NaN.

    Raises
    ------
    OrdersError
        The type is neither a number nor a text.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        plain = column if column.type == kind else column.cast(kind)
        if pa.types.is_decimal(kind):  # by way of its text, the nearest double: 3.30 is 3.3
            plain = plain.cast(pa.string())
        values = plain.cast(pa.float64(), safe=False)
        return to_numpy(filled(values, math.nan)), np.empty(0, dtype=np.int64)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan), np.empty(0, dtype=np.int64)
    if not _is_text(kind):
        raise OrdersError(f"Column {name} has the type {column.type}; it must hold numbers.")
    encoded = dictionary_of(column)
    texts = _as_text(encoded.dictionary, name)
    parsed, unreadable = _numbers_of_texts(texts, options)
    places = indices_of(encoded, null=len(texts))
    return np.append(parsed, np.nan)[places], np.flatnonzero(np.append(unreadable, False)[places])


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
    )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _as_text(values: pa.Array, name: str) -> pa.Array:
    try:
        if pa.types.is_floating(values.type):  # whole numbers that met a null on their way
            values = values.cast(pa.int64())
        if pa.types.is_decimal(values.type):  # whole numbers of a database without others
            values = values.cast(pa.decimal128(38, 0))
        return values.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise OrdersError(f"Column {name} of type {values.type} cannot be read as text: write ids as texts.") from error


def _timestamps(column: pa.ChunkedArray, zone: tzinfo) -> IntArray:
    """Microseconds UTC; a naive time that a clock change skips or repeats is the later or the earlier instant."""
    try:
        moments = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
        if pa.types.is_timestamp(column.type) and column.type.unit in ("s", "ms"):
            column.cast(moments.type)  # fails where the wider unit does not fit
    except pa.ArrowInvalid as error:
        raise OrdersError("Column ordered_at holds instants beyond any calendar: check its unit.") from error
    if moments.type.tz is None and zone is not UTC:
        moments = pc.assume_timezone(moments, str(zone), ambiguous="earliest", nonexistent="latest")
    return to_numpy(filled(moments.cast(pa.int64()), NO_INSTANT))


def _instants_of_texts(texts: pa.Array, options: ReadOptions) -> IntArray:
    if options.dates is DateOrder.ISO:
        for zone in (None, "UTC"):  # one vectorised pass when all are plain ISO, without an offset or with one
            with suppress(pa.ArrowInvalid):
                return _timestamps(pa.chunked_array([texts.cast(pa.timestamp("us", zone))]), options.zone)
    _refuse_other_order(texts, options.dates)
    read = [_moment(text, options.dates) for text in texts.to_pylist()]
    aware = np.array([m is not None and m.tzinfo is not None for m in read], dtype=np.bool_)
    naive = pa.array([None if m is None or m.tzinfo is not None else m for m in read], pa.timestamp("us"))
    out = _timestamps(pa.chunked_array([naive]), options.zone).copy()
    out[aware] = [_aware_us(read[place]) for place in np.flatnonzero(aware)]
    return out


def _aware_us(moment: datetime | None) -> int:
    try:
        return NO_INSTANT if moment is None else to_us(moment)
    except (ValueError, OverflowError):
        return NO_INSTANT


def _moment(text: str | None, dates: DateOrder) -> datetime | None:
    """Read one date text; ISO is always understood, a national form only when announced."""
    if text is None:
        return None
    national = _NATIONAL.fullmatch(text.strip())
    try:
        return from_iso(text.strip()) if national is None else _national(national, dates)
    except ValueError:
        return None


def _national(parts: re.Match[str], dates: DateOrder) -> datetime:
    first, second, year, hour, minute, second_of_minute, half = parts.groups()
    day, month = (first, second) if dates is DateOrder.DMY else (second, first)
    hours = int(hour or 0)
    if half:
        hours = hours % 12 + (12 if half.lower() == "pm" else 0)
    return datetime(
        int(year),
        int(month),
        int(day),
        hours,
        int(minute or 0),
        int(second_of_minute or 0),
    )


def _refuse_other_order(texts: pa.Array, dates: DateOrder) -> None:
    found = [(text, match) for text in texts.to_pylist() if text and (match := _NATIONAL.fullmatch(text.strip()))]
    if not found:
        return
    if dates is DateOrder.ISO:
        raise OrdersError(
            f"ordered_at holds dates in a national form: {listed(text for text, _ in found[:3])}. Day and month are "
            "never guessed: say --dates dmy (day first) or --dates mdy (month first), or write ISO 8601."
        )
    month_place = 2 if dates is DateOrder.DMY else 1
    wrong = [text for text, match in found if int(match[month_place]) > 12 >= int(match[3 - month_place])]
    if wrong:
        raise OrdersError(
            f"ordered_at holds dates that cannot be {dates.value}: {listed(wrong[:3])}. Give --dates the order that "
            "all rows have; if they mix both, export the log with ISO 8601 dates."
        )


def _numbers_of_texts(texts: pa.Array, options: ReadOptions) -> tuple[FloatArray, BoolArray]:
    plain = pc.replace_substring(pc.utf8_trim_whitespace(texts), "\u2212", "-")  # the typographer's minus
    plain = pc.replace_substring_regex(plain, r"^\((.+)\)$", r"-\1")  # an accountant's, as the one behind is
    plain = pc.replace_substring_regex(plain, r"^([^+-].*)-$", r"-\1")
    if options.currency_symbol:
        plain = pc.replace_substring(plain, options.currency_symbol, "")
        plain = pc.replace_substring_regex(pc.utf8_trim_whitespace(plain), r"^-\s+", "-")
    if options.thousands:  # only where it groups by three: "12,50" is no 1250
        mark = _ANY_SPACE if options.thousands.isspace() else re.escape(options.thousands)
        grouped = pc.match_substring_regex(
            plain, rf"^[+-]?\d{{1,3}}({mark}\d{{3}})+({re.escape(options.decimal)}\d*)?$"
        )
        plain = pc.if_else(grouped, pc.replace_substring_regex(plain, mark, ""), plain)
    if options.decimal != ".":
        plain = pc.replace_substring(pc.replace_substring(plain, ".", "?"), options.decimal, ".")
    items = plain.to_pylist()
    values = np.array([_number(text) for text in items], dtype=np.float64)
    unreadable = np.array([_is_unreadable(text) for text in items], dtype=np.bool_)
    return values, unreadable


def _number(text: str | None) -> float:
    if text is None or not (_NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text)):
        return math.nan
    value = float(text)
    return math.inf if math.isnan(value) else value  # "nan" was written, not left empty


def _is_unreadable(text: Any) -> bool:
    return bool(text) and not (_NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text))
