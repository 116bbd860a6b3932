"""What the controller copies of a host's journal, and puts back, over real SSH with the product's own agent."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nornir.core import Nornir
from nornir.core.processor import Processors

from deployer.errors import HostError
from deployer.journal.copies import HostCopy
from deployer.journal.run import Run
from deployer.nornir_plugins.processor import Progress
from deployer.plan.steps import Step
from tasks.journal import read_blobs, read_history, restore_journal, write_record
from tasks.steps import apply_steps, lock_host, undo_steps
from tests.ssh import sshd
from tests.ssh.conftest import Start
from tests.unit.journal.runs import OLD, line, run

BEFORE, AFTER = b"[DEFAULT]\npassword = canary-old\n", b"[DEFAULT]\npassword = canary-new\n"
RECORD: Run = run(OLD, "running")


@pytest.fixture
def nornir(start: Start, tmp_path: Path) -> Iterator[Nornir]:
    host = start(f"SetEnv SHLVL=5 HYBRIDMSG_STATE={tmp_path}/state")
    with sshd.nornir_over({"ctl1": (host.port, host.extras())}) as found:
        ask(found, lock_host, run=OLD)
        yield found


@pytest.fixture
def copy(tmp_path: Path) -> HostCopy:
    return HostCopy(tmp_path / "copy")


@pytest.fixture
def conf(nornir: Nornir, copy: HostCopy, tmp_path: Path) -> Path:
    """A file that the run has written."""
    path = tmp_path / "nova.conf"
    path.write_bytes(BEFORE)
    args = {"path": str(path), "content_b64": base64.b64encode(AFTER).decode()}
    step = Step("0001", "project:nova", "file.write", {**args, "mode": None, "user": None, "group": None}, "write it")
    for content in (BEFORE, AFTER):
        copy.keep(content)
    ask(nornir, apply_steps, run=OLD, steps={"ctl1": [step]}, record=RECORD.document(), keep=into(copy))
    return path


def into(copy: HostCopy) -> Any:
    return lambda _host, line: copy.append(line)


def ask(nornir: Nornir, task: Any, **arguments: Any) -> Any:
    """Run a task on the one host and return its result, extra attributes and all; raises what it raised."""
    nornir.data.reset_failed_hosts()
    result = nornir.run(task, **arguments)["ctl1"][0]
    if result.exception:
        raise result.exception
    return result


def restore(nornir: Nornir, copy: HostCopy, *, replace: bool = False) -> None:
    blobs = {sha256: base64.b64encode(content).decode() for sha256, content in copy.blobs().items()}
    journal = {"record": RECORD.document(), "lines": copy.lines(), "blobs_b64": blobs}
    ask(nornir, restore_journal, run=OLD, journals={"ctl1": journal}, replace=replace)


def undo(nornir: Nornir, copy: HostCopy) -> None:
    ask(nornir, undo_steps, run=OLD, steps={"ctl1": ["0001"]}, keep=into(copy))


def test_the_copy_is_what_the_host_journaled_there_and_back(nornir: Nornir, copy: HostCopy, conf: Path) -> None:
    undo(nornir, copy)
    assert conf.read_bytes() == BEFORE
    [about] = ask(nornir, read_history).runs
    assert about["entries"] == copy.lines()
    assert [line["status"] for line in copy.lines()] == ["doing", "done", "undoing", "undone"]


@pytest.mark.usefixtures("conf")
def test_the_host_has_the_runs_record_as_it_was_last_sent(nornir: Nornir) -> None:
    assert Run.of(ask(nornir, read_history).runs[0]["record"]) == RECORD
    ended = run(OLD, "done", revision=7)
    ask(nornir, write_record, run=OLD, record=ended.document(), prune={"runs": 20, "days": 90})
    assert Run.of(ask(nornir, read_history).runs[0]["record"]) == ended


@pytest.mark.usefixtures("conf")
def test_a_host_that_cannot_tell_which_runs_it_needs_takes_the_record_and_says_so_once(
    nornir: Nornir, tmp_path: Path
) -> None:
    (tmp_path / "state" / "hold.json").write_bytes(b"{")
    told = io.StringIO()
    telling = nornir.with_processors(Processors([Progress(told)]))
    ended = run(OLD, "done", revision=7)
    ask(telling, write_record, run=OLD, record=ended.document(), prune={"runs": 20, "days": 90})
    [line] = told.getvalue().splitlines()
    assert line.startswith("ctl1: keeps its old runs: ")
    assert "hold.json is damaged" in line
    assert Run.of(ask(nornir, read_history).runs[0]["record"]) == ended


@pytest.mark.usefixtures("conf")
def test_the_contents_that_a_host_keeps_can_be_read_by_their_hashes(nornir: Nornir, copy: HostCopy) -> None:
    kept = copy.blobs()
    assert ask(nornir, read_blobs, run=OLD, sha256s={"ctl1": list(kept)}).blobs == kept


def test_a_host_that_lost_its_state_can_go_back_by_the_copy(
    nornir: Nornir, copy: HostCopy, conf: Path, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "state" / "runs")
    restore(nornir, copy)
    undo(nornir, copy)
    assert conf.read_bytes() == BEFORE


def test_a_flipped_byte_in_a_hosts_journal_is_named_and_mended_by_the_copy(
    nornir: Nornir, copy: HostCopy, conf: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "state" / "runs" / OLD / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"nova.conf", b"nova.conG", 1))
    assert str(journal) in ask(nornir, read_history).runs[0]["damaged"]
    with pytest.raises(HostError, match=r"journal\.jsonl is damaged"):
        undo(nornir, copy)
    restore(nornir, copy, replace=True)
    undo(nornir, copy)
    assert conf.read_bytes() == BEFORE


@pytest.mark.usefixtures("conf")
def test_a_sound_journal_is_not_overwritten(nornir: Nornir, copy: HostCopy) -> None:
    copy.replace([line(7, "doing")])
    with pytest.raises(HostError, match="is sound"):
        restore(nornir, copy, replace=True)
