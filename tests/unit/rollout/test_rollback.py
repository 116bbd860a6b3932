from __future__ import annotations

from collections.abc import Callable

import pytest

from deployer.errors import ConfigurationError, ConnectionLost, HostError, HostsFailed, StalePlan
from tests.unit.plan.cloud import NOVA
from tests.unit.rollout.conftest import EVERYTHING, Cloud
from tests.unit.rollout.fake_fleet import FakeUnit

BOTH = ("ctl1", "ctl2")


@pytest.fixture
def migrated(cloud: Cloud) -> Cloud:
    cloud.migrate()
    cloud.world.calls.clear()
    return cloud


def test_a_rollback_puts_every_file_back_and_asks_who_answered_before(migrated: Cloud) -> None:
    done = migrated.rollback()
    assert done.whole
    assert migrated.moved() == set()
    assert {check.target for check in done.checks} == {"conductor@ctl1", "conductor@ctl2"}
    assert migrated.run.state == "rolled back"


def test_a_stale_file_on_one_host_keeps_every_host_from_being_touched(migrated: Cloud) -> None:
    migrated.world.write("ctl2", NOVA, b"somebody's")
    with pytest.raises(HostsFailed, match=NOVA) as failed:
        migrated.rollback()
    assert isinstance(failed.value.errors["ctl2"], StalePlan)
    assert {task for task, _ in migrated.world.calls} <= {"lock_host", "read_history", "read_facts"}
    assert (migrated.run.state, migrated.moved()) == ("done", EVERYTHING)


def test_force_overwrites_a_stale_file(migrated: Cloud) -> None:
    migrated.world.write("ctl2", NOVA, b"somebody's")
    migrated.rollback(force=True)
    assert (migrated.run.state, migrated.moved()) == ("rolled back", set())


def test_one_host_that_cannot_go_back_does_not_keep_others_and_later_projects_from_it(migrated: Cloud) -> None:
    migrated.world.fail("ctl1", "undo_steps", HostError("ctl1", "disk full"))
    with pytest.raises(HostsFailed, match="disk full"):
        migrated.rollback()
    assert migrated.moved() == {"glance@ctl1", "nova@ctl1"}
    assert migrated.run.state == "split"


def test_a_host_that_lost_its_session_over_one_project_still_gets_the_next_one_back(migrated: Cloud) -> None:
    migrated.world.fail("ctl1", "undo_steps", ConnectionLost("ctl1", "session lost"), range(1, 2))
    with pytest.raises(HostsFailed, match="session lost"):
        migrated.rollback()
    assert migrated.moved() == {"nova@ctl1"}


def test_a_split_run_can_be_rolled_back_again(migrated: Cloud) -> None:
    migrated.world.fail("ctl1", "undo_steps", ConnectionLost("ctl1", "session lost"), range(1, 2))
    with pytest.raises(HostsFailed, match="session lost"):
        migrated.rollback()
    assert migrated.rollback().whole
    assert (migrated.run.state, migrated.moved()) == ("rolled back", set())


