from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from deployer.errors import NothingToRollBack
from deployer.journal.prune import forgotten
from deployer.journal.run import State
from deployer.journal.store import RunStore
from deployer.model.deployment import Retention
from tests.unit.journal.runs import run

NOW = datetime(2026, 2, 1, tzinfo=timezone.utc)
LIMITS = Retention(runs=2, days=20)


def name(day: int) -> str:
    return f"202601{day:02}T000000Z-0000"


def gone(*runs: tuple[int, State, tuple[str, ...]], limits: Retention = LIMITS) -> list[int]:
    """Return the days of January whose runs are forgotten; runs are told oldest first."""
    newest_first = [run(name(day), state, projects) for day, state, projects in reversed(runs)]
    return sorted(int(one.run[6:8]) for one in forgotten(newest_first, limits, NOW))


def test_the_oldest_of_too_many_go() -> None:
    assert gone((20, "failed", ()), (21, "failed", ()), (22, "failed", ()), (23, "failed", ())) == [20, 21]


def test_those_that_are_too_old_go() -> None:
    assert gone((11, "failed", ()), (13, "failed", ())) == [11]


@pytest.mark.parametrize("state", ["running", "split", "rolling back"])
def test_an_unfinished_one_never_goes(state: State) -> None:
    assert gone((1, state, ()), (21, "failed", ()), (22, "failed", ())) == []


def test_the_newest_that_stands_never_goes() -> None:
    assert gone((1, "done", ("nova",)), (21, "failed", ()), (22, "failed", ())) == []


def test_an_older_one_goes_although_it_stands() -> None:
    assert gone((1, "done", ("nova",)), (2, "done", ("nova",)), (22, "failed", ())) == [1]


def test_the_only_one_that_changed_a_project_stays_behind_newer_ones_of_others() -> None:
    runs: list[tuple[int, State, tuple[str, ...]]] = [(day, "done", ("glance",)) for day in range(20, 25)]
    assert gone((1, "done", ("nova", "glance")), *runs) == [20, 21, 22]


def test_one_that_was_rolled_back_goes() -> None:
    assert gone((1, "rolled back", ("nova",)), (22, "done", ("nova",))) == [1]


def test_a_newer_one_that_was_rolled_back_does_not_stand_for_it() -> None:
    assert gone((1, "done", ("nova",)), (20, "done", ("glance",)), (22, "rolled back", ("nova",))) == []


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    found = RunStore(tmp_path)
    for day in (1, 2, 3):
        found.save(run(name(day), "rolled back"))
        for journal in (name(day), f"{name(day)}-undo"):
            found.copy(journal, "ctl1").keep(b"password = canary")
    return found


def names(store: RunStore) -> set[str]:
    return {path.name for path in store.root.iterdir()}


def test_what_is_forgotten_leaves_nothing_behind_its_undo_included(store: RunStore) -> None:
    assert store.prune(Retention(runs=1, days=10_000)) == [name(1), name(2)]
    assert names(store) == {name(3), f"{name(3)}-undo"}
    with pytest.raises(NothingToRollBack):
        store.last_to_undo()


def test_what_a_prune_that_was_cut_off_left_is_removed_by_the_next(store: RunStore) -> None:
    (store.root / name(1) / "run.json").unlink()
    store.prune(Retention(runs=20, days=10_000))
    assert names(store) == {name(2), f"{name(2)}-undo", name(3), f"{name(3)}-undo"}


def test_a_record_that_cannot_be_read_is_not_forgotten(store: RunStore) -> None:
    (store.root / name(1) / "run.json").write_text("{")
    store.prune(Retention(runs=1, days=10_000))
    assert name(1) in names(store)


def test_where_nothing_was_recorded_nothing_is_forgotten(tmp_path: Path) -> None:
    assert RunStore(tmp_path / "none").prune(LIMITS) == []
