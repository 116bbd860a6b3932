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

    def take(self, holder: dict[str, Any], *, wait: bool = False) -> dict[str, Any] | None:
        """Hold the lock until it is let go; raises LockedError naming the other holder. Taking it twice is once.

        Returns the holder that died with it (killed, or the host went down): one that ends takes its name away.
        `wait`: as long as somebody else has it, which is never longer than he lives.
        """
        make_directory(self._path.parent, 0o700)
        was = None
        if self._file is None:
            self._file = self._flock(wait=wait)
            was = _holder(os.pread(self._file, 4096, 0)) or None
        self.holder = {key: str(holder.get(key, "")) for key in ("who", "when", "run")}
        self._sign(self._file, json.dumps(self.holder).encode())
        return was

    def let_go(self) -> None:
        """Free the host, if it is held at all."""
        if self._file is not None:
            self._sign(self._file, b"")
            os.close(self._file)
            self._file = None

    @staticmethod
    def _sign(file: int, text: bytes) -> None:
        os.ftruncate(file, 0)
        os.pwrite(file, text, 0)

    def _flock(self, *, wait: bool) -> int:
        # O_CLOEXEC (Python's default): a daemon that a package starts would otherwise hold the lock for ever.
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(os.pread(file, 4096, 0))
            os.close(file)
            raise LockedError(holder) from error
        return file

    def need(self) -> None:
        """Raise RefusedError unless this agent holds the lock."""
        if self._file is None:
            raise RefusedError("this session does not hold the lock", "Send `lock` first")


def _holder(content: bytes) -> dict[str, Any]:
    try:
        holder = json.loads(content)
    except ValueError:  # the holder is just about to write it
        return {}
    return holder if isinstance(holder, dict) else {}
