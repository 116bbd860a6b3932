"""Files of the host as they are, read without leaving a trace."""

from __future__ import annotations

import base64
import errno
import grp
import hashlib
import os
import pwd
import stat
from dataclasses import dataclass, field

from deployer.agent.errors import RefusedError
from deployer.agent.types import Json

SIZE_LIMIT = 16 * 1024 * 1024  # bytes: above any configuration file; a log named by mistake must not travel
_BOUND_TO_CONTENT = ("security.ima", "security.evm")  # the kernel's signatures of the old bytes


@dataclass(frozen=True)
class Image:
    """A file at one moment; `real` is the path behind symlinks, and all that an absent file has."""

    real: str
    exists: bool = False
    content: bytes = field(default=b"", repr=False)
    status: os.stat_result | None = None
    xattrs: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def sha256(self) -> str | None:
        """Hex digest of the content, None when absent: what a preimage is compared with."""
        return hashlib.sha256(self.content).hexdigest() if self.exists else None

    @property
    def mode(self) -> int:
        """Permission bits, 0 when absent."""
        return stat.S_IMODE(self.status.st_mode) if self.status else 0

    def facts(self) -> Json:
        """Return the protocol's entry for the file, without its content."""
        if self.status is None:
            return {"exists": False, "real": self.real}
        status = self.status
        return {
            "exists": True,
            "real": self.real,
            "sha256": self.sha256,
            "size": len(self.content),
            "mode": self.mode,
            "uid": status.st_uid,
            "gid": status.st_gid,
            "user": user_name(status.st_uid),
            "group": group_name(status.st_gid),
            "inode": status.st_ino,
            "mtime_ns": status.st_mtime_ns,
            "ctime_ns": status.st_ctime_ns,
        }

    def record(self) -> Json:
        """Return what the journal keeps of it: the facts and the extended attributes, no content."""
        if not self.exists:
            return self.facts()
        xattrs = {name: base64.b64encode(value).decode() for name, value in self.xattrs.items()}
        return {**self.facts(), "xattrs_b64": xattrs}


def read(path: str) -> Image:
    """Return the file's image; raises RefusedError when it is not regular, too large or unreadable."""
    real = os.path.realpath(path)
    try:
        _refuse_special(path, os.lstat(real))
        # Non-blocking, lest a FIFO put in its place meanwhile holds the agent for ever.
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return Image(real)
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}", "The agent needs root (sudo)") from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _refuse_special(path, status)
        return Image(real, exists=True, content=file.read(), status=status, xattrs=_xattrs(descriptor))


def _refuse_special(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(f"{path} is not a regular file", "Name the file itself")
    if status.st_size > SIZE_LIMIT:
        raise RefusedError(f"{path} has {status.st_size} bytes, which no configuration file has")


def _xattrs(descriptor: int) -> dict[str, bytes]:
    try:
        names = os.listxattr(descriptor)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}
    return {name: os.getxattr(descriptor, name) for name in names if name not in _BOUND_TO_CONTENT}


def user_name(uid: int) -> str:
    """Return the user's name, or the number as text when the host has no name for it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the group's name, or the number as text when the host has no name for it."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
