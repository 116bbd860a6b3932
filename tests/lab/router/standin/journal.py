"""The log, in the lines that qdrouterd writes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from .config import Entity

_LEVELS = ("trace", "debug", "info", "notice", "warning", "error", "critical")


class Journal:
    """Writes `TIME MODULE (level) text` to standard error or to the DEFAULT module's outputFile."""

    def __init__(self) -> None:
        self._levels: dict[str, frozenset[str]] = {}
        self._file = sys.stderr
        self._path = ""

    def configure(self, entity: Entity) -> None:
        """Take a log section over; raises OSError when its file cannot be written."""
        if entity.text("enable"):
            self._levels[entity.text("module")] = _enabled(entity.text("enable"))
        path = entity.text("outputFile")
        if entity.text("module") == "DEFAULT" and path and path != self._path:
            named = {"stderr": sys.stderr, "stdout": sys.stdout}
            self._file = named.get(path) or Path(path).open("a", encoding="utf-8")  # noqa: SIM115 - open while it runs
            self._path = path

    def write(self, module: str, level: str, text: str) -> None:
        """Write one line when the module's level lets it through."""
        enabled = self._levels.get(module) or self._levels.get("DEFAULT") or _enabled("info+")
        if level in enabled:
            now = time.time()
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
            self._file.write(f"{stamp}.{int(now % 1 * 1e6):06d} {time.strftime('%z')} {module} ({level}) {text}\n")
            self._file.flush()

    def info(self, module: str, text: str) -> None:
        """Write an informational line."""
        self.write(module, "info", text)

    def error(self, module: str, text: str) -> None:
        """Write an error line."""
        self.write(module, "error", text)


def _enabled(text: str) -> frozenset[str]:
    found: set[str] = set()
    for word in text.replace(" ", "").split(","):
        level = word.rstrip("+")
        if level in _LEVELS:
            found.update(_LEVELS[_LEVELS.index(level) :] if word.endswith("+") else (level,))
    return frozenset(found)
