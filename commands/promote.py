"""`clv promote` and `clv rollback`: move the champion alias."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.options import Name


def promote(
    version: Annotated[str | None, typer.Argument(help="Version to promote; the challenger if absent.")] = None,
    name: Name = "clv",
) -> None:
    """Make a version champion, unless the gate says no."""
    from commands.console import say
    from commands.settings import home
    from training.registry import Registry

    place = home()
    now, before = Registry(place.registry_uri, place.artifacts).promote(name, version)
    known = " already" if before == now else f", before it version {before}" if before else ""
    say(f"{name} version {now} is champion{known}.")


def rollback(name: Name = "clv") -> None:
    """Make the previous champion champion again."""
    from commands.console import say
    from commands.settings import home
    from training.registry import Registry

    place = home()
    now, before = Registry(place.registry_uri, place.artifacts).rollback(name)
    say(f"{name} version {now} is champion again; version {before} is kept as previous.")
