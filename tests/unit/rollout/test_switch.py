"""The order of a switch: what stops, moves and starts when, and what gives it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest
from nornir.core.task import Result

from deployer.errors import (
    DrainTimeout,
    GateFailed,
    HostError,
    HostsFailed,
    LeftoverMessages,
    PreflightFailed,
    StalePlan,
    UndoFailed,
)
from deployer.plan.bus_today import RpcBus
from deployer.plan.router_facts import RouterFacts
from tests.unit.plan.cloud import NOVA, RTR1, RTR2
from tests.unit.rollout.conftest import API_DATABASE, CONTROLLERS, ON_ROUTERS, Cloud
from tests.unit.rollout.fake_host import FakeHost, FakeUnit

ROUTERS = RpcBus("amqp", ("10.0.0.31", "10.0.0.32"), "nova")
RABBIT = RpcBus("rabbit", ("10.0.0.11",), "nova")
ONE_OF_NOVA = {("nova-conductor", host) for host in CONTROLLERS} | {("nova-api", host) for host in CONTROLLERS}


def of_nova(cloud: Cloud) -> list[tuple[str, str]]:
    """What was done to nova, hosts left out, where the same was done on several at once."""
    acts = [(verb, what) for verb, what, _ in cloud.world.acts if what in ("nova-conductor", "nova-api", NOVA, "cell1")]
    return [act for act, _ in groupby(acts)]


THERE = [
    ("stop", "nova-api"),
    ("stop", "nova-conductor"),
    ("write", NOVA),
    ("cell", "cell1"),
    ("start", "nova-conductor"),
    ("start", "nova-api"),
]
BACK = [*THERE[:2], ("cell", "cell1"), ("write", NOVA), *THERE[4:]]


def standing_still(acts: Sequence[tuple[str, str, str]], ran: Iterable[tuple[str, str]]) -> list[bool]:
    """For each write of nova's file, and each purge, whether none of its units ran on any host."""
    running, found = {(unit, host) for unit, host in ran if unit.startswith("nova-")}, []
    for verb, what, host in acts:
        if verb == "start" and what.startswith("nova-"):
            running.add((what, host))
        if verb == "stop":
            running.discard((what, host))
        if (verb, what) == ("write", NOVA) or verb in ("cell", "purge"):
            found.append(not running)
    return found


# There and back.


def test_callers_stop_before_servers_and_start_after_them(cloud: Cloud) -> None:
    cloud.migrate()
    assert of_nova(cloud) == THERE


def test_a_rollback_keeps_the_same_order(hybrid: Cloud) -> None:
    hybrid.rollback()
    assert of_nova(hybrid) == BACK


@pytest.mark.parametrize("verb", [Cloud.migrate, Cloud.rollback], ids=["migrate", "rollback"])
def test_every_server_is_asked_before_callers_start(hybrid: Cloud, verb: Callable[[Cloud], object]) -> None:
    if verb is Cloud.migrate:
        hybrid.deploy()
    verb(hybrid)
    acts = [(act, what) for act, what, _ in hybrid.world.acts]
    between = acts[acts.index(("start", "nova-conductor")) : acts.index(("start", "nova-api"))]
    assert {("ask", "conductor@ctl1"), ("ask", "conductor@ctl2")} <= {*between}


def test_files_and_cells_are_written_only_while_no_unit_of_the_project_runs_anywhere(standard: Cloud) -> None:
    standard.migrate()
    standard.rollback()
    assert standing_still(standard.world.acts, ONE_OF_NOVA) == [True] * 6


def test_one_project_stands_still_at_a_time(cloud: Cloud) -> None:
    cloud.migrate()
    projects = ["glance" if "glance" in what else "nova" for verb, what, _ in cloud.world.acts if verb != "ask"]
    assert [name for name, _ in groupby(projects)] == ["glance", "nova"]


def test_rpc_goes_to_the_routers_and_back_to_rabbitmq(standard: Cloud) -> None:
    standard.migrate()
    assert standard.buses("nova") == {ROUTERS}
    standard.deploy()
    standard.migrate()
    assert standard.buses("nova") == {RABBIT}
    assert standard.splits() == []


def test_a_second_migration_finds_nothing_to_do(hybrid: Cloud) -> None:
    assert hybrid.migrate().run is None
    assert hybrid.world.acts == []


# A server that does not answer.


@pytest.mark.parametrize("server", ["conductor@ctl1", "conductor@ctl2"])
def test_callers_start_only_once_every_server_answered(standard: Cloud, server: str) -> None:
    standard.world.deaf.add((server, "10.0.0.31"))
    with pytest.raises(GateFailed, match=server):
        standard.migrate()
    assert of_nova(standard) == [*THERE[:5], *BACK[1:]]


