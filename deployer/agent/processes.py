"""What /proc tells of a process: words, environment, owner, start, place; empty or None for one that is gone."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from deployer.agent.images import user_name

# Titles with the command line in them: cotyledon's `NAME: master process [ARGV]` (ceilometer, octavia) and neutron's
# `NAME (ARGV)`, `NAME: rpc worker (ARGV)`.
_TITLE = re.compile(r"\S+(?:: [\w -]+)? (?:\[(.+)\]|\((.+)\))")
_WRAPPERS = frozenset(("sh", "bash", "dash", "ash", "ksh", "zsh", "sudo", "su", "runuser", "dumb-init", "tini"))


def text(path: str) -> str:
    """Return a file's text, "" when it cannot be read."""
    try:
        return Path(path).read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def argv(pid: int) -> list[str]:
    """Return the process's command line, read out of its title if need be."""
    line = text(f"/proc/{pid}/cmdline").rstrip("\0")
    title = _TITLE.fullmatch(line)
    if title:
        return (title.group(1) or title.group(2)).split()
    return line.split("\0") if line else []


def environ(pid: int) -> dict[str, str]:
    """Return the environment that the process was started with; a process that rewrote its title wrote over it."""
    entries = text(f"/proc/{pid}/environ").split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def started(pid: int) -> float | None:
    """Return when the process began (seconds since the epoch, to a clock tick): field 22 of proc_pid_stat(5)."""
    fields = _stat(pid)
    if not fields:
        return None
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot


def owner(pid: int) -> str:
    """Return the process's effective user; the owner of /proc/PID may be root for one that gave root up."""
    status = text(f"/proc/{pid}/status")
    uids = next((line.split() for line in status.splitlines() if line.startswith("Uid:")), [])
    return user_name(int(uids[2])) if len(uids) > 2 else ""


def binary(pid: int) -> str:
    """Return the path of the file that runs."""
    return _link(pid, "exe")


def directory(pid: int) -> str:
    """Return the working directory."""
    return _link(pid, "cwd")


def service(pid: int) -> int:
    """Return the process that is the service: `pid`, or what runs below it where that is a shell or a wrapper."""
    while Path(binary(pid)).name in _WRAPPERS:
        below = _children(pid)
        if not below:
            return pid
        pid = below[0]
    return pid


def _children(pid: int) -> list[int]:
    """Return the process's children, the oldest first."""
    pids = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [child for child in pids if _stat(child)[1:2] == [str(pid)]]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; the second may have spaces and parentheses."""
    return text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _link(pid: int, name: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/{name}").readlink())
    except OSError:
        return ""
