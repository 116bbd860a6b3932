from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.errors import Finding, HostError, Mistake, PreflightFailed, Unreachable
from deployer.model.catalogue import Unmoved
from deployer.plan.examined import Examination
from deployer.plan.planner import make_plan
from deployer.plan.preflight import (
    CLOCK_SKEW,
    DISK_NEEDED,
    driver_findings,
    host_findings,
    mesh_findings,
    plan_findings,
    reachable,
    unit_findings,
    unmoved_findings,
    version_findings,
    waive,
)
from deployer.plan.router_facts import Fanout, FanoutPair
from tests.unit.plan.cloud import (
    CTL1,
    CTL2,
    GLANCE,
    RTR1,
    RTR2,
    bare,
    broker,
    deployment,
    host,
    libraries,
    project,
    router,
    unit,
    view,
)
from tests.unit.plan.looked_at import PLENTY, examined

CLOUD = deployment(project("glance", CTL1, CTL2))
HYBRID = deployment(*CLOUD.projects, qdrouterd=(RTR1, RTR2))
DOWN = Unreachable("ctl2", "connection refused", "Is sshd running there?")


def controller(**more: object) -> Examination:
    return replace(examined(host("ctl1", {GLANCE: ""}, [unit("glance-api")])), **more)  # type: ignore[arg-type]  # a field's own type


def state_of(findings: list[Finding], check: str) -> str:
    [found] = [finding for finding in findings if finding.check == check]
    return found.state


def test_a_service_host_that_is_down_may_be_waived_and_what_becomes_of_it_is_said() -> None:
    up, down = reachable(CLOUD, {"ctl1": controller()}, {"ctl2": DOWN})
    assert (up.host, up.state, up.detail) == ("ctl1", "ok", "SSH, sudo and Python 3.11.2")
    assert (down.state, down.waiver) == ("failed", "ctl2")
    assert down.detail.startswith("connection refused")
    assert "when it comes back its services are on the old bus" in down.remedy


@pytest.mark.parametrize("name", ["msg1", "rtr1"])
def test_a_broker_or_router_that_is_down_cannot_be_waived(name: str) -> None:
    [found] = waive(reachable(HYBRID, {}, {name: Unreachable(name, "connection refused")}), [])
    assert found.waiver == ""
    assert waive([found], [name])[0].state == "failed"


@pytest.mark.parametrize(("free", "state"), [(DISK_NEEDED, "ok"), (DISK_NEEDED - 1, "failed")])
@pytest.mark.parametrize("path", ["/var/lib/hybridmsg", "/etc"])
def test_each_file_system_needs_200_megabytes(path: str, free: int, state: str) -> None:
    disk = {"/var/lib/hybridmsg": PLENTY, "/etc": PLENTY, path: free}
    found = host_findings({"ctl1": controller(disk=disk)})
    assert state_of(found, "disk") == state
    assert f"{path} has {free // 1_000_000} MB free" in found[0].detail


@pytest.mark.parametrize(
    ("ahead", "state"), [(CLOCK_SKEW, "ok"), (-CLOCK_SKEW, "ok"), (31, "failed"), (-3600, "failed")]
)
def test_a_clock_may_be_30_seconds_off(ahead: float, state: str) -> None:
    found = host_findings({"ctl1": controller(ahead=ahead)})
    assert state_of(found, "clock") == state
    assert ("ahead of" if ahead > 0 else "behind") in found[1].detail


def test_a_unit_that_is_missing_is_no_error_but_a_host_without_any_is() -> None:
    nova = deployment(project("nova", CTL1, CTL2))
    one = examined(host("ctl1", {}, [unit("nova-conductor"), unit("nova-api", "inactive")]))
    none = examined(host("ctl2", {}, []))
    found = unit_findings(nova, {"ctl1": one, "ctl2": none})
    assert [(finding.host, finding.state) for finding in found] == [("ctl1", "ok"), ("ctl2", "failed")]
    assert found[0].detail == "nova: nova-conductor"
    assert "none of nova's units exists (nova-conductor" in found[1].detail


def test_a_host_that_could_not_be_looked_at_is_not_judged_by_its_units() -> None:
    assert unit_findings(CLOUD, {}) == []


def test_what_is_left_alone_is_told_with_its_reason() -> None:
    [one] = CLOUD.projects
    guests = Unmoved(what="guest agents", why="they read a file of their own")
    cloud = replace(CLOUD, projects=(replace(one, project=one.project.model_copy(update={"unmoved": (guests,)})),))
    [found] = unmoved_findings(cloud)
    assert (found.state, found.detail) == ("told", "glance: guest agents: they read a file of their own")


def test_a_project_that_is_not_edited_is_told_and_its_units_are_nobodys_business() -> None:
    [one] = CLOUD.projects
    cloud = replace(CLOUD, projects=(replace(one, project=one.project.model_copy(update={"managed": False})),))
    assert [found.state for found in unmoved_findings(cloud)] == ["told"]
    assert unit_findings(cloud, {"ctl1": examined(host("ctl1", {}))}) == []