def test_a_project_with_a_server_that_never_answers_goes_back_as_a_whole_and_earlier_ones_stay(standard: Cloud) -> None:
    standard.world.deaf.add(("conductor@ctl2", "10.0.0.31"))
    with pytest.raises(GateFailed):
        standard.migrate()
    assert (standard.moved(), standard.splits()) == ({"glance@ctl1", "glance@ctl2"}, [])
    assert standard.world.cells == standard.cells
    assert (standard.run.state, standard.run.projects) == ("failed", ["glance"])


def test_a_server_that_cannot_be_started_takes_its_project_back(standard: Cloud) -> None:
    standard.world.broken.add(("ctl2", "nova-conductor"))
    standard.wire.meanwhile("ctl1", "undo_steps", standard.world.broken.clear)
    with pytest.raises(HostsFailed, match=r"ctl2.*nova-conductor"):
        standard.migrate()
    assert (standard.splits(), standard.buses("nova")) == ([], {RABBIT})


@pytest.mark.parametrize("unit", ["nova-conductor", "nova-api"])
def test_a_service_that_dies_and_is_started_again_by_systemd_takes_its_project_back(standard: Cloud, unit: str) -> None:
    standard.world.hosts["ctl2"].units[unit].restarts = 2
    with pytest.raises(GateFailed, match=f"{unit}.*died after its start, 2 times until now"):
        standard.migrate()
    assert (standard.splits(), standard.buses("nova")) == ([], {RABBIT})


def test_a_host_that_is_gone_for_good_does_not_keep_the_others_from_going_back(standard: Cloud) -> None:
    def gone() -> None:
        for task in ("apply_steps", "undo_steps", "read_facts", "read_history", "lock_host", "probe_bus"):
            standard.wire.fail("ctl2", task, HostError("ctl2", "no route to host"))

    # Its fifth steps stop nova's server there, when callers stand still everywhere.
    standard.wire.meanwhile("ctl1", "apply_steps", gone, at=5)
    with pytest.raises(UndoFailed, match="no route to host"):
        standard.migrate()
    here = standard.world.hosts["ctl1"]
    assert (here.files[NOVA], standard.run.state) == (standard.files["ctl1"][NOVA], "split")
    assert {here.units[unit].active for unit in ("nova-api", "nova-conductor")} == {"active"}


# Draining.


def test_servers_stop_only_once_the_queues_were_found_empty(standard: Cloud) -> None:
    standard.world.queues["nova"] = {"conductor": 3, "conductor.ctl1": 1}
    looks: list[dict[str, int]] = []
    standard.wire.meanwhile("ctl1", "apply_steps", lambda: looks.append(dict(standard.world.queues["nova"])), at=8)
    standard.migrate()
    assert looks == [{**looks[0], "conductor": 0, "conductor.ctl1": 0}]
    assert standard.splits() == []


def test_at_the_deadline_callers_run_again_and_nothing_was_stopped_or_written_beyond(standard: Cloud) -> None:
    standard.deploy(RTR1, RTR2, drain=0)
    standard.world.queues["nova"] = {"conductor": 1}
    with pytest.raises(DrainTimeout, match="conductor: 1 ready"):
        standard.migrate()
    assert of_nova(standard) == [("stop", "nova-api"), ("start", "nova-api")]
    assert (standard.splits(), standard.buses("nova")) == ([], {RABBIT})
    assert (standard.run.state, standard.run.projects) == ("failed", ["glance"])


def test_of_a_project_that_was_not_drained_nothing_is_left_to_roll_back(standard: Cloud) -> None:
    standard.deploy(RTR1, RTR2, drain=0)
    standard.world.queues["nova"] = {"conductor": 1}
    with pytest.raises(DrainTimeout):
        standard.migrate()
    standard.settle()
    standard.rollback()
    assert of_nova(standard) == []


def test_a_bus_that_is_not_ours_is_not_waited_for_and_that_is_told(cloud: Cloud) -> None:
    cloud.deploy(drain=0)
    cloud.migrate()
    assert "nova: 10.9.9.9 is no host of the inventory; its queues are not waited for" in cloud.told.lines


def test_on_a_router_the_last_caller_to_leave_is_waited_for(hybrid: Cloud) -> None:
    hybrid.world.lingering["ctl2", "nova-api"] = 3
    hybrid.rollback()
    assert hybrid.world.lingering["ctl2", "nova-api"] == 0
    assert hybrid.splits() == []


def test_a_caller_that_does_not_leave_its_router_gives_the_switch_up(hybrid: Cloud) -> None:
    hybrid.deploy(drain=0)
    hybrid.world.lingering["ctl2", "nova-api"] = 1000
    with pytest.raises(DrainTimeout, match=r"nova-api.*on ctl2: still attached"):
        hybrid.migrate()
    assert of_nova(hybrid) == [("stop", "nova-api"), ("start", "nova-api")]
    assert hybrid.buses("nova") == {ROUTERS}


