"""The lab's own cgroups: what is in them is the lab's and may be killed, nothing else ever is.

A machine has either cgroup v2 alone, or v1 with a named hierarchy "systemd" (and often v2 beside it at
"unified"). systemd-nspawn --keep-unit makes the payload's cgroup below the one it is started in, so every
host needs a cgroup of its own: two started from the same one would share the cgroups of their units.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.lab.errors import LabError

# Joins the cgroups named before "--", notes its own PID, then becomes the program: done by a shell because
# code of ours between fork and exec would not be safe in a process with threads.
_JOIN = (
    'while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; '
    'if [ -n "$1" ]; then echo $$ >"$1"; fi; shift; exec "$@"'
)


@lru_cache(maxsize=1)
def hierarchies() -> tuple[Path, ...]:
    """Return the mount points in which processes are tracked: v2, and v1's "systemd" where there is one."""
    found = []
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(where))
    if not found:
        raise LabError("no cgroup hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")
    return tuple(found)


@dataclass(frozen=True)
class Cgroup:
    """One cgroup, the same path in every hierarchy."""

    path: str

    def child(self, name: str) -> Cgroup:
        """Return the cgroup of that name below this one (not made yet)."""
        return Cgroup(f"{self.path}/{name}")

    def create(self) -> None:
        """Make it; one that is there stays as it is."""
        try:
            for directory in self._directories():
                directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = "the lab needs a machine, or a privileged container, that may make cgroups"
            raise LabError(f"cannot make the cgroup {error.filename} ({error.strerror}): {remedy}") from error

    def exists(self) -> bool:
        """Tell whether it is there in any hierarchy."""
        return any(directory.exists() for directory in self._directories())

    def wrap(self, argv: Sequence[str], pidfile: Path | None = None) -> list[str]:
        """Return the command that runs argv inside this cgroup, its PID written to pidfile first."""
        procs = [str(directory / "cgroup.procs") for directory in self._directories()]
        return ["/bin/sh", "-c", _JOIN, "lab", *procs, "--", str(pidfile or ""), *argv]

    def pids(self) -> set[int]:
        """Return every process in it and below."""
        found: set[int] = set()
        for directory in self._directories():
            for folder, _, _ in os.walk(directory):
                with contextlib.suppress(OSError):  # a cgroup may vanish while we look
                    text = (Path(folder) / "cgroup.procs").read_text(encoding="ascii")
                    found.update(int(pid) for pid in text.split())
        return found - {0}

    def kill(self, seconds: float = 20) -> None:
        """SIGKILL everything in it and below, again until nothing is left."""
        deadline = time.monotonic() + seconds
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise LabError(f"cgroup {self.path}: processes {sorted(pids)} outlive SIGKILL")
            time.sleep(0.02)

    def remove(self, seconds: float = 5) -> None:
        """Remove it and all below; the kernel may need a moment after the last process."""
        deadline = time.monotonic() + seconds
        while self.exists():
            for directory in self._directories():
                for folder, _, _ in os.walk(directory, topdown=False):
                    with contextlib.suppress(OSError):
                        Path(folder).rmdir()
            if self.exists():
                if time.monotonic() > deadline:
                    raise LabError(f"cgroup {self.path} cannot be removed: processes {sorted(self.pids())}")
                time.sleep(0.02)

    def _directories(self) -> list[Path]:
        return [root / self.path for root in hierarchies()]
