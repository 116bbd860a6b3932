from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from nornir.core.task import AggregatedResult

from deployer.errors import (
    ConfigurationError,
    ConnectionLost,
    DrainTimeout,
    HostError,
    HostsFailed,
    Interrupted,
    LeftoverMessages,
    NothingToRollBack,
    StalePlan,
)
from deployer.nornir_plugins.runner import RunInterrupted
from tests.unit.plan.cloud import FOREIGN, NOVA, RTR1, RTR2
from tests.unit.rollout.conftest import API_DATABASE, CELL1, EVERYTHING, ON_ROUTERS, Cloud
from tests.unit.rollout.fake_host import FakeUnit, MemoryJournal

BOTH = ("ctl1", "ctl2")
ASKING = {"lock_host", "read_history", "read_blobs", "read_facts", "read_queues", "read_router", "probe_bus"}
"""Tasks that change nothing on a host."""
GONE = ConnectionLost("ctl2", "gone")


@pytest.fixture
def migrated(cloud: Cloud) -> Cloud:
    cloud.migrate()
    cloud.wire.calls.clear()
    cloud.world.acts.clear()
    return cloud


def test_a_rollback_puts_every_file_back_and_asks_who_answered_before(migrated: Cloud) -> None:
    done = migrated.rollback()
    assert done.whole
    assert (migrated.moved(), migrated.splits(), migrated.world.cells) == (set(), [], migrated.cells)
    assert {check.target for check in done.checks} == {"conductor@ctl1", "conductor@ctl2"}
    assert migrated.run.state == "rolled back"


# Files that somebody changed.


def test_a_stale_file_on_one_host_keeps_every_host_from_being_touched(migrated: Cloud) -> None:
    migrated.world.write("ctl2", NOVA, b"somebody's")
    with pytest.raises(HostsFailed, match=NOVA) as failed:
        migrated.rollback()
    assert isinstance(failed.value.errors["ctl2"], StalePlan)
    assert {task for task, _ in migrated.wire.calls} <= ASKING
    assert (migrated.run.state, migrated.moved()) == ("done", EVERYTHING)


def test_force_overwrites_a_stale_file_also_one_that_is_no_configuration_any_more(migrated: Cloud) -> None:
    migrated.world.write("ctl2", NOVA, b"somebody's")
    migrated.rollback(force=True)
    assert (migrated.run.state, migrated.moved(), migrated.splits()) == ("rolled back", set(), [])


def test_cells_that_somebody_changed_keep_their_project_whole_on_the_new_bus(migrated: Cloud) -> None:
    migrated.world.cells[CELL1] = ("cell1", "rabbit://somebody:x@10.8.8.8:5672/")
    with pytest.raises(HostsFailed, match="cell mappings were changed"):
        migrated.rollback()
    assert migrated.moved() == {"nova@ctl1", "nova@ctl2"}
    assert migrated.running() == migrated.ran
    migrated.rollback(force=True)
    assert (migrated.splits(), migrated.world.cells[CELL1]) == ([], ("cell1", FOREIGN))


# Hosts that fail.


def test_one_host_that_cannot_go_back_does_not_keep_others_and_later_projects_from_it(migrated: Cloud) -> None:
    migrated.wire.fail("ctl2", "undo_steps", HostError("ctl2", "disk full"))
    with pytest.raises(HostsFailed, match="disk full"):
        migrated.rollback()
    assert migrated.moved() == {"glance@ctl2", "nova@ctl2"}
    assert migrated.run.state == "rolling back"


@pytest.mark.parametrize("late", [False, True], ids=["none", "not all"])
@pytest.mark.parametrize("at", [1, 2], ids=["callers", "servers"])
def test_a_host_on_which_units_cannot_be_stopped_leaves_its_project_whole_where_it_is(
    hybrid: Cloud, at: int, *, late: bool
) -> None:
    hybrid.deploy(RTR1, RTR2, drain=0)
    hybrid.wire.fail("ctl2", "apply_steps", HostError("ctl2", "it does not stop"), range(at, at + 1), late=late)
    with pytest.raises(HostsFailed, match="does not stop"):
        hybrid.rollback()
    assert (hybrid.moved(), hybrid.splits()) == ({"nova@ctl1", "nova@ctl2"}, [])
    hybrid.rollback()
    assert (hybrid.run.state, hybrid.moved(), hybrid.splits()) == ("rolled back", set(), [])


