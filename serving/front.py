"""The ASGI front: our routes, limits and errors, ahead of BentoML's own application.

BentoML keeps what it is good at (workers, lifespan, health, `/metrics`, packaging); requests with
customers in them never reach its stack, which logs rejected values, has no body limit and
labels metrics with raw paths. See `docs/decisions/0003-asgi-front.md`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, Final, Protocol

import orjson

from features.errors import BundleError, ClvError
from model.bundle import Bundle
from serving.answer import identity
from serving.observing import Observed
from serving.openapi import document
from serving.page import PAGE
from serving.requests import answer
from serving.settings import ServiceSettings

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
Answer = tuple[bytes, bytes]

PASSED_ON: Final = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
_OPEN: Final = PASSED_ON | {"/"}
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_JSON: Final = b"application/json"
_CLOSE: Final = ((b"connection", b"close"),)

_log = logging.getLogger("clv.serving")


class HasBundle(Protocol):
    """What the front needs of the service instance."""

    bundle: Bundle | None


class Refusal(Exception):
    """An answer other than 200 that the front itself decides."""

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


class Disconnected(Exception):
    """The client went away: nobody to answer."""


class Front:
    """Owns every path but health and metrics, which BentoML answers."""

    def __init__(
        self,
        inner: App,
        service: Callable[[], HasBundle],
        settings: ServiceSettings,
        executor: Executor,
        *,
        exposed: bool = False,
    ) -> None:
        self._inner, self._service, self._settings = inner, service, settings
        self._executor = executor
        self._locked = exposed and not settings.api_key_hashes
        self._routes: dict[str, tuple[str, Callable[[Any, Receive], Awaitable[Answer]]]] = {
            "/v1/predict": ("POST", self._predict),
            "/v1/model": ("GET", self._model),
            "/docs.json": ("GET", self._docs),
            "/": ("GET", self._page),
        }
        self._docs_body = orjson.dumps(document())
        self._observed = Observed(self._routes)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
        else:  # a websocket: closing before accepting answers 403
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Any, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        if path in PASSED_ON and method in ("GET", "HEAD") and not self._locked:
            await self._inner(scope, receive, _with_request_id(send, request_id))
            return
        start = time.perf_counter()
        try:
            status, body, content_type, extra = await self._answered(scope, receive, headers, request_id)
        except Disconnected:
            return
        shown = b"" if method == "HEAD" else body
        length = (b"content-length", str(len(body)).encode())
        named = [
            (b"content-type", content_type),
            length,
            (b"x-request-id", request_id),
            *extra,
        ]
        await send({"type": "http.response.start", "status": status, "headers": named})
        await send({"type": "http.response.body", "body": shown})
        self._observed.request(path, status, time.perf_counter() - start)

    async def _answered(
        self,
        scope: Any,
        receive: Receive,
        headers: dict[bytes, bytes],
        request_id: bytes,
    ) -> tuple[int, bytes, bytes, Headers]:
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                self._check_key(scope["path"], headers)
                body, content_type = await self._handler(scope)(scope, receive)
                return 200, body, content_type, ()
        except Refusal as refusal:
            problem = _error(refusal.code, str(refusal), [], request_id)
            return refusal.status, problem, _JSON, refusal.headers
        except ClvError as error:
            problem = _error(error.code, str(error), getattr(error, "details", []), request_id)
            return error.status, problem, _JSON, ()
        except TimeoutError:
            return (
                504,
                _error("deadline", "The deadline has passed.", [], request_id),
                _JSON,
                _CLOSE,
            )
        except asyncio.CancelledError:  # the grace period of a stop is over
            return (
                503,
                _error("stopping", "The service is stopping.", [], request_id),
                _JSON,
                _CLOSE,
            )
        except Disconnected:
            raise
        except Exception as error:  # the last line of defence: a typed 500, logged without any value
            _log.error(
                "%s at %s (request %s)",
                type(error).__name__,
                _place(error),
                request_id.decode(),
            )
            return (
                500,
                _error("internal_error", "The service failed.", [], request_id),
                _JSON,
                (),
            )

    def _check_key(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self._locked:
            raise Refusal(
                503,
                "no_api_key",
                "Reachable beyond loopback without an API key: set CLV_API_KEYS_SHA256.",
            )
        if path in _OPEN or not self._settings.api_key_hashes:
            return
        if not self._settings.lets_in(headers.get(b"authorization", b"")):
            challenge = ((b"www-authenticate", b"Bearer"),)
            raise Refusal(
                401,
                "unauthorized",
                "Send an API key: Authorization: Bearer KEY.",
                challenge,
            )

    def _handler(self, scope: Any) -> Callable[[Any, Receive], Awaitable[Answer]]:
        path, method = scope["path"], scope["method"]
        if path not in self._routes and path not in PASSED_ON:
            raise Refusal(404, "not_found", "There is no such path. See /docs.json.")
        allowed, handler = self._routes.get(path, ("GET", self._page))
        if path in PASSED_ON or (method != allowed and (method, allowed) != ("HEAD", "GET")):
            raise Refusal(
                405,
                "method_not_allowed",
                f"Use {allowed}.",
                ((b"allow", allowed.encode()),),
            )
        return handler

    async def _body(self, scope: Any, receive: Receive) -> bytes:
        limit = self._settings.max_body_bytes
        too_large = Refusal(
            413,
            "body_too_large",
            f"The body is above {limit} bytes: send fewer customers.",
            _CLOSE,
        )
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if int(announced) > limit:
            raise too_large
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise too_large
            more = message.get("more_body", False)
        return b"".join(chunks)

    def _bundle(self) -> Bundle:
        bundle = self._service().bundle
        if bundle is None:
            raise BundleError("No model is loaded.")
        return bundle

    async def _predict(self, scope: Any, receive: Receive) -> Answer:
        body = await self._body(scope, receive)
        bundle, now = self._bundle(), time.time_ns() // 1000
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._executor, lambda: answer(bundle, body, now))
        self._observed.customers(found["customers"])
        return orjson.dumps(found), _JSON

    async def _model(self, _scope: Any, _receive: Receive) -> Answer:
        bundle = self._bundle()
        origin = bundle.provenance
        shown = {
            **identity(bundle),
            "horizons": list(bundle.model.horizons),
            "primary_horizon_days": bundle.model.primary_horizon,
            "tier_cut_points": list(bundle.model.standing.cut_points),
            "currency": origin.currency,
            "timezone": origin.timezone,
            "features": list(bundle.model.features),
            "optional_columns": list(origin.optional_columns),
        }
        return orjson.dumps(shown), _JSON

    async def _docs(self, _scope: Any, _receive: Receive) -> Answer:
        return self._docs_body, _JSON

    async def _page(self, _scope: Any, _receive: Receive) -> Answer:
        return PAGE, b"text/html; charset=utf-8"


def _with_request_id(send: Send, request_id: bytes) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", request_id),
            ]
        await send(message)

    return sending


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "?"


def _error(code: str, message: str, details: list[dict[str, str]], request_id: bytes) -> bytes:
    problem = {
        "code": code,
        "message": message,
        "details": details,
        "request_id": request_id.decode(),
    }
    return orjson.dumps({"error": problem})
