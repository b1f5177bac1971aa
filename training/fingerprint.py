"""Which orders and which code a model was trained with."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from features.orders import OrderLog


def data_fingerprint(log: OrderLog) -> str:
    """SHA-256 over customers, times and amounts in the total order, first 16 hex digits.

    A shuffled log has the same fingerprint; a changed amount has another.
    """
    digest = hashlib.sha256()
    digest.update("\x00".join(map(str, log.customer_ids)).encode())
    for column in (log.starts, log.ordered_at, log.amount):
        digest.update(column.tobytes())
    return digest.hexdigest()[:16]


def git_commit() -> str:
    """Commit of this checkout, with `+changes` when files differ; `unknown` where this file is part of none."""
    folder = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # else the repository around an installed copy
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
