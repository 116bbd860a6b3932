from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.agent.journal_lines import sealed
from deployer.errors import NothingToRollBack, RecordRefused, UnknownRun
from deployer.journal.run import State, checksum
from deployer.journal.store import RunStore, default_state_dir
from deployer.model.deployment import Retention
from tests.unit.journal.runs import NEW, OLD, run
from tests.unit.plan.cloud import CTL1, CTL2, NOVA, deployment, file, project


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "state")


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_any_of_it_whatever_the_umask(store: RunStore, tmp_path: Path, umask: int) -> None:
    store.save(run())
    store.copy(OLD, "ctl1").keep(b"password = canary")
    made = list((tmp_path / "state").rglob("*"))
    assert {mode(path) for path in made if path.is_dir()} | {mode(tmp_path / "state")} == {0o700}
    assert {mode(path) for path in made if path.is_file()} == {0o600}
    assert len([path for path in made if path.is_file()]) == 2


def test_what_was_kept_is_found_by_the_files_place(store: RunStore) -> None:
    changed = run(files={"ctl1": {NOVA: file(NOVA, b"before").identity()}})
    store.copy(OLD, "ctl1").keep(b"before")
    assert store.kept(changed, "ctl1", NOVA) == b"before"


@pytest.mark.parametrize(("host", "path"), [("ctl1", "/etc/other.conf"), ("ctl2", NOVA)], ids=["file", "host"])
def test_of_a_file_that_the_run_did_not_change_nothing_was_kept(store: RunStore, host: str, path: str) -> None:
    changed = run(files={"ctl1": {NOVA: file(NOVA, b"before").identity()}})
    store.copy(OLD, "ctl1").keep(b"before")
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
    store.copy(OLD, "ctl1").keep(b"password = canary")
    assert {*seen[:-2]} <= {0o700}, "the directories made for it"
    assert seen[-2:] == [0o600, 0o700], "the file, then its directory"


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
    sha256 = store.copy(OLD, "ctl1").keep(b"\xff\r\n[DEFAULT]")
    assert sha256 == file(NOVA, b"\xff\r\n[DEFAULT]").sha256
    assert (store.root / OLD / "hosts/ctl1/blobs" / sha256).read_bytes() == b"\xff\r\n[DEFAULT]"


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


AHEAD = "20990101T000000.999999Z-ffff"


def test_a_run_comes_after_all_that_are_known_though_their_clock_was_ahead(store: RunStore, tmp_path: Path) -> None:
    store.save(run(AHEAD))
    begun = store.begin("migrate", tmp_path)
    store.save(begun)
    assert begun.run > AHEAD
    assert begun.when >= "2099-01-01T00:00:01", "hosts order runs by it"
    assert store.begin("migrate", tmp_path).run > begun.run
    store.end(begun, "done")
    assert begun.seconds == 0


def test_a_run_that_one_from_elsewhere_has_overtaken_is_begun_anew(store: RunStore, tmp_path: Path) -> None:
    begun = store.begin("migrate", tmp_path)
    assert store.begin_last(begun) is begun
    store.save(run(AHEAD))
    last = store.begin_last(begun)
    assert last.run > AHEAD
    assert (last.command, last.inventory) == (begun.command, begun.inventory)


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
        ("rolling back", ("nova",), True),
        ("rolling back", (), True),
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


def test_each_save_is_a_revision_of_its_own(store: RunStore) -> None:
    saved = run()
    store.save(saved)
    store.end(saved, "done")
    assert [one.revision for one in store.runs()] == [2]


def test_a_rollback_says_who_did_it_and_the_run_took_as_long_as_it_did(store: RunStore) -> None:
    ended = run(ended="2026-01-01T00:01:30+00:00")
    store.end(ended, "rolled back")
    [back] = store.runs()
    assert (back.seconds, back.who) == (90, "ann@ops1")
    assert back.back["who"] == store.begin("rollback", Path()).who
    assert back.back["when"] > "2026-01-01T00:01:30+00:00"


