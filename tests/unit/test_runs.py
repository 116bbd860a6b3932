from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer.errors import NothingToRollBack
from deployer.journal.runs import Run, RunStore, State, default_state_dir
from tests.unit.plan.cloud import NOVA, file

OLD, NEW = "20260101T000000Z-ffff", "20260102T000000Z-0000"


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "state")


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def run(name: str = OLD, state: State = "done", projects: tuple[str, ...] = ("nova",), **more: Any) -> Run:
    return Run(name, "migrate", "ann@ops1", "2026-01-01T00:00:00+00:00", "/inv", state, projects=list(projects), **more)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_any_of_it_whatever_the_umask(store: RunStore, tmp_path: Path, umask: int) -> None:
    store.save(run())
    store.keep(run(), "ctl1", file(NOVA, b"password = canary"))
    made = list((tmp_path / "state").rglob("*"))
    assert {mode(path) for path in made if path.is_dir()} | {mode(tmp_path / "state")} == {0o700}
    assert {mode(path) for path in made if path.is_file()} == {0o600}
    assert len([path for path in made if path.is_file()]) == 2


def test_what_was_kept_is_found_by_the_files_place(store: RunStore) -> None:
    changed = run(files={"ctl1": {NOVA: file(NOVA, b"before").identity()}})
    store.keep(changed, "ctl1", file(NOVA, b"before"))
    assert store.kept(changed, "ctl1", NOVA) == b"before"


@pytest.mark.parametrize(("host", "path"), [("ctl1", "/etc/other.conf"), ("ctl2", NOVA)], ids=["file", "host"])
def test_of_a_file_that_the_run_did_not_change_nothing_was_kept(store: RunStore, host: str, path: str) -> None:
    changed = run(files={"ctl1": {NOVA: file(NOVA, b"before").identity()}})
    store.keep(changed, "ctl1", file(NOVA, b"before"))
    assert store.kept(changed, host, path) is None


def test_nobody_can_read_it_even_while_it_is_written_and_its_name_is_durable_too(
    store: RunStore, tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    store.keep(run(), "ctl1", file(NOVA, b"password = canary"))
    assert seen == [0o600, 0o700], "the file, then its directory"


def test_a_directory_that_the_operator_made_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o750)
    (tmp_path / "state").chmod(0o750)
    RunStore(tmp_path / "state").save(run())
    assert mode(tmp_path / "state") == 0o750


