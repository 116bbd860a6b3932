"""Overlay mounts: made of layers, found again in the kernel's own list, so that a killed lab leaves none."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.shell import sh, tail


def overlay(lowers: Sequence[Path], upper: Path, work: Path, target: Path) -> None:
    """Mount lowers (topmost first) under upper at target."""
    for directory in (upper, work, target):
        directory.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={':'.join(map(str, lowers))},upperdir={upper},workdir={work}"
    sh(["mount", "-t", "overlay", "hybridmsg-lab", "-o", options, str(target)])


def below(directory: Path) -> list[Path]:
    """Return the mount points at or under directory, innermost first."""
    prefix = str(directory)
    found = [_unescape(line.split()[1]) for line in _mounts()]
    return [Path(p) for p in reversed(found) if p == prefix or p.startswith(prefix + os.sep)]


def lowers_in_use() -> set[str]:
    """Return every lower directory of every overlay that is mounted now."""
    found: set[str] = set()
    for line in _mounts():
        fields = line.split()
        if fields[2] == "overlay":
            for option in fields[3].split(","):
                if option.startswith("lowerdir="):
                    found.update(_unescape(option.removeprefix("lowerdir=")).split(":"))
    return found


def unmount_below(directory: Path, seconds: float = 10) -> None:
    """Unmount everything at or under directory, waiting for the last user of it to be gone."""
    deadline = time.monotonic() + seconds
    while targets := below(directory):
        done = sh(["umount", str(targets[0])], check=False)
        if done.returncode != 0:
            if time.monotonic() > deadline:
                raise LabError(f"cannot unmount {targets[0]}:\n{tail(done.stderr)}")
            time.sleep(0.05)


def _mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()


def _unescape(text: str) -> str:
    return text.replace("\\040", " ").replace("\\054", ",").replace("\\134", "\\")
