"""The package repository as the hosts see it: a small HTTP server on the bridge's address."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.lab import debs, layers, network
from tests.lab.errors import LabError
from tests.lab.layout import Layout
from tests.lab.progress import say
from tests.lab.shell import sh

ADDRESS = f"{network.GATEWAY}:8080"
_HERE = Path(__file__).resolve().parent


def ensure(layout: Layout) -> None:
    """Have the current repository served; a server that is dead, or serves an older one, is replaced."""
    cgroup = layout.cgroup.child("_repository")
    served = _served(layout)
    directory = layers.directory(layers.REPOSITORY) / "srv" / "repository"
    current = served.exists() and served.read_text(encoding="utf-8") == str(directory)
    if current and cgroup.pids() and answering(layout, [ADDRESS], 2):
        return
    cgroup.kill()
    cgroup.create()
    argv = inside(layout, [sys.executable, "-I", str(_HERE / "serve.py"), str(directory), ADDRESS])
    with (layout.state / "repository.log").open("ab") as log:
        subprocess.run(["setsid", "--fork", *cgroup.wrap(argv)], stdout=log, stderr=log, cwd="/", check=True)
    if not answering(layout, [ADDRESS], 20):
        raise LabError(f"the package server does not answer; see {log.name}")
    served.write_text(str(directory), encoding="utf-8")
    say(f"package repository: {router(layout)}")


def router(layout: Layout) -> str:
    """Return which router the lab's hosts install: the real qdrouterd and its version, or the stand-in."""
    served = _served(layout)
    if not served.exists():
        return "no repository is served"
    version = (Path(served.read_text(encoding="utf-8")) / "router.txt").read_text(encoding="utf-8")
    return "stand-in for qdrouterd" if version == debs.STAND_IN else f"qdrouterd {version}"


def answering(layout: Layout, targets: list[str], seconds: float) -> set[str]:
    """Return which of the ADDRESS:PORT targets answer within the seconds (all of them, as soon as all do)."""
    if not targets:
        return set()
    probe = [sys.executable, "-I", str(_HERE / "probe.py"), str(seconds), *targets]
    done = sh(inside(layout, probe), timeout=seconds + 15, check=False)
    return set(done.stdout.decode().split())


def _served(layout: Layout) -> Path:
    return layout.state / "repository.served"


def inside(layout: Layout, argv: list[str]) -> list[str]:
    """Return argv as a command in the bridge's network namespace."""
    return ["nsenter", f"--net={network.path(layout.netns())}", *argv]
