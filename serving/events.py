"""What the service logs: one JSON object a line, about requests and models, never about customers."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

_log = logging.getLogger("clv.serving")


def event(name: str, level: Literal["info", "warning", "error"] = "info", **fields: Any) -> None:
    """Log an event with its fields; no field may hold a value that a customer or an order brought."""
    line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": name} | fields
    getattr(_log, level)(orjson.dumps(line).decode())


def log_to_stderr() -> None:
    """Write events as they are, beside BentoML's own lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
