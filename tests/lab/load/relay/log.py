"""What a role did, a line of JSON each: read by tests, which count what was lost."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path


class Log:
    """Appends lines to one file, each whole, from any thread."""

    def __init__(self, directory: str, role: str) -> None:
        self._file = (Path(directory) / f"{role}.log").open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, **fields: object) -> None:
        """Write one line: the fields and `at`, in seconds since the epoch."""
        line = json.dumps({"at": round(time.time(), 3), **fields})
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
