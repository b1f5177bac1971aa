"""Calls of the same moment are answered in one go, each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from serving.together import MOST, Together


def test_what_is_asked_at_once_is_answered_at_once() -> None:
    asked: list[list[int]] = []

    def answer(numbers: Sequence[int]) -> list[str | Exception]:
        asked.append(list(numbers))
        return [ValueError("odd") if number % 2 else str(number) for number in numbers]

    async def run() -> list[str | BaseException]:
        together: Together[int, str] = Together(answer)
        return await asyncio.gather(*(together.ask(number) for number in range(MOST + 3)), return_exceptions=True)

    found = asyncio.run(run())
    assert [len(numbers) for numbers in asked] == [MOST, 3]
    assert found[:3:2] == ["0", "2"]
    assert all(isinstance(one, ValueError) for one in found[1::2])


def test_a_fault_reaches_everyone_and_the_next_are_answered() -> None:
    def answer(numbers: Sequence[int]) -> list[int | Exception]:
        if 0 in numbers:
            raise KeyError
        return list(numbers)

    async def run() -> None:
        together: Together[int, int] = Together(answer)
        found = await asyncio.gather(together.ask(0), together.ask(1), return_exceptions=True)
        assert [type(one) for one in found] == [KeyError, KeyError]
        assert await together.ask(2) == 2

    asyncio.run(run())


def test_who_is_gone_is_not_asked_for() -> None:
    asked: list[int] = []

    def answer(numbers: Sequence[int]) -> list[int | Exception]:
        asked.extend(numbers)
        return list(numbers)

    async def run() -> None:
        together: Together[int, int] = Together(answer)
        gone, here = together.ask(1), together.ask(2)
        gone.cancel()
        assert await here == 2
        with pytest.raises(asyncio.CancelledError):
            await gone

    asyncio.run(run())
    assert asked == [2]
