"""The package repository as the hosts see it: a small HTTP server on the bridge's address."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.lab import layers, network
from tests.lab.errors import LabError
from tests.lab.layout import Layout
from tests.lab.shell import sh

ADDRESS = f"{network.GATEWAY}:8080"
_HERE = Path(__file__).resolve().parent


def ensure(layout: Layout) -> None:
    """Have the current repository served; a server that is dead, or serves an older one, is replaced."""
    cgroup = layout.cgroup.child("_repository")
    served = layout.state / "repository.served"
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


def answering(layout: Layout, targets: list[str], seconds: float) -> set[str]:
    """Return which of the ADDRESS:PORT targets answer within the seconds (all of them, as soon as all do)."""
    if not targets:
        return set()
    probe = [sys.executable, "-I", str(_HERE / "probe.py"), str(seconds), *targets]
    done = sh(inside(layout, probe), timeout=seconds + 15, check=False)
    return set(done.stdout.decode().split())


def inside(layout: Layout, argv: list[str]) -> list[str]:
    """Return argv as a command in the bridge's network namespace."""
    return ["nsenter", f"--net={network.path(layout.netns())}", *argv]
