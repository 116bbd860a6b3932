"""One writer per host: a flock held by this very process, so that its death of any kind frees it."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from deployer.agent.errors import LockedError, RefusedError
from deployer.agent.files import make_directory


class HostLock:
    """The lock file `STATE/lock`; its content is the holder, `{"who", "when", "run"}`."""

    def __init__(self, state: Path) -> None:
        self._path = state / "lock"
        self._file: int | None = None
        self.holder: dict[str, Any] = {}

    def take(self, holder: dict[str, Any]) -> None:
        """Hold the lock until exit; raises LockedError naming the other holder. Taking it twice is once."""
        make_directory(self._path.parent, 0o700)
        if self._file is None:
            self._file = self._flock()
        self.holder = {key: str(holder.get(key, "")) for key in ("who", "when", "run")}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(self.holder).encode(), 0)

    def _flock(self) -> int:
        # O_CLOEXEC (Python's default): a daemon that a package starts would otherwise hold the lock for ever.
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(os.pread(file, 4096, 0))
            os.close(file)
            raise LockedError(holder) from error
        return file

    def need(self) -> None:
        """Raise RefusedError unless this agent holds the lock."""
        if self._file is None:
            raise RefusedError("this session does not hold the lock", "Send `lock` before `apply` or `undo`")


def _holder(content: bytes) -> dict[str, Any]:
    try:
        holder = json.loads(content)
    except ValueError:  # the holder is just about to write it
        return {}
    return holder if isinstance(holder, dict) else {}
