"""What the lab's repository carries beside Debian's packages: those in LAB_DEBS, and a router.

Where LAB_DEBS names a directory with a package qdrouterd, that is the router; otherwise the lab makes its stand-in.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from functools import cache
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.layout import CACHE
from tests.lab.shell import sh, tail

STAND_IN = "stand-in"
PROTON = "python-qpid-proton==0.40.0"  # from PyPI, where it comes as source only
_VARIABLE = "LAB_DEBS"
_PACKAGE = "qdrouterd"
_ROUTER = Path(__file__).resolve().parent / "router"
_PARTS = ("package", "standin")


@cache  # once per process, as the layers' keys are
def router() -> str:
    """Return the version of the real qdrouterd in LAB_DEBS, or "stand-in"."""
    for file in _given():
        if _field(file, "Package") == _PACKAGE:
            return _field(file, "Version")
    return STAND_IN


def fingerprint() -> str:
    """Return a hash of all that `stage` hands out."""
    digest = hashlib.sha256(router().encode())
    for file in [*_given(), *(_sources() if router() == STAND_IN else ())]:
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def stage(kit: Path) -> None:
    """Put into the kit of a build what the repository layer takes from outside Debian."""
    (kit / "debs").mkdir()
    for file in _given():
        shutil.copyfile(file, kit / "debs" / file.name)
    if router() == STAND_IN:
        for part in _PARTS:
            shutil.copytree(_ROUTER / part, kit / "router" / part, ignore=shutil.ignore_patterns("__pycache__"))
    (kit / "router.txt").write_text(router(), encoding="utf-8")


def stage_proton(kit: Path) -> None:
    """Put proton's source into the kit, fetched as this machine's own pip is configured to."""
    target = CACHE / "sources" / PROTON
    if not target.exists():
        partial = target.with_name(target.name + ".new")
        shutil.rmtree(partial, ignore_errors=True)
        name = PROTON.partition("==")[0]
        argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"--no-binary={name}", "--dest"]
        done = sh([*argv, str(partial), PROTON], timeout=300, check=False)
        if done.returncode != 0:
            raise LabError(f"pip could not download {PROTON}\n{tail(done.stdout + done.stderr)}")
        partial.rename(target)
    shutil.copytree(target, kit / "proton")


def _given() -> list[Path]:
    directory = os.environ.get(_VARIABLE)
    if not directory:
        return []
    if not Path(directory).is_dir():
        raise LabError(f"{_VARIABLE}={directory}: no such directory")
    return sorted(Path(directory).glob("*.deb"))


def _sources() -> list[Path]:
    files = (file for part in _PARTS for file in (_ROUTER / part).rglob("*"))
    return sorted(file for file in files if file.is_file() and "__pycache__" not in file.parts)


def _field(file: Path, name: str) -> str:
    return sh(["dpkg-deb", "--field", str(file), name]).stdout.decode().strip()
