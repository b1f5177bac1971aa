"""Calls of the same moment are answered in one go, each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from serving.together import MOST, MOST_BYTES, Together


def test_what_is_asked_at_once_is_answered_at_once() -> None:
    asked: list[list[int]] = []

    def answer(bodies: Sequence[bytes]) -> list[str | Exception]:
        asked.append(list(map(int, bodies)))
        return [ValueError("odd") if int(body) % 2 else str(int(body)) for body in bodies]

    async def run() -> list[str | BaseException]:
        together: Together[str] = Together(answer)
        asks = [together.ask(b"%d" % number) for number in range(MOST + 3)]
        return await asyncio.gather(*asks, return_exceptions=True)

    found = asyncio.run(run())
    assert [len(numbers) for numbers in asked] == [MOST, 3]
    assert found[:3:2] == ["0", "2"]
    assert all(isinstance(one, ValueError) for one in found[1::2])


def test_a_turn_ends_with_its_bytes() -> None:
    sizes: list[int] = []

    def answer(bodies: Sequence[bytes]) -> list[int | Exception]:
        sizes.append(len(bodies))
        return list(map(len, bodies))

    async def run() -> None:
        together: Together[int] = Together(answer)
        assert await asyncio.gather(*(together.ask(b"x" * MOST_BYTES) for _ in range(5))) == [MOST_BYTES] * 5

    asyncio.run(run())
    assert sizes == [2, 2, 1]


def test_a_fault_is_the_one_callers_alone() -> None:
    def answer(bodies: Sequence[bytes]) -> list[bytes | Exception]:
        if b"0" in bodies:
            raise KeyError
        return list(bodies)

    async def run() -> list[bytes | BaseException]:
        together: Together[bytes] = Together(answer)
        return await asyncio.gather(*(together.ask(b"%d" % n) for n in (0, 1, 2)), return_exceptions=True)

    fault, *others = asyncio.run(run())
    assert isinstance(fault, KeyError)
    assert others == [b"1", b"2"]


def test_who_is_gone_is_not_asked_for() -> None:
    asked: list[bytes] = []

    def answer(bodies: Sequence[bytes]) -> list[bytes | Exception]:
        asked.extend(bodies)
        return list(bodies)

    async def run() -> None:
        together: Together[bytes] = Together(answer)
        gone, here = together.ask(b"1"), together.ask(b"2")
        gone.cancel()
        assert await here == b"2"
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(run())
    assert asked == [b"2"]
