"""The runs that a host knows: told, copied, restored, and what holds the host, over a real agent."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.history import history
from deployer.agent.journal import Journal
from deployer.agent.journal_lines import sealed
from tests.unit.agent.client import Client, file_step
from tests.unit.agent.conftest import Run

Start = Callable[..., Client]
RECORD = {"run": "r1", "who": "ann@ops", "when": "2026-01-01T00:00:00+00:00", "revision": 3}
OLD, NEW = b"old", b"new"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "nova.conf"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def migrated(agent: Client, conf: Path) -> Client:
    """An agent that carried run r1 out."""
    agent.lock()
    agent.ask("apply", run="r1", steps=[file_step(conf, NEW)], record=RECORD)
    return agent


def copy(agent: Client, **more: Any) -> dict[str, Any]:
    """Return what the controller kept of run r1, as `restore` takes it."""
    lines = [dict(line) for line in agent.lines]
    return {"run": "r1", "record": RECORD, "lines": lines, "blobs_b64": blobs(OLD, NEW), "replace": False, **more}


def blobs(*contents: bytes) -> dict[str, str]:
    return {sha256(one): base64.b64encode(one).decode() for one in contents}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_controllers_record_is_on_the_host_before_the_first_step_acts(
    agents: Start, state: Path, conf: Path
) -> None:
    agent = agents(fault="fsync@0001#1=kill")
    agent.lock()
    with pytest.raises(EOFError):
        agent.ask("apply", run="r1", steps=[file_step(conf, NEW)], record=RECORD)
    (run,) = history(state, None)
    assert (run["record"], run["entries"], conf.read_bytes()) == (RECORD, [], OLD)


def test_the_newest_record_counts(migrated: Client) -> None:
    newer = {**RECORD, "revision": 4}
    assert migrated.ask("record", run="r1", record=newer, prune=None) == {"pruned": [], "problem": ""}
    assert migrated.ask("history", run="r1")["runs"][0]["record"] == newer
    migrated.ask("undo", run="r1", steps=["0001"], force=False, record=None)
    assert migrated.ask("history", run="r1")["runs"][0]["record"] == newer


@pytest.mark.parametrize("name", ["hold.json", "pending.json"])
def test_a_record_is_kept_though_a_damaged_document_keeps_old_runs_from_being_forgotten(
    migrated: Client, state: Path, name: str
) -> None:
    (state / name).write_bytes(b"{")
    answer = migrated.ask("record", run="r1", record=RECORD | {"revision": 4}, prune={"runs": 0, "days": 0})
    assert answer["pruned"] == []
    assert f"{name} is damaged" in answer["problem"]
    assert migrated.ask("history", run="r1")["runs"][0]["record"]["revision"] == 4


def test_every_line_is_told_as_it_is_written(migrated: Client) -> None:
    migrated.ask("undo", run="r1", steps=["0001"], force=False)
    assert [line["status"] for line in migrated.lines] == ["doing", "done", "undoing", "undone"]
    assert migrated.ask("history", run="r1")["runs"][0]["entries"] == migrated.lines


def test_what_was_there_and_what_was_written_can_be_had(migrated: Client) -> None:
    (doing, _) = migrated.lines
    named = [doing["before"]["sha256"], doing["after"]["sha256"]]
    assert migrated.ask("blobs", run="r1", sha256s=named) == {"blobs_b64": blobs(OLD, NEW)}


@pytest.mark.parametrize("name", ["0" * 64, "../journal.jsonl"])
def test_a_blob_that_is_not_there_is_refused_by_name(migrated: Client, name: str) -> None:
    error = migrated.ask("blobs", run="r1", sha256s=[name])["error"]
    assert error["type"] == "refused"
    assert f"blobs/{Path(name).name} cannot be read" in error["problem"]


def damage(path: Path) -> None:
    """Flip one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_run_hides_no_other(migrated: Client, state: Path) -> None:
    Journal(state, "r0").begin("bob", "2025-01-01")
    damage(state / "runs/r1/journal.jsonl")
    sound, damaged = migrated.ask("history", run=None)["runs"]
    assert (sound["run"], sound["entries"], "damaged" in sound) == ("r0", [], False)
    assert (damaged["run"], damaged["record"], "entries" in damaged) == ("r1", RECORD, False)
    assert f"{state}/runs/r1/journal.jsonl is damaged: line " in damaged["damaged"]


def test_a_damaged_before_image_is_told_before_anybody_needs_it(migrated: Client, state: Path) -> None:
    damage(state / "runs/r1/blobs" / sha256(OLD))
    (run,) = migrated.ask("history", run="r1")["runs"]
    assert run["damaged"] == f"{state}/runs/r1/blobs/{sha256(OLD)} is damaged: its content does not match its name"
    assert len(run["entries"]) == 2


def test_a_missing_before_image_is_damage(migrated: Client, state: Path) -> None:
    (state / "runs/r1/blobs" / sha256(OLD)).unlink()
    assert "cannot be read" in migrated.ask("history", run="r1")["runs"][0]["damaged"]


def test_a_damaged_record_stops_no_undo(migrated: Client, state: Path, conf: Path) -> None:
    (state / "runs/r1/run.json").write_bytes(b'["')
    assert migrated.ask("history", run="r1")["runs"][0]["record"] is None
    migrated.ask("undo", run="r1", steps=None, force=False)
    assert conf.read_bytes() == OLD


def test_an_undo_of_a_damaged_run_is_refused_by_name_with_the_remedy(migrated: Client, state: Path, conf: Path) -> None:
    damage(state / "runs/r1/journal.jsonl")
    error = migrated.ask("undo", run="r1", steps=None, force=True)["error"]
    assert error["type"] == "refused"
    assert f"{state}/runs/r1/journal.jsonl is damaged: line " in error["problem"]
    assert error["remedy"] == "The controller has a copy: `hybridmsg rollback` sends it"
    assert conf.read_bytes() == NEW


