"""`clv serve`: the champion over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from commands.options import MODEL, Name
from commands.settings import Home, home
from features.errors import UsageError


def serve(
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; beyond loopback a key is required."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65535)] = 3000,
    workers: Annotated[int, typer.Option(help="Worker processes.", min=1, max=64)] = 1,
    name: Name = MODEL,
    version: Annotated[str | None, typer.Option(help="Version to serve; the champion if absent.")] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Serve this bundle folder; no registry is asked."),
    ] = None,
) -> None:
    """Serve predictions over HTTP (BentoML); a new champion is taken up while serving.

    Stop with Ctrl-C; requests in flight end.
    """
    from commands.console import say
    from model.bundle import load_bundle
    from serving.service import is_loopback
    from serving.settings import from_environment

    if not is_loopback(host) and not from_environment().api_keys:
        raise UsageError(
            f"Listening on {host} needs an API key: set CLV_API_KEYS_SHA256 to the SHA-256 of the key, "
            "for example $(printf %s KEY | sha256sum | cut -d' ' -f1), or listen on 127.0.0.1."
        )
    _require_free(host, port)
    place, follows = home(), False
    if bundle is None:
        from serving.store import ModelStore

        bundle = ModelStore(place.registry_uri, place.bundles).bundle_folder(name, version)
        follows = version is None
    loaded = load_bundle(bundle)
    say(f"Serving {loaded.name} version {loaded.version} on http://{host}:{port} (Ctrl-C stops)")
    served = bundle.resolve()
    if follows:
        served = _followed(place, name, served)
    _become_bentoml(host, port, workers, served, place.folder.resolve())


def _followed(place: Home, name: str, bundle: Path) -> Path:
    """Start the process that follows the champion; it ends with this one. The file that it writes."""
    from serving.pointer import LOOK_SECONDS, Pointer, write_pointer

    pointer = place.run.resolve() / f"served-{os.getpid()}.json"
    write_pointer(pointer, Pointer(str(bundle), every=LOOK_SECONDS))
    environment = {**os.environ, "CLV_HOME": str(place.folder.resolve()), "PYTHONSAFEPATH": "1"}
    words = ["follow", str(pointer), "--name", name, "--parent", str(os.getpid())]
    run = "from commands.cli import main; main()"
    subprocess.Popen([sys.executable, "-c", run, *words], env=environment, stdin=subprocess.DEVNULL)
    return pointer


def _require_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"{host}:{port} cannot be listened on: {error.strerror}. Choose another --port."
            ) from error


def _become_bentoml(host: str, port: int, workers: int, bundle: Path, state: Path) -> None:
    """Replace this process, so that signals reach BentoML; its imports see only installed packages."""
    from serving.settings import from_environment

    empty = state / "empty"
    empty.mkdir(exist_ok=True)
    words = [
        "-m",
        "bentoml",
        "serve",
        "serving.service:ClvService",
        "--working-dir",
        str(empty),
    ]
    words += ["--host", host, "--port", str(port), "--timeout-graceful-shutdown", "30"]
    chosen = {
        "CLV_BUNDLE": str(bundle),
        "CLV_WORKERS": str(workers),
        "CLV_HOME": str(state),
        "CLV_STORE": from_environment().store,
        "PYTHONSAFEPATH": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": os.environ.get("BENTOML_HOME", str(state / "bentoml")),
    }
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *words], {**os.environ, **chosen})
