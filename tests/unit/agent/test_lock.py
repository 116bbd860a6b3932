from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deployer.agent.errors import LockedError
from deployer.agent.lock import HostLock
from deployer.agent.run import run
from tests.unit.agent.client import Client, file_step

Start = Callable[..., Client]


def test_a_second_agent_is_told_who_holds_the_host(agents: Start) -> None:
    agents().lock("r1")
    error = agents().ask("lock", run="r2", who="bob", when="2026-01-02")["error"]
    assert error["type"] == "locked"
    assert error["holder"] == {"run": "r1", "who": "ann@ops", "when": "2026-01-01T00:00:00Z"}


def test_a_killed_agent_frees_the_host(agents: Start) -> None:
    first = agents()
    first.lock()
    first.kill()
    agents().lock("r2")


def test_an_agent_that_is_hung_up_on_frees_the_host(agents: Start) -> None:
    first = agents()
    first.lock()
    first.hang_up()
    assert first.process.wait(10) == 0
    agents().lock("r2")


def test_a_holder_that_died_is_told_to_the_next(agents: Start) -> None:
    first = agents()
    assert first.lock("r1")["was"] is None
    first.kill()
    second = agents()
    assert second.lock("r2")["was"] == {"run": "r1", "who": "ann@ops", "when": "2026-01-01T00:00:00Z"}
    assert second.lock("r2")["was"] is None


def test_a_holder_that_ended_is_not(agents: Start) -> None:
    first = agents()
    first.lock("r1")
    first.hang_up()
    assert first.process.wait(10) == 0
    assert agents().lock("r2")["was"] is None


def open_files(pid: int) -> Iterator[str]:
    """What the process has open; a shell that is about to become its program closes files meanwhile."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield str(descriptor.readlink())


def test_a_daemon_started_by_a_step_does_not_hold_the_lock(state: Path) -> None:
    holder = HostLock(state)
    holder.take({"who": "ann", "when": "now", "run": "r1"})
    daemon = int(run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], 10).stdout)
    try:
        held = set(open_files(daemon))
    finally:
        os.kill(daemon, signal.SIGKILL)
    assert str(state / "lock") not in held


def test_the_lock_taken_twice_by_one_agent_is_taken_once(agent: Client) -> None:
    agent.lock()
    agent.lock()


@pytest.mark.parametrize("op", ["apply", "undo", "record", "restore", "hold"])
def test_nothing_is_changed_without_the_lock(agent: Client, state: Path, tmp_path: Path, op: str) -> None:
    copy = {"record": {}, "lines": [], "blobs_b64": {}, "replace": True, "hold": {}}
    error = agent.ask(op, run="r1", steps=[file_step(tmp_path / "x", b"new")], force=False, **copy)["error"]
    assert (error["type"], error["remedy"]) == ("refused", "Send `lock` first")
    assert not (tmp_path / "x").exists()
    assert not state.exists()


def test_a_holder_that_has_not_signed_yet_is_unknown(state: Path) -> None:
    state.mkdir()
    (state / "lock").touch()
    with subprocess.Popen(
        ["flock", state / "lock", "-c", "echo held; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LockedError) as caught:
            HostLock(state).take({})
        other.communicate(b"\n")
    assert caught.value.frame()["holder"] == {}
