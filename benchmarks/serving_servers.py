"""Servers under measurement: started on the first core, measured as whole process trees, stopped whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

SERVER_CORE, LOAD_CORE = "0", "1"
BIN = Path(sys.executable).parent
MLFLOW_AT = ("-h", "127.0.0.1", "-p", "{port}")
BARE_AT = ("--host", "127.0.0.1", "--port", "{port}", "--no-access-log", "--log-level", "warning")


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def tree(self) -> list[psutil.Process]:
        """The process and all below it."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """User and system time of the whole tree so far."""
        times = [process.cpu_times() for process in self.tree()]
        return sum(spent.user + spent.system for spent in times)

    def settle(self, seconds: float = 10.0) -> None:
        """Wait until nothing of the last load is left to be done."""
        end, before = time.monotonic() + seconds, self.cpu_seconds()
        while time.monotonic() < end:
            time.sleep(0.15)
            now = self.cpu_seconds()
            if now - before < 0.015:
                return
            before = now

    def wait(self, path: str, seconds: float = 180.0) -> None:
        """Until it answers with 200. Raises SystemExit with the log's end when it does not."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if get(self.port, path) == 200:
                    return
            time.sleep(0.2)
        raise SystemExit(f"{self.name} did not come up:\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End its process group, which is its own: politely, then for certain."""
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(20.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def get(port: int, path: str) -> int:
    """Status of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(name: str, words: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Start a server (`{port}` in its words is its port), in a process group of its own; stop it at the end."""
    port, log = free_port(), folder / f"{name}.log"
    command = ["taskset", "-c", SERVER_CORE, *(word.format(port=port) for word in words)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=out, stderr=out, start_new_session=True
        )
    server = Server(name, port, process, log)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def everyone(folder: Path, bundle: Path, environment: Mapping[str, str]) -> Iterator[dict[str, Server]]:
    """Ours, mlflow's and the bare one, all of the champion in `$CLV_HOME`, ready to be asked."""
    registry = {"MLFLOW_TRACKING_URI": f"sqlite:///{environment['CLV_HOME']}/mlflow.db"}
    commands: dict[str, tuple[list[str], str, dict[str, str]]] = {
        "ours": ([str(BIN / "clv"), "serve", "--port", "{port}", "--workers", "1"], "/readyz", {}),
        "mlflow": (
            [
                str(BIN / "mlflow"),
                "models",
                "serve",
                "-m",
                "models:/clv@champion",
                "--env-manager",
                "local",
                *MLFLOW_AT,
            ],
            "/ping",
            registry,
        ),
        "bare": (
            [sys.executable, "-m", "uvicorn", "serving_bare:app", "--app-dir", str(Path(__file__).parent), *BARE_AT],
            "/",
            {"CLV_BUNDLE": str(bundle)},
        ),
    }
    with contextlib.ExitStack() as stack:
        found = {
            name: stack.enter_context(running(name, words, folder, {**environment, **own}))
            for name, (words, _, own) in commands.items()
        }
        for name, (_, path, _) in commands.items():
            found[name].wait(path)
        yield found
