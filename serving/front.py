"""The ASGI front: keys, limits, deadlines, request ids and typed errors, ahead of BentoML's own application.

BentoML keeps what it is good at (workers, lifespan, liveness, `/metrics`, packaging); requests with
customers in them never reach its stack, which logs rejected values, has no body limit and
labels metrics with raw paths. See `docs/decisions/0003-asgi-front.md`.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import orjson

from features.errors import ClvError
from serving.api import Api, Call, Handler, Headers, Reply
from serving.events import event
from serving.observing import Observed
from serving.routes import PASSED_ON, WRITE, Route, routes_of
from serving.served import Served
from serving.settings import ServiceSettings

if TYPE_CHECKING:
    from serving.tracing import Tracing

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CLOSE: Final = ((b"connection", b"close"),)
_SLOW_SECONDS: Final = 1.0
_EXPORTERS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Refusal(Exception):
    """An answer other than 200 that the front itself decides."""

    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


class Disconnected(Exception):
    """The client went away: nobody to answer."""


@dataclass(frozen=True)
class Threads:
    """Where calls run that may take long: one thread computes, since two would only fight for the interpreter."""

    scoring: Executor
    store: Executor


class Front:
    """Owns every path but liveness and metrics, which BentoML answers."""

    def __init__(
        self,
        inner: App,
        served: Callable[[], Served],
        settings: ServiceSettings,
        threads: Threads,
        *,
        exposed: bool,
    ) -> None:
        self._inner, self._served, self._settings, self._threads = inner, served, settings, threads
        self._locked = exposed and not settings.api_keys
        self._observed, self._tracing = Observed(), _tracing()
        self._api: Api | None = None
        self._waiting = 0

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
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        if scope["path"] in PASSED_ON and scope["method"] in ("GET", "HEAD") and not self._locked:
            await self._inner(scope, receive, _with_request_id(send, request_id))
            return
        start = time.perf_counter()
        routes, path_id = routes_of(scope["raw_path"].partition(b"?")[0].decode("latin-1"))
        try:
            reply, code = await self._answered(scope, receive, headers, request_id, routes, path_id)
        except Disconnected:
            return
        await _send(send, reply, request_id, scope["method"])
        route, seconds = routes[0].path if routes else "other", time.perf_counter() - start
        self._observe(route, reply.status, code, seconds, request_id)
        if self._tracing is not None:
            started_ns = time.time_ns() - int(seconds * 1e9)
            self._tracing.request(scope["method"], route, reply.status, started_ns, headers)

    def _observe(self, route: str, status: int, code: str, seconds: float, request_id: bytes) -> None:
        self._observed.request(route, status, code, seconds)
        if status >= 500 or seconds > _SLOW_SECONDS:
            shown = {"route": route, "status": status, "code": code, "seconds": round(seconds, 4)}
            event("request", "warning", **shown, request_id=request_id.decode())

    async def _answered(
        self,
        scope: Any,
        receive: Receive,
        headers: dict[bytes, bytes],
        request_id: bytes,
        routes: list[Route],
        path_id: str,
    ) -> tuple[Reply, str]:
        """The reply, and the code of its error or an empty text."""
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                return await self._handled(scope, receive, headers, routes, path_id), ""
        except Refusal as refusal:
            problem = _error(refusal.code, str(refusal), [], request_id)
            return Reply(problem, refusal.status, headers=refusal.headers), refusal.code
        except ClvError as error:
            problem = _error(error.code, str(error), getattr(error, "details", []), request_id)
            return Reply(problem, error.status), error.code
        except TimeoutError:
            return Reply(
                _error("deadline", "The deadline has passed.", [], request_id), 504, headers=_CLOSE
            ), "deadline"
        except asyncio.CancelledError:  # the grace period of a stop is over
            return Reply(
                _error("stopping", "The service is stopping.", [], request_id), 503, headers=_CLOSE
            ), "stopping"
        except Disconnected:
            raise
        except Exception as error:  # the last line of defence: a typed 500, logged without any value
            event("fault", "error", kind=type(error).__name__, place=_place(error), request_id=request_id.decode())
            return Reply(_error("internal_error", "The service failed.", [], request_id), 500), "internal_error"

    async def _handled(
        self, scope: Any, receive: Receive, headers: dict[bytes, bytes], routes: list[Route], path_id: str
    ) -> Reply:
        if self._locked:
            raise Refusal(503, "no_api_key", "Reachable beyond loopback without an API key: set CLV_API_KEYS_SHA256.")
        route = _allowed(scope["method"], scope["path"], routes)
        self._check_key(route, headers)
        if route.method == "POST" and route.scope == WRITE:
            _require_json(headers)
        body = b"" if route.method != "POST" else await self._body(headers, receive)
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        call = Call(path_id, query, body, headers.get(b"if-none-match", b""), time.time_ns() // 1000)
        if self._api is None:
            self._api = Api(self._served(), self._observed, self._settings.max_items)
        return await self._api.reply(route.name, call, self._in_thread)

    async def _in_thread(self, handler: Handler, call: Call, *, scores: bool) -> Reply:
        """Run a handler beside the others; refuse where too many wait already."""
        executor = self._threads.scoring if scores else self._threads.store
        loop = asyncio.get_running_loop()
        if self._waiting >= self._settings.max_waiting:
            raise Refusal(429, "too_many_requests", "Too many calls wait: try again later.", ((b"retry-after", b"1"),))
        self._waiting += 1
        work = executor.submit(handler, call)
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))  # also when nobody waits any more
        return await asyncio.wrap_future(work)

    def _done(self) -> None:
        self._waiting -= 1

    def _check_key(self, route: Route, headers: dict[bytes, bytes]) -> None:
        if route.scope is None or not self._settings.api_keys:
            return
        sent = headers.get(b"authorization", b"")
        scopes = self._settings.scopes_of(sent)
        if scopes is None:
            challenge = ((b"www-authenticate", b"Bearer"),)
            why = "This key is not known here" if sent else "There is no API key"
            raise Refusal(401, "unauthorized", f"{why}: send Authorization: Bearer KEY.", challenge)
        if route.scope not in scopes:
            raise Refusal(403, "forbidden", f"This key may not {route.scope}.")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise Refusal(415, "encoded_body", "Send the body as it is, without content-encoding.")
        limit = self._settings.max_body_bytes
        too_large = Refusal(413, "body_too_large", f"The body is above {limit} bytes: send fewer items.", _CLOSE)
        if int(headers.get(b"content-length", b"0")) > limit:
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


def _tracing() -> Tracing | None:
    """Tracing, where OpenTelemetry names an exporter; imported only then, since it costs a worker's start."""
    if not any(os.environ.get(name) for name in _EXPORTERS):
        return None
    from serving.tracing import Tracing

    return Tracing()


def _allowed(method: str, path: str, routes: list[Route]) -> Route:
    """The route of a method; HEAD is GET without the body. Raises Refusal."""
    if not routes and path not in PASSED_ON:
        raise Refusal(404, "not_found", "There is no such path. See /docs.json.")
    wanted = "GET" if method == "HEAD" else method
    for route in routes:
        if route.method == wanted:
            return route
    allowed = ", ".join(route.method for route in routes) or "GET"
    raise Refusal(405, "method_not_allowed", f"Use {allowed}.", ((b"allow", allowed.encode()),))


def _require_json(headers: dict[bytes, bytes]) -> None:
    """Refuse what a page of another site could send from a browser without asking. Raises Refusal."""
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        raise Refusal(415, "not_announced_as_json", "Send content-type: application/json.")


async def _send(send: Send, reply: Reply, request_id: bytes, method: str) -> None:
    headers = [(b"x-request-id", request_id), *reply.headers]
    if reply.status not in (204, 304):
        headers += [(b"content-type", reply.content_type), (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})


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
