from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from deployer.errors import ConnectionLost, GateFailed, HostError, HostsFailed, Locked, PreflightFailed, Unreachable
from deployer.plan.planner import Plan
from deployer.rollout.outcome import Preflight
from deployer.rollout.preflight import read_plan
from tests.unit.plan.cloud import NOVA, RTR1, RTR2
from tests.unit.rollout.conftest import EVERYTHING, Cloud
from tests.unit.rollout.fake_host import FakeUnit

HOSTS = ("msg1", "rtr1", "rtr2", "ctl1", "ctl2")


def failed(found: Preflight) -> list[tuple[str, str]]:
    return [(finding.host, finding.check) for finding in found.failed]


def states(found: Preflight, check: str) -> Counter[str]:
    return Counter(finding.state for finding in found.findings if finding.check == check)


def down(cloud: Cloud, host: str) -> None:
    """Let a host lose its power."""
    for unit in cloud.world.hosts[host].units.values():
        unit.active = "inactive"
    for task in ("lock_host", "examine_host"):
        cloud.wire.fail(host, task, Unreachable(host, "connection refused"))


def waiving(cloud: Cloud, *names: str) -> None:
    cloud.deployment = replace(cloud.deployment, waive=names)


def flap(cloud: Cloud) -> None:
    """Let another tool put nova's file on ctl1 back, and hybridmsg write it again."""
    cloud.world.hosts["ctl1"].files[NOVA] = cloud.files["ctl1"][NOVA]
    cloud.migrate()


# What it costs, and what it touches.


def test_a_preflight_is_one_exchange_a_host_and_nova_is_asked_for_its_cells_once(standard: Cloud) -> None:
    standard.preflight()
    asked = Counter(standard.wire.calls)
    assert asked == {**{("examine_host", name): 1 for name in HOSTS}, ("read_cells", "ctl1"): 1}


def test_routers_that_are_as_planned_are_proven_by_one_exchange_with_the_hub(hybrid: Cloud) -> None:
    found = hybrid.preflight()
    assert Counter(hybrid.wire.calls)["check_fanout", "rtr1"] == 1
    assert len(hybrid.wire.calls) == len(HOSTS) + 2
    assert states(found, "mesh") + states(found, "fanout") == {"ok": 3}


def test_a_preflight_takes_no_lock_records_nothing_and_changes_nothing(standard: Cloud) -> None:
    runs = len(list(standard.store.runs()))
    standard.preflight()
    assert "lock_host" not in {task for task, _ in standard.wire.calls}
    assert len(list(standard.store.runs())) == runs
    assert standard.world.acts == []


def test_a_cloud_that_can_be_migrated_has_nothing_failed_and_what_comes_first_is_later(standard: Cloud) -> None:
    found = standard.preflight()
    assert failed(found) == []
    # Two routers, and two hosts that will log in to them; the broker is there already.
    assert states(found, "login") == {"later": 4, "ok": 2}
    assert states(found, "mesh") == {"later": 1}
    assert found.plan is not None
    assert found.plan.changed


def test_a_cloud_that_is_as_planned_has_everything_ok(hybrid: Cloud) -> None:
    found = hybrid.preflight()
    assert {finding.state for finding in found.findings} == {"ok"}
    assert found.must_hold().changed is False


# Hosts that are down.


def test_hosts_that_are_down_do_not_keep_the_others_from_being_looked_at(standard: Cloud) -> None:
    down(standard, "ctl2")
    standard.world.skew["ctl1"] = 40
    found = standard.preflight()
    assert failed(found) == [("ctl2", "reachable"), ("ctl1", "clock")]
    assert states(found, "disk") == {"ok": 4}


def test_a_migration_refuses_with_all_that_is_wrong_and_has_touched_nothing(standard: Cloud) -> None:
    down(standard, "ctl2")
    standard.world.skew["ctl1"] = 40
    standard.world.hosts["ctl1"].files[NOVA] = b"\xef\xbb\xbf[DEFAULT]\n"
    with pytest.raises(PreflightFailed) as refused:
        standard.migrate()
    told = str(refused.value)
    assert refused.value.exit_code == 3
    assert [word for word in ("ctl2: reachable", "ctl1: clock", "byte order mark") if word not in told] == []
    assert standard.world.acts == []
    assert len(list(standard.store.runs())) == 1, "only the run before is recorded"


