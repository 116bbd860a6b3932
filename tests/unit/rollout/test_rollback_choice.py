"""Which run goes back, which of its projects, and what is told beforehand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.errors import BuiltUpon, HostsFailed, Interrupted, NothingToRollBack, StalePlan, UnknownRun
from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.rollout import preview
from deployer.rollout.choice import Asked
from deployer.rollout.outcome import Preview
from tests.unit.plan.cloud import GLANCE, NOVA
from tests.unit.rollout.conftest import EVERYTHING, Cloud
from tests.unit.rollout.test_rollback import ASKING

GLANCES = {"glance@ctl1", "glance@ctl2"}
NOVAS = EVERYTHING - GLANCES


@pytest.fixture
def migrated(cloud: Cloud) -> Cloud:
    cloud.migrate()
    cloud.wire.calls.clear()
    cloud.world.acts.clear()
    return cloud


@pytest.fixture(autouse=True)
def _previews_in_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "cloud" in request.fixturenames:
        monkeypatch.setattr(preview, "Fleet", request.getfixturevalue("cloud").wire.fleet)


def previewed(cloud: Cloud, run: str = "", *projects: str, force: bool = False) -> Preview:
    return preview.preview(cloud.deployment, cloud.store, cloud.told, Asked(run, projects, force=force))


def append(cloud: Cloud, host: str, path: str, line: bytes) -> None:
    cloud.world.write(host, path, cloud.world.hosts[host].files[path] + line)


# The run.


@pytest.mark.parametrize("name", ["last", "beginning", "whole"])
def test_a_run_goes_back_by_its_name(migrated: Cloud, name: str) -> None:
    run = migrated.run.run
    assert migrated.rollback({"last": "last", "beginning": run[:15], "whole": run}[name]).run.run == run
    assert migrated.moved() == set()


def forget(cloud: Cloud, host: str) -> None:
    """Let a host, and the controller, know nothing of what the newest run did there."""
    run = cloud.run.run
    cloud.world.hosts[host].journals.pop(run)
    shutil.rmtree(cloud.store.directory(run) / "hosts" / host)


@pytest.mark.parametrize("dry", [False, True], ids=["rollback", "preview"])
def test_a_run_that_a_host_has_forgotten_is_refused_before_anything(migrated: Cloud, *, dry: bool) -> None:
    forget(migrated, "ctl2")
    with pytest.raises(HostsFailed, match=r"ctl2: nothing is known of what run .* changed on it.*migrate to what is"):
        previewed(migrated) if dry else migrated.rollback()
    assert {task for task, _ in migrated.wire.calls} <= ASKING
    assert migrated.moved() == EVERYTHING


def test_a_run_that_is_unknown_is_refused_before_anything(migrated: Cloud) -> None:
    with pytest.raises(UnknownRun):
        migrated.rollback("1999")
    assert {task for task, _ in migrated.wire.calls} == {"lock_host", "read_history"}


def test_a_run_that_a_later_one_built_upon_is_refused_with_the_remedy(hybrid: Cloud) -> None:
    later, first = hybrid.store.runs()
    with pytest.raises(BuiltUpon, match=f"{later.run}, which stands. Roll that one back first"):
        hybrid.rollback(first.run)
    assert hybrid.world.acts == []


def test_runs_go_back_one_after_the_other_in_their_order(hybrid: Cloud) -> None:
    later, first = hybrid.store.runs()
    assert hybrid.rollback(later.run).whole
    assert hybrid.rollback(first.run).whole
    assert [run.state for run in hybrid.store.runs()] == ["rolled back", "rolled back"]


def test_a_run_that_is_rolled_back_already_is_told_and_left_as_it_is(migrated: Cloud) -> None:
    migrated.rollback()
    migrated.world.acts.clear()
    done = migrated.rollback(migrated.run.run)
    assert (done.projects, done.whole, migrated.world.acts) == ([], True, [])


def test_what_another_controller_recorded_until_its_locks_were_free_decides(migrated: Cloud) -> None:
    ended = migrated.run
    begun = replace(ended, state="running", projects=["glance"], confirmed=[], revision=ended.revision - 1)

    def record(run: Run) -> None:
        migrated.store.put(run)
        for host in run.hosts:
            migrated.world.hosts[host].journals[run.run].begin("ann", "now", run.document())

    record(begun)
    migrated.wire.meanwhile("ctl1", "lock_host", lambda: record(ended))
    assert migrated.rollback().projects == ["nova", "glance"]
    assert (migrated.moved(), migrated.run.state) == (set(), "rolled back")


@pytest.mark.parametrize("verb", [Cloud.rollback, previewed])
def test_without_the_locks_nothing_is_recorded_here(migrated: Cloud, verb: Callable[[Cloud], object]) -> None:
    run = migrated.run
    migrated.store.put(replace(run, revision=run.revision - 1))
    copy = migrated.store.copy(run.run, "ctl1")
    copy.replace(copy.lines()[:-1])
    before = {path: path.read_bytes() for path in migrated.store.root.rglob("*") if path.is_file()}
    for host in migrated.world.hosts.values():
        host.lock = "another run"
    with suppress(HostsFailed):
        verb(migrated)
    assert {path: path.read_bytes() for path in migrated.store.root.rglob("*") if path.is_file()} == before


# Its projects.


def test_only_the_projects_that_were_named_go_back_and_the_others_stand(migrated: Cloud) -> None:
    done = migrated.rollback("", "glance")
    assert (done.projects, done.whole) == (["glance"], True)
    assert (migrated.moved(), migrated.splits()) == (NOVAS, [])
    assert (migrated.run.state, migrated.run.projects, migrated.run.held) == ("done", ["nova"], ["glance"])


def test_the_other_projects_go_back_later(migrated: Cloud) -> None:
    migrated.rollback("", "glance")
    assert migrated.rollback().projects == ["nova"]
    assert (migrated.moved(), migrated.run.state) == (set(), "rolled back")


def test_a_project_that_is_back_already_is_told_and_left_as_it_is(migrated: Cloud) -> None:
    migrated.rollback("", "glance")
    assert migrated.rollback("last", "glance").projects == []


@pytest.mark.parametrize("run", ["", "last"])
def test_a_project_that_no_run_changed_is_refused(migrated: Cloud, run: str) -> None:
    with pytest.raises(NothingToRollBack, match="heat"):
        migrated.rollback(run, "heat")


def test_of_a_later_run_only_its_own_projects_are_in_the_way(hybrid: Cloud) -> None:
    later, first = hybrid.store.runs()
    hybrid.rollback(later.run, "glance")
    assert hybrid.rollback(first.run, "glance").whole
    with pytest.raises(BuiltUpon, match="nova"):
        hybrid.rollback(first.run, "nova")


def test_a_rollback_of_one_project_that_was_cut_off_goes_on_with_that_one(migrated: Cloud) -> None:
    migrated.wire.fail("ctl2", "undo_steps", KeyboardInterrupt(), range(1, 1000))
    with pytest.raises(Interrupted):
        migrated.rollback("", "glance")
    migrated.wire.mend()
    assert migrated.run.state == "rolling back"
    assert migrated.rollback().projects == ["glance"]
    assert (migrated.moved(), migrated.run.state, migrated.splits()) == (NOVAS, "done", [])


# Files that others changed.


def test_edits_of_others_stay_what_the_run_set_goes_back_and_that_is_told(migrated: Cloud) -> None:
    append(migrated, "ctl2", GLANCE, b"[theirs]\nkey = 7\npassword = canary-theirs\n")
    done = migrated.rollback()
    assert migrated.world.hosts["ctl2"].files[GLANCE] == (
        migrated.files["ctl2"][GLANCE] + b"[theirs]\nkey = 7\npassword = canary-theirs\n"
    )
    assert f"ctl2: {GLANCE}: [theirs] key is 7: is kept" in done.told
    assert "canary" not in "".join(done.told)
    assert (done.whole, migrated.splits(), migrated.run.state) == (True, [], "rolled back")


def test_another_value_of_ours_is_refused_with_both_shown_masked_before_any_host_is_touched(migrated: Cloud) -> None:
    append(migrated, "ctl1", NOVA, b"[DEFAULT]\ntransport_url = rabbit://nova:canary-theirs@10.7.7.7:5672/\n")
    with pytest.raises(HostsFailed, match=r"10\.0\.0\.11.*10\.7\.7\.7") as failed:
        migrated.rollback()
    assert isinstance(failed.value.errors["ctl1"], StalePlan)
    assert "canary" not in str(failed.value)
    assert {task for task, _ in migrated.wire.calls} <= ASKING
    assert (migrated.run.state, migrated.moved()) == ("done", EVERYTHING)


def test_forced_what_was_before_the_run_wins_and_other_edits_stay(migrated: Cloud) -> None:
    append(migrated, "ctl1", NOVA, b"[DEFAULT]\ntransport_url = rabbit://x:y@10.7.7.7/\n[theirs]\nkey = 7\n")
    migrated.rollback(force=True)
    content = migrated.world.hosts["ctl1"].files[NOVA]
    assert (b"key = 7" in content, b"10.7.7.7" in content) == (True, False)
    assert (migrated.splits(), migrated.run.state) == ([], "rolled back")


def test_edits_of_others_survive_a_rollback_that_is_run_twice(migrated: Cloud) -> None:
    append(migrated, "ctl2", NOVA, b"[theirs]\nkey = 7\n")
    migrated.wire.fail("ctl2", "undo_steps", KeyboardInterrupt(), range(3, 1000))
    with pytest.raises(Interrupted):
        migrated.rollback()
    migrated.wire.mend()
    assert migrated.rollback().whole
    assert migrated.world.hosts["ctl2"].files[NOVA] == migrated.files["ctl2"][NOVA] + b"[theirs]\nkey = 7\n"


# What would be done.


def test_a_preview_tells_files_units_and_cells_and_touches_nothing(migrated: Cloud) -> None:
    found = previewed(migrated)
    assert (found.changed, found.projects, found.conflicts) == (True, ["nova", "glance"], [])
    assert {(host, path) for host, path, _ in found.files} == {(h, p) for h in ("ctl1", "ctl2") for p in (GLANCE, NOVA)}
    assert "ctl1: nova-conductor stops, and starts again" in found.units
    assert [line.partition(" goes")[0] for line in found.cells] == ["cell 11111111-1111-1111-1111-111111111111"]
    assert "canary" not in repr(found)
    assert {task for task, _ in migrated.wire.calls} <= ASKING - {"lock_host"}
    assert (migrated.world.acts, migrated.run.state) == ([], "done")


def test_a_preview_tells_conflicts_and_a_forced_one_what_it_goes_over(migrated: Cloud) -> None:
    append(migrated, "ctl1", NOVA, b"[DEFAULT]\ntransport_url = rabbit://x:y@10.7.7.7/\n")
    assert "10.7.7.7" in previewed(migrated).conflicts[0]
    forced = previewed(migrated, force=True)
    assert forced.conflicts == []
    assert any(line.endswith("is forced") for line in forced.told)


def test_a_preview_shows_what_only_hosts_know(migrated: Cloud, tmp_path: Path) -> None:
    migrated.store = RunStore(tmp_path / "another machine")
    assert previewed(migrated).projects == ["nova", "glance"]
    assert not migrated.store.root.exists()


def test_a_preview_of_what_is_back_has_nothing_to_do(migrated: Cloud) -> None:
    migrated.rollback()
    assert not previewed(migrated, "last").changed


# From another machine.


def test_a_controller_without_any_record_rolls_back_by_what_the_hosts_tell(migrated: Cloud, tmp_path: Path) -> None:
    migrated.store = RunStore(tmp_path / "another machine")
    assert migrated.rollback().whole
    assert (migrated.moved(), migrated.splits(), migrated.run.state) == (set(), [], "rolled back")


def test_a_host_that_lost_its_journal_gets_the_copy_back_first(migrated: Cloud) -> None:
    migrated.world.hosts["ctl2"].journals.clear()
    assert migrated.rollback().whole
    assert (migrated.moved(), migrated.splits()) == (set(), [])
    assert any(line.startswith("ctl2: its journal of run") for line in migrated.told.lines)
