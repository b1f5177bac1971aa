"""Calls that arrive at the same moment, answered in one go: scoring sixteen customers costs little more than one.

Nobody waits for company: whatever the event loop has at hand when it comes to scoring is taken, one call or many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")

MOST, MOST_BYTES = 64, 100_000
"""Calls, and bytes of bodies, that are answered in one go; the others follow after what else the loop has to do."""


class Together(Generic[A]):
    """Answers bodies through a function of many; used on one event loop."""

    def __init__(self, answer: Callable[[Sequence[bytes]], Sequence[A | Exception]]) -> None:
        self._answer = answer
        self._waiting: list[tuple[bytes, asyncio.Future[A]]] = []

    def ask(self, body: bytes) -> asyncio.Future[A]:
        """The answer, or the exception that stands for it."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(loop.call_soon, self._take)  # one more turn: who is just being read comes along
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((body, future))
        return future

    def _take(self) -> None:
        size, n_taken = 0, 0
        while n_taken < len(self._waiting) and n_taken < MOST and size <= MOST_BYTES:
            size += len(self._waiting[n_taken][0])
            n_taken += 1
        taken, self._waiting = self._waiting[:n_taken], self._waiting[n_taken:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._take)
        asked = [(body, future) for body, future in taken if not future.done()]
        for (_, future), one in zip(asked, self._answers([body for body, _ in asked]), strict=True):
            if isinstance(one, Exception):
                future.set_exception(one)
            else:
                future.set_result(one)

    def _answers(self, bodies: Sequence[bytes]) -> Sequence[A | Exception]:
        """Answers of all; where one makes the function fail, of each alone, so that only that one fails."""
        try:
            return self._answer(bodies)
        except Exception as error:
            return [error] if len(bodies) == 1 else [self._answers([body])[0] for body in bodies]
