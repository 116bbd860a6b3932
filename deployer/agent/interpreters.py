"""Which Python runs a service: where the probe must look for that service's own libraries."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence

from deployer.agent import processes
from deployer.agent.run import environment

# /usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0, or the modules of one that is linked in: /usr/lib/python3.11/...
_LIBRARY = re.compile(r"\s(/\S*?)/lib(?:64)?/(?:[\w-]+/)?(?:lib)?(python3\.\d+)[./]")


def of_process(pid: int, argv: Sequence[str], started: str, virtualenv: str = "") -> str | None:
    """Return a service's Python: its virtual environment's, its argv[0], its program's #! line, or its binary's.

    `started` is the program of its unit file: like the binary it serves processes that rewrote their title. The binary
    comes late, for it looks through a virtual environment; last is the Python that is a part of uwsgi or Apache.
    """
    if virtualenv:
        return _first(f"{virtualenv}/bin/{name}" for name in ("python3", "python"))
    if argv and _is_python(argv[0]):
        found = argv[0] if argv[0].startswith("/") else shutil.which(argv[0], path=environment()["PATH"])
        if found:
            return found
    programs = [path for path in (*argv[:1], started) if path.startswith("/")]
    candidates = [*(shebang(path) for path in programs), processes.binary(pid)]
    return next((path for path in candidates if path and _is_python(path)), None) or _embedded(pid)


def shebang(path: str) -> str | None:
    """Return the interpreter in a program's #! line (`env NAME` resolved on PATH), None without one."""
    try:
        with open(path, "rb") as file:
            line = file.readline(512)
    except OSError:
        return None
    words = line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []
    if len(words) > 1 and words[0].endswith("/env"):
        return shutil.which(words[-1], path=environment()["PATH"])
    return words[0] if words else None


def _is_python(path: str) -> bool:
    return path.rpartition("/")[2].startswith("python")


def _embedded(pid: int) -> str | None:
    """Return the Python whose library the process has in its memory, None without one."""
    library = _LIBRARY.search(processes.text(f"/proc/{pid}/maps"))
    if library is None:
        return None
    prefix, name = library.groups()
    return _first(f"{directory}/bin/{name}" for directory in (prefix, "/usr"))


def _first(paths: Iterable[str]) -> str | None:
    return next((path for path in paths if os.access(path, os.X_OK)), None)
