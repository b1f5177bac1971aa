"""`clv bundle`: a registered model as a folder, for a bento or a machine without registry."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from commands.options import MODEL, Name


def bundle(
    out: Annotated[Path, typer.Argument(help="Folder to write, replaced if it holds a bundle.")],
    name: Name = MODEL,
    version: Annotated[str | None, typer.Option(help="Version; the champion if absent.")] = None,
) -> None:
    """Copy a model's bundle out of the registry (for `bentoml build`, use build/bundle)."""
    from commands.console import say
    from commands.settings import home
    from features.errors import OutputError
    from model.bundle import MANIFEST
    from serving.output import written_beside
    from serving.store import ModelStore

    place = home()
    folder = ModelStore(place.registry_uri, place.bundles).bundle_folder(name, version)
    if out.exists() and not (out / MANIFEST).is_file():
        raise OutputError(f"{str(out)!r} exists and is no bundle: choose another folder.")
    with written_beside(out.resolve(), folder=True) as beside:
        try:
            shutil.copytree(folder, beside, dirs_exist_ok=True)
        except shutil.Error as error:  # of many files at once
            raise OutputError(f"{str(out)!r} cannot be written: {error.args[0][0][2]}. Nothing was changed.") from error
    say(f"Bundle of {folder.name} written to {out}.")