def test_a_host_that_lost_its_session_over_one_project_still_gets_the_next_one_back(migrated: Cloud) -> None:
    migrated.wire.fail("ctl2", "undo_steps", GONE, range(1, 2))
    with pytest.raises(HostsFailed, match="gone"):
        migrated.rollback()
    assert migrated.moved() == {"nova@ctl2"}


def test_a_rollback_that_failed_can_be_run_again(migrated: Cloud) -> None:
    migrated.wire.fail("ctl2", "undo_steps", GONE, range(1, 2))
    with pytest.raises(HostsFailed, match="gone"):
        migrated.rollback()
    assert migrated.rollback().whole
    assert (migrated.run.state, migrated.moved(), migrated.splits()) == ("rolled back", set(), [])


def test_a_second_try_does_not_stop_what_runs_on_its_old_files_already(migrated: Cloud) -> None:
    # ctl1's undo of nova: cells, files, then its server, which the run and this rollback stopped, then its caller.
    migrated.wire.fail("ctl1", "undo_steps", KeyboardInterrupt(), range(5, 1000))
    with pytest.raises(Interrupted):
        migrated.rollback()
    migrated.wire.mend()
    migrated.world.acts.clear()
    assert migrated.rollback().whole
    assert [act for act in migrated.world.acts if act[1].startswith("nova")] == [
        ("start", "nova-api", "ctl1"),
        ("start", "nova-api", "ctl2"),
    ]


def test_ctrl_c_half_way_puts_the_project_in_hand_back_first_and_says_where_it_stands(migrated: Cloud) -> None:
    migrated.wire.fail("ctl2", "undo_steps", KeyboardInterrupt(), range(2, 3))
    with pytest.raises(Interrupted, match="back: nova; not yet: glance"):
        migrated.rollback()
    assert (migrated.splits(), migrated.moved()) == ([], {"glance@ctl1", "glance@ctl2"})
    assert migrated.rollback().projects == ["glance"]


def test_ctrl_c_while_a_project_drains_lets_it_run_on_where_it_was(hybrid: Cloud) -> None:
    hybrid.wire.fail("rtr1", "read_router", KeyboardInterrupt(), range(1, 2))
    with pytest.raises(Interrupted, match="back: none; not yet: nova, glance"):
        hybrid.rollback()
    assert (hybrid.splits(), hybrid.moved()) == ([], EVERYTHING)


def test_who_asks_twice_to_stop_is_obeyed_at_once(migrated: Cloud) -> None:
    twice = RunInterrupted(AggregatedResult("undo_steps"), ["ctl2"], [], twice=True)
    migrated.wire.fail("ctl2", "undo_steps", twice, range(2, 3))
    with pytest.raises(Interrupted, match="back: none"):
        migrated.rollback()
    assert (migrated.run.state, migrated.splits() != []) == ("rolling back", True)
    assert migrated.rollback().whole


def test_ctrl_c_during_a_rollback_leaves_the_run_rolling_back(migrated: Cloud) -> None:
    migrated.wire.fail("ctl2", "undo_steps", KeyboardInterrupt())
    with pytest.raises(Interrupted):
        migrated.rollback()
    assert migrated.run.state == "rolling back"


def test_a_controller_that_dies_during_a_rollback_leaves_the_run_rolling_back(migrated: Cloud) -> None:
    states: list[str] = []
    migrated.wire.meanwhile("ctl1", "undo_steps", lambda: states.append(migrated.run.state))
    migrated.rollback()
    assert states == ["rolling back"]


def test_what_a_rollback_tells_of_a_host_is_its_first_error(migrated: Cloud) -> None:
    migrated.wire.fail("ctl2", "undo_steps", ConnectionLost("ctl2", "session lost"), range(1, 2))
    migrated.wire.fail("ctl2", "lock_host", ConnectionLost("ctl2", "no route"), range(2, 1000))
    with pytest.raises(HostsFailed) as failed:
        migrated.rollback()
    assert str(failed.value) == "ctl2: session lost"
    assert migrated.moved() == {"nova@ctl2", "glance@ctl1", "glance@ctl2"}


