from __future__ import annotations

import base64
from typing import Any

import pytest

from deployer.plan.cluster_member import CONF, COOKIE
from deployer.plan.observed import ConfigSource, HostFacts
from deployer.plan.query import facts_query, query
from tests.unit.plan.cloud import CTL1, GLANCE, MSG1, NOVA, RTR1, deployment, host, libraries, project

SITE = deployment(project("glance", CTL1), project("nova", CTL1))
RAW = {
    "exists": True,
    "real": NOVA,
    "sha256": "abc",
    "size": 4,
    "mode": 0o640,
    "uid": 0,
    "gid": 9,
    "user": "root",
    "group": "nova",
    "inode": 1,
    "mtime_ns": 1,
    "ctime_ns": 2,
}


def answer(files: dict[str, Any]) -> dict[str, Any]:
    return {"host": {"hostname": "ctl1", "package_manager": "apt"}, "files": files, "units": {}, "rabbitmq": None}


def test_one_exchange_asks_for_all_files_and_every_name_of_every_unit() -> None:
    asked = facts_query(SITE, CTL1, {})
    assert asked["files"] == {GLANCE: None, NOVA: None}
    assert {"nova-conductor", "openstack-nova-conductor", "glance-api"} <= set(asked["units"])
    assert not asked["rabbitmq"]


def test_a_broker_is_asked_for_its_state_and_whether_it_finds_its_peers() -> None:
    asked = facts_query(SITE, MSG1, {})
    assert asked["files"] == dict.fromkeys((CONF, COOKIE))
    assert asked["units"] == {"rabbitmq-server": {}}
    assert asked["rabbitmq"] == {"peers": ["msg1"]}


def test_a_shallow_look_does_not_ask_a_broker_what_it_holds() -> None:
    assert facts_query(SITE, MSG1, {}, deep=False) == {**facts_query(SITE, MSG1, {}), "rabbitmq": False}


def test_a_host_of_no_project_is_asked_for_nothing() -> None:
    idle = MSG1.__class__("idle", "10.0.0.99", 22, "root", ())
    assert facts_query(SITE, idle, {}) == query([], [])


def test_what_the_amqp_driver_needs_is_asked_of_services_where_there_are_routers_only() -> None:
    hybrid = deployment(*SITE.projects, qdrouterd=(RTR1,))
    asked = [facts_query(site, one, {})["libraries"] for site, one in ((SITE, CTL1), (hybrid, CTL1), (hybrid, RTR1))]
    assert asked == [False, True, False]


UNIT = {
    "load": "loaded",
    "active": "active",
    "enabled": "enabled",
    "main_pid": 7,
    "user": "nova",
    "interpreter": "/usr/bin/python3",
    "argv": ["nova-api"],
    "started": 1.0,
    "invocation": "0123456789abcdef0123456789abcdef",
    "restarts": 0,
    "environment": ["OS_DEFAULT__DEBUG"],
    "threads": 1,
}


def test_a_unit_tells_its_libraries_where_they_were_asked_for() -> None:
    told = {"oslo.messaging": "14.0.3", "amqp": True, "pyngus": False, "proton": True}
    units = {"asked": {**UNIT, "libraries": told}, "not asked": {**UNIT, "libraries": None}}
    found = HostFacts.of("ctl1", {**answer({}), "units": units}, {}).units
    assert [unit.libraries for unit in found.values()] == [libraries(pyngus=False), None]
    assert found["asked"].environment == ("OS_DEFAULT__DEBUG",)
    assert (found["asked"].started, found["asked"].invocation) == (UNIT["started"], UNIT["invocation"])


def test_a_file_read_before_is_asked_for_by_its_hash() -> None:
    before = host("ctl1", {NOVA: "[DEFAULT]\n", GLANCE: None})
    asked = facts_query(SITE, CTL1, {"ctl1": before})
    assert asked["files"] == {NOVA: before.files[NOVA].sha256, GLANCE: None}


def test_content_that_did_not_travel_again_is_remembered() -> None:
    known: dict[str, bytes] = {}
    content = {"content_b64": base64.b64encode(b"seen").decode()}
    HostFacts.of("ctl1", answer({NOVA: {**RAW, **content}}), known)
    again = HostFacts.of("ctl1", answer({NOVA: RAW}), known).files[NOVA]
    assert again.content is not None
    assert again.content.reveal() == b"seen"
    assert again.identity() == {"sha256": "abc", "mode": 0o640, "user": "root", "group": "nova"}


def test_an_agent_that_leaves_out_what_was_never_sent_broke_the_protocol() -> None:
    with pytest.raises(KeyError):
        HostFacts.of("ctl1", answer({NOVA: RAW}), {})


def test_an_absent_file_must_still_be_absent_when_it_is_written() -> None:
    fact = HostFacts.of("ctl1", answer({NOVA: {"exists": False}}), {}).files[NOVA]
    assert fact.preimage() == {"sha256": None}
    assert fact.content is None


def test_each_unit_is_asked_for_with_the_names_by_which_oslo_config_finds_its_files() -> None:
    site = deployment(project("nova", CTL1), project("ceilometer", CTL1), project("ironic_inspector", CTL1))
    units = facts_query(site, CTL1, {})["units"]
    assert units["openstack-nova-conductor"] == {"project": "nova", "program": "nova-conductor"}
    assert units["ceilometer-agent-central"] == {"project": "ceilometer", "program": "ceilometer-polling"}
    assert {units[name]["project"] for name in site.projects[2].project.units[0].names} == {"ironic-inspector"}


def test_a_file_that_only_a_units_start_names_does_not_travel_twice_either() -> None:
    late = "/etc/nova/nova.conf.d/late.conf"
    before = host("ctl1", {NOVA: "[DEFAULT]\n", GLANCE: None, late: "[DEFAULT]\n"})
    assert facts_query(SITE, CTL1, {"ctl1": before})["files"][late] == before.files[late].sha256


def test_a_unit_tells_what_it_reads_where_that_was_asked_for() -> None:
    told = {"files": [NOVA], "from": "default search", "problem": "no start was found"}
    units = {"asked": {**UNIT, "libraries": None, "config": told}, "not asked": {**UNIT, "libraries": None}}
    found = HostFacts.of("ctl1", {**answer({}), "units": units}, {}).units
    assert found["asked"].config == ConfigSource((NOVA,), "default search", "no start was found")
    assert found["not asked"].config is None


def test_a_file_with_several_names_goes_by_its_own() -> None:
    link, other, real = "/etc/nova/link.conf", "/etc/nova/a.conf", "/srv/nova.conf"
    known = {"abc": b"[DEFAULT]\n"}
    raw = {path: {**RAW, "real": real} for path in (link, other)}
    assert HostFacts.of("ctl1", answer(raw), known).same_file(link) == other
    assert HostFacts.of("ctl1", answer({**raw, real: {**RAW, "real": real}}), known).same_file(link) == real
    assert HostFacts.of("ctl1", answer({NOVA: {"exists": False}}), known).same_file(NOVA) == NOVA
