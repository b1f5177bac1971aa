"""The real BentoML server on a free port."""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

import httpx
import pytest

from features.instants import parse_instant
from serving.client import Client, ServiceError
from serving.routes import ROUTES
from serving.schemas import CustomerPrediction, ErrorAnswer, ModelInfo, PredictResponse

pytestmark = pytest.mark.slow
QUESTION = {"customers": [{"customer_id": "a", "orders": [{"ordered_at": "2024-01-01", "amount": 5.0}]}]}
Start = Callable[..., "Server"]


class Server:
    """A `clv serve` process and what it wrote."""

    def __init__(self, folder: Path, port: int, words: list[str], environment: dict[str, str]) -> None:
        self.port = port
        self.log = folder / f"server-{self.port}.log"
        clv = str(Path(sys.executable).with_name("clv"))
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [clv, "serve", "--port", str(self.port), *words],
                cwd=folder,
                env={**os.environ, "CLV_HOME": str(folder / "home"), "COLUMNS": "200", **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def wait(self, path: str = "/livez", seconds: float = 90.0) -> Server:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.client.get(path).status_code in (200, 503):
                    return self
            except httpx.TransportError:
                time.sleep(0.2)
        raise AssertionError(f"not up: {self.log.read_text()}")

    def stop(self, with_: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(with_)
        code = self.process.wait(timeout=60)
        self.client.close()
        return code

    def post(self, body: Any, path: str = "/v1/predict", **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content, headers={"content-type": "application/json", **headers})


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, new_port: Callable[[], int]) -> Iterator[Start]:
    running: list[Server] = []

    def begin(*words: str, **environment: str) -> Server:
        folder = tmp_path_factory.mktemp("server")
        (folder / "model.py").write_text("raise ImportError('a file of the working folder was imported')\n")
        (folder / "features.py").write_text("raise ImportError('a file of the working folder was imported')\n")
        running.append(Server(folder, new_port(), list(words), environment))
        return running[-1]

    yield begin
    for server in running:
        server.stop()


@pytest.fixture(scope="module")
def server(start: Start, bundle_folder: Path) -> Server:
    return start("--bundle", str(bundle_folder), "--workers", "2", CLV_MAX_BODY_BYTES="200000").wait("/readyz")


def problem(response: httpx.Response) -> str:
    return ErrorAnswer.model_validate(response.json()).error.code


def test_it_is_alive_ready_and_says_which_model_answers(server: Server) -> None:
    assert server.client.get("/livez").status_code == 200
    assert server.client.get("/readyz").status_code == 200
    info = ModelInfo.model_validate(server.client.get("/v1/model").json())
    assert (info.name, info.horizons, info.currency) == ("clv", [30, 90], "EUR")


def test_it_answers(server: Server) -> None:
    before = time.time()
    response = server.post(QUESTION, **{"x-request-id": "my-id-1"})
    assert response.status_code == 200
    assert response.headers["x-request-id"] == "my-id-1"
    assert before - 1.0 <= parse_instant(response.headers["x-scored-at"]) / 1e6 <= time.time()
    assert PredictResponse.model_validate(response.json()).customers[0].customer_id == "a"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "not_json"),
        (b"", 400, "not_json"),
        ({"customers": 1}, 422, "invalid_request"),
        ({**QUESTION, "horizon_days": [77]}, 422, "horizon_not_available"),
        ({**QUESTION, "horizon_days": [-1]}, 422, "invalid_request"),
        (b" " * 200_001, 413, "body_too_large"),
    ],
    ids=["cut", "empty", "shape", "horizon", "no horizon", "size"],
)
def test_every_refusal_is_typed(server: Server, body: Any, status: int, code: str) -> None:
    response = server.post(body)
    assert (response.status_code, problem(response)) == (status, code)


def test_a_body_of_unknown_length_is_cut_off_too(server: Server) -> None:
    response = server.client.post("/v1/predict", content=(b"x" * 50_000 for _ in range(10)))
    assert (response.status_code, problem(response)) == (413, "body_too_large")


def test_unknown_paths_and_methods_are_typed_and_add_no_label(server: Server) -> None:
    for number in range(20):
        response = server.client.get(f"/no/such/{number}")
        assert (response.status_code, problem(response)) == (404, "not_found")
    response = server.client.get("/v1/predict")
    assert (response.status_code, response.headers["allow"], problem(response)) == (405, "POST", "method_not_allowed")
    metrics = server.client.get("/metrics").text
    assert "no/such" not in metrics
    assert 'clv_requests_total{route="other",status="404"}' in metrics


