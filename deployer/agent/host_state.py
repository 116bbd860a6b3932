"""What a host is beside its services' files: free disk, clock, own addresses, and every service that runs there."""

from __future__ import annotations

import ipaddress
import os
import re
import time
from pathlib import Path

from deployer.agent.errors import RefusedError
from deployer.agent.journal import state_directory
from deployer.agent.run import run
from deployer.agent.types import Json

ASK_TIMEOUT = 60.0
ETC = Path("/etc")
FIB_TRIE, IF_INET6 = Path("/proc/net/fib_trie"), Path("/proc/net/if_inet6")
PROC = Path("/proc")
# "|-- 10.0.0.1" is an entry of the kernel's routing table, and the line below says whether it is the host's own.
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


def state() -> Json:
    """Return `{"disk", "addresses", "services", "time"}` in the shape of docs/architecture.md; RefusedError."""
    return {
        "disk": {str(path): _free(path) for path in (state_directory(), ETC)},
        "addresses": addresses(),
        "services": services(),
        # Last: the controller compares it with its own clock as soon as the answer is there.
        "time": time.time(),
    }


def addresses() -> list[str]:
    """Return the host's own IP addresses, loopback's included, in one order."""
    version4 = set(_LOCAL.findall(_text(FIB_TRIE)))
    words = [line.split()[0] for line in _text(IF_INET6).splitlines() if line.strip()]
    return sorted(version4) + sorted(str(ipaddress.IPv6Address(int(word, 16))) for word in words)


def services() -> list[Json]:
    """Return `{"unit", "argv"}` of every service that runs; of its words only paths, for others may be secrets."""
    listed = ["systemctl", "list-units", "--type=service", "--state=running", "--plain", "--no-legend", "--no-pager"]
    names = [line.split()[0] for line in _systemctl(listed).splitlines() if line.strip()]
    if not names:
        return []
    shown = _systemctl(["systemctl", "show", "--no-pager", "-p", "Id,MainPID", "--", *names])
    units = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in shown.split("\n\n")]
    return [{"unit": unit["Id"], "argv": _argv(unit.get("MainPID", "0"))} for unit in units if "Id" in unit]


def _systemctl(argv: list[str]) -> str:
    answer = run(argv, ASK_TIMEOUT)
    if not answer.ok:
        raise RefusedError(
            f"systemctl {argv[1]} failed: {answer.stderr[-500:]}", "Only hosts run by systemd are managed"
        )
    return answer.stdout


def _argv(pid: str) -> list[str]:
    words = _text(PROC / pid / "cmdline").split("\0")
    return [word for word in words if word.startswith("/")]


def _free(path: Path) -> int:
    """Return the bytes free for root on the file system that `path` is, or is going to be, on."""
    there = next(one for one in (path, *path.parents) if one.exists())
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
