"""Where Spark reads and writes: folders of any file system that Hadoop knows, and JDBC URLs."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from features.errors import OutputError, UsageError, listed
from features.places import files

_SECONDS_TO_END: Final = 20
_OURS: Final = re.compile(r"_SUCCESS|part-\d{5}(-.*)?\.parquet|\..*\.crc")


@dataclass(frozen=True)
class Folder:
    """A folder.

    Attributes
    ----------
    context
        SparkContext that knows the file systems and their settings.
    is_local
        Whether it is a path of this machine.
    """

    path: str
    context: Any
    is_local: bool

    @classmethod
    def at(cls, context: Any, path: str) -> Folder:
        """Folder of a path; one without a scheme lies in Spark's default file system."""
        default = context._jsc.hadoopConfiguration().get("fs.defaultFS", "file:///")
        here = default.startswith("file:") and "://" not in path
        return cls(str(Path(path).absolute()) if here else path.rstrip("/"), context, here)

    def files(self) -> list[str]:
        """Its files, where they can be looked at from here, judged as the local engine does; else the path itself."""
        return [f"file://{path}" for path in files(self.path)[1]] if self.is_local else [self.path]

    def _hadoop(self, path: str) -> tuple[Any, Any]:
        place = self.context._jvm.org.apache.hadoop.fs.Path(path)
        return place.getFileSystem(self.context._jsc.hadoopConfiguration()), place

    def beside(self, what: str) -> str:
        """A hidden place beside it, of a name that nobody else gives."""
        parent, _, name = self.path.rpartition("/")
        return f"{parent}/.{name}.clv-{what}"

    def holds(self, path: str) -> bool:
        """Whether something is there."""
        files, place = self._hadoop(path)
        return bool(files.exists(place))

    def delete(self, path: str) -> None:
        """Delete it with all it holds, if it is there."""
        files, place = self._hadoop(path)
        files.delete(place, True)

    def discard(self, path: str) -> None:
        """Delete what a job has written when none is at work any more: an interrupted one takes a moment to end."""
        busy = self.context.statusTracker().getActiveJobsIds
        for _ in range(_SECONDS_TO_END):
            if not busy():
                break
            time.sleep(1.0)
        self.delete(path)

    def check(self) -> None:
        """Raise UsageError where something else than a folder of Parquet files would be replaced."""
        files, place = self._hadoop(self.path)
        if not files.exists(place):
            return
        if files.getFileStatus(place).isFile():
            raise UsageError(f"--out {self.path!r} is a file: Spark writes a folder.")
        names = [one.getPath().getName() for one in files.listStatus(place)]
        strangers = [name for name in names if not _OURS.fullmatch(name)]
        if strangers:
            raise UsageError(f"--out {self.path!r} would be replaced, but holds other files: {listed(strangers)}.")

    def replace_by(self, made: str) -> None:
        """Put a folder in the place of this one, which is deleted when the new one stands there."""
        files, target = self._hadoop(self.path)
        _, new = self._hadoop(made)
        _, aside = self._hadoop(self.beside("replaced"))
        files.create(self._hadoop(f"{made}/_SUCCESS")[1]).close()
        files.delete(aside, True)
        if files.exists(target) and not files.rename(target, aside):
            raise OutputError(f"{self.path!r} cannot be replaced. Nothing was changed.")
        if not files.rename(new, target):
            files.rename(aside, target)
            raise OutputError(f"{self.path!r} cannot be replaced. Nothing was changed.")
        files.delete(aside, True)


def is_jdbc(text: str) -> bool:
    """Whether it is a JDBC URL."""
    return text.startswith("jdbc:")


def shown_place(source: str) -> str:
    """Return the source as it may be shown: without what may hold a password."""
    plain = source.partition("?")[0].partition(";")[0] if is_jdbc(source) else source
    return re.sub(r"//[^/@]*@", "//…@", plain)