@pytest.mark.parametrize(("host", "remedy"), [("ctl2", "waiving its name"), ("rtr1", "cannot be waived")])
def test_hosts_out_of_reach_alone_end_a_migration_with_their_own_exit_code(
    standard: Cloud, host: str, remedy: str
) -> None:
    down(standard, host)
    with pytest.raises(PreflightFailed, match=f"{host}: reachable: connection refused.*{remedy}") as refused:
        standard.migrate()
    assert refused.value.exit_code == 4
    assert standard.world.acts == []


def test_a_service_host_that_is_waived_is_left_out_of_the_run_and_what_becomes_of_it_is_told(standard: Cloud) -> None:
    down(standard, "ctl2")
    waiving(standard, "ctl2")
    done = standard.migrate()
    assert standard.moved() == {one for one in EVERYTHING if one.endswith("@ctl1")}
    assert all(check.ok for check in done.checks)
    assert "ctl2" not in standard.run.hosts
    [line] = [line for line in standard.told.lines if line.startswith("waived: ctl2")]
    assert "when it comes back its services are on the old bus" in line


def test_a_run_that_went_without_a_host_goes_back_without_it_while_it_is_still_down(standard: Cloud) -> None:
    down(standard, "ctl2")
    standard.wire.fail("ctl2", "read_facts", Unreachable("ctl2", "connection refused"))
    waiving(standard, "ctl2")
    standard.migrate()
    waiving(standard)
    assert standard.rollback().whole
    assert (standard.moved(), standard.run.state) == (set(), "rolled back")
    assert "ctl2: connection refused; the run changed nothing there, and it is left out" in standard.told.lines


def test_a_broker_that_is_down_is_refused_also_when_it_is_waived(standard: Cloud) -> None:
    down(standard, "msg1")
    waiving(standard, "msg1")
    with pytest.raises(PreflightFailed, match="msg1: reachable"):
        standard.migrate()
    assert not [line for line in standard.told.lines if "nothing of that name" in line]


def test_a_plan_leaves_a_waived_host_out_and_names_one_that_is_not(standard: Cloud) -> None:
    down(standard, "ctl2")
    with pytest.raises(HostsFailed, match="ctl2: connection refused"):
        read_plan(standard.deployment, standard.store, standard.told)
    waiving(standard, "ctl2")
    plan: Plan = read_plan(standard.deployment, standard.store, standard.told)
    assert {host for project in plan.projects for host in project.edits} == {"ctl1"}


def test_a_verification_leaves_a_waived_host_out_and_names_one_that_is_not(hybrid: Cloud) -> None:
    down(hybrid, "ctl2")
    hybrid.wire.fail("ctl2", "read_facts", Unreachable("ctl2", "connection refused"))
    with pytest.raises(HostsFailed, match="ctl2: connection refused"):
        hybrid.verify()
    waiving(hybrid, "ctl2")
    checks = hybrid.verify()
    assert "conductor@ctl1" in {check.target for check in checks}
    assert [check for check in checks if "ctl2" in f"{check.target} {check.asked_from}" or not check.ok] == []


def test_a_host_whose_facts_cannot_be_read_fails_with_its_reason_and_is_no_host_that_is_down(standard: Cloud) -> None:
    standard.wire.fail("ctl2", "examine_host", HostError("ctl2", "RabbitMQ's queues cannot be listed"))
    waiving(standard, "ctl2")
    found = standard.preflight()
    assert failed(found) == [("ctl2", "facts")]
    assert found.plan is None


def test_a_host_that_another_run_holds_is_told_at_once_whatever_is_down(standard: Cloud) -> None:
    down(standard, "ctl1")
    standard.world.hosts["ctl2"].lock = "somebody-else's"
    with pytest.raises(HostsFailed) as failed_hosts:
        standard.migrate()
    assert {name: type(error) for name, error in failed_hosts.value.errors.items()} == {"ctl2": Locked}
    assert failed_hosts.value.exit_code == 5
    assert {task for task, _ in standard.wire.calls} == {"lock_host"}


# Who is left behind, and who fights.


