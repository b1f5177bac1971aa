"""Many times at once are read as each one alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.instants import NO_INSTANT, instants_of, next_midnight, parse_instant, to_us
from features.options import zone_named

MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(3100, 1, 1), timezones=st.just(UTC))


@given(st.lists(MOMENTS, min_size=64, max_size=80), st.sampled_from(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]))
def test_a_column_of_one_shape_is_read_as_its_texts(moments: list[datetime], shape: str) -> None:
    texts = [moment.strftime(shape).zfill(10) for moment in moments]
    alone = [instants_of([text])[0] for text in texts]
    assert instants_of(texts).tolist() == alone


@pytest.mark.parametrize(
    "wrong",
    ["2024-02-30", "2024-13-01", "2024-1-011", "١٢٣٤-01-01", "2024/01/01", "NaT       ", "1799-12-31", "          "],
)
def test_one_unreadable_text_does_not_spoil_the_others(wrong: str) -> None:
    found = instants_of(["2024-02-29"] * 100 + [wrong])
    assert found[-1] == NO_INSTANT
    assert set(found[:-1].tolist()) == {to_us(datetime(2024, 2, 29))}


@pytest.mark.parametrize(
    "text",
    ["2024-02-29T24:00:00Z", "2024-02-29T23:60:00Z", "2024-02-29T23:59:60Z", "1900-02-29T00:00:00Z",
     "2999-12-31T23:59:59Z", "3000-01-01T00:00:00Z", "3000-01-01T00:00:01Z", "1800-01-01T00:00:00Z"],
)  # fmt: skip
def test_the_edges_of_the_calendar_and_of_the_clock_are_the_same_alone_and_among_others(text: str) -> None:
    assert instants_of(["2024-02-29T12:00:00Z"] * 100 + [text])[-1] == instants_of([text])[0]


def test_offsets_and_fractions_are_read() -> None:
    texts = ["2024-01-11T09:00:00+01:00", "2024-01-11T08:00:00.000000Z", "2024-01-11 08:00"]
    assert len(set(instants_of(texts).tolist())) == 1


@pytest.mark.parametrize(
    ("zone", "last", "midnight"),
    [
        ("UTC", "2024-12-30T00:00Z", "2024-12-31T00:00Z"),
        ("UTC", "2024-12-30T23:59:59.999999Z", "2024-12-31T00:00Z"),
        ("Europe/Berlin", "2024-12-30T00:00+01:00", "2024-12-31T00:00+01:00"),
        ("Europe/Berlin", "2024-12-30T00:30Z", "2024-12-31T00:00+01:00"),
        ("Europe/Berlin", "2024-10-26T22:30Z", "2024-10-28T00:00+01:00"),  # the day has 25 hours
        ("America/New_York", "2024-12-30T23:00-05:00", "2024-12-31T00:00-05:00"),
    ],
)
def test_a_day_ends_at_the_midnight_of_its_zone(zone: str, last: str, midnight: str) -> None:
    assert next_midnight(parse_instant(last), zone_named(zone)) == parse_instant(midnight)