def test_units_are_not_started_where_their_files_could_not_be_put_back(migrated: Cloud) -> None:
    migrated.wire.fail("ctl2", "undo_steps", HostError("ctl2", "disk full"), range(1, 2))
    with pytest.raises(HostsFailed, match="disk full"):
        migrated.rollback()
    assert [act for act in migrated.world.acts if act[0] == "start" and act[1].startswith("nova")] == [
        ("start", "nova-conductor", "ctl1"),
        ("start", "nova-api", "ctl1"),
    ]


def test_every_unit_is_started_once(migrated: Cloud) -> None:
    migrated.rollback()
    started = [(host, unit) for verb, unit, host in migrated.world.acts if verb == "start"]
    assert sorted(started) == sorted(migrated.ran)


# The inventory it is run with.


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
    assert {task for task, _ in migrated.wire.calls} == {"lock_host", "read_history"}
    assert migrated.run.state == "done"


def test_a_run_that_was_rolled_back_is_not_rolled_back_again(migrated: Cloud) -> None:
    migrated.rollback()
    with pytest.raises(NothingToRollBack):
        migrated.rollback()


# Units that somebody started since.


def start_late(cloud: Cloud, host: str = "ctl1") -> FakeUnit:
    """Somebody starts nova-scheduler, which did not run before, while the new file is in place."""
    unit = cloud.world.hosts[host].units["nova-scheduler"] = FakeUnit("inactive")
    cloud.world.switch(host, "nova-scheduler", "start")
    return unit


def runs_on_old_file(cloud: Cloud, unit: FakeUnit) -> bool:
    return (unit.active, unit.read[NOVA]) == ("active", cloud.files["ctl1"][NOVA])


def test_a_unit_that_somebody_started_on_the_runs_files_runs_on_the_old_ones_afterwards(migrated: Cloud) -> None:
    unit = start_late(migrated)
    assert migrated.rollback().whole
    assert runs_on_old_file(migrated, unit)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_unit_that_somebody_started_runs_on_the_old_files_after_a_second_try_too(migrated: Cloud, at: int) -> None:
    unit = start_late(migrated)
    migrated.wire.fail("ctl1", "undo_steps", ConnectionLost("ctl1", "session lost"), range(at, at + 1))
    with pytest.raises(HostsFailed, match="session lost"):
        migrated.rollback()
    migrated.rollback()
    assert runs_on_old_file(migrated, unit)


def test_a_host_that_is_gone_does_not_keep_late_starters_of_others_on_the_new_bus(migrated: Cloud) -> None:
    def gone() -> None:
        for task in ("undo_steps", "read_facts", "read_history", "lock_host"):
            migrated.wire.fail("ctl2", task, GONE)

    unit = start_late(migrated)
    # ctl1's first undo is the cells', once all stand still.
    migrated.wire.meanwhile("ctl1", "undo_steps", gone)
    with pytest.raises(HostsFailed, match="gone"):
        migrated.rollback()
    assert runs_on_old_file(migrated, unit)


def test_a_unit_that_cannot_be_started_does_not_keep_its_hosts_others_from_it(migrated: Cloud) -> None:
    unit = start_late(migrated)
    migrated.world.broken.add(("ctl1", "nova-conductor"))
    with pytest.raises(HostsFailed, match=r"ctl1.*nova-conductor"):
        migrated.rollback()
    assert runs_on_old_file(migrated, unit)
    assert runs_on_old_file(migrated, migrated.world.hosts["ctl1"].units["nova-api"])


# What a rollback finds afterwards.


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
    assert migrated.splits() == [], "callers do not wait for ever"


def test_a_rollback_asks_nobody_where_nobody_answered_before(cloud: Cloud) -> None:
    for host in BOTH:
        cloud.world.write(host, NOVA, b"[DEFAULT]\n" + API_DATABASE)
    cloud.migrate()
    done = cloud.rollback()
    assert done.checks == []
    assert done.whole


# Draining.


