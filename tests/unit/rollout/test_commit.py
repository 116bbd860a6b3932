"""A switch begins on every host before anything stops, and ends with the word to all of them that it stays."""

from __future__ import annotations

import pytest

from deployer.errors import GateFailed, HostError, HostsFailed, UndoFailed
from tests.unit.plan.cloud import GLANCE
from tests.unit.rollout.conftest import CELL1, EVERYTHING, Cloud

CONFIRM_OF_GLANCE = 5
"""The request to a controller that confirms glance: after begin, stop, write and start."""


def pending(cloud: Cloud) -> dict[str, list[str]]:
    """Return, by host, the scopes that its guard would put back."""
    return {host.name: [*host.pending.scopes] for host in cloud.world.hosts.values() if host.pending}


def test_what_is_proven_everywhere_is_confirmed_everywhere(cloud: Cloud) -> None:
    cloud.migrate()
    assert (pending(cloud), cloud.moved()) == ({}, EVERYTHING)


def test_while_a_project_is_switched_each_of_its_hosts_would_put_it_back(cloud: Cloud) -> None:
    seen: list[dict[str, list[str]]] = []
    for request in range(2, CONFIRM_OF_GLANCE + 1):
        cloud.wire.meanwhile("ctl1", "apply_steps", lambda: seen.append(pending(cloud)), at=request)
    cloud.migrate()
    assert seen == [{"ctl1": ["project:glance"], "ctl2": ["project:glance"]}] * 4


def test_a_host_that_cannot_put_itself_back_costs_no_service_a_stop(cloud: Cloud) -> None:
    cloud.world.hosts["ctl2"].unguarded = True
    with pytest.raises(HostsFailed, match=r"ctl2: .*the timer that puts this host back cannot be started"):
        cloud.migrate()
    assert [act for act in cloud.world.acts if act[0] in ("stop", "write")] == []
    assert (pending(cloud), cloud.splits()) == ({}, [])


def test_a_host_that_has_put_a_project_back_by_itself_takes_it_back_everywhere(cloud: Cloud) -> None:
    def guard_strikes() -> None:
        ctl2 = cloud.world.hosts["ctl2"]
        ctl2.files[GLANCE], ctl2.pending = cloud.files["ctl2"][GLANCE], None

    cloud.wire.meanwhile("ctl2", "apply_steps", guard_strikes, at=CONFIRM_OF_GLANCE)
    with pytest.raises(HostsFailed, match=r"ctl2: .*this host has put project:glance back by itself"):
        cloud.migrate()
    assert (pending(cloud), cloud.moved(), cloud.splits()) == ({}, set(), [])
    assert not cloud.run.unfinished


def test_a_project_that_fails_is_back_with_nothing_pending(cloud: Cloud) -> None:
    cloud.world.silent.add("conductor@ctl1")
    with pytest.raises(GateFailed):
        cloud.migrate()
    assert (pending(cloud), cloud.splits()) == ({}, [])


def test_a_host_where_a_project_cannot_go_back_is_left_to_its_guard(cloud: Cloud) -> None:
    cloud.world.silent.add("conductor@ctl1")
    cloud.wire.fail("ctl2", "undo_steps", HostError("ctl2", "disk full"))
    with pytest.raises(UndoFailed):
        cloud.migrate()
    assert pending(cloud) == {"ctl2": ["project:nova"]}


def test_a_project_that_stays_whole_on_its_new_bus_goes_back_nowhere_by_itself(standard: Cloud) -> None:
    standard.world.silent.add("conductor@ctl1")
    # The first undo on ctl1 is the cells'.
    somebody = {CELL1: ("cell1", "rabbit://somebody:x@10.8.8.8:5672/")}
    standard.wire.meanwhile("ctl1", "undo_steps", lambda: standard.world.cells.update(somebody))
    with pytest.raises(UndoFailed, match="cell mappings were changed"):
        standard.migrate()
    assert "nova@ctl1" in standard.moved()
    assert pending(standard) == {}
