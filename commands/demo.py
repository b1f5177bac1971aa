"""`make demo`: the whole path on the bundled order log (CDNOW), in a folder of its own.

Train → compare → promote → score → serve → one question over HTTP. `ONCE=1` stops by itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import training

ORDERS = Path(training.__file__).parent / "data" / "cdnow_orders.csv.gz"
HOME = Path(".clv") / "demo"
_READY_SECONDS = 90
QUESTION = """{"customers": [{"customer_id": "anna", "orders": [
  {"ordered_at": "1997-01-12", "amount": 29.95, "quantity": 2},
  {"ordered_at": "1997-09-20", "amount": 14.37, "quantity": 1},
  {"ordered_at": "1998-05-02", "amount": 41.90, "quantity": 3}]}],
 "as_of": "1998-07-01", "horizon_days": [90]}"""


def main() -> int:
    """Run the demo; the exit code of the first step that fails."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    os.environ["CLV_HOME"] = str(HOME)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    scores = HOME / "scores.parquet"
    steps = [
        ["train", str(ORDERS), "--currency", "USD", "--horizon-days", "90"],
        ["promote"],
        ["score", str(ORDERS), "--currency", "USD", "--out", str(scores)],
    ]
    for step in steps:
        print(f"\n$ clv {' '.join(step)}", flush=True)
        code = subprocess.call([clv(), *step])
        if code:
            return code
    show_best(scores)
    return serve_and_ask()


def clv() -> str:
    """The console script beside this interpreter."""
    return str(Path(sys.executable).with_name("clv"))


def show_best(scores: Path) -> None:
    """Print the five most valuable customers."""
    import pandas as pd

    columns = ["customer_id", "historic_clv", "purchase_probability", "predicted_number_of_orders", "predicted_clv"]
    best = pd.read_parquet(scores, columns=columns).nlargest(5, "predicted_clv")
    print("\nMost valuable in the next 90 days:")
    print(best.round(3).to_string(index=False), flush=True)


def serve_and_ask() -> int:
    """Start the service on $PORT or 3000, ask it with curl, and keep it up unless ONCE is set."""
    port = os.environ.get("PORT", "3000")
    print(f"\n$ clv serve --port {port}", flush=True)
    server = subprocess.Popen([clv(), "serve", "--port", port])
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/readyz", server)
        ask(f"http://127.0.0.1:{port}/v1/predict")
        if not os.environ.get("ONCE"):
            print(f"\nServing on http://127.0.0.1:{port} until Ctrl-C.", flush=True)
            return server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)
    return 0


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    """Poll until the service has a model. Raises SystemExit when it ended or did not come up."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"the service ended with exit code {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise SystemExit(f"the service was not ready within {_READY_SECONDS} seconds")


def ask(url: str) -> None:
    """Ask with curl, and print the answer as JSON."""
    words = ["curl", "--silent", "--show-error", url, "-H", "content-type: application/json", "-d", QUESTION]
    print(f"\n$ curl {url} -d '{QUESTION}'", flush=True)
    found = subprocess.run(words, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "json.tool", "--no-ensure-ascii"], input=found.stdout, check=True)


if __name__ == "__main__":
    sys.exit(main())
