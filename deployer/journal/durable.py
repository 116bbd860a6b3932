"""Files that outlive a power cut and that only their owner can read: they hold every service's passwords."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Replace a file as a whole (0600), its directories made (0700) where they are missing."""
    make_directories(path.parent)
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    # The host is told to change next: by then the copy must outlive a power cut, its name included.
    sync(path.parent)


def append(path: Path, line: bytes) -> None:
    """Add a line at the end of a file (0600), not durable before `sync`; what a crash left torn there is cut off."""
    make_directories(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            file.truncate(os.pread(descriptor, end, 0).rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
        file.write(line)


def make_directories(directory: Path) -> None:
    """Make a directory and those above it that are missing, durably, open to their owner only."""
    if directory.is_dir():
        return
    make_directories(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    sync(directory.parent)


def sync(path: Path) -> None:
    """Make a file's content durable, or the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
