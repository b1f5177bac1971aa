"""Calls that arrive at the same moment, answered in one go: scoring sixteen customers costs little more than one.

Nobody waits for company: whatever the event loop has at hand when it comes to scoring is taken, one call or many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

MOST = 64
"""Calls that are answered in one go; the others follow at once."""


class Together(Generic[Q, A]):
    """Answers questions through a function of many; used on one event loop."""

    def __init__(self, answer: Callable[[Sequence[Q]], Sequence[A | Exception]]) -> None:
        self._answer = answer
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []

    def ask(self, question: Q) -> asyncio.Future[A]:
        """The answer, or the exception that stands for it."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(loop.call_soon, self._take)  # one more turn: who is just being read comes along
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, future))
        return future

    def _take(self) -> None:
        taken, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._take)
        asked = [(question, future) for question, future in taken if not future.done()]
        try:
            found = self._answer([question for question, _ in asked])
        except Exception as error:  # a fault: each of them is told
            found = [error] * len(asked)
        for (_, future), one in zip(asked, found, strict=True):
            if isinstance(one, Exception):
                future.set_exception(one)
            else:
                future.set_result(one)
