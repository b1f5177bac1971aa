"""Settings of the service, read from the environment once per process."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import model
from features.errors import UsageError


class ServiceSettings(BaseModel):
    """What an operator may set.

    Attributes
    ----------
    bundle
        Folder of the model bundle; a bento carries its own.
    api_key_hashes
        SHA-256 (hex) of the keys that are let in; without any, only loopback is served.
    max_body_bytes, deadline_seconds
        Limits of one request.
    workers
        Processes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    bundle: Path = Field(default_factory=lambda: Path(model.__file__).parents[1] / "build" / "bundle")
    api_key_hashes: tuple[str, ...] = ()
    max_body_bytes: int = Field(default=32 << 20, ge=1 << 10)
    deadline_seconds: float = Field(default=60.0, gt=0)
    workers: int = Field(default=1, ge=1, le=64)

    @field_validator("api_key_hashes")
    @classmethod
    def _are_sha256(cls, hashes: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(digest) != 64 or set(digest) - set("0123456789abcdef") for digest in hashes):
            raise ValueError("CLV_API_KEYS_SHA256 must hold SHA-256 digests in lower-case hex, separated by commas")
        return hashes

    def lets_in(self, authorization: bytes) -> bool:
        """Whether an Authorization header carries one of the keys, in constant time per key."""
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        digest = hashlib.sha256(key.strip()).hexdigest()
        return sum(hmac.compare_digest(digest, known) for known in self.api_key_hashes) > 0


def from_environment(environment: Mapping[str, str] = os.environ) -> ServiceSettings:
    """Read `CLV_BUNDLE`, `CLV_API_KEYS_SHA256`, `CLV_MAX_BODY_BYTES`, `CLV_DEADLINE_SECONDS`, `CLV_WORKERS`.

    Raises
    ------
    UsageError
        A value is out of its range.
    """
    names = {
        "bundle": "CLV_BUNDLE",
        "max_body_bytes": "CLV_MAX_BODY_BYTES",
        "deadline_seconds": "CLV_DEADLINE_SECONDS",
        "workers": "CLV_WORKERS",
    }
    given: dict[str, object] = {field: environment[name] for field, name in names.items() if environment.get(name)}
    hashes = environment.get("CLV_API_KEYS_SHA256", "")
    given["api_key_hashes"] = tuple(part.strip() for part in hashes.split(",") if part.strip())
    try:
        return ServiceSettings.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise UsageError(f"The service's settings cannot be used: {wrong}.") from None