def test_metrics_count_customers_over_all_workers(server: Server) -> None:
    def counted() -> float:
        lines = server.client.get("/metrics").text.splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith('clv_customers_total{outcome="scored"}')
        )

    before = counted()
    for _ in range(10):
        server.post(QUESTION)
    assert counted() == before + 10


def test_no_customer_value_reaches_the_log(server: Server) -> None:
    server.post(
        {"customers": [{"customer_id": "anna@secret.example", "orders": [{"ordered_at": "x", "amount": "41"}]}]}
    )
    server.post(b'{"customers": [{"customer_id": "anna@secret.example", ')
    assert "secret" not in server.log.read_text()


def test_the_page_loads_nothing_from_elsewhere(server: Server) -> None:
    page = server.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text.replace("http://localhost", "")
    assert "https://" not in page.text
    assert "<script" not in page.text


@pytest.fixture
def page(server: Server, give_up: Callable[[str], NoReturn], tmp_path: Path) -> str:
    """The page at `/` as a browser has it."""
    if (chromium := shutil.which("chromium")) is None:
        give_up("it needs Debian's chromium")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}"]
    done = subprocess.run(
        [chromium, *quiet, "--dump-dom", str(server.client.base_url)],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def test_what_a_browser_shows_of_the_example_can_be_run(server: Server, page: str) -> None:
    shown = html.unescape(page.partition("<pre>")[2].partition("</pre>")[0])
    example = shown.replace("http://localhost:3000", str(server.client.base_url).rstrip("/"))
    assert example != shown
    answer = subprocess.run(["bash", "-c", example], capture_output=True, check=True, text=True).stdout
    (anna,) = PredictResponse.model_validate_json(answer).customers
    assert isinstance(anna, CustomerPrediction)
    assert (anna.customer_id, anna.historic_clv) == ("anna", 72.5)


def test_the_links_of_the_page_lead_somewhere(server: Server, page: str) -> None:
    links = re.findall('href="([^"]+)"', page)
    assert len(links) == 5
    assert {server.client.get(link).status_code for link in links} == {200}


def test_the_openapi_document_describes_what_is_served(server: Server) -> None:
    document = server.client.get("/docs.json").json()
    assert set(document["paths"]) == {route.path for route in ROUTES} | {"/livez", "/metrics"}
    assert document["info"]["version"] == "0.1.0"
    answer = document["components"]["schemas"]["CustomerPrediction"]["properties"]
    assert {"historic_clv", "p_alive", "predictions", "null_reasons"} <= set(answer)


def test_a_key_may_do_what_its_scopes_say(start: Start, bundle_folder: Path) -> None:
    reader, writer = (hashlib.sha256(key).hexdigest() for key in (b"reader", b"writer"))
    keys = f"{reader}=read+predict, {writer}=write"
    server = start("--bundle", str(bundle_folder), CLV_API_KEYS_SHA256=keys).wait("/readyz")
    order = {"order_id": "1", "customer_id": "a", "ordered_at": "2024-01-01", "amount": 5.0}
    with Client(str(server.client.base_url), "writer") as client:
        assert client.store_orders([order]).stored_orders == 1
        for refused in (client.model, lambda: client.customer("a")):
            with pytest.raises(ServiceError, match="forbidden"):
                refused()
    with Client(str(server.client.base_url), "reader") as client:
        assert client.customer("a").historic_clv == 5.0
        with pytest.raises(ServiceError, match="forbidden: This key may not write") as raised:
            client.delete_order("1")
        assert raised.value.http_status == 403
    with Client(str(server.client.base_url), "nobody") as client, pytest.raises(ServiceError, match="unauthorized"):
        client.customer("a")


def test_the_client_stores_asks_scores_and_lists(start: Start, bundle_folder: Path, tmp_path: Path) -> None:
    server = start("--bundle", str(bundle_folder), CLV_HOME=str(tmp_path)).wait("/readyz")
    with Client(str(server.client.base_url)) as client:
        assert client.readiness().store == "ok"
        orders = [
            {"order_id": f"{who}{n}", "customer_id": f"{who}/ü", "ordered_at": f"2024-0{n}-01", "amount": 5.0 * n}
            for who in "abc"
            for n in (1, 2)
        ]
        assert client.store_orders(orders).refused == []
        with pytest.raises(ServiceError, match="no_scores"):
            next(client.customers())
        clv = str(Path(sys.executable).with_name("clv"))
        words = [clv, "score", "store", "--out", "store", "--bundle", str(bundle_folder), "--as-of", "2024-03-01"]
        subprocess.run(words, check=True, cwd=tmp_path, env={**os.environ, "CLV_HOME": str(tmp_path)})
        listed = list(client.customers(limit=2, horizon_days=90))
        assert sorted(found.customer_id for found in listed) == ["a/ü", "b/ü", "c/ü"]
        stored = client.customer("a/ü", as_of="2024-03-01", horizon_days=[90])
        assert stored.predictions == next(found for found in listed if found.customer_id == "a/ü").predictions
        sent = {"a/ü": [{key: order[key] for key in order if key != "customer_id"} for order in orders[:2]]}
        (stateless,) = client.predict(sent, as_of="2024-03-01", horizon_days=[90])
        assert stateless == stored
        client.delete_order("a1")
        assert client.customer("a/ü", as_of="2024-03-01").historic_number_of_orders == 1
        assert client.model().horizons == [30, 90]


def test_what_the_client_has_already_is_not_sent_again(server: Server) -> None:
    body = {"orders": [{"order_id": "e", "customer_id": "etag", "ordered_at": "2024-01-01", "amount": 5.0}]}
    assert server.post(body, "/v1/orders").status_code == 200
    first = server.client.get("/v1/customers/etag")
    again = server.client.get("/v1/customers/etag", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    body["orders"][0]["amount"] = 6.0
    server.post(body, "/v1/orders")
    changed = server.client.get("/v1/customers/etag", headers={"if-none-match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.json()["historic_clv"] == 6.0


def test_orders_are_taken_only_as_json(server: Server) -> None:
    response = server.client.post("/v1/orders", content=b'{"orders": []}', headers={"content-type": "text/plain"})
    assert (response.status_code, problem(response)) == (415, "not_announced_as_json")


def test_a_compressed_body_is_refused_by_its_name(server: Server) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    response = server.client.post("/v1/predict", content=gzip.compress(b'{"customers": []}'), headers=headers)
    assert (response.status_code, problem(response)) == (415, "encoded_body")


def test_too_many_waiting_calls_are_refused_and_the_others_answered(start: Start, bundle_folder: Path) -> None:
    server = start("--bundle", str(bundle_folder), CLV_MAX_WAITING="2", CLV_MAX_ITEMS="2000").wait("/readyz")
    orders = [{"ordered_at": "2023-01-01", "amount": 5.0}] * 20
    large = {"customers": [{"customer_id": str(i), "orders": orders} for i in range(2000)]}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(server.post, [large] * 8))
    codes = [response.status_code for response in answers]
    assert set(codes) == {200, 429}
    refused = answers[codes.index(429)]
    assert (problem(refused), refused.headers["retry-after"]) == ("too_many_requests", "1")
    for path, field in (("/v1/predict", "customers"), ("/v1/orders", "orders")):
        response = server.post({field: [{}] * 2001}, path)
        assert (response.status_code, problem(response)) == (413, "too_many_items")
        assert server.post({field: [{}] * 2000}, path).status_code == 200


def test_spans_are_sent_where_a_collector_is_configured(start: Start, bundle_folder: Path) -> None:
    with Collector() as collector:
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        server = start("--bundle", str(bundle_folder), **settings).wait("/readyz")
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        server.post(QUESTION, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
        deadline = time.monotonic() + 30
        while not any(bytes.fromhex(trace) in body for body in collector.bodies) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert any(b"POST /v1/predict" in body and bytes.fromhex(trace) in body for body in collector.bodies)


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP, and keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                gzipped = self.headers.get("content-encoding") == "gzip"
                bodies.append(gzip.decompress(body) if gzipped else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *error: Any) -> None:
        self.shutdown()
        super().__exit__(*error)


def test_schemathesis_finds_nothing(start: Start, bundle_folder: Path, tmp_path: Path) -> None:
    server = start("--bundle", str(bundle_folder), CLV_HOME=str(tmp_path)).wait("/readyz")
    with Client(str(server.client.base_url)) as client:
        order = {"order_id": "1", "customer_id": "0", "ordered_at": "2024-01-01", "amount": 5.0}
        assert client.store_orders([order]).stored_orders == 1
    clv, schemathesis = (str(Path(sys.executable).with_name(name)) for name in ("clv", "schemathesis"))
    environment = {**os.environ, "CLV_HOME": str(tmp_path)}
    score = [clv, "score", "store", "--out", "store", "--bundle", str(bundle_folder)]
    subprocess.run(score, check=True, cwd=tmp_path, env=environment)
    words = [
        schemathesis, "run", f"{server.client.base_url}/docs.json", "--max-examples", "25", "--seed", "1", "--no-color",
        "--generation-database", "none", "--exclude-path", "/livez", "--exclude-path", "/metrics",
    ]  # fmt: skip
    # two checks do not fit calls of many items: one that breaks a rule has an error in its place, the call is answered
    for more in (
        ["--exclude-checks", "negative_data_rejection,ensure_resource_availability"],
        ["--include-method", "GET", "--include-method", "DELETE"],
    ):
        done = subprocess.run([*words, *more], capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stdout[-6000:]
        assert re.search(r"[1-9]\d* generated, [1-9]\d* passed\n", done.stdout)


def test_a_request_in_flight_ends_when_the_service_stops(start: Start, bundle_folder: Path) -> None:
    server = start("--bundle", str(bundle_folder)).wait("/readyz")
    orders = [{"ordered_at": f"2023-0{1 + i % 9}-01", "amount": 5.0} for i in range(20)]
    large = {"customers": [{"customer_id": str(i), "orders": orders} for i in range(3000)]}
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(server.post, large)
        time.sleep(0.3)
        assert server.stop() == 0
        assert waiting.result().status_code == 200
        assert len(waiting.result().json()["customers"]) == 3000


def test_without_a_model_it_is_alive_but_not_ready(bundle_folder: Path, tmp_path: Path, free_port: int) -> None:
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))
    words = [sys.executable, "-m", "bentoml", "serve", "serving.service:ClvService", "--working-dir", str(tmp_path)]
    (folder / "manifest.json").unlink()
    environment = {**os.environ, "CLV_BUNDLE": str(folder), "PYTHONSAFEPATH": "1", "BENTOML_HOME": str(tmp_path / "b")}
    process = subprocess.Popen([*words, "--port", str(free_port)], env=environment, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{free_port}") as client:
            deadline = time.monotonic() + 90
            while time.monotonic() < deadline:
                try:
                    if client.get("/livez").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
            assert client.get("/livez").status_code == 200
            assert client.get("/readyz").status_code == 503
            response = client.post("/v1/predict", json=QUESTION)
            assert (response.status_code, problem(response)) == (503, "model_unavailable")
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_a_key_is_asked_for_and_compared(start: Start, bundle_folder: Path) -> None:
    hashes = ",".join(hashlib.sha256(key).hexdigest() for key in (b"one", b"two"))
    server = start("--bundle", str(bundle_folder), "--host", "0.0.0.0", CLV_API_KEYS_SHA256=hashes).wait("/readyz")
    assert server.post(QUESTION, authorization="Bearer two").status_code == 200
    for headers in ({}, {"authorization": "Bearer three"}, {"authorization": "Basic two"}):
        response = server.post(QUESTION, **headers)
        assert (response.status_code, problem(response)) == (401, "unauthorized")
    assert server.client.get("/v1/model").status_code == 401
    assert server.client.get("/readyz").status_code == 200


def test_no_bind_beyond_loopback_without_a_key(start: Start, bundle_folder: Path, free_port: int) -> None:
    server = start("--bundle", str(bundle_folder), "--host", "0.0.0.0", CLV_API_KEYS_SHA256="")
    assert server.process.wait(timeout=60) == 2
    assert "needs an API key" in server.log.read_text()
    plain = [sys.executable, "-m", "bentoml", "serve", "serving.service:ClvService", "--host", "0.0.0.0"]
    done = subprocess.run(
        [*plain, "--port", str(free_port)],
        env={**os.environ, "CLV_BUNDLE": str(bundle_folder), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 1
    assert "without an API key" in done.stdout + done.stderr


def test_wrong_settings_are_said_plainly_by_a_plain_bentoml_serve(bundle_folder: Path, free_port: int) -> None:
    wrong = {"CLV_API_KEYS_SHA256": f"{'0' * 64}=predict+everything", "CLV_BUNDLE": str(bundle_folder)}
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", "serving.service:ClvService", "--port", str(free_port)],
        env={**os.environ, **wrong, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 1
    assert "unknown scopes everything; known: predict, read, write" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said_plainly(start: Start, server: Server, bundle_folder: Path) -> None:
    second = subprocess.run(
        [
            str(Path(sys.executable).with_name("clv")),
            "serve",
            "--bundle",
            str(bundle_folder),
            "--port",
            str(server.port),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=server.log.parent,
    )
    assert second.returncode == 2
    assert "cannot be listened on" in second.stderr
    assert "Traceback" not in second.stderr