def test_at_the_drains_deadline_the_project_runs_on_on_the_new_bus_and_the_run_stands(hybrid: Cloud) -> None:
    hybrid.deploy(RTR1, RTR2, drain=0)
    hybrid.world.lingering["ctl1", "nova-api"] = 1000
    with pytest.raises(DrainTimeout, match="nova-api"):
        hybrid.rollback()
    assert {bus.driver for bus in hybrid.buses("nova") if bus} == {"amqp"}
    assert (hybrid.splits(), hybrid.run.state, hybrid.run.projects) == ([], "done", ["glance", "nova"])
    hybrid.world.lingering.clear()
    assert hybrid.rollback().whole
    assert (hybrid.splits(), hybrid.moved()) == ([], set())


def test_callers_are_known_by_the_user_in_their_files_also_when_the_inventory_names_another_now(hybrid: Cloud) -> None:
    hybrid.deploy(RTR1, RTR2, drain=0)
    renamed = [replace(one, user=f"{one.name}-2") for one in hybrid.deployment.projects]
    hybrid.deployment = replace(hybrid.deployment, projects=tuple(renamed))
    hybrid.world.lingering["ctl2", "nova-api"] = 1000
    with pytest.raises(DrainTimeout, match=r"nova-api.*on ctl2: still attached"):
        hybrid.rollback()


def test_a_deadline_does_not_hide_that_an_earlier_project_is_split(hybrid: Cloud) -> None:
    hybrid.deploy(RTR1, RTR2, drain=0)
    hybrid.wire.fail("ctl2", "undo_steps", HostError("ctl2", "disk full"))
    hybrid.world.lingering["ctl1", "glance-api"] = 1000
    with pytest.raises(HostsFailed, match="disk full"):
        hybrid.rollback()
    assert hybrid.run.state == "rolling back"
    assert any("glance: its bus is not idle" in line for line in hybrid.told.lines)


@pytest.mark.parametrize("dead", [("rtr1",), ("rtr1", "rtr2")], ids=["one router", "all routers"])
def test_a_bus_that_broke_can_be_left(hybrid: Cloud, dead: tuple[str, ...]) -> None:
    for host in dead:
        hybrid.world.hosts[host].units["qdrouterd"].active = "failed"
    assert hybrid.rollback().whole
    assert (hybrid.splits(), hybrid.moved()) == ([], set())


def test_a_bus_whose_hosts_cannot_be_asked_can_be_left_and_that_is_told(hybrid: Cloud) -> None:
    for host in ("rtr1", "rtr2"):
        hybrid.wire.fail(host, "read_router", HostError(host, "no route to host"))
    assert hybrid.rollback().whole
    assert (hybrid.splits(), hybrid.moved()) == ([], set())
    assert [line for line in hybrid.told.lines if line.endswith("nobody tells of its bus, which is not waited for")]


def test_a_broker_that_stopped_can_be_left(migrated: Cloud) -> None:
    rabbitmq = migrated.world.hosts["msg1"].rabbitmq
    assert rabbitmq is not None
    rabbitmq["running"] = False
    assert migrated.rollback().whole
    assert migrated.splits() == []


# What waits in old queues.


def test_old_calls_are_refused_before_anything_is_touched(hybrid: Cloud) -> None:
    hybrid.world.queues["nova"] = {"conductor": 2}
    with pytest.raises(LeftoverMessages, match="nova/conductor: 2"):
        hybrid.rollback()
    assert (hybrid.world.acts, hybrid.run.state) == ([], "done")


def test_old_calls_are_purged_on_request_before_servers_start(hybrid: Cloud) -> None:
    hybrid.world.queues["nova"] = {"conductor": 2}
    assert hybrid.rollback(purge_leftovers=True).whole
    acts = [(verb, what) for verb, what, _ in hybrid.world.acts]
    servers = [place for place, act in enumerate(acts) if act[1] == "nova-conductor"]
    assert servers[1] < acts.index(("purge", "conductor")) < servers[2], "stopped twice, purged, started twice"
    assert hybrid.splits() == []


def test_calls_that_come_to_the_old_queues_meanwhile_leave_the_project_where_it_is(hybrid: Cloud) -> None:
    hybrid.wire.meanwhile("ctl1", "apply_steps", lambda: hybrid.world.queues.update(nova={"conductor": 1}))
    with pytest.raises(LeftoverMessages):
        hybrid.rollback()
    assert (hybrid.splits(), hybrid.run.state) == ([], "done")
    assert hybrid.moved() == EVERYTHING
    assert hybrid.rollback(purge_leftovers=True).whole


