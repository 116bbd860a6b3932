"""The agent as bytes: a zip of its packages, made once a process, and the program that takes it in."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Moves to importlib.resources.abc with Python 3.11 and leaves here with 3.14.
    from importlib.abc import Traversable

_PACKAGES = ("agent", "probe")
# A fixed date keeps the bytes the same from run to run.
_DATE = (2020, 1, 1, 0, 0, 0)

# Run by the host's python3 as `-c BOOT NONCE SILENCE`. The frames move to descriptors of their own, which no program
# that the agent starts inherits; what is printed to stdout later lands on stderr. The zip touches no disk.
BOOT = """\
import os, sys
if sys.version_info < (3, 9):
    sys.exit("hybridmsg: python %d.%d is too old" % sys.version_info[:2])
os.write(1, ("hybridmsg-agent 1 %s\\n" % sys.argv[1]).encode())
size = b""
while size[-1:] != b"\\n":
    size += os.read(0, 1) or sys.exit(1)
left, bundle = int(size), os.memfd_create("hybridmsg")
while left:
    left -= os.write(bundle, os.read(0, left) or sys.exit(1))
streams = os.dup(0), os.dup(1)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
sys.path.insert(0, "/proc/self/fd/%d" % bundle)
from deployer.agent.main import serve
sys.exit(serve(*streams, float(sys.argv[2])))
"""

# What the zip does as a program of its own: the host keeps it (agent/guard_unit.py).
_MAIN = b"""\
import sys
from pathlib import Path
from deployer.agent.guard import main
sys.exit(main(Path(sys.argv[0]).resolve().parent, sys.argv[2:]))
"""


@cache
def agent_bundle() -> bytes:
    """Return the zip: deployer/agent and deployer/probe whole, deployer/__init__.py empty, and a __main__.py."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "__main__.py", _MAIN)
        _add(archive, "deployer/__init__.py", b"")
        for package in _PACKAGES:
            for name, content in _files(resources.files(f"deployer.{package}"), f"deployer/{package}"):
                _add(archive, name, content)
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        name = f"{prefix}/{item.name}"
        if item.is_dir() and item.name != "__pycache__":
            yield from _files(item, name)
        elif item.is_file():
            yield name, item.read_bytes()
