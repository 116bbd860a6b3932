"""A project whose units read two files in opposite order: both files are its configuration, there and back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deployer.errors import ConfigurationError, GateFailed, HostsFailed, LeftoverMessages
from deployer.plan.bus_today import RpcBus
from tests.unit.plan.cloud import GLANCE, NOVA, RTR1
from tests.unit.rollout import buses
from tests.unit.rollout.conftest import API_DATABASE, CONTROLLERS, EVERYTHING, OLD, Cloud

BUS = "/etc/nova/bus.conf.d/bus.conf"
LATE = "/etc/nova/late.conf"
BEFORE_NOVA = 2
"""The look at ctl2 just before nova's callers stop: the first is before glance's."""


@pytest.fixture
def split(cloud: Cloud) -> Cloud:
    """The cloud, but each host's conductor takes its bus from a second file, which nova-api reads before nova.conf."""
    for name in CONTROLLERS:
        host = cloud.world.hosts[name]
        host.files |= {NOVA: OLD + API_DATABASE, BUS: OLD}
        for unit in host.units.keys() & {"nova-conductor", "nova-api"}:
            host.units[unit].reads = (NOVA, BUS) if unit == "nova-conductor" else (BUS, NOVA)
            host.units[unit].read = dict(host.files)
    cloud.settle()
    return cloud


def running_on(cloud: Cloud) -> set[RpcBus | None]:
    return {one.bus for one in cloud.world.services() if one.project == "nova"}


def changed(cloud: Cloud) -> set[tuple[str, str]]:
    return {
        (name, path)
        for name, host in cloud.world.hosts.items()
        for path, content in host.files.items()
        if cloud.files[name].get(path) != content and path in (NOVA, BUS)
    }


BOTH = {(name, path) for name in CONTROLLERS for path in (NOVA, BUS)}


def test_both_files_are_written_at_once_and_every_unit_is_on_the_planned_bus(split: Cloud) -> None:
    split.migrate()
    assert changed(split) == BOTH
    [bus] = running_on(split)
    assert bus is not None
    assert bus.is_brokers(split.deployment)
    assert {path for host in split.run.files.values() for path in host} >= {NOVA, BUS}
    plan = split.status().plan
    assert plan is not None
    assert not plan.changed


def test_a_rollback_puts_both_files_back_and_says_so(split: Cloud) -> None:
    split.migrate()
    done = split.rollback()
    assert changed(split) == set()
    assert done.whole
    assert {one.what for one in done.restored if one.same} >= {NOVA, BUS}
    [bus] = running_on(split)
    assert bus == buses.bus_of({"x": OLD}, "x")


def test_a_rollback_looks_for_leftovers_on_the_bus_that_won_before_the_run(split: Cloud) -> None:
    split.migrate()
    split.deploy(RTR1)
    split.migrate()
    split.world.queues["nova"] = {"conductor": 3}
    with pytest.raises(LeftoverMessages, match="nova/conductor: 3"):
        split.rollback()


def test_a_project_that_fails_goes_back_with_both_files(split: Cloud) -> None:
    split.world.silent.add("conductor@ctl2")
    with pytest.raises(GateFailed, match="conductor@ctl2"):
        split.migrate()
    assert changed(split) == set()
    assert running_on(split) == {buses.bus_of({"x": OLD}, "x")}


def test_a_second_file_that_changed_since_the_plan_stops_no_caller(split: Cloud) -> None:
    def meddle() -> None:
        split.world.hosts["ctl2"].files[BUS] += b"# somebody\n"

    split.wire.meanwhile("ctl2", "read_facts", meddle, at=BEFORE_NOVA)
    with pytest.raises(HostsFailed, match=f"ctl2: {BUS} changed since the plan was made"):
        split.migrate()
    assert ("stop", "nova-api", "ctl1") not in split.world.acts


def test_a_file_that_no_edit_touches_and_that_changed_since_the_plan_stops_no_caller(split: Cloud) -> None:
    for name in CONTROLLERS:
        host = split.world.hosts[name]
        host.files[LATE] = b"[DEFAULT]\ndebug = true\n"
        for unit in (host.units[name] for name in ("nova-conductor", "nova-api")):
            unit.reads, unit.read = (*unit.reads, LATE), dict(host.files)

    def meddle() -> None:
        split.world.hosts["ctl2"].files[LATE] += OLD

    split.wire.meanwhile("ctl2", "read_facts", meddle, at=BEFORE_NOVA)
    with pytest.raises(HostsFailed, match=f"ctl2: {LATE} changed since the plan was made"):
        split.migrate()
    assert ("stop", "nova-api", "ctl1") not in split.world.acts


def test_what_the_run_itself_wrote_for_one_project_is_no_surprise_to_another_that_reads_it(split: Cloud) -> None:
    for name in CONTROLLERS:
        host = split.world.hosts[name]
        for unit in (host.units[name] for name in ("nova-conductor", "nova-api")):
            unit.reads, unit.read = (GLANCE, *unit.reads), dict(host.files)
    split.migrate()
    assert split.moved() == EVERYTHING


def test_a_unit_that_reads_other_files_than_when_the_plan_was_made_stops_no_caller(split: Cloud) -> None:
    def meddle() -> None:
        unit = split.world.hosts["ctl2"].units["nova-api"]
        unit.reads = (*unit.reads, LATE)

    split.wire.meanwhile("ctl2", "read_facts", meddle, at=BEFORE_NOVA)
    with pytest.raises(HostsFailed, match="ctl2: units of nova read other files"):
        split.migrate()
    assert ("stop", "nova-api", "ctl1") not in split.world.acts


def test_a_second_file_of_a_project_that_left_its_host_is_named_before_anything(
    split: Cloud, other_inventory: Callable[..., None]
) -> None:
    split.migrate()
    split.wire.calls.clear()
    other_inventory(("glance", CONTROLLERS), ("nova", ("ctl1",)))
    with pytest.raises(ConfigurationError, match=f"ctl2: {BUS}: was changed by the run"):
        split.rollback()
    assert {task for task, _ in split.wire.calls} == {"lock_host", "read_history"}
