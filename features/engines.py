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
    """Return the URL with its password hidden; a path as it is."""
    if "://" not in url:
        return url
    try:
        return sa.make_url(url).set(query={}).render_as_string(hide_password=True)
    except (sa.exc.ArgumentError, ValueError):
        return url.partition("://")[0] + "://…"
