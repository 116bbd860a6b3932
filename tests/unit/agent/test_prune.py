"""Which runs a host forgets, and which never."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import prune, state_files
from deployer.agent.errors import RefusedError
from deployer.agent.history import names
from deployer.agent.journal import Journal

LINE = {"step": "0001", "scope": "project:nova", "kind": "file.write", "target": "/x", "before": {}, "after": {}}
FEW, YOUNG = {"runs": 1, "days": 1000}, {"runs": 100, "days": 10}


@pytest.fixture
def runs(state: Path) -> Callable[..., None]:
    """Return what makes a run that began so many days ago, with lines of these statuses."""

    def make(name: str, days: float, *statuses: str, **more: Any) -> None:
        when = datetime.now(timezone.utc) - timedelta(days=days)
        journal = Journal(state, name)
        journal.begin("ann", when.isoformat(timespec="seconds"))
        for status in statuses:
            journal.append({**LINE, **more, "status": status})

    return make


BACK = ("doing", "done", "undoing", "undone")


def test_those_beyond_the_number_go_oldest_first(runs: Callable[..., None], state: Path) -> None:
    for days in (3, 1, 2):
        runs(f"r{days}", days, *BACK)
    assert prune.prune(state, "r1", FEW) == ["r3", "r2"]
    assert names(state) == ["r1"]


def test_those_beyond_the_age_go(runs: Callable[..., None], state: Path) -> None:
    runs("new", 9.9, *BACK)
    runs("old", 10.1, *BACK)
    assert prune.prune(state, "new", YOUNG) == ["old"]


def test_the_run_in_hand_stays_however_old_it_is(runs: Callable[..., None], state: Path) -> None:
    runs("r1", 99, *BACK)
    assert prune.prune(state, "r1", {"runs": 0, "days": 0}) == []


@pytest.mark.parametrize("statuses", [("doing",), ("doing", "failed"), ("doing", "done"), (*BACK[:3], "undo failed")])
def test_the_newest_run_that_stands_stays(runs: Callable[..., None], state: Path, statuses: tuple[str, ...]) -> None:
    runs("older", 300, "doing", "done")
    runs("stands", 200, *statuses)
    runs("back", 100, *BACK)
    runs("now", 0)
    assert prune.prune(state, "now", {"runs": 1, "days": 1}) == ["older", "back"]
    assert names(state) == ["now", "stands"]


def test_what_changed_no_project_does_not_stand(runs: Callable[..., None], state: Path) -> None:
    runs("stands", 300, "doing", "done")
    runs("backend", 200, "doing", "done", scope="backend:rabbitmq")
    assert prune.prune(state, "now", FEW | {"runs": 0}) == ["backend"]


@pytest.mark.parametrize("kind", ["unit.stop", "unit.start", "commit.begin", "commit.confirm", "python.install"])
def test_a_run_that_only_restarted_a_service_takes_no_place_of_one_that_can_be_undone(
    runs: Callable[..., None], state: Path, kind: str
) -> None:
    runs("stands", 300, "doing", "done")
    runs("restarted", 200, "doing", "done", kind=kind)
    assert prune.prune(state, "now", FEW | {"runs": 0}) == ["restarted"]
    assert names(state) == ["stands"]


@pytest.mark.parametrize("kind", ["file.write", "file.remove", "nova.cells"])
def test_of_each_project_the_newest_run_that_stands_stays(runs: Callable[..., None], state: Path, kind: str) -> None:
    runs("nova-before", 400, "doing", "done")
    runs("nova", 300, "doing", "done", kind=kind)
    runs("glance", 200, "doing", "done", scope="project:glance")
    assert prune.prune(state, "now", FEW | {"runs": 0}) == ["nova-before"]


def test_a_damaged_run_stays_with_any_older_one_that_does(runs: Callable[..., None], state: Path) -> None:
    runs("nova", 300, "doing", "done")
    runs("damaged", 250)
    (state / "runs" / "damaged" / "journal.jsonl").write_bytes(b"damage\n")
    runs("glance", 200, "doing", "done", scope="project:glance")
    assert prune.prune(state, "now", FEW | {"runs": 0}) == []


def test_a_run_goes_with_its_undo(runs: Callable[..., None], state: Path) -> None:
    runs("r1", 300, *BACK)
    runs("r1-undo", 1, *BACK)
    runs("r2", 2, *BACK)
    assert prune.prune(state, "r2-undo", FEW) == ["r1", "r1-undo"]


@pytest.mark.parametrize("name", [state_files.HOLD, state_files.PENDING])
def test_a_run_that_a_document_names_stays(runs: Callable[..., None], state: Path, name: str) -> None:
    runs("r1", 300, *BACK)
    runs("r2", 1, *BACK)
    state_files.write(state / name, {"run": "r1"})
    assert prune.prune(state, "r2", FEW) == []


def test_nothing_goes_while_a_document_is_damaged(runs: Callable[..., None], state: Path) -> None:
    runs("r1", 300, *BACK)
    (state / state_files.PENDING).write_bytes(b"{")
    with pytest.raises(RefusedError, match=r"pending\.json is damaged"):
        prune.prune(state, "r2", FEW | {"runs": 0})
    assert names(state) == ["r1"]


def test_a_damaged_run_stays_while_nothing_newer_stands(runs: Callable[..., None], state: Path) -> None:
    runs("older", 300, *BACK)
    for name, days in (("before", 250), ("after", 150)):
        runs(name, days)
        (state / "runs" / name / "journal.jsonl").write_bytes(b"damage\n")
    runs("stands", 200, "doing", "done")
    assert prune.prune(state, "now", FEW | {"runs": 0}) == ["older", "before"]


def test_a_run_whose_document_is_lost_is_as_old_as_its_directory(runs: Callable[..., None], state: Path) -> None:
    runs("r1", 300, *BACK)
    (state / "runs/r1/run.json").unlink()
    assert prune.prune(state, "now", YOUNG) == []