def relined(state: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Rewrite the journal's lines, each with a right checksum."""
    lines = state / "runs/r1/journal.jsonl"
    entries = [json.loads(line) for line in lines.read_text().splitlines()]
    lines.unlink()
    lines.touch()
    for entry in change(entries):
        entry.pop("sum")
        Journal(state, "r1").append(entry)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: [{**lines[0], "status": "begun"}], "line 1 has the status 'begun', which is none"),
        (lambda lines: lines[1:], "line 1 ends step 0001, which no line begins"),
        (lambda lines: [{key: lines[0][key] for key in lines[0] if key != "target"}], "line 1 lacks a part"),
    ],
    ids=["status", "pair", "part"],
)
def test_what_no_agent_writes_is_damage(
    migrated: Client, state: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], problem: str
) -> None:
    relined(state, change)
    assert problem in migrated.ask("history", run="r1")["runs"][0]["damaged"]


def test_a_lost_journal_is_put_back_and_the_run_can_be_undone(migrated: Client, state: Path, conf: Path) -> None:
    before = migrated.ask("history", run="r1")
    shutil.rmtree(state / "runs")
    assert migrated.ask("restore", **copy(migrated)) == {}
    assert migrated.ask("history", run="r1") == before
    migrated.ask("undo", run="r1", steps=None, force=False)
    assert conf.read_bytes() == OLD


def test_a_sound_journal_is_never_replaced(migrated: Client, state: Path) -> None:
    before = (state / "runs/r1/journal.jsonl").read_bytes()
    other = {**migrated.lines[0], "target": "/etc/other.conf"}
    del other["sum"]
    error = migrated.ask("restore", **copy(migrated, replace=True, lines=[sealed(other)]))["error"]
    assert (error["type"], error["problem"]) == ("refused", "this host's own journal of run r1 is sound")
    assert (state / "runs/r1/journal.jsonl").read_bytes() == before


def test_a_copy_that_is_put_back_twice_is_put_back_once(migrated: Client, state: Path) -> None:
    shutil.rmtree(state / "runs")
    migrated.ask("restore", **copy(migrated))
    migrated.ask("undo", run="r1", steps=None, force=False)
    before = (state / "runs/r1/journal.jsonl").read_bytes()
    assert migrated.ask("restore", **copy(migrated, lines=migrated.lines[:2])) == {}
    assert (state / "runs/r1/journal.jsonl").read_bytes() == before


def test_a_damaged_journal_is_replaced_when_that_is_said(migrated: Client, state: Path) -> None:
    damage(state / "runs/r1/journal.jsonl")
    assert "not replaced unasked" in migrated.ask("restore", **copy(migrated))["error"]["problem"]
    assert migrated.ask("restore", **copy(migrated, replace=True)) == {}
    (run,) = migrated.ask("history", run="r1")["runs"]
    assert (run["entries"], "damaged" in run) == (migrated.lines, False)


def test_where_only_a_before_image_is_damaged_the_hosts_own_lines_stay(migrated: Client, state: Path) -> None:
    for content in (OLD, NEW):
        damage(state / "runs/r1/blobs" / sha256(content))
    assert migrated.ask("restore", **copy(migrated, replace=True, lines=[], blobs_b64=blobs(OLD))) == {}
    (run,) = migrated.ask("history", run="r1")["runs"]
    assert (run["entries"], "damaged" in run) == (migrated.lines, False)


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"blobs_b64": {"0" * 64: ""}}, f"the copy of before-image {'0' * 64} is damaged"),
        ({"lines": [{"step": "0001", "status": "doing", "sum": "0"}]}, "the copy of the journal is damaged: line 1"),
    ],
)
def test_a_damaged_copy_is_refused_and_changes_nothing(
    migrated: Client, state: Path, part: dict[str, Any], problem: str
) -> None:
    shutil.rmtree(state / "runs")
    assert problem in migrated.ask("restore", **copy(migrated, **part))["error"]["problem"]
    assert not (state / "runs").exists()


HOLD = {"run": "r1", "who": "ann@ops", "when": "2026-01-02T00:00:00+00:00", "projects": ["nova"]}


def test_a_hold_is_told_until_it_is_lifted(agents: Start) -> None:
    agent = agents()
    assert agent.lock()["hold"] is None
    assert agent.ask("hold", hold=HOLD) == {"hold": None}
    agent.hang_up()
    agent.process.wait(10)
    other = agents()
    assert (other.ask("history", run="none")["hold"], other.lock()["hold"]) == (HOLD, HOLD)
    assert other.ask("hold", hold=None) == {"hold": HOLD}
    assert other.ask("hold", hold=None) == {"hold": None}
    assert other.ask("history", run=None)["hold"] is None


@pytest.mark.parametrize("name", ["hold", "pending"])
def test_a_damaged_document_is_told_and_not_taken_for_none(agent: Client, state: Path, name: str) -> None:
    agent.lock()
    (state / f"{name}.json").write_bytes(b"[]")
    problem = {"damaged": f"{state}/{name}.json is damaged: it is no JSON object"}
    assert agent.lock()[name] == problem
    assert agent.ask("history", run=None)[name] == problem


def test_the_states_files_are_for_their_owner_only(migrated: Client, state: Path) -> None:
    migrated.ask("hold", hold=HOLD)
    assert {path.name for path in state.rglob("*") if path.stat().st_mode & 0o077} == set()


def test_a_run_that_is_told_twice_is_the_same(run: Run, conf: Path, state: Path) -> None:
    run.apply(file_step(conf, NEW))
    assert history(state, "r1") == history(state, "r1")
