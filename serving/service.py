"""The BentoML service: workers, lifespan, health, metrics and packaging around our front."""

from __future__ import annotations

import asyncio
import atexit
import gc
import ipaddress
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import bentoml
import click
import psutil
from bentoml._internal.configuration.containers import BentoMLContainer

from features.errors import UsageError
from serving.events import log_to_stderr
from serving.front import App, Front, Threads
from serving.served import Served
from serving.settings import ServiceSettings, from_environment


@cache
def _settings() -> ServiceSettings:
    """Settings of this process; what is wrong with them ends it with a sentence, whoever imports this."""
    try:
        return from_environment()
    except UsageError as error:
        raise SystemExit(f"Error: {error}") from None


@cache
def _metrics_folder() -> str:
    """Folder of this server's own: BentoML's default one is emptied by any other server's start."""
    folder = tempfile.mkdtemp(prefix="clv-metrics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def is_loopback(host: str | None) -> bool:
    """Whether a host is an address of this machine only; names are not trusted."""
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _exposed() -> bool:
    """Whether this worker's inherited socket listens beyond loopback."""
    sockets = psutil.Process().net_connections("inet")
    listening = {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}
    return not all(map(is_loopback, listening))


class FrontedService(bentoml.Service[Any]):  # type: ignore[misc]  # bentoml's SDK is untyped
    """A BentoML service whose HTTP application stands behind our front."""

    def inject_config(self) -> None:
        """Give the parent process a metrics folder of its own."""
        super().inject_config()
        if self.url is None:
            BentoMLContainer.prometheus_multiproc_dir.set(_metrics_folder())

    def to_asgi(self, is_main: bool = True) -> App:
        """Put the front before BentoML's application."""
        inner = super().to_asgi(is_main=is_main)
        threads = Threads(ThreadPoolExecutor(1, "clv-scoring"), ThreadPoolExecutor(4, "clv-store"))
        return Front(
            inner,
            lambda: bentoml.get_current_service().served,
            _settings(),
            threads,
            exposed=_exposed(),
        )


@bentoml.service(
    service_class=FrontedService,
    name="predictive_clv",
    workers=_settings().workers,
    http={"host": "127.0.0.1", "port": 3000},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class ClvService:
    """Predicted customer lifetime value. Its routes are the front's: see `serving.front`."""

    def __init__(self) -> None:
        log_to_stderr()
        gc.set_threshold(50_000, 20, 100)  # answers are large and die young: collecting costs more than it frees
        self.served = Served(_settings().bundle, _settings().store)
        self._following: asyncio.Task[None] | None = None

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def follow(self) -> None:
        """Take up other models while serving."""
        self._following = asyncio.create_task(self.served.follow())

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # runs once, in the parent, before any socket
    def refuse_exposure() -> None:
        """Refuse to listen beyond loopback without an API key."""
        context = click.get_current_context(silent=True)
        given = context.params.get("host") if context else None
        host = given or str(BentoMLContainer.http.host.get())
        if not _settings().api_keys and not is_loopback(host):
            raise bentoml.exceptions.BentoMLException(
                f"refusing to listen on {host} without an API key: set CLV_API_KEYS_SHA256"
            )