def test_a_run_says_how_long_it_took(store: RunStore) -> None:
    assert run().seconds is None
    assert run(ended="2026-01-01T00:01:30+00:00").seconds == 90


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"schema": 2', "is damaged: no JSON object"),
        ("[]", "is damaged: no JSON object"),
        ('{"schema": 1}', "its schema is 1, here it is 2"),
        ("{}", "its schema is None"),
        ('{"schema": 2}', "is damaged: it does not match its checksum"),
        (json.dumps(run().document()).replace("ops1", "ops2"), "is damaged: it does not match its checksum"),
        (json.dumps({"schema": 2, "sum": checksum({"schema": 2})}), "is damaged: its fields"),
        (json.dumps(run(NEW).document()), "the record of another run"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_by_name_and_hides_no_other(
    store: RunStore, content: str, problem: str
) -> None:
    store.save(run(NEW))
    store.save(run(OLD))
    path = store.root / OLD / "run.json"
    path.write_text(content)
    with pytest.raises(RecordRefused) as refused:
        list(store.runs())
    assert str(refused.value).startswith(f"{path} is ")
    assert problem in str(refused.value)
    runs, [error] = store.readable()
    assert ([one.run for one in runs], error.file) == ([NEW], str(path))


@pytest.mark.parametrize("name", ["last", NEW, NEW[:8]])
def test_a_run_is_found_by_its_name_a_beginning_of_it_or_as_the_last(store: RunStore, name: str) -> None:
    store.save(run(OLD))
    store.save(run(NEW))
    assert store.find(name).run == NEW


def test_a_name_that_is_the_beginning_of_another_means_the_run_that_has_it(store: RunStore) -> None:
    store.save(run(OLD))
    store.save(run(f"{OLD}-2"))
    assert store.find(OLD).run == OLD


@pytest.mark.parametrize(("name", "says"), [("2026", f"{NEW}, {OLD}"), ("2027", "no run 2027"), ("", NEW)])
def test_a_name_that_means_no_single_run_is_refused(store: RunStore, name: str, says: str) -> None:
    store.save(run(OLD))
    store.save(run(NEW))
    with pytest.raises(UnknownRun, match=says):
        store.find(name)


def test_where_nothing_is_recorded_there_is_no_last_run(store: RunStore) -> None:
    with pytest.raises(UnknownRun, match="no run last is recorded in"):
        store.find("last")


HERE = {CTL1.name: CTL1.address, CTL2.name: CTL2.address}


@pytest.mark.parametrize(
    ("addresses", "is_of"),
    [
        (HERE, True),
        ({CTL1.name: CTL1.address}, True),
        ({**HERE, "left": "10.0.0.99"}, True),
        ({CTL1.name: CTL1.address, CTL2.name: "192.0.2.2"}, False),
        ({CTL1.name: "192.0.2.1", CTL2.name: "192.0.2.2"}, False),
        ({"elsewhere": CTL1.address}, False),
        ({}, False),
    ],
    ids=["same", "one joined since", "one left since", "one is another", "all are others", "none shared", "none"],
)
def test_a_run_is_of_the_cloud_whose_hosts_it_shares_and_of_no_other(addresses: dict[str, str], *, is_of: bool) -> None:
    assert run(addresses=addresses).is_of(HERE) == is_of


def test_a_clouds_store_tells_finds_and_forgets_its_own_runs_only(store: RunStore) -> None:
    own = store.of(deployment(project("nova", CTL1)))
    store.save(run(OLD, addresses=HERE))
    store.save(run(NEW, addresses={CTL1.name: "192.0.2.1"}))
    assert [one.run for one in own.runs()] == [OLD]
    assert [own.last_to_undo().run, own.find("last").run, own.find("2026").run] == [OLD] * 3
    with pytest.raises(UnknownRun):
        own.find(NEW)
    # nova of the other cloud changed later: it says nothing of this one.
    assert own.prune(Retention(runs=0, days=1)) == []
    assert [one.run for one in store.runs()] == [NEW, OLD]


def test_a_run_that_a_clouds_store_begins_is_its_own(store: RunStore, tmp_path: Path) -> None:
    own = store.of(deployment(project("nova", CTL1)))
    store.save(own.begin("migrate", tmp_path))
    [begun] = own.runs()
    assert begun.addresses[CTL1.name] == CTL1.address


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


def test_both_sides_seal_alike() -> None:
    entry = {"step": "0001", "kind": "file.write", "before": {"sha256": None, "path": "/ä"}, "at": 1.5}
    assert sealed(entry)["sum"] == checksum(entry)
