"""A rollback holds its hosts, and whoever decides otherwise lifts that."""

from __future__ import annotations

import pytest

from deployer.errors import DrainTimeout, HostsFailed, Locked, Unreachable
from deployer.rollout import hold
from deployer.rollout.hold import Hold
from tests.unit.plan.cloud import RTR1, RTR2
from tests.unit.rollout.conftest import Cloud


@pytest.fixture(autouse=True)
def _in_memory(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "Fleet", cloud.wire.fleet)


@pytest.fixture
def rolled_back(cloud: Cloud) -> Cloud:
    cloud.migrate()
    cloud.rollback()
    return cloud


def held(cloud: Cloud) -> dict[str, list[str]]:
    """Return the projects that hold each host."""
    return {host.name: host.hold["projects"] for host in cloud.world.hosts.values() if host.hold}


def released(cloud: Cloud) -> dict[str, Hold]:
    return hold.release(cloud.deployment, cloud.store, cloud.told)


def test_every_host_of_the_run_is_held_with_who_when_and_what(rolled_back: Cloud) -> None:
    assert held(rolled_back) == dict.fromkeys(rolled_back.run.hosts, rolled_back.run.held)
    told = Hold.of(rolled_back.world.hosts["ctl1"].hold or {})
    assert (told.run, "@" in told.who, "T" in told.when) == (rolled_back.run.run, True, True)


def test_a_rollback_of_one_project_holds_with_that_one_and_the_next_one_with_both(cloud: Cloud) -> None:
    cloud.migrate()
    cloud.rollback("", "glance")
    assert held(cloud)["ctl1"] == ["glance"]
    cloud.rollback()
    assert {*held(cloud)["ctl1"]} == {"glance", "nova"}


def test_a_project_that_ran_on_holds_nobody(hybrid: Cloud) -> None:
    hybrid.deploy(RTR1, RTR2, drain=0)
    hybrid.world.lingering["ctl1", "nova-api"] = 1000
    with pytest.raises(DrainTimeout):
        hybrid.rollback()
    assert (held(hybrid), hybrid.run.held) == ({}, [])


def test_a_host_that_does_not_take_the_hold_is_told_and_the_rollback_stands(cloud: Cloud) -> None:
    cloud.migrate()
    cloud.wire.fail("msg1", "set_hold", Unreachable("msg1", "no route"))
    assert cloud.rollback().whole
    assert "msg1: is not held: msg1: no route" in cloud.told.lines


def test_a_release_lifts_every_hold_and_returns_what_it_was(rolled_back: Cloud) -> None:
    assert {*released(rolled_back)} == {*rolled_back.run.hosts}
    assert held(rolled_back) == {}
    assert released(rolled_back) == {}


def test_a_release_with_a_host_out_of_reach_names_it_and_releases_the_others(rolled_back: Cloud) -> None:
    rolled_back.wire.fail("ctl2", "lock_host", Unreachable("ctl2", "no route"))
    with pytest.raises(HostsFailed, match="ctl2: no route"):
        released(rolled_back)
    assert {*held(rolled_back)} == {"ctl2"}


def test_a_release_beside_another_run_lifts_nothing(rolled_back: Cloud) -> None:
    rolled_back.wire.fail("ctl2", "lock_host", Locked("ctl2", {"run": "another"}))
    with pytest.raises(HostsFailed, match="locked by"):
        released(rolled_back)
    assert {*held(rolled_back)} == {*rolled_back.run.hosts}


def test_a_hold_can_be_read_without_any_lock(rolled_back: Cloud) -> None:
    rolled_back.wire.calls.clear()
    with rolled_back.wire.fleet(rolled_back.deployment, rolled_back.told) as fleet:
        found = hold.read(fleet)
    assert {*found} == {*rolled_back.run.hosts}
    assert {task for task, _ in rolled_back.wire.calls} == {"read_hold"}
