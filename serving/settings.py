"""Settings of the service, read from the environment once per process."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import model
from features.errors import UsageError, listed
from serving.questions import MAX_ITEMS
from serving.routes import SCOPES


class ServiceSettings(BaseModel):
    """What an operator may set.

    Attributes
    ----------
    bundle
        Folder of the model bundle, or the file that names it (`serving.pointer`); a bento carries its own.
    store
        SQLAlchemy URL of the order store.
    api_keys
        SHA-256 (hex) of the keys that are let in, and what each may do; without any, only loopback is served.
    max_body_bytes, max_items, deadline_seconds
        Limits of one request; items are customers, or orders.
    max_waiting
        Calls that may wait for a thread before others are refused (429).
    workers
        Processes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    bundle: Path = Field(default_factory=lambda: Path(model.__file__).parents[1] / "build" / "bundle")
    store: str
    api_keys: Mapping[str, frozenset[str]] = {}
    max_body_bytes: int = Field(default=32 << 20, ge=1 << 10)
    max_items: int = Field(default=MAX_ITEMS, ge=1)
    deadline_seconds: float = Field(default=60.0, gt=0)
    max_waiting: int = Field(default=256, ge=1)
    workers: int = Field(default=1, ge=1, le=64)

    @field_validator("api_keys")
    @classmethod
    def _are_sha256(cls, keys: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        if any(len(digest) != 64 or set(digest) - set("0123456789abcdef") for digest in keys):
            raise ValueError("CLV_API_KEYS_SHA256 must hold SHA-256 digests in lower-case hex, separated by commas")
        if unknown := sorted(frozenset().union(*keys.values()) - set(SCOPES)):
            raise ValueError(f"CLV_API_KEYS_SHA256 names unknown scopes {listed(unknown)}; known: {', '.join(SCOPES)}")
        return keys

    def scopes_of(self, authorization: bytes) -> frozenset[str] | None:
        """What the key of an Authorization header may do; None without a known key. Constant time per key."""
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        digest = hashlib.sha256(key.strip()).hexdigest()
        found = [scopes for known, scopes in self.api_keys.items() if hmac.compare_digest(digest, known)]
        return found[0] if found else None


def from_environment(environment: Mapping[str, str] = os.environ) -> ServiceSettings:
    """Read the environment, `CLV_BUNDLE`, `CLV_STORE`, `CLV_API_KEYS_SHA256` and the others of docs/service.md.

    Raises
    ------
    UsageError
        A value is out of its range.
    """
    names = {
        "bundle": "CLV_BUNDLE",
        "max_body_bytes": "CLV_MAX_BODY_BYTES",
        "max_items": "CLV_MAX_ITEMS",
        "deadline_seconds": "CLV_DEADLINE_SECONDS",
        "max_waiting": "CLV_MAX_WAITING",
        "workers": "CLV_WORKERS",
    }
    given: dict[str, object] = {field: environment[name] for field, name in names.items() if environment.get(name)}
    home = Path(environment.get("CLV_HOME") or ".clv")
    given["store"] = _absolute(environment.get("CLV_STORE") or f"sqlite:///{home / 'orders.db'}")
    given["api_keys"] = dict(map(_key, filter(str.strip, environment.get("CLV_API_KEYS_SHA256", "").split(","))))
    try:
        return ServiceSettings.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise UsageError(f"The service's settings cannot be used: {wrong}.") from None


def _absolute(url: str) -> str:
    """The URL with a SQLite file by its whole path: the workers' folder is not the caller's."""
    scheme, slashes, path = url.partition(":///")
    return f"{scheme}:///{Path(path).resolve()}" if slashes and scheme.startswith("sqlite") and path else url


def _key(text: str) -> tuple[str, frozenset[str]]:
    """`DIGEST` may do everything, `DIGEST=predict+read` what it names."""
    digest, named, scopes = text.strip().partition("=")
    if digest == hashlib.sha256(b"").hexdigest():
        raise UsageError("CLV_API_KEYS_SHA256 has the SHA-256 of an empty key: was the key not set?")
    return digest, frozenset(scopes.split("+")) if named else frozenset(SCOPES)
