"""Faults on demand in real agent processes, and what is left of a host after each."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import faults
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.journal import Journal
from tests.unit.agent.client import Client, file_step
from tests.unit.agent.conftest import Run

Start = Callable[..., Client]
OLD, NEW = b"old", b"new"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "nova.conf"
    path.write_bytes(OLD)
    return path


def apply(agent: Client, conf: Path) -> dict[str, Any]:
    agent.lock()
    return agent.ask("apply", run="r1", steps=[file_step(conf, NEW)])


def undo(agent: Client) -> dict[str, Any]:
    agent.lock()
    return agent.ask("undo", run="r1", steps=None, force=False)


def statuses(state: Path) -> list[str]:
    return [line["status"] for line in Journal(state, "r1").entries()]


@pytest.mark.parametrize(
    ("point", "journaled", "content"),
    [
        ("doing", ["doing"], OLD),
        # The third, after those of the two blobs.
        ("rename@0001#3", ["doing"], OLD),
        ("done", ["doing"], NEW),
        ("done@file.write", ["doing"], NEW),
        ("ended", ["doing", "done"], NEW),
    ],
)
def test_an_agent_killed_at_any_point_of_a_step_leaves_what_can_be_undone(
    agents: Start, state: Path, conf: Path, point: str, journaled: list[str], content: bytes
) -> None:
    agent = agents(fault=f"{point}=kill")
    with pytest.raises(EOFError):
        apply(agent, conf)
    assert agent.process.wait(10) == -signal.SIGKILL
    assert (statuses(state), conf.read_bytes()) == (journaled, content)
    assert "results" in undo(agents())
    assert conf.read_bytes() == OLD


@pytest.mark.parametrize(
    ("point", "journaled", "content"),
    [
        ("undoing", ["undoing"], NEW),
        ("undone", ["undoing"], OLD),
        ("undone-ended", ["undoing", "undone"], OLD),
    ],
)
def test_an_agent_killed_at_any_point_of_an_undo_leaves_what_can_be_undone_again(
    agents: Start, state: Path, conf: Path, point: str, journaled: list[str], content: bytes
) -> None:
    agent = agents(fault=f"{point}=kill")
    apply(agent, conf)
    with pytest.raises(EOFError):
        undo(agent)
    assert agent.process.wait(10) == -signal.SIGKILL
    assert (statuses(state)[2:], conf.read_bytes()) == (journaled, content)
    assert "results" in undo(agents())
    assert conf.read_bytes() == OLD


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Return what arms this very process until the end of the test."""
    yield lambda text: faults.arm({faults.VARIABLE: text}, tmp_path)
    faults.arm({}, tmp_path)


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("action", ["eio", "enospc"])
def test_whichever_fsync_of_a_step_fails_the_file_is_whole_and_goes_back(
    armed: Callable[[str], None], run: Run, conf: Path, number: int, action: str
) -> None:
    armed(f"fsync@0001#{number}={action}")
    with pytest.raises(StepError, match="could not be"):
        run.apply(file_step(conf, NEW))
    assert conf.read_bytes() in (OLD, NEW)
    run.undo()
    assert conf.read_bytes() == OLD


@pytest.mark.parametrize("number", range(1, 4))
def test_whichever_rename_of_a_step_fails_the_old_file_stays_and_the_file_is_named(
    armed: Callable[[str], None], run: Run, conf: Path, number: int
) -> None:
    armed(f"rename@0001#{number}=enospc")
    with pytest.raises(StepError, match="could not be written: No space left on device") as caught:
        run.apply(file_step(conf, NEW))
    assert caught.value.remedy == "Free space on its filesystem"
    assert conf.read_bytes() == OLD


def test_a_fault_of_one_step_strikes_no_other(
    armed: Callable[[str], None], run: Run, conf: Path, tmp_path: Path
) -> None:
    armed("rename@0002=eio,doing@0009=kill,doing@unit.start=kill")
    with pytest.raises(StepError) as caught:
        run.apply(file_step(conf, NEW), file_step(tmp_path / "other.conf", NEW, "0002"))
    assert caught.value.more["step"] == "0002"
    assert (conf.read_bytes(), (tmp_path / "other.conf").exists()) == (NEW, False)


def test_a_failed_act_is_journaled_as_such(armed: Callable[[str], None], run: Run, conf: Path, state: Path) -> None:
    armed("doing=eio,undoing#1=eio")
    with pytest.raises(StepError):
        run.apply(file_step(conf, NEW))
    with pytest.raises(StepError):
        run.undo()
    assert statuses(state) == ["doing", "failed", "undoing", "undo failed"]
    run.undo()
    assert statuses(state)[4:] == ["undoing", "undone"]


def test_a_pause_lasts_until_its_file_is_gone(agents: Start, conf: Path, state: Path) -> None:
    agent = agents(fault="done@0001=pause")
    agent.lock()
    agent.tell("apply", run="r1", steps=[file_step(conf, NEW)])
    until = time.monotonic() + 20
    while not (state / "paused").exists():
        assert time.monotonic() < until, "the pause did not begin"
        time.sleep(0.01)
    assert (conf.read_bytes(), statuses(state)) == (NEW, ["doing"])
    agent.hang_up()
    (state / "paused").unlink()
    assert agent.process.wait(10) == 0
    assert statuses(state) == ["doing", "done"]


@pytest.mark.parametrize("word", ["doing", "begin=kill", "doing=die", "doing#0=kill", "@1=kill"])
def test_a_word_that_is_unknown_is_refused_by_name(word: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=f"'{word}' is no fault"):
        faults.arm({faults.VARIABLE: f"done@1=eio,{word}"}, tmp_path)


def test_an_agent_with_an_unknown_fault_does_not_start(agents: Start) -> None:
    agent = agents(fault="begin=kill", stderr=subprocess.PIPE)
    _, stderr = agent.process.communicate(timeout=10)
    assert agent.process.returncode == 1
    assert b"'begin=kill' is no fault" in stderr


def test_without_the_variable_nothing_is_armed(tmp_path: Path) -> None:
    faults.arm({}, tmp_path)
    assert faults._armed == []
