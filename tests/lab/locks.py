"""File locks: two commands must not change the same lab, or the same cache, at once."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.progress import say

_PATIENCE_SECONDS = 900.0


@contextmanager
def held(file: Path, why: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on file; yield whether it was got (always so when waiting)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as handle:
        got = _try(handle.fileno())
        if not got and wait:
            say(f"{why}: waiting for it")
            got = _wait(handle.fileno(), file, why)
        yield got


def _wait(descriptor: int, file: Path, why: str) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _try(descriptor):
        if time.monotonic() > deadline:
            raise LabError(f"{why} for over {_PATIENCE_SECONDS:.0f} s; see who holds {file}: fuser -v {file}")
        time.sleep(0.1)
    return True


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
