"""Puts hybridmsg on the operator's host: its wheel, built from the clone, installed without any network."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.layout import CACHE, PROJECT
from tests.lab.machine import Machine
from tests.lab.progress import say, step
from tests.lab.shell import sh, tail

_TARGET_PYTHON = "3.11"  # Debian 12's
_GLIBC = (36, 34, 31, 28, 27, 24, 17)  # manylinux_2_N tags that Debian 12's glibc serves
_NOT_SOURCE = {"tests", "docs", "bench", "build", "dist", "__pycache__"}
_INSTALL = """\
set -eu
cd /opt
if [ "$(cat wheelhouse/.key 2>/dev/null)" = "$1" ]; then only='--no-deps --force-reinstall'; else only=; fi
rm -rf incoming && mkdir incoming && tar -xf - -C incoming
if [ -d incoming/wheelhouse ]; then rm -rf wheelhouse; mv incoming/wheelhouse wheelhouse; fi
/opt/hybridmsg/bin/pip install -q --no-index --find-links /opt/wheelhouse $only incoming/wheel/*.whl
echo "$1" >wheelhouse/.key
mkdir -p /etc/hybridmsg
if [ -d incoming/inventory ]; then cp -R incoming/inventory/. /etc/hybridmsg/; fi
rm -rf incoming
"""


def source_hash(project: Path = PROJECT) -> str:
    """Return a hash of all that the wheel and the inventory are made from."""
    digest = hashlib.sha256()
    for folder, subfolders, files in os.walk(project):
        subfolders[:] = sorted(d for d in subfolders if d not in _NOT_SOURCE and not d.startswith("."))
        for name in sorted(files):
            file = Path(folder) / name
            digest.update(f"{file.relative_to(project)}\0".encode())
            with contextlib.suppress(FileNotFoundError):  # an editor at work, or a link to nowhere
                digest.update(file.read_bytes())
    return digest.hexdigest()


def install(operator: Machine, project: Path = PROJECT) -> bool:
    """Build the project's wheel and install it on the operator's host; tell whether there was a project."""
    if not (project / "pyproject.toml").exists():
        say(f"operator host {operator.host.name} stays without hybridmsg: there is no pyproject.toml in {project}")
        return False
    with step("hybridmsg: building its wheel"), tempfile.TemporaryDirectory() as scratch:
        wheel = _build_wheel(project, Path(scratch))
        wheelhouse = _ensure_wheelhouse(wheel)
        installed = operator.call(["cat", "/opt/wheelhouse/.key"], check=False).stdout.decode().strip()
        archive = _archive(wheel, None if installed == wheelhouse.name else wheelhouse, project / "inventory")
        operator.call(["/bin/sh", "-c", _INSTALL, "install", wheelhouse.name], data=archive, timeout=120)
    return True


def _pip(*arguments: str) -> None:
    done = sh([sys.executable, "-m", "pip", *arguments], timeout=300, check=False)
    if b"No module named pip" in done.stderr:
        raise LabError(f"{sys.executable} has no pip; install it: apt-get install python3-pip (or use a venv)")
    if done.returncode != 0:
        what = f"{sys.executable} -m pip {arguments[0]}: exit {done.returncode}"
        raise LabError(f"{what}\n{tail(done.stdout + done.stderr)}")


def _build_wheel(project: Path, scratch: Path) -> Path:
    _pip("wheel", "-q", "--no-deps", "--wheel-dir", str(scratch), str(project))
    return next(scratch.glob("*.whl"))


def _requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    required = metadata.get_all("Requires-Dist") or []
    return sorted(line for line in required if not re.search(r"\bextra\s*==", line))


def _ensure_wheelhouse(wheel: Path) -> Path:
    required = _requirements(wheel)
    key = hashlib.sha256("\n".join([_TARGET_PYTHON, *required]).encode()).hexdigest()[:12]
    wheelhouse = CACHE / "wheelhouse" / key
    if not wheelhouse.exists():
        partial = wheelhouse.with_suffix(".new")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with step(f"hybridmsg: downloading what it depends on ({len(required)} requirements)"):
            if required:
                _pip("download", "-q", "--dest", str(partial), *_foreign_python(), *required)
        partial.rename(wheelhouse)
    return wheelhouse


def _foreign_python() -> list[str]:
    """Return pip's options for wheels that fit the operator host's Python rather than this one."""
    if platform.python_version().startswith(_TARGET_PYTHON + "."):
        return ["--only-binary=:all:"]
    machine = platform.machine()
    tags = [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBC]
    tags.append(f"--platform=manylinux2014_{machine}")
    return ["--only-binary=:all:", "--implementation=cp", f"--python-version={_TARGET_PYTHON}", *tags]


def _archive(wheel: Path, wheelhouse: Path | None, inventory: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(wheel, f"wheel/{wheel.name}")
        if wheelhouse:
            archive.add(wheelhouse, "wheelhouse")
        if inventory.is_dir():
            archive.add(inventory, "inventory", filter=_as_root)
    return buffer.getvalue()


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in entry.name:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
