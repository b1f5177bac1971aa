"""Where the peers of `speed.py` run: environments of their own, so that the project does not depend on them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "build" / "tables"
"""Polars, DuckDB and Ibis; made when it is missing."""
PYMC = ROOT / "build" / "peers"
"""pymc-marketing, as `accuracy.py` makes it; never made here."""
PYMC_SCRIPT = Path(__file__).with_name("peer_pymc.py")
TABLE_PEERS = ("polars", "duckdb", "ibis")
GROUP = "speed"


def tables_python() -> str:
    """Python of the peers that make features: made on first use from the dependency group `speed`."""
    python = TABLES / "bin" / "python"
    if not python.exists():
        wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"][GROUP]
        subprocess.run([sys.executable, "-m", "venv", str(TABLES)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
    return str(python)


def pymc_python() -> str | None:
    """Python of pymc-marketing's environment, if there is one."""
    python = PYMC / "bin" / "python"
    return str(python) if python.exists() else None


def versions(python: str, *packages: str) -> str:
    """`name version, …` as installed there."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    found = subprocess.check_output([python, "-c", code, *packages], text=True).split()
    return ", ".join(f"{name} {version}" for name, version in zip(packages, found, strict=True))
