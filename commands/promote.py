"""`clv promote` and `clv rollback`: move the champion alias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from commands.options import MODEL, Name

if TYPE_CHECKING:
    from training.registry import Registry


def promote(
    version: Annotated[str | None, typer.Argument(help="Version to promote; the challenger if absent.")] = None,
    name: Name = MODEL,
) -> None:
    """Make a version champion, unless the gate says no."""
    from commands.console import say
    from commands.settings import home
    from training.registry import Registry

    place = home()
    registry = Registry(place.registry_uri, place.artifacts)
    now, before = registry.promote(name, version)
    known = " already" if before == now else f", before it version {before}" if before else ""
    say(f"{name} version {now} is champion{known}.{_changes(registry, name, before, now)}")


def rollback(name: Name = MODEL) -> None:
    """Make the previous champion champion again."""
    from commands.console import say
    from commands.settings import home
    from training.registry import Registry

    place = home()
    registry = Registry(place.registry_uri, place.artifacts)
    now, before = registry.rollback(name)
    changed = _changes(registry, name, before, now)
    say(f"{name} version {now} is champion again; version {before} is kept as previous.{changed}")


def _changes(registry: Registry, name: str, before: str | None, now: str) -> str:
    found = registry.changes(name, before, now) if before else []
    return f" Callers will notice: {'; '.join(found)}." if found else ""
