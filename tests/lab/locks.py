"""File locks: two commands must not change the same lab, or the same cache, at once."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tests.lab.errors import LabError
from tests.lab.progress import say

_PATIENCE_SECONDS = 900.0


@contextmanager
def held(file: Path, why: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on file; yield whether it was got (always so when waiting)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = _take(file)
    if handle is None and wait:
        say(f"{why}: waiting for it")
        handle = _wait(file, why)
    try:
        yield handle is not None
    finally:
        if handle:
            handle.close()


def _wait(file: Path, why: str) -> BinaryIO:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (handle := _take(file)) is None:
        if time.monotonic() > deadline:
            raise LabError(f"{why} for over {_PATIENCE_SECONDS:.0f} s; see who holds {file}: fuser -v {file}")
        time.sleep(0.1)
    return handle


def _take(file: Path) -> BinaryIO | None:
    handle = file.open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # `down` removes the file while it holds the lock: one got on a file that has no name any more is void.
        if file.exists() and file.stat().st_ino == os.fstat(handle.fileno()).st_ino:
            return handle
    except BlockingIOError:
        pass
    handle.close()
    return None