def test_a_rogue_agent_on_the_old_bus_is_refused_until_it_is_waived(standard: Cloud) -> None:
    peer = {"vhost": "nova", "user": "nova", "peer_host": "10.0.0.99", "peer_port": 4, "name": "x"}
    standard.world.connections.append(peer)
    with pytest.raises(PreflightFailed, match=r"10\.0\.0\.99 is connected to vhost nova"):
        standard.migrate()
    assert standard.world.acts == []
    waiving(standard, "10.0.0.99")
    standard.migrate()
    assert standard.moved() == EVERYTHING


def test_a_host_that_is_only_out_of_reach_is_not_left_behind_on_the_bus_that_it_is_on(standard: Cloud) -> None:
    down(standard, "ctl2")
    waiving(standard, "ctl2")
    peer = {"vhost": "nova", "user": "nova", "peer_host": "10.0.0.22", "peer_port": 4, "name": "x"}
    standard.world.connections.append(peer)
    assert failed(standard.preflight()) == [("ctl2", "stranger")]


def test_an_unknown_unit_is_told_and_stops_nobody(standard: Cloud) -> None:
    standard.world.hosts["ctl1"].units["neutron-lbaasv2-agent"] = FakeUnit()
    found = standard.preflight()
    assert failed(found) == []
    assert states(found, "unknown unit") == {"told": 1}


def test_a_value_that_another_tool_keeps_putting_back_is_told_once_and_refused_the_second_time(cloud: Cloud) -> None:
    cloud.migrate()
    flap(cloud)
    assert any("came back once" in line for line in cloud.told.lines)
    with pytest.raises(PreflightFailed, match=f"ctl1: flapping: {NOVA}.*2 times in a row"):
        flap(cloud)
    waiving(cloud, f"ctl1:{NOVA}")
    flap(cloud)


def test_what_a_rollback_put_back_does_not_flap(cloud: Cloud) -> None:
    for _ in range(3):
        cloud.migrate()
        cloud.rollback()
    assert states(cloud.preflight(), "flapping") == {}


def test_what_an_undone_project_put_back_does_not_flap(cloud: Cloud) -> None:
    cloud.world.silent.add("conductor@ctl2")
    for _ in range(3):
        with pytest.raises(GateFailed):
            cloud.migrate()
    assert not [one for one in cloud.preflight().findings if one.check == "flapping" and NOVA in one.detail]


# The gate between routers and services.


def test_every_service_host_logs_in_everywhere_before_the_first_service_stops(standard: Cloud) -> None:
    standard.migrate()
    calls = standard.wire.calls
    gate = [place for place, (task, _) in enumerate(calls) if task == "log_in"]
    assert [calls[place][1] for place in gate] == ["ctl1", "ctl2"]
    before = calls[: gate[0]]
    assert ("apply_steps", "rtr1") in before
    assert ("apply_steps", "ctl1") not in before


def test_a_host_that_a_new_router_does_not_let_in_ends_the_run_before_any_service_stops(standard: Cloud) -> None:
    standard.world.walls.add(("ctl2", RTR2.address))
    with pytest.raises(GateFailed, match=r"nova at 10\.0\.0\.32:31459 is not let in \(asked from ctl2\)"):
        standard.migrate()
    assert {act[2] for act in standard.world.acts} <= {"rtr1", "rtr2", "msg1", "ctl1"}
    assert not [act for act in standard.world.acts if act[0] in ("stop", "write") and act[2].startswith("ctl")]
    assert (standard.run.state, standard.run.projects) == ("failed", [])


def test_a_router_that_runs_already_and_cannot_be_reached_is_refused_at_once(hybrid: Cloud) -> None:
    hybrid.world.walls.add(("ctl2", RTR1.address))
    found = hybrid.preflight()
    assert failed(found) == [("ctl2", "login")]


def test_a_migration_with_nothing_to_do_asks_no_gate(hybrid: Cloud) -> None:
    hybrid.migrate()
    assert "log_in" not in {task for task, _ in hybrid.wire.calls}


def test_a_session_that_is_lost_at_the_gate_ends_the_run_and_nothing_stopped(standard: Cloud) -> None:
    standard.wire.fail("ctl2", "log_in", ConnectionLost("ctl2", "session lost"))
    with pytest.raises(HostsFailed, match="session lost"):
        standard.migrate()
    assert standard.moved() == set()
    assert standard.run.state == "failed"