def test_a_record_that_cannot_be_written_leaves_the_one_before(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(run(state="running"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.end(run(state="running"), "done")
    assert [one.state for one in store.runs()] == ["running"]


def test_a_write_that_was_cut_off_does_not_hinder_the_next(store: RunStore) -> None:
    store.save(run(state="running"))
    (store.root / OLD / ".run.json.new").write_text('{"run": "torn')
    store.end(run(state="running"), "done")
    assert [one.state for one in store.runs()] == ["done"]
    assert not (store.root / OLD / ".run.json.new").exists()


def test_a_symlink_in_the_way_of_the_record_is_not_followed(store: RunStore, tmp_path: Path) -> None:
    (store.root / OLD).mkdir(parents=True)
    (store.root / OLD / ".run.json.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"run\.json"):
        store.save(run())
    assert not (tmp_path / "elsewhere").exists()


def test_all_that_a_run_recorded_comes_back(store: RunStore) -> None:
    whole = run(
        hosts=["ctl1"],
        files={"ctl1": {NOVA: {"sha256": "ab", "mode": 0o640, "user": "root", "group": "nova"}}},
        units={"ctl1": {"nova-api": {"active": "active", "enabled": "enabled"}}},
        baseline=[{"project": "nova", "topic": "conductor", "server": "ctl1", "answered": True}],
    )
    store.save(whole)
    assert list(store.runs()) == [whole]


def test_a_before_image_is_kept_by_its_hash_byte_for_byte(store: RunStore) -> None:
    fact = file(NOVA, b"\xff\r\n[DEFAULT]")
    store.keep(run(), "ctl1", fact)
    assert (store.root / OLD / "hosts/ctl1/blobs" / str(fact.sha256)).read_bytes() == b"\xff\r\n[DEFAULT]"


def test_a_file_that_was_absent_has_no_before_image(store: RunStore) -> None:
    store.keep(run(), "ctl1", file(NOVA, None))
    assert not store.root.exists()


def test_the_newest_run_comes_first(store: RunStore) -> None:
    store.save(run(NEW))
    store.save(run(OLD))
    assert [one.run for one in store.runs()] == [NEW, OLD]


def test_a_new_run_says_who_and_comes_after_those_before_it(store: RunStore, tmp_path: Path) -> None:
    begun = store.begin("migrate", tmp_path)
    assert begun.run > NEW[:8]
    assert (begun.state, begun.command, begun.inventory) == ("running", "migrate", str(tmp_path))
    assert "@" in begun.who
    assert list(store.runs()) == [], "nothing is recorded before there is something to do"


def test_runs_begun_in_the_same_second_are_in_the_order_of_their_beginning(store: RunStore, tmp_path: Path) -> None:
    names = [store.begin("migrate", tmp_path).run for _ in range(20)]
    assert names == sorted(names)
    assert len(set(names)) == 20


@pytest.mark.parametrize(
    ("state", "projects", "can"),
    [
        ("done", ("nova",), True),
        ("done", (), False),
        ("failed", ("nova",), True),
        ("failed", (), False),
        ("interrupted", ("nova",), True),
        ("interrupted", (), False),
        ("running", ("nova",), True),
        ("running", (), True),
        ("rolled back", ("nova",), False),
    ],
)
def test_a_run_can_be_undone_while_a_project_stands_changed_by_it_or_may(
    store: RunStore, state: State, projects: tuple[str, ...], *, can: bool
) -> None:
    store.save(run(state=state, projects=projects))
    if can:
        assert store.last_to_undo().state == state
    else:
        with pytest.raises(NothingToRollBack, match="nothing to roll back"):
            store.last_to_undo()


def test_the_newest_that_stands_is_undone_first(store: RunStore) -> None:
    store.save(run(OLD))
    store.save(run(NEW))
    assert store.last_to_undo().run == NEW


def test_after_a_rollback_the_run_before_it_is_next(store: RunStore) -> None:
    store.save(run(OLD))
    newest = run(NEW)
    store.save(newest)
    store.end(newest, "rolled back")
    assert store.last_to_undo().run == OLD


def test_a_failed_run_that_undid_everything_does_not_hide_the_one_before(store: RunStore) -> None:
    store.save(run(OLD))
    store.save(run(NEW, "failed", ()))
    assert store.last_to_undo().run == OLD


def test_without_any_run_the_place_looked_in_is_named(store: RunStore) -> None:
    with pytest.raises(NothingToRollBack, match=str(store.root)):
        store.last_to_undo()


def test_an_ended_run_says_when_and_why(store: RunStore) -> None:
    store.end(run(state="running"), "failed", "ctl1: no answer")
    [ended] = store.runs()
    assert (ended.state, ended.error) == ("failed", "ctl1: no answer")
    assert ended.ended is not None
    assert ended.ended.endswith("+00:00")


def test_roots_runs_are_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    assert default_state_dir() == Path("/var/lib/hybridmsg-controller")


@pytest.mark.parametrize(("xdg", "expected"), [("/x", "/x/hybridmsg"), ("", "/h/.local/state/hybridmsg")])
def test_a_users_runs_are_where_xdg_says(xdg: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/h")
    # "If $XDG_STATE_HOME is either not set or empty" (XDG Base Directory Specification)
    monkeypatch.setenv("XDG_STATE_HOME", xdg)
    assert default_state_dir() == Path(expected)
