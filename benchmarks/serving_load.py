"""Load from the second core: wrk for many small requests, a counted number of large ones for whole bases."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from serving_servers import LOAD_CORE, Server

LUA = Path(__file__).with_name("serving_wrk.lua")
JSON = {"content-type": "application/json"}
MLFLOW, BARE, CONSTANT = "mlflow models serve", "bare fast row", "bare constant"


def ours(kind: str) -> str:
    """Name of our service asked with a kind of body."""
    return f"clv serve, {kind}"


@dataclass(frozen=True)
class Plan:
    """How much is asked."""

    rounds: int
    seconds: float
    connections: tuple[int, ...] = (1, 16)
    n_singles: int = 512
    n_bulk: int = 1_000
    n_bulk_bodies: int = 4
    bulk_connections: int = 4
    bulk_requests: int = 24


@dataclass(frozen=True)
class Contender:
    """A route of a server, and the bodies that it is asked with in turn."""

    name: str
    server: Server
    path: str
    bodies: Sequence[bytes]


@dataclass(frozen=True)
class Load:
    """What one load showed."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


Loads = dict[tuple[str, int], list[Load]]
"""By contender and connections, one a round."""


def ask(server: Server, path: str, body: bytes) -> bytes:
    """Answer of one POST. Raises SystemExit when its status is not 200."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        return _answer(connection, server, path, body)
    finally:
        connection.close()


def ask_all(contender: Contender) -> list[bytes]:
    """Answers to all bodies, one after the other."""
    return [ask(contender.server, contender.path, body) for body in contender.bodies]


def _answer(connection: http.client.HTTPConnection, server: Server, path: str, body: bytes) -> bytes:
    connection.request("POST", path, body, JSON)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise SystemExit(f"{server.name} answered {response.status}: {answer[:500]!r}")
    return answer


def many(contender: Contender, folder: Path, connections: int, seconds: float, first: int) -> Load:
    """Load by wrk after a warm-up; CPU is that of the server's whole tree for all requests that were sent.

    When wrk stops, one request of each connection is under way: the server still works it off, and it is counted.
    """
    server, bodies = contender.server, folder / f"{contender.name.replace(' ', '-')}.jsonl"
    if not bodies.exists():
        bodies.write_bytes(b"\n".join(contender.bodies) + b"\n")
    url = f"http://127.0.0.1:{server.port}{contender.path}"
    _wrk(url, bodies, connections, 1.0, first)
    server.settle()
    before = server.cpu_seconds()
    found = _wrk(url, bodies, connections, seconds, first)
    server.settle()
    cpu_us = (server.cpu_seconds() - before) / (found["requests"] + connections) * 1e6
    return Load(found["requests"] / found["seconds"], found["p50_us"] / 1e3, found["p99_us"] / 1e3, cpu_us)


def _wrk(url: str, bodies: Path, connections: int, seconds: float, first: int) -> dict[str, float]:
    """One run of wrk with one thread. Raises SystemExit when an answer was an error or none came."""
    words = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "20s"]
    words += ["-s", str(LUA), url, "--", str(bodies), str(first)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=seconds + 60)
    found = dict(json.loads(done.stdout.splitlines()[-1]))
    if found["failed"] or not found["requests"]:
        raise SystemExit(f"{url}: {found['failed']} of {found['requests']} requests failed:\n{done.stdout}")
    return found


def counted(contender: Contender, connections: int, n_requests: int) -> Load:
    """Load by an exact number of requests, so that none in flight blurs the CPU of a large one."""
    server = contender.server
    _spread(contender, connections, connections)
    server.settle()
    before, start = server.cpu_seconds(), time.perf_counter()
    took = _spread(contender, connections, n_requests)
    wall = time.perf_counter() - start
    server.settle()
    cpu = (server.cpu_seconds() - before) / n_requests * 1e6
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1e3
    return Load(n_requests / wall, float(p50), float(p99), cpu)


def _spread(contender: Contender, connections: int, n_requests: int) -> list[float]:
    """Seconds of each of some requests, over kept-alive connections, from the second core."""
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    turns = itertools.cycle(contender.bodies)
    bodies = [next(turns) for _ in range(n_requests)]

    def client(own: Sequence[bytes]) -> list[float]:
        connection, took = http.client.HTTPConnection("127.0.0.1", contender.server.port, timeout=60), []
        for body in own:
            start = time.perf_counter()
            _answer(connection, contender.server, contender.path, body)
            took.append(time.perf_counter() - start)
        connection.close()
        return took

    with ThreadPoolExecutor(connections) as pool:
        shares = [bodies[place::connections] for place in range(connections)]
        return [seconds for found in pool.map(client, shares) for seconds in found]
