"""Packages: their versions in one call, their installation and removal without a question asked."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

from deployer.agent.errors import RefusedError, StepError
from deployer.agent.run import Completed, environment, run

QUERY_TIMEOUT = 60.0
INSTALL_TIMEOUT = 1800.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_:-]*(?<!-)")  # a trailing - would tell apt to remove it
_APT_QUIET = {
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_SUSPEND": "1",
    "NEEDRESTART_MODE": "l",
    "APT_LISTCHANGES_FRONTEND": "none",
    "UCF_FORCE_CONFFOLD": "1",
}
_APT_INSTALL = [
    "apt-get",
    "install",
    "-y",
    "--no-install-recommends",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "DPkg::Lock::Timeout=120",
]
_DNF_INSTALL = ["dnf", "-y", "install", "--setopt=install_weak_deps=False"]
_UNREACHABLE = (
    r"Failed to fetch|Could not resolve|Could not connect|Unable to connect|Temporary failure resolving"
    r"|Failed to download metadata|Cannot download|All mirrors were tried|Curl error"
)
_REMEDIES = [
    (
        r"Could not get lock|dpkg frontend lock|Waiting for process with pid",
        "another package manager is at work",
        "Wait for it to end and run again",
    ),
    (
        r"dpkg was interrupted",
        "an earlier installation was interrupted",
        "Run `dpkg --configure -a` on the host",
    ),
    (
        r"No space left|enough free (?:disk )?space|more space needed on",
        "the disk is full",
        "Free space on the host",
    ),
    (
        _UNREACHABLE,
        "a package repository cannot be reached",
        "Check the host's repositories, proxy and name resolution",
    ),
    (
        r"Unable to locate|has no installation candidate|No match for argument|Unable to find a match",
        "no repository of the host has the package",
        "Add the repository that has it",
    ),
    (
        r"unmet dependencies|nothing provides",
        "something that the package needs cannot be had",
        "Add the repository that has it",
    ),
    (
        r"dependency problems|is needed by",
        "other packages need it",
        "Remove those first",
    ),
]


def manager() -> str | None:
    """Return the host's package manager, "apt" or "dnf", None for another."""
    path = environment()["PATH"]
    if shutil.which("apt-get", path=path) and shutil.which("dpkg-query", path=path):
        return "apt"
    return "dnf" if shutil.which("dnf", path=path) else None


def versions(names: Sequence[str], tool: str | None) -> dict[str, str | None]:
    """Return each package's installed version with its epoch or None; `tool` is "apt" or "dnf"."""
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    if wrong:
        raise RefusedError(f"not a package's name: {', '.join(map(repr, wrong))}")
    if not names or tool is None:
        return dict.fromkeys(names)
    found = _dpkg(names) if tool == "apt" else _rpm(names)
    return {name: found.get(name) for name in names}


def _dpkg(names: Sequence[str]) -> dict[str, str]:
    # Exit code 1 only says that one of the names is unknown.
    form = "${Package}\t${db:Status-Abbrev}\t${Version}\n"
    answer = run(["dpkg-query", "-W", "-f", form, *names], QUERY_TIMEOUT)
    rows = [line.split("\t") for line in answer.stdout.splitlines()]
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[1][1:2] == "i"}


def _rpm(names: Sequence[str]) -> dict[str, str]:
    form = "%{NAME}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\n"
    answer = run(["rpm", "-q", "--qf", form, *names], QUERY_TIMEOUT)
    rows = [line.split("\t") for line in answer.stdout.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def install(names: Sequence[str], tool: str, timeout: float = INSTALL_TIMEOUT) -> str:
    """Install packages by name, or from files by absolute path, and return what the manager printed.

    Raises StepError with reason and remedy.
    """
    if tool == "dnf":
        printed = [run([*_DNF_INSTALL, *names], timeout)]
    elif tool == "apt":
        # A failed update counts only when the installation fails too: another product's mirror may be dead.
        printed = [run(["apt-get", "update"], timeout, env=_APT_QUIET)]
        printed.append(run([*_APT_INSTALL, *names], timeout, env=_APT_QUIET))
    else:
        raise RefusedError(f"unknown package manager {tool!r}", "Hosts need apt or dnf")
    if not printed[-1].ok:
        raise _failure(f"installing {' '.join(names)}", printed)
    return printed[-1].output


def remove(names: Sequence[str], tool: str, timeout: float = INSTALL_TIMEOUT) -> str:
    """Remove packages, keeping their configuration, and return what was printed; raises StepError.

    By the tools below apt and dnf: those would remove whatever depends on the packages as well.
    """
    command = {"apt": ["dpkg", "--remove"], "dnf": ["rpm", "-e"]}.get(tool)
    if command is None:
        raise RefusedError(f"unknown package manager {tool!r}", "Hosts need apt or dnf")
    done = run([*command, *names], timeout, env=_APT_QUIET)
    if not done.ok:
        raise _failure(f"removing {' '.join(names)}", [done])
    return done.output


def _failure(doing: str, printed: Sequence[Completed]) -> StepError:
    what, output = f"{doing} failed", "\n".join(part.output for part in printed)
    if printed[-1].timed_out:
        return StepError(f"{what}: it ran into its deadline", "Look for a hanging package script", output)
    for pattern, reason, remedy in _REMEDIES:
        if re.search(pattern, output):
            return StepError(f"{what}: {reason}", remedy, output)
    return StepError(what, "The package manager's own words follow", output)
