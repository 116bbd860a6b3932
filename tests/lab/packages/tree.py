"""The tree of files in which every service's packages are unpacked, and what a service reads when it starts there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab import build, layers, mounts, preflight
from tests.lab.layout import CACHE
from tests.lab.locks import held
from tests.lab.shell import sh

_LAYER = "packages"
_SCRATCH = CACHE / "packages"
_PROOF = "srv/proof"
_INSIDE = Path(__file__).resolve().parent / "inside"
# Namespaces of its own: a service that tried to connect would find no network, and leaves no process behind.
_ENTER = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


class Tree:
    """The packages' files below `root`, to be changed at will: all that is written is thrown away."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(_INSIDE, root / _PROOF / _INSIDE.name, ignore=shutil.ignore_patterns("__pycache__"))

    def shipped(self, path: str) -> bytes:
        """Return /etc/X/FILE as the package ships it: /usr/share/X-common/FILE, which its scripts copy to /etc."""
        _, etc, service, *rest = path.split("/")
        homes = (f"usr/share/{service}-common", f"usr/share/{service}", f"{etc}/{service}")
        return next(file for home in homes if (file := self.root.joinpath(home, *rest)).exists()).read_bytes()

    def read(self, project: str, contents: Sequence[bytes]) -> list[dict[str, Any]]:
        """Start the project's service on each file and return its answers (inside/read.py has their shape)."""
        names = []
        for number, content in enumerate(contents):
            names.append(f"/{_PROOF}/{project}-{number}.conf")
            (self.root / names[-1].lstrip("/")).write_bytes(content)
        argv = [*_ENTER, f"--root={self.root}", "env", "-i", "PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8"]
        done = sh([*argv, f"PYTHONPATH=/{_PROOF}", "python3", "-m", "inside.read", project, *names], timeout=120)
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    def versions(self) -> dict[str, str]:
        """Return the versions of all packages that are here, by name."""
        lines = (self.root / "srv/versions").read_text(encoding="utf-8").splitlines()
        return dict(line.split(" ", 1) for line in lines)


@contextmanager
def unpacked() -> Iterator[Tree]:
    """Have the layer built and yield a tree of it; of a run that was killed nothing is left for the next."""
    preflight.check()
    with held(_SCRATCH.with_suffix(".lock"), "another run reads the packages"):
        build.ensure([_LAYER])
        _clear()
        root = _SCRATCH / "root"
        mounts.overlay(layers.chain(_LAYER), _SCRATCH / "upper", _SCRATCH / "work", root)
        try:
            yield Tree(root)
        finally:
            _clear()


def _clear() -> None:
    mounts.unmount_below(_SCRATCH)
    shutil.rmtree(_SCRATCH, ignore_errors=True)
