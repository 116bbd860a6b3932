"""Files of the host, replaced whole by one rename or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deployer.agent import faults
from deployer.agent.errors import StepError
from deployer.agent.images import Image

_REMEDIES = {
    errno.ENOSPC: "Free space on its filesystem",
    errno.EDQUOT: "Raise the quota of its owner",
    errno.EFBIG: "Raise the file size limit (ulimit -f)",
    errno.EROFS: "Its filesystem is mounted read-only: remount it, or leave this host out",
    errno.EPERM: "Is the file or its directory immutable (lsattr)? Allow the change with chattr -i",
    errno.EACCES: "The agent needs root (sudo)",
    errno.EBUSY: "It is a mount point of its own: mount its directory instead",
}


@dataclass(frozen=True)
class Wanted:
    """What a file is to be: content, permission bits, owner by number, extended attributes."""

    content: bytes = field(repr=False)
    mode: int
    uid: int
    gid: int
    xattrs: dict[str, bytes] = field(default_factory=dict, repr=False)

    def is_now(self, image: Image) -> bool:
        """Whether `image` has this content, mode and owner already."""
        if image.status is None or image.content != self.content:
            return False
        return (image.mode, image.status.st_uid, image.status.st_gid) == (self.mode, self.uid, self.gid)


def replace(real: str, wanted: Wanted, before_rename: Callable[[], None] = lambda: None) -> None:
    """Put `wanted` in the place of `real`; on any error the old file stays and nothing is left over.

    `before_rename` may raise to stop at the last moment. Raises StepError naming file, reason and remedy.
    """
    temporary = temporary_of(Path(real))
    with named(real, "written"), _gone_at_the_end(temporary):
        _write(temporary, wanted)
        before_rename()
        faults.at("rename")
        temporary.replace(real)
        sync_directory(temporary.parent)


def remove(real: str) -> None:
    """Remove the file durably; an absent one is fine. Raises StepError."""
    path = Path(real)
    with named(real, "removed"):
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_directory(path.parent)


def make_directory(path: Path, mode: int = 0o755) -> None:
    """Make the directory and its missing parents, durably, with `mode`. Raises StepError."""
    with named(str(path), "made"):
        missing = [directory for directory in (path, *path.parents) if not directory.is_dir()]
        for directory in reversed(missing):
            directory.mkdir(mode)
            directory.chmod(mode)
            sync_directory(directory.parent)


def sync(descriptor: int) -> None:
    """Make what was written to an open file, or a directory's entries, durable."""
    faults.at("fsync")
    os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Make the directory's entries durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def temporary_of(real: Path) -> Path:
    """Return where `real` is prepared: one fixed name beside it, so a killed run's leftover is found again.

    The dot and the unknown suffix keep services from reading it as a part of their configuration.
    """
    return real.with_name(f".{real.name[:200]}.hybridmsg-new")


def _write(temporary: Path, wanted: Wanted) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(wanted.content)
        file.flush()
        # chown clears file capabilities and ACLs carry mode bits: hence owner, attributes, mode.
        os.fchown(descriptor, wanted.uid, wanted.gid)
        for name, value in wanted.xattrs.items():
            _set_xattr(descriptor, name, value)
        os.fchmod(descriptor, wanted.mode)
        sync(descriptor)


def _set_xattr(descriptor: int, name: str, value: bytes) -> None:
    try:
        os.setxattr(descriptor, name, value)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise


@contextlib.contextmanager
def _gone_at_the_end(temporary: Path) -> Iterator[None]:
    """Remove a killed run's leftover first, and our own when the rename was not reached."""
    temporary.unlink(missing_ok=True)
    try:
        yield
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def named(real: str, done: str) -> Iterator[None]:
    """Turn the system's error into a StepError that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "")
        raise StepError(f"{real} could not be {done}: {error.strerror}", remedy) from error
