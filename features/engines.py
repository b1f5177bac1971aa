"""SQLAlchemy engines of URLs, and URLs as they may be shown."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from features.errors import UsageError


def engine_for(url: str, **how: Any) -> sa.Engine:
    """Engine of a SQLAlchemy URL; `postgresql://` means psycopg 3.

    Raises
    ------
    UsageError
        The URL is no SQLAlchemy URL, or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        return sa.create_engine(parsed, **how)
    except ModuleNotFoundError as error:
        raise UsageError(f"{hidden(url)!r} needs the driver {error.name}, which is not installed here.") from None
    except (
        sa.exc.ArgumentError,
        sa.exc.NoSuchModuleError,
        ValueError,  # its text may hold a part of the password
    ):
        raise UsageError(
            f"{hidden(url)!r} is no usable SQLAlchemy URL. Examples: sqlite:///shop.db, postgresql://user@host/shop."
        ) from None


def hidden(url: str) -> str:
    """Return the URL with its password hidden, and what may hold one in a URL that is wrong; a path as it is."""
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        secret, at, place = url.rpartition("@")
        return f"…{at}{place}" if ":" in secret else url
    if rest.count("@") > 1:  # one that should have been written %40: the rest of the password would pass for a host
        return f"{scheme}://…"
    try:
        return sa.make_url(url).set(query={}).render_as_string(hide_password=True)
    except (sa.exc.ArgumentError, ValueError):
        return f"{scheme}://…"
