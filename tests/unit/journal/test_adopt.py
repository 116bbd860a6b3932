from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.journal.adopt import Told, adopt, hosts_of, lines_of, newest
from deployer.journal.run import State
from deployer.journal.store import RunStore
from tests.unit.journal.runs import NEW, OLD, about, history, line, run

LINES = [line(1, "doing"), line(1)]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def test_a_run_that_only_hosts_know_is_recorded_as_they_have_it(store: RunStore) -> None:
    known = run(revision=3, confirmed=["nova"])
    assert adopt(store, {"ctl1": history(about(OLD, known, *LINES))}) == [known]
    assert list(store.runs()) == [known]
    assert store.copy(OLD, "ctl1").lines() == LINES


def test_of_several_hosts_the_newest_record_counts(store: RunStore) -> None:
    older, newer = run(state="running", revision=3), run(state="done", revision=4)
    adopt(store, {"ctl1": history(about(OLD, newer)), "ctl2": history(about(OLD, older))})
    assert [one.state for one in store.runs()] == ["done"]


@pytest.mark.parametrize(("here", "adopted"), [(2, [OLD]), (3, []), (4, [])])
def test_what_is_known_better_here_stays(store: RunStore, here: int, adopted: list[str]) -> None:
    store.put(run(state="failed", revision=here))
    assert [one.run for one in adopt(store, {"ctl1": history(about(OLD, run(revision=3)))})] == adopted


def test_what_a_host_did_by_itself_since_is_taken_over_also_of_a_run_that_is_known(store: RunStore) -> None:
    store.put(run(revision=3))
    store.copy(OLD, "ctl1").replace(LINES)
    back = [*LINES, line(1, "undoing"), line(1, "undone")]
    assert adopt(store, {"ctl1": history(about(OLD, run(revision=3), *back))}) == []
    assert store.copy(OLD, "ctl1").lines() == back


def test_a_hole_that_a_lost_session_left_in_the_copy_is_closed(store: RunStore) -> None:
    whole = [*LINES, line(2, "doing"), line(2), line(2, "undoing"), line(2, "undone")]
    store.put(run(revision=3))
    store.copy(OLD, "ctl1").replace([*whole[:3], *whole[4:]])
    adopt(store, {"ctl1": history(about(OLD, run(revision=3), *whole))})
    assert store.copy(OLD, "ctl1").lines() == whole


@pytest.mark.parametrize(("here", "told"), [("running", "failed"), ("failed", "running")])
def test_of_two_records_that_are_as_new_the_one_that_ended_counts(store: RunStore, here: State, told: State) -> None:
    store.put(run(state=here, revision=3))
    adopt(store, {"ctl1": history(about(OLD, run(state=told, revision=3)))})
    assert [one.state for one in store.runs()] == ["failed"]


@pytest.mark.parametrize("told", [(), LINES[:1], [line(2, "doing"), line(2), line(3)]], ids=["all", "end", "other"])
def test_the_copy_of_what_a_host_lost_stays(store: RunStore, told: list[dict[str, Any]]) -> None:
    store.put(run(revision=3))
    store.copy(OLD, "ctl1").replace(LINES)
    adopt(store, {"ctl1": history(about(OLD, run(revision=3), *told))})
    assert store.copy(OLD, "ctl1").lines() == LINES


def test_a_damaged_copy_is_replaced_by_the_hosts_own(store: RunStore) -> None:
    store.put(run(revision=3))
    store.copy(OLD, "ctl1").replace([{**LINES[0], "sum": "none"}])
    adopt(store, {"ctl1": history(about(OLD, run(revision=3), *LINES))})
    assert store.copy(OLD, "ctl1").lines() == LINES


def test_a_damaged_record_is_replaced_by_the_hosts_own(store: RunStore) -> None:
    store.put(run(revision=3))
    (store.directory(OLD) / "run.json").write_text("{")
    adopt(store, {"ctl1": history(about(OLD, run(revision=3)))})
    assert [one.run for one in store.runs()] == [OLD]


def test_what_undid_a_run_comes_along_and_is_no_run_of_its_own(store: RunStore) -> None:
    undo = f"{OLD}-undo"
    adopt(store, {"ctl1": history(about(OLD, run(revision=3), *LINES), about(undo, None, line(7)))})
    assert store.copy(undo, "ctl1").lines() == [line(7)]
    assert [one.run for one in store.runs()] == [OLD]


@pytest.mark.parametrize(
    "record",
    [None, {}, "words", {**run().document(), "schema": 99}, replace(run(), run=NEW).document()],
    ids=["none", "empty", "no object", "another version's", "another run's"],
)
def test_a_run_without_a_record_that_can_be_read_is_not_recorded(store: RunStore, record: Any) -> None:
    told = {**about(OLD, None, *LINES), "record": record}
    assert adopt(store, {"ctl1": history(told)}) == []
    assert not store.root.exists()


def test_hosts_with_a_damaged_journal_are_named_and_the_others_count(store: RunStore) -> None:
    damaged = {"run": OLD, "damaged": "journal.jsonl is damaged: line 3"}
    answers = {"ctl1": history(damaged), "ctl2": history(about(OLD, run(revision=3), *LINES))}
    assert Told.of(answers).damaged == {OLD: {"ctl1": "journal.jsonl is damaged: line 3"}}
    assert [one.run for one in adopt(store, answers)] == [OLD]


def test_looking_changes_nothing(store: RunStore) -> None:
    told = Told.of({"ctl1": history(about(OLD, run(revision=3), *LINES))})
    assert [one.run for one in newest(store, told)[0]] == [OLD]
    assert lines_of(store, told, OLD, "ctl1") == LINES
    assert list(hosts_of(store, told, OLD)) == ["ctl1"]
    assert not store.root.exists()


def test_the_newest_run_comes_first_wherever_it_is_known(store: RunStore) -> None:
    store.put(run(NEW))
    told = Told.of({"ctl1": history(about(OLD, run(revision=3)))})
    assert [one.run for one in newest(store, told)[0]] == [NEW, OLD]