def test_old_calls_are_purged_at_the_second_try_too(hybrid: Cloud) -> None:
    hybrid.world.queues["nova"] = {"conductor": 2}
    hybrid.wire.fail("msg1", "apply_steps", ConnectionLost("msg1", "session lost"), range(1, 2))
    with pytest.raises(HostsFailed, match="session lost"):
        hybrid.rollback(purge_leftovers=True)
    with pytest.raises(LeftoverMessages):
        hybrid.rollback()
    assert hybrid.rollback(purge_leftovers=True).whole
    assert hybrid.world.queues["nova"]["conductor"] == 0


# Routers.


def test_routers_outlive_a_rollback(hybrid: Cloud) -> None:
    hybrid.rollback()
    assert {hybrid.world.hosts[name].units["qdrouterd"].active for name in ("rtr1", "rtr2")} == {"active"}


def test_routers_are_removed_on_request_after_a_rollback(hybrid: Cloud) -> None:
    assert hybrid.rollback(remove_backends=True).whole
    for name in ("rtr1", "rtr2"):
        host = hybrid.world.hosts[name]
        assert ("qdrouterd" in host.units, host.files) == (False, {})


def test_a_rollback_whose_routers_had_to_stay_undoes_no_older_run_at_the_second_try(hybrid: Cloud) -> None:
    undone, stranger = hybrid.run.run, hybrid.world.hosts["ctl2"].units
    stranger["cinder-scheduler"] = FakeUnit(read={"/etc/cinder/cinder.conf": ON_ROUTERS})
    with pytest.raises(HostsFailed, match="in use by cinder-scheduler"):
        hybrid.rollback(remove_backends=True)
    stranger.pop("cinder-scheduler")
    assert hybrid.rollback(remove_backends=True).whole
    assert (hybrid.run.run, hybrid.run.state, hybrid.moved()) == (undone, "rolled back", set())


def test_routers_that_left_the_inventorys_group_are_removed_too(hybrid: Cloud) -> None:
    hybrid.deploy()
    assert hybrid.rollback(remove_backends=True).whole
    assert ["qdrouterd" in hybrid.world.hosts[name].units for name in ("rtr1", "rtr2")] == [False, False]


# Brokers.


def made_on_msg1(cloud: Cloud) -> None:
    """Let the run's journal on msg1 say that it made nova's vhost and user."""
    journal = cloud.world.hosts["msg1"].journals.setdefault(cloud.run.run, MemoryJournal(cloud.run.run))
    made = {"vhosts": ["nova"], "users": ["nova"], "permissions": [["nova", "nova"]], "policies": []}
    words = {"step": "0001", "scope": "backend:rabbitmq", "kind": "rabbitmq.import", "target": "rabbitmq"}
    for status in ("doing", "done"):
        journal.append({**words, "status": status, "before": {}, "after": {"made": made}})


def removed_from_msg1(cloud: Cloud) -> list[str]:
    journal = cloud.world.hosts["msg1"].journals.get(f"{cloud.run.run}-undo")
    entries = journal.entries() if journal else []
    return [one["kind"] for one in entries if one["status"] == "done"]


def test_what_the_run_made_on_a_broker_goes_on_request_only(migrated: Cloud) -> None:
    made_on_msg1(migrated)
    assert migrated.rollback().whole
    assert removed_from_msg1(migrated) == []
    done = migrated.rollback(migrated.run.run, remove_backends=True)
    assert removed_from_msg1(migrated) == ["rabbitmq.remove"]
    assert "rabbitmq: the brokers stay: on msg1 the run did not install any" in done.told


def test_a_broker_of_which_a_project_of_any_run_stands_keeps_all(migrated: Cloud) -> None:
    made_on_msg1(migrated)
    done = migrated.rollback("", "glance", remove_backends=True)
    assert removed_from_msg1(migrated) == []
    assert f"what was made on brokers stays: projects of run {migrated.run.run} may need it" in done.told