def test_a_project_without_servers_is_not_drained(hybrid: Cloud) -> None:
    hybrid.deploy(drain=0)
    hybrid.world.lingering["ctl1", "glance-api"] = 1000
    hybrid.migrate()
    assert hybrid.splits() == []


@pytest.mark.parametrize("dead", [("rtr1",), ("rtr2",), ("rtr1", "rtr2")], ids=["the first", "the second", "both"])
def test_routers_that_do_not_run_are_not_waited_for(hybrid: Cloud, dead: tuple[str, ...]) -> None:
    for host in dead:
        hybrid.world.hosts[host].units["qdrouterd"].active = "failed"
    hybrid.deploy(drain=0)
    hybrid.migrate()
    assert (hybrid.splits(), hybrid.buses("nova")) == ([], {RABBIT})
    assert ("nova: no router of its bus runs; nothing is waited for" in hybrid.told.lines) == (len(dead) == 2)


def test_a_routers_host_that_cannot_be_asked_is_told_and_the_other_router_looked_at(hybrid: Cloud) -> None:
    hybrid.deploy()
    hybrid.wire.fail("rtr2", "read_router", HostError("rtr2", "no route to host"))
    hybrid.world.lingering["ctl2", "nova-api"] = 2
    hybrid.migrate()
    assert (hybrid.splits(), hybrid.world.lingering["ctl2", "nova-api"]) == ([], 0)
    assert any("rtr2: no route to host" in line for line in hybrid.told.lines)


@pytest.mark.parametrize("mute", [("rtr2",), ("rtr1", "rtr2")], ids=["one of two", "both"])
def test_routers_that_run_and_tell_nothing_are_not_taken_for_idle(
    hybrid: Cloud, monkeypatch: pytest.MonkeyPatch, mute: tuple[str, ...]
) -> None:
    told = hybrid.wire.read_router

    def silent(host: FakeHost, **arguments: Any) -> Result:
        found: RouterFacts = told(host, **arguments).router  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
        return Result(None, router=replace(found, view=None, problem="refused") if host.name in mute else found)

    monkeypatch.setattr(hybrid.wire, "read_router", silent)
    hybrid.deploy(drain=0)
    with pytest.raises(DrainTimeout, match="rtr2: its router does not tell"):
        hybrid.migrate()
    assert hybrid.buses("nova") == {ROUTERS}


def test_a_bus_that_no_file_names_is_not_waited_for_and_that_is_told(cloud: Cloud) -> None:
    unread = b"[DEFAULT]\ntransport_url = rabbit://a:1@h1,b:2@h2/\n"
    for name in CONTROLLERS:
        cloud.world.hosts[name].files[NOVA] = unread + API_DATABASE
    cloud.migrate()
    assert "nova: its files name no bus that can be read; nothing is waited for" in cloud.told.lines


def test_a_unit_that_had_to_be_killed_is_told_with_the_pause(cloud: Cloud) -> None:
    cloud.world.stubborn.update({("ctl2", "nova-conductor"), ("ctl1", "nova-api")})
    pauses = {pause.project: pause for pause in cloud.migrate().pauses}
    assert pauses["glance"].killed == ()
    assert set(pauses["nova"].killed) == {"nova-api on ctl1", "nova-conductor on ctl2"}
    assert "had to be killed" in str(pauses["nova"])


def test_a_unit_that_had_to_be_killed_is_told_with_the_rollback(hybrid: Cloud) -> None:
    hybrid.world.stubborn.add(("ctl2", "nova-conductor"))
    assert hybrid.rollback().killed == ["nova-conductor on ctl2"]


def test_the_pause_counts_until_callers_start_again(cloud: Cloud) -> None:
    done = cloud.migrate()
    assert [pause.project for pause in done.pauses] == ["glance", "nova"]
    assert all(0 <= pause.draining < pause.seconds for pause in done.pauses)


# What waits in old queues.


@pytest.fixture
def returning(hybrid: Cloud) -> Cloud:
    """A cloud on routers that is to go back to RabbitMQ, where somebody left calls to nova."""
    hybrid.deploy()
    hybrid.world.queues["nova"] = {"conductor": 3, "conductor.ctl2": 1, "notifications.info": 9}
    return hybrid


def test_old_calls_are_refused_with_their_list_before_anything_is_touched(returning: Cloud) -> None:
    with pytest.raises(LeftoverMessages, match=r"nova/conductor: 3\n  nova/conductor\.ctl2: 1"):
        returning.migrate()
    assert returning.world.acts == []
    assert returning.run.projects == ["glance", "nova"], "no new run is recorded"


def test_old_calls_are_purged_on_request_while_the_project_stands_still(returning: Cloud) -> None:
    returning.migrate(purge_leftovers=True)
    assert returning.world.queues["nova"] == {**returning.world.queues["nova"], "conductor": 0, "notifications.info": 9}
    assert standing_still(returning.world.acts, ONE_OF_NOVA) == [True] * 5
    assert returning.splits() == []


