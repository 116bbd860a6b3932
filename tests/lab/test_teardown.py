"""A lab that is killed at any moment is healed by `up`, and `down` leaves nothing of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, LabError, mounts, network, preflight
from tests.lab.layout import PROJECT, Layout
from tests.lab.machine import Machine

pytestmark = [pytest.mark.slow_lab, pytest.mark.timeout(600)]

_NAME = "hmtest"
_COMMAND = [sys.executable, "-m", "tests.lab", "--name", _NAME]
_UP = [*_COMMAND, "up", "--bare-only", "--bare", "2"]


def leftovers(layout: Layout) -> dict[str, list[str]]:
    """Return all there is of a lab, by kind; empty when it is gone."""
    left = {
        "processes": [str(pid) for pid in sorted(layout.cgroup.pids())],
        "cgroup": [layout.cgroup.path] if layout.cgroup.exists() else [],
        "mounts": [str(path) for path in mounts.below(layout.state)],
        "namespaces": network.named(layout.name),
        "files": [str(path) for path in (layout.state, layout.lock) if path.exists()],
        "nspawn's own files": [str(path) for path in Path("/run/systemd/nspawn").glob(f"*/{layout.name}.*")],
    }
    return {kind: found for kind, found in left.items() if found}


@pytest.fixture
def own() -> Iterator[Lab]:
    try:
        preflight.check()
    except LabError as error:
        if os.environ.get("CI") == "true" or os.environ.get("HYBRIDMSG_LAB") == "1":
            pytest.fail(f"the lab cannot be had: {error}")
        pytest.skip(f"the lab cannot be had: {error}")
    lab = Lab(_NAME)
    lab.down()
    yield lab
    lab.down()


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=PROJECT, text=True, capture_output=True, timeout=400, check=False)


def test_down_leaves_nothing(own: Lab) -> None:
    up = _run(_UP)
    assert up.returncode == 0, up.stderr
    kinds = leftovers(own.layout)
    assert set(kinds) == {
        "processes",
        "cgroup",
        "mounts",
        "namespaces",
        "files",
        "nspawn's own files",
    }  # so that "nothing" means much
    down = _run([*_COMMAND, "down"])
    assert down.returncode == 0, down.stderr
    assert leftovers(own.layout) == {}


def _killed_at(line: str) -> None:
    """Start `up` and kill -9 it when it says line."""
    with subprocess.Popen(_UP, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for said in process.stderr:
            if line in said:
                # A moment into the step, where mounts, namespaces and processes are half made.
                time.sleep(0.15)
                process.send_signal(signal.SIGKILL)
                break
        process.stderr.read()
    assert process.returncode == -signal.SIGKILL


def test_a_killed_up_is_healed_by_the_next(own: Lab) -> None:
    _run([*_UP[:-1], "1"])  # images are built here, if at all: the kill below is to hit the booting
    own.down()
    _killed_at("booting")
    assert leftovers(own.layout)
    healed = _run([*_COMMAND, "up"])  # no sizes given: those of the one that was killed
    assert healed.returncode == 0, healed.stderr
    assert sorted(own.hosts) == ["bare1", "bare2"]
    assert all(line.ssh and line.state == "running" for line in own.status())
    own.down()
    assert leftovers(own.layout) == {}


def test_down_clears_what_a_killed_up_left(own: Lab) -> None:
    _killed_at("booting")
    assert leftovers(own.layout)
    assert _run([*_COMMAND, "down"]).returncode == 0
    assert leftovers(own.layout) == {}


def _kill_nspawn(machine: Machine) -> None:
    os.kill(int((machine.directory / "nspawn.pid").read_text(encoding="ascii")), signal.SIGKILL)
    assert machine.leader  # the payload runs on without it: that is what makes teardown hard


def test_up_after_a_killed_nspawn_leaves_one_life_of_the_host(own: Lab) -> None:
    assert _run(_UP).returncode == 0
    machine = own.machine("bare1")
    first = machine.cgroup.pids()
    _kill_nspawn(machine)
    assert _run(_UP).returncode == 0
    assert not first & machine.cgroup.pids()
    assert mounts.below(machine.root) == [machine.root]


def test_down_after_a_killed_nspawn_leaves_nothing(own: Lab) -> None:
    assert _run(_UP).returncode == 0
    _kill_nspawn(own.machine("bare1"))
    own.down()
    assert leftovers(own.layout) == {}