def test_versions_are_told_of_brokers_routers_and_services() -> None:
    old = unit("glance-api", libraries=libraries("12.13.0"))
    hosts = {
        "msg1": examined(broker(HYBRID)),
        "rtr1": examined(router("rtr1", view())),
        "ctl1": examined(host("ctl1", {GLANCE: ""}, [old])),
    }
    found = version_findings(HYBRID, hosts)
    assert [finding.detail for finding in found] == ["RabbitMQ 3.10.8", "qdrouterd 1.19.0", "oslo.messaging 12.13.0"]


def test_what_is_not_installed_yet_comes_later() -> None:
    [found] = version_findings(CLOUD, {"msg1": examined(bare(CLOUD))})
    assert (found.state, found.detail) == ("later", "RabbitMQ is installed by the run")


def test_a_mistake_of_the_plan_is_a_finding_of_its_host() -> None:
    mistakes = [Mistake("ctl2: /etc/nova/nova.conf", "", "no UTF-8", 7), Mistake("RabbitMQ", "user nova", "another")]
    first, second = plan_findings(CLOUD, mistakes)
    assert (first.host, first.state, first.detail) == ("ctl2", "failed", "/etc/nova/nova.conf:7: no UTF-8")
    assert (second.host, second.detail) == ("", "RabbitMQ: user nova: another")


@pytest.mark.parametrize(("pyngus", "state"), [(True, "ok"), (False, "later")])
def test_the_driver_is_there_or_installed_by_the_run(*, pyngus: bool, state: str) -> None:
    service = unit("glance-api", libraries=libraries(pyngus=pyngus))
    facts = {name: host(name, {GLANCE: ""}, [service]) for name in ("ctl1", "ctl2")}
    plan = make_plan(HYBRID, {**facts, "msg1": broker(HYBRID), "rtr1": host("rtr1", {}), "rtr2": host("rtr2", {})})
    assert [(found.host, found.state) for found in driver_findings(plan)] == [("ctl1", state), ("ctl2", state)]


def fanout(*, copies: int = 1, problem: str = "") -> Fanout:
    pair = FanoutPair("10.0.0.31", "10.0.0.32", copies, copies)
    return Fanout(5, (pair,), exactly_once=copies == 1 and not problem, problem=problem)


def mesh(*nodes: str) -> dict[str, Examination]:
    return {name: examined(router(name, view(nodes=nodes))) for name in ("rtr1", "rtr2")}


def test_a_mesh_that_is_whole_holds() -> None:
    found = mesh_findings(HYBRID, mesh("rtr1", "rtr2"), fanout())
    assert [(finding.host, finding.check, finding.state) for finding in found] == [
        ("rtr1", "mesh", "ok"),
        ("rtr2", "mesh", "ok"),
        ("", "fanout", "ok"),
    ]


def test_a_router_that_does_not_know_the_others_fails() -> None:
    found = mesh_findings(HYBRID, mesh("rtr1"), fanout())
    assert "knows 1 of 2 routers" in found[0].detail
    assert state_of(found[:1], "mesh") == "failed"


@pytest.mark.parametrize(("copies", "problem"), [(2, ""), (0, ""), (1, "rtr2 hangs")])
def test_a_fanout_that_does_not_come_once_fails(copies: int, problem: str) -> None:
    found = mesh_findings(HYBRID, mesh("rtr1", "rtr2"), fanout(copies=copies, problem=problem))
    assert state_of(found, "fanout") == "failed"


def test_routers_that_are_still_to_be_made_are_proven_later_and_without_any_there_is_nothing_to_prove() -> None:
    assert [found.state for found in mesh_findings(HYBRID, {}, None)] == ["later"]
    assert mesh_findings(CLOUD, {}, None) == []


def test_only_what_is_named_is_waived_and_a_name_that_waives_nothing_is_told() -> None:
    findings = [Finding("ctl1", "x", "failed", "a", waiver="ctl1"), Finding("ctl2", "x", "failed", "b", waiver="ctl2")]
    found = waive(findings, ["ctl1", "ctl9"])
    assert [finding.state for finding in found] == ["waived", "failed", "told"]
    assert "ctl9 is waived" in found[2].detail


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({"ctl1": ["reachable"]}, 4),
        ({"ctl1": ["reachable"], "ctl2": ["reachable"]}, 4),
        ({"ctl1": ["reachable", "stranger"]}, 4),
        ({"ctl1": ["reachable"], "ctl2": ["disk"]}, 3),
        ({"ctl1": ["reachable"], "": ["mesh"]}, 3),
        ({"ctl1": ["disk"]}, 3),
    ],
)
def test_hosts_out_of_reach_alone_have_the_exit_code_of_their_own(found: dict[str, list[str]], code: int) -> None:
    told = [(host, check) for host, checks in found.items() for check in checks]
    error = PreflightFailed([Finding(host, check, "failed", f"{check} is wrong", "Mend it") for host, check in told])
    assert error.exit_code == code
    lines = [f"{host}: {check}" if host else check for host, check in told]
    assert str(error).splitlines() == [
        f"{line}: {check} is wrong. Mend it" for line, (_, check) in zip(lines, told, strict=True)
    ]
    assert HostError.exit_code == 3