def test_what_waits_where_nobody_moves_to_is_left_alone(standard: Cloud) -> None:
    standard.world.queues["nova"] = {"compute.cmp9": 4}
    standard.migrate()
    assert standard.world.queues["nova"]["compute.cmp9"] == 4


def test_what_waits_for_a_server_that_is_away_is_left_alone_where_only_members_of_the_bus_change(
    standard: Cloud,
) -> None:
    standard.deploy()
    for name in CONTROLLERS:
        host = standard.world.hosts[name]
        host.files[NOVA] = host.files[NOVA].replace(b"11:5672/", b"11:5672,nova:canary-nova@10.0.0.99:5672/")
    standard.world.queues["nova"] = {"compute.cmp9": 4}
    standard.migrate(purge_leftovers=True)
    assert standard.world.queues["nova"]["compute.cmp9"] == 4
    assert standard.run.projects == ["nova"]


# What is not as planned any more.


def test_a_file_that_was_changed_since_the_plan_stops_no_caller(cloud: Cloud) -> None:
    cloud.wire.meanwhile("ctl1", "apply_steps", lambda: cloud.world.write("ctl2", NOVA, b"[DEFAULT]\n"))
    with pytest.raises(HostsFailed, match=NOVA) as failed:
        cloud.migrate()
    assert isinstance(failed.value.errors["ctl2"], StalePlan)
    assert not [act for act in of_nova(cloud) if act[0] == "stop"]


def test_a_unit_that_was_started_since_the_plan_stops_no_caller_and_is_named(cloud: Cloud) -> None:
    idle = cloud.world.hosts["ctl2"].units["nova-conductor"] = FakeUnit("inactive", "disabled")
    cloud.settle()
    cloud.wire.meanwhile("ctl1", "apply_steps", lambda: setattr(idle, "active", "active"))
    with pytest.raises(HostsFailed, match="nova-conductor was started since"):
        cloud.migrate()
    assert not [act for act in of_nova(cloud) if act[0] == "stop"]


def test_a_unit_that_did_not_run_is_not_started(cloud: Cloud) -> None:
    cloud.world.hosts["ctl2"].units["nova-conductor"] = FakeUnit("inactive", "disabled")
    cloud.settle()
    cloud.migrate()
    assert ("start", "nova-conductor", "ctl2") not in cloud.world.acts
    assert cloud.splits() == []


# Routers that somebody needs.


def test_routers_under_running_services_are_not_cut_off_from_each_other(hybrid: Cloud) -> None:
    hybrid.deploy(RTR2)
    with pytest.raises(PreflightFailed, match="rtr1: plan: leaves the group qdrouterd while nova is on it"):
        hybrid.migrate()
    assert hybrid.world.acts == []


# Routers that nobody needs any more.


def test_routers_outlive_the_way_back(hybrid: Cloud) -> None:
    hybrid.deploy()
    hybrid.migrate()
    assert [hybrid.world.hosts[name].units["qdrouterd"].active for name in ("rtr1", "rtr2")] == ["active"] * 2


def test_routers_are_removed_on_request_once_every_project_has_left_them(hybrid: Cloud) -> None:
    hybrid.deploy()
    hybrid.migrate(remove_backends=True)
    for name in ("rtr1", "rtr2"):
        host = hybrid.world.hosts[name]
        assert ("qdrouterd" in host.units, host.files) == (False, {})
    last = max(place for place, act in enumerate(hybrid.world.acts) if act[1] == "nova-api")
    assert last < hybrid.world.acts.index(("stop", "qdrouterd", "rtr1"))


def test_a_run_that_only_removes_routers_ends_and_leaves_the_one_before_to_roll_back(hybrid: Cloud) -> None:
    hybrid.deploy()
    before = hybrid.migrate().run
    assert before is not None
    hybrid.migrate(remove_backends=True)
    assert (hybrid.run.run > before.run, hybrid.run.state, hybrid.run.projects) == (True, "done", [])
    assert hybrid.rollback().run.run == before.run


def test_no_router_is_removed_while_a_service_is_attached_to_one(hybrid: Cloud) -> None:
    hybrid.deploy()
    hybrid.migrate()
    stranger = hybrid.world.hosts["ctl2"]
    stranger.units["cinder-scheduler"] = FakeUnit(read={"/etc/cinder/cinder.conf": ON_ROUTERS})
    with pytest.raises(HostsFailed, match="in use by cinder-scheduler on ctl2"):
        hybrid.migrate(remove_backends=True)
    assert ["qdrouterd" in hybrid.world.hosts[name].units for name in ("rtr1", "rtr2")] == [True, True]
    assert hybrid.run.state == "failed"
