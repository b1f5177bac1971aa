"""The jobs of `speed.py`, each run in a fresh interpreter: `python speed_jobs.py JOB WORDS...`.

A job imports what it needs and gives back what is to be done, so that the time of the imports is known apart. What it
found is printed as one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Found = dict[str, Any] | None
Job = Callable[..., Callable[[], Found]]
FEATURES_AS_OF = "2025-01-01T00:00:00Z"
MONTHS = (*(f"2024-{month:02}-01T00:00:00Z" for month in range(2, 13)), FEATURES_AS_OF)


def log(folder: str, n_customers: str, giant_orders: str) -> Callable[[], Found]:
    """Make a log."""
    from speed_log import LogPlan, write_log

    return lambda: {"rows": write_log(Path(folder), LogPlan(int(n_customers), int(giant_orders)))}


def features(who: str, folder: str, out: str, as_of: str = FEATURES_AS_OF) -> Callable[[], Found]:
    """Parquet in, features out, by one of the contenders."""
    if who == "ours":
        return moments("1", folder, out, as_of)
    if who == "pandas":
        return _pandas(Path(folder), Path(out), as_of)
    module = importlib.import_module(f"speed_{who}")
    return lambda: module.write_features(Path(folder), Path(out), as_of)


def _pandas(folder: Path, out: Path | None, as_of: str) -> Callable[[], Found]:
    import pandas as pd
    import pyarrow.parquet  # noqa: F401  which pandas would import while it reads
    from pandas_features import pandas_features

    def work() -> None:
        frame = pandas_features(pd.read_parquet(folder), pd.Timestamp(as_of).tz_localize(None))
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            split = [name for name in frame.select_dtypes("float64") if not name.endswith("_share")]  # as we do
            frame.to_parquet(
                out / "features.parquet", compression="snappy", use_dictionary=False, use_byte_stream_split=split
            )

    return work


def held(who: str, folder: str) -> Callable[[], Found]:
    """Parquet in, features in memory, by one of the contenders."""
    if who == "pandas":
        return _pandas(Path(folder), None, FEATURES_AS_OF)
    module = importlib.import_module(f"speed_{who}")
    return lambda: module.hold_features(Path(folder), FEATURES_AS_OF)


def moments(n: str, folder: str, out: str, last: str = FEATURES_AS_OF) -> Callable[[], Found]:
    """Our features as of the last n months' ends."""
    from speed_ours import write_features

    taken = (*MONTHS[:-1], last)[-int(n) :]
    return lambda: write_features(Path(folder), Path(out), taken)


def examples(n: str, folder: str) -> Callable[[], Found]:
    """Training examples of n monthly cut-offs, as `clv train` draws them."""
    from speed_ours import draw_examples

    return lambda: draw_examples(Path(folder), MONTHS[-int(n) :])


def compared(mine: str, *others: str) -> Callable[[], Found]:
    """Features in which others differ from ours."""
    from speed_small import disagreements

    return lambda: {other: disagreements(Path(mine), Path(other)) for other in others}


def cdnow(out: str) -> Callable[[], Found]:
    """The bundled log as a folder of Parquet."""
    from speed_small import write_cdnow

    return lambda: write_cdnow(Path(out))


def online() -> Callable[[], Found]:
    """One customer a call."""
    from speed_small import online

    return online


def bits(folder: str) -> Callable[[], Found]:
    """Values that differ in any bit by how customers are grouped."""
    from speed_small import bits

    return lambda: bits(folder)


def stages(folder: str, bundle: str) -> Callable[[], Found]:
    """Rows a CPU second by stage of a score, and of the bare trees."""
    from speed_stages import stages

    return lambda: stages(folder, Path(bundle))


def summary(folder: str, out: str) -> Callable[[], Found]:
    """A log's past as the peers of fitting want it."""
    from speed_stages import write_summary

    return lambda: write_summary(folder, Path(out))


def fit(path: str) -> Callable[[], Found]:
    """Fit BG/NBD and gamma-gamma to a summary and predict."""
    from speed_stages import fit

    return lambda: fit(Path(path))


JOBS: dict[str, Job] = {
    job.__name__: job
    for job in (log, features, held, moments, examples, compared, cdnow, online, bits, stages, summary, fit)
}  # fmt: skip


def main() -> None:
    """Entry point."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in `commands`, for all contenders alike
    sys.path.append(sys.path.pop(0))  # this folder's serving.py would hide the package `serving`
    todo = JOBS[sys.argv[1]](*sys.argv[2:])
    start = time.process_time()
    found = todo()
    print(json.dumps({"start_cpu_s": start, **(found or {})}))


if __name__ == "__main__":
    main()
