"""What can go wrong, in one tree. Whatever a user of the CLI or the API is told is a `ClvError`.

    ClvError                 500  exit 1   root: catch this and print its text
    ├── UsageError           400  exit 2   an option, setting or argument is wrong
    │   └── HorizonError     422  exit 2   a horizon that was not fitted, or is longer than the history
    ├── OrdersError          422  exit 1   the order log cannot be used as a whole
    ├── TrainingError        422  exit 1   the log is readable but not fit to train on
    ├── LeakError            500  exit 1   a fit or a backtest would see the future: a fault of the code
    ├── BundleError          503  exit 1   no model, or one that is damaged or of another version
    ├── RegistryError        503  exit 1   the model registry is unreachable or lacks what was asked
    ├── GateError            409  exit 1   the promotion gate says no
    ├── StoreError           503  exit 1   the order store cannot be reached, or does not answer
    └── OutputError          507  exit 1   a result cannot be written where it was asked for

What only the service says stands with it, under the same root: `serving.envelope` (of a whole call), `serving.requests`
(of a customer in it), `serving.api` and `serving.score_store` (of what is stored), `serving.client`.

A message says what is wrong, names at most five offenders, the rule, and the repair.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

MAX_OFFENDERS = 5


class ClvError(Exception):
    """Root of the tree; `status` is its HTTP status, `exit_code` the one of the command line."""

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "internal_error"


class UsageError(ClvError):
    """An option, setting or argument is wrong."""

    status, exit_code, code = 400, 2, "wrong_use"


class HorizonError(UsageError):
    """A horizon that was not fitted, or that is longer than the history allows."""

    status, code = 422, "horizon_not_available"


class OrdersError(ClvError):
    """The order log cannot be used as a whole."""

    status, code = 422, "orders_unusable"


class TrainingError(ClvError):
    """The log is readable but not fit to train on."""

    status, code = 422, "not_trainable"


class LeakError(ClvError):
    """A fit or a backtest would see what it must predict: a fault of the code, never of the data."""

    status, code = 500, "leak"


class BundleError(ClvError):
    """There is no model, or it is damaged or of another version."""

    status, code = 503, "model_unavailable"


class RegistryError(ClvError):
    """The model registry is unreachable or lacks what was asked for."""

    status, code = 503, "registry_unavailable"


def not_registered(name: str, known: Iterable[str]) -> RegistryError:
    """The error of a model name that a registry does not know; `known` are the names that it does."""
    names = listed(sorted(known)) or "none yet: clv train ORDERS makes the first"
    return RegistryError(f"No model is registered as {name!r}. Registered: {names}.")


class GateError(ClvError):
    """The promotion gate says no."""

    status, code = 409, "gate_refused"


class StoreError(ClvError):
    """The order store cannot be reached, or does not answer."""

    status, code = 503, "store_unavailable"


class OutputError(ClvError):
    """A result cannot be written where it was asked for."""

    status, code = 507, "output_unwritable"


def listed(items: Iterable[object]) -> str:
    """Write at most five offenders, and how many more there are."""
    shown = [str(item) if len(str(item)) <= 60 else f"{str(item)[:57]}..." for item in items]
    rest = len(shown) - MAX_OFFENDERS
    return ", ".join(shown[:MAX_OFFENDERS]) + (f" and {rest} more" if rest > 0 else "")
