"""Instants as int64 microseconds since 1970-01-01 UTC, the only form of time inside the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np

from features.arrays import BoolArray, ByteArray, IntArray, MonthArray
from features.errors import UsageError

DAY_US: Final = 86_400_000_000
YEAR_DAYS: Final = 365.25
NO_INSTANT: Final = np.iinfo(np.int64).min
"""Stands for an unreadable instant until the row is rejected."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_US: Final = (datetime(1800, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
LATEST_US: Final = (datetime(3000, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_TABLE_DAYS: Final = 1024
_MANY: Final = 64
_NUMBERS: Final = ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))
_EARLIEST_YEAR: Final = 1800
_MONTHS: Final = np.arange("1800-01", "3000-02", dtype="M8[M]").astype("M8[D]").astype(np.int64)
"""First day of each month since 1970-01-01, from the earliest year to the one after the last."""
_SHAPES: Final = {10: "0000-00-00\n", 20: "0000-00-00T00:00:00Z\n"}
"""By the length of a text: its digits and marks, and what parts it from the next one."""
_OFFSET_STEP_US = 900_000_000  # every zone of the tz database changes on a quarter of an hour


Values = TypeVar("Values", ByteArray, MonthArray)


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch; a naive moment is one of UTC.

    Raises
    ------
    ValueError
        Before 1800 or after 2999: no order was made then, and calendar arithmetic has room to spare.
    """
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    instant = (aware - _EPOCH) // timedelta(microseconds=1)
    if not EARLIEST_US <= instant <= LATEST_US:
        raise ValueError(f"{moment.isoformat()} is not between 1800 and 2999")
    return instant


def from_us(instant_us: int) -> datetime:
    """Aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=int(instant_us))


def isoformat(instant_us: int) -> str:
    """ISO 8601 with `Z`, to the second, or to the microsecond where there is a fraction."""
    return from_us(instant_us).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> int:
    """Read an ISO 8601 date or date-time such as `1998-04-02` or `2024-05-01T10:00:00+02:00`; UTC without an offset.

    Raises
    ------
    UsageError
        The text is not ISO 8601.
    """
    try:
        return to_us(from_iso(text.strip()))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is not a date. Write ISO 8601, for example 1998-04-02 or 1998-04-02T12:00:00Z."
        ) from error


def from_iso(text: str) -> datetime:
    """Read ISO 8601; raises ValueError. Digits alone are a date where they are eight: others are seconds or serials."""
    if text.isdigit() and len(text) != 8:
        raise ValueError(text)
    return datetime.fromisoformat(text)


def instants_of(texts: Sequence[str]) -> IntArray:
    """Instants of many ISO 8601 texts, without an offset read as UTC; NO_INSTANT where unreadable, shape (n,)."""
    found = _of_one_shape(texts) if len(texts) >= _MANY else None
    return np.array([_or_none(text) for text in texts], dtype=np.int64) if found is None else found


def _or_none(text: str) -> int:
    try:
        return to_us(from_iso(text))
    except (ValueError, OverflowError):
        return NO_INSTANT


def _of_one_shape(texts: Sequence[str]) -> IntArray | None:
    """Instants of texts that all look like `2024-05-01` or `2024-05-01T10:00:00Z`; None where one does not."""
    shape, lines = _SHAPES.get(len(texts[0])), "\n".join(texts) + "\n"
    if shape is None or len(lines) != len(texts) * len(shape) or not lines.isascii():
        return None
    marks = np.ascontiguousarray(np.frombuffer(lines.encode(), dtype=np.uint8).reshape(-1, len(shape)).T)
    wanted = np.frombuffer(shape.encode(), dtype=np.uint8)[:, np.newaxis]
    digits = marks - wanted  # what is below wraps around
    if (digits > np.where(wanted == ord("0"), 9, 0)).any():
        return None
    year, month, day, hour, minute, second = (_number(digits[low:high]) for low, high in _NUMBERS)
    months = (year - _EARLIEST_YEAR) * 12 + month - 1
    if not (month.min() >= 1 and month.max() <= 12 and months.min() >= 0 and months.max() < len(_MONTHS) - 1):
        return None
    days = _MONTHS[months] + day - 1
    if not (day.min() >= 1 and (days < _MONTHS[months + 1]).all()):
        return None
    if hour.max() > 23 or minute.max() > 59 or second.max() > 59:
        return None
    return np.asarray(days * DAY_US + ((hour * 60 + minute) * 60 + second) * 1_000_000, dtype=np.int64)


def _number(digits: ByteArray) -> IntArray:
    """Numbers of decimal digits, the highest first, shape (n_digits, n); 0 where there are none."""
    number = np.zeros(digits.shape[1], dtype=np.int64)
    for digit in digits:
        number *= 10
        number += digit
    return number


def next_midnight(instant_us: int, zone: tzinfo) -> int:
    """First midnight of the zone strictly after the instant."""
    local = from_us(instant_us).astimezone(zone)
    midnight = datetime(local.year, local.month, local.day, tzinfo=zone) + timedelta(days=1)
    return (midnight - _EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=100_000)
def _offset_us(bucket: int, zone: tzinfo) -> int:
    offset = from_us(bucket * _OFFSET_STEP_US).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // timedelta(microseconds=1)


def local_us(instants: IntArray, zone: tzinfo) -> IntArray:
    """Wall-clock microseconds in `zone`, shape as given."""
    if zone is UTC:
        return instants
    buckets, place = np.unique(instants // _OFFSET_STEP_US, return_inverse=True)
    offsets = np.array([_offset_us(int(bucket), zone) for bucket in buckets], dtype=np.int64)
    return instants + offsets[place.reshape(instants.shape)] if len(offsets) else instants


def in_weekend(days: IntArray) -> BoolArray:
    """Whether days since 1970-01-01 are a Saturday or Sunday."""
    return np.asarray((days + 3) % 7 >= 5)


def month_of_day(days: IntArray) -> MonthArray:
    """Months since 1970-01 of days since 1970-01-01."""
    return by_day(days, months)


@lru_cache(maxsize=16)
def months(low: int, high: int) -> MonthArray:
    """Months since 1970-01 of the days [low, high)."""
    return np.arange(low, high).astype("M8[D]").astype("M8[M]").astype(np.int16)


def by_day(days: IntArray, table_of: Callable[[int, int], Values]) -> Values:
    """What a table of days [low, high) has for each day: calendar arithmetic is slow, tables are kept."""
    first, last = (int(days.min()), int(days.max())) if len(days) else (0, 0)
    low, high = first // _TABLE_DAYS * _TABLE_DAYS, (last // _TABLE_DAYS + 1) * _TABLE_DAYS
    return table_of(low, high).take(days - low)
