"""`clv bundle`: a registered model as a folder, for a bento or a machine without registry."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from commands.options import Name


def bundle(
    out: Annotated[Path, typer.Argument(help="Folder to write, replaced if it holds a bundle.")],
    name: Name = "clv",
    version: Annotated[str | None, typer.Option(help="Version; the champion if absent.")] = None,
) -> None:
    """Copy a model's bundle out of the registry (for `bentoml build`, use build/bundle)."""
    from commands.console import say
    from commands.settings import home
    from features.errors import OutputError
    from model.bundle import MANIFEST
    from serving.store import ModelStore

    place = home()
    folder = ModelStore(place.registry_uri, place.bundles).bundle_folder(name, version)
    if out.exists() and not (out / MANIFEST).is_file():
        raise OutputError(f"{str(out)!r} exists and is no bundle: choose another folder.")
    try:
        beside = out.with_name(f".{out.name}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(folder, beside)
        shutil.rmtree(out, ignore_errors=True)
        beside.rename(out)
    except OSError as error:
        raise OutputError(f"{str(out)!r} cannot be written: {error.strerror or error}.") from error
    say(f"Bundle of {folder.name} written to {out}.")