def test_ctrl_c_during_a_rollback_leaves_the_run_split(migrated: Cloud) -> None:
    migrated.world.fail("ctl2", "undo_steps", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        migrated.rollback()
    assert migrated.run.state == "split"


@pytest.mark.parametrize(
    ("left", "named"),
    [
        ([("glance", ("ctl1",)), ("nova", ("ctl1",))], "ctl2"),
        ([("glance", BOTH)], "nova"),
        ([("glance", BOTH), ("nova", ("ctl1",))], f"ctl2: {NOVA}"),
    ],
    ids=["host", "project", "group of a host"],
)
def test_a_rollback_is_refused_before_anything_when_the_inventory_lost(
    migrated: Cloud,
    other_inventory: Callable[..., None],
    left: list[tuple[str, tuple[str, ...]]],
    named: str,
) -> None:
    other_inventory(*left)
    with pytest.raises(ConfigurationError, match=f"{named}: was changed by the run"):
        migrated.rollback()
    assert migrated.world.calls == []
    assert migrated.run.state == "done"


def start_late(cloud: Cloud, host: str = "ctl1") -> FakeUnit:
    """Somebody starts nova-scheduler, which did not run before, while the new file is in place."""
    unit = cloud.world.hosts[host].units["nova-scheduler"] = FakeUnit()
    cloud.world.restart(host, "nova-scheduler")
    return unit


def test_a_unit_that_somebody_started_on_the_runs_files_is_restarted(migrated: Cloud) -> None:
    unit = start_late(migrated)
    migrated.rollback()
    assert unit.started > migrated.world.hosts["ctl1"].ctimes[NOVA]


def test_a_unit_that_somebody_started_is_restarted_at_the_second_try_too(migrated: Cloud) -> None:
    unit = start_late(migrated)
    migrated.world.fail("ctl1", "apply_steps", ConnectionLost("ctl1", "session lost"), range(1, 2))
    with pytest.raises(HostsFailed, match="session lost"):
        migrated.rollback()
    assert unit.started < migrated.world.hosts["ctl1"].ctimes[NOVA]
    assert migrated.run.state == "split"
    migrated.rollback()
    assert unit.started > migrated.world.hosts["ctl1"].ctimes[NOVA]


def test_a_host_that_is_gone_does_not_keep_late_starters_of_others_from_their_restart(migrated: Cloud) -> None:
    unit = start_late(migrated)
    for task in ("undo_steps", "read_facts"):
        # Its first facts are those that show no file to be stale.
        migrated.world.fail("ctl2", task, ConnectionLost("ctl2", "gone"), range(1 + (task == "read_facts"), 1000))
    with pytest.raises(HostsFailed, match="gone"):
        migrated.rollback()
    assert unit.started > migrated.world.hosts["ctl1"].ctimes[NOVA]


def test_a_host_lost_after_its_undo_does_not_keep_late_starters_of_others_from_their_restart(migrated: Cloud) -> None:
    unit = start_late(migrated, "ctl2")
    # Its first facts are those that show no file to be stale.
    migrated.world.fail("ctl1", "read_facts", ConnectionLost("ctl1", "gone"), range(2, 1000))
    with pytest.raises(HostsFailed, match="gone"):
        migrated.rollback()
    assert unit.started > migrated.world.hosts["ctl2"].ctimes[NOVA]


def test_a_unit_that_cannot_be_restarted_does_not_keep_its_hosts_late_starters_from_it(migrated: Cloud) -> None:
    unit = start_late(migrated)
    # Of a project's undo on a host the first request is for its files, the second for its units.
    migrated.world.fail("ctl1", "undo_steps", HostError("ctl1", "nova-api does not start"), range(2, 3))
    with pytest.raises(HostsFailed, match="nova-api does not start"):
        migrated.rollback()
    assert unit.started > migrated.world.hosts["ctl1"].ctimes[NOVA]


def test_what_a_rollback_tells_of_a_host_is_its_first_error(migrated: Cloud) -> None:
    migrated.world.fail("ctl1", "undo_steps", ConnectionLost("ctl1", "session lost"), range(1, 2))
    migrated.world.fail("ctl1", "lock_host", ConnectionLost("ctl1", "no route"), range(2, 1000))
    with pytest.raises(HostsFailed) as failed:
        migrated.rollback()
    assert str(failed.value) == "ctl1: session lost"
    assert migrated.moved() == {"nova@ctl1", "glance@ctl1"}


def test_units_are_not_restarted_where_their_files_could_not_be_put_back(migrated: Cloud) -> None:
    conductor = migrated.world.hosts["ctl1"].units["nova-conductor"]
    started = conductor.started
    migrated.world.fail("ctl1", "undo_steps", HostError("ctl1", "disk full"), range(1, 2))
    with pytest.raises(HostsFailed, match="disk full"):
        migrated.rollback()
    assert conductor.started == started


def test_units_that_the_undo_restarted_are_not_restarted_again(migrated: Cloud) -> None:
    migrated.rollback()
    assert "apply_steps" not in {task for task, _ in migrated.world.calls}


def test_a_rollback_with_only_unit_differences_ends_as_rolled_back_but_not_whole(migrated: Cloud) -> None:
    migrated.world.hosts["ctl1"].units["nova-api"].enabled = "disabled"
    done = migrated.rollback()
    assert [one.what for one in done.restored if not one.same] == ["nova-api"]
    assert not done.whole
    assert migrated.run.state == "rolled back"


def test_a_server_that_answered_before_and_is_silent_afterwards_makes_the_rollback_not_whole(migrated: Cloud) -> None:
    migrated.world.silent.add("conductor@ctl1")
    done = migrated.rollback()
    assert [check.target for check in done.checks if not check.ok] == ["conductor@ctl1"]
    assert not done.whole


def test_a_rollback_asks_nobody_where_nobody_answered_before(cloud: Cloud) -> None:
    for host in BOTH:
        cloud.world.hosts[host].files[NOVA] = b"[DEFAULT]\n"
    cloud.migrate()
    done = cloud.rollback()
    assert done.checks == []
    assert done.whole
