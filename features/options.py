"""How an order log is to be read: settings that the command line and `clv.toml` build once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.columns import ALL
from features.errors import UsageError, listed


class DateOrder(StrEnum):
    """Order of day, month and year in date texts; national forms are read only when told."""

    ISO = "iso"
    DMY = "dmy"
    MDY = "mdy"


@dataclass(frozen=True)
class ReadOptions:
    """Settings of a read.

    Attributes
    ----------
    mapping
        Contract name → the log's own column name, for columns named differently.
    table, query
        For a SQLAlchemy URL: the table, or the statement to run instead.
    dates
        Order of day, month and year in date texts.
    timezone
        Zone of naive times, and the business zone in which days and hours are cut.
    decimal, thousands, currency_symbol
        Marks in money texts, read only when told.
    currency
        ISO code of all amounts, where no column says it.
    drop_repeated_lines
        Drop identical line items of one order after the first.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    table: str | None = None
    query: str | None = None
    dates: DateOrder = DateOrder.ISO
    timezone: str = "UTC"
    decimal: str = "."
    thousands: str | None = None
    currency_symbol: str | None = None
    currency: str | None = None
    drop_repeated_lines: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.mapping if name not in ALL]
        if unknown:
            raise UsageError(
                f"--map, or [columns] of clv.toml, names no column of the order contract: {listed(unknown)}. "
                f"Known: {', '.join(ALL)}."
            )
        if self.table and self.query:
            raise UsageError("--table and --query exclude each other: give one.")
        if self.decimal == self.thousands:
            raise UsageError(f"--decimal and --thousands are both {self.decimal!r}: they must differ.")
        for option, mark in (("--decimal", self.decimal), ("--thousands", self.thousands)):
            if mark is not None and len(mark) != 1:
                raise UsageError(f"{option} must be one character, got {mark!r}.")
        if self.currency is not None and not re.fullmatch("[A-Z]{3}", self.currency):
            raise UsageError(f"--currency {self.currency!r} is no ISO 4217 code: three capitals, such as EUR.")

    @property
    def zone(self) -> tzinfo:
        """The business time zone."""
        return zone_named(self.timezone)


def zone_named(name: str) -> tzinfo:
    """Time zone of the tz database. Raises UsageError when there is none of that name."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"{name!r} is no time zone of the tz database. Example: Europe/Berlin.") from error
