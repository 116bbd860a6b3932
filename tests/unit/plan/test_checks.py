from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployer.model.catalogue import Listener
from deployer.model.secrets import Secret
from deployer.model.transports import Transport
from deployer.plan.checks import (
    Check,
    Witness,
    listener_checks,
    no_answer,
    probe_request,
    read_answer,
    restart_checks,
    unit_checks,
    witnesses,
)
from deployer.plan.expected import RpcServer
from deployer.plan.observed import ConfigSource
from tests.unit.plan.cloud import CTL1, TEL1, host, project, unit

NOVA = project("nova", CTL1)
CINDER = project("cinder", CTL1)
SERVER = RpcServer("nova", "conductor", "ctl1", "ctl1", "nova-conductor")
WITNESS = Witness("ctl1", unit("nova-conductor"))


def target(**more: Any) -> dict[str, Any]:
    base = {"topic": "conductor", "server": "ctl1", "answered": True, "how": "pong", "ms": 12.5, "error": None}
    return {**base, **more}


def notify(**more: Any) -> dict[str, Any]:
    return {"delivered": True, "queue_deleted": True, "error": None, "ms": 40.0, **more}


def request(witness: Witness = WITNESS, topic: str | None = None) -> dict[str, Any]:
    return probe_request(NOVA, witness, [SERVER], topic, 9)


def test_one_unit_a_host_asks_and_only_one_that_runs_in_a_known_interpreter() -> None:
    facts = [
        host("ctl1", {}, [unit("nova-api"), unit("nova-conductor", interpreter=None), unit("nova-scheduler")]),
        host("ctl2", {}, [unit("nova-api", "inactive")]),
        host("ctl3", {}, [unit("nova-api")]),
    ]
    assert [(one.host, one.unit.name) for one in witnesses(NOVA, facts)] == [
        ("ctl1", "nova-scheduler"),
        ("ctl3", "nova-api"),
    ]


def test_the_probe_runs_as_the_unit_does() -> None:
    asked = request()
    assert (asked["interpreter"], asked["user"]) == ("/usr/bin/python3", "nova")


def test_the_agent_lets_the_probe_answer_after_its_own_deadline() -> None:
    asked = request()
    assert asked["timeout"] > asked["request"]["timeout"]


def test_the_probe_reads_the_files_that_the_unit_reads() -> None:
    argv = (
        "nova-conductor",
        "--config-file",
        "/etc/nova/a.conf",
        "--config-file=/etc/nova/b.conf",
        "--config-dir",
        "/d",
    )
    asked = request(Witness("ctl1", unit("nova-conductor", argv=argv)))["request"]
    assert sorted(asked["config_files"]) == ["/etc/nova/a.conf", "/etc/nova/b.conf"]
    assert asked["config_dirs"] == ["/d"]


def test_the_files_are_read_in_the_order_of_the_command_line() -> None:
    argv = ("nova-conductor", "--config-file", "/first", "--config-file=/second")
    asked = request(Witness("ctl1", unit("nova-conductor", argv=argv)))["request"]
    assert asked["config_files"] == ["/first", "/second"]


def test_what_the_agent_found_out_of_the_units_start_comes_before_its_words() -> None:
    argv = ("nova-conductor", "--config-file", "/etc/nova/a.conf", "--config-dir", "/d")
    source = ConfigSource(("/d/x.conf", "/etc/nova/a.conf"), "process")
    asked = request(Witness("ctl1", unit("nova-conductor", argv=argv, config=source)))["request"]
    assert (asked["config_files"], asked["config_dirs"]) == (["/d/x.conf", "/etc/nova/a.conf"], [])


def test_a_unit_that_names_no_file_reads_the_projects() -> None:
    assert request()["request"]["config_files"] == ["/etc/nova/nova.conf"]


def test_the_probe_pings_each_server_on_the_projects_exchange_with_its_context() -> None:
    asked = probe_request(CINDER, WITNESS, [RpcServer("cinder", "cinder-volume", "ctl1@lvm")], None, 9)["request"]
    assert asked["targets"] == [{"topic": "cinder-volume", "server": "ctl1@lvm"}]
    assert (asked["exchange"], asked["context"]) == ("openstack", {"read_deleted": "no"})


def test_no_url_is_sent_what_is_proven_is_what_the_unit_has() -> None:
    asked = request(topic="t1")["request"]
    assert asked["url"] is None
    assert asked["notify"] == {"topic": "t1", "url": None, "publisher": "hybridmsg.ctl1"}
    assert "canary" not in str(asked)


def test_without_a_topic_nothing_is_notified() -> None:
    assert request()["request"]["notify"] is None


def test_an_answer_is_a_check_that_holds() -> None:
    found = read_answer(NOVA, WITNESS, {"targets": [target()], "notify": None}, None)
    assert found == [Check("nova", "rpc", "conductor@ctl1", ok=True, detail="pong", asked_from="ctl1", ms=12.5)]


@pytest.mark.parametrize(("error", "detail"), [("timed out", "timed out"), (None, "no answer"), ("", "no answer")])
def test_silence_is_a_check_that_does_not_hold_and_says_why(error: str | None, detail: str) -> None:
    [found] = read_answer(NOVA, WITNESS, {"targets": [target(answered=False, how=None, error=error, ms=None)]}, None)
    assert (found.ok, found.detail, found.ms) == (False, detail, None)


BUS = Transport("rabbit", ("10.0.0.11", "FD00::3"), 5672, False, "nova", "nova", Secret("canary"))


def test_an_answer_over_another_bus_than_the_planned_one_does_not_hold() -> None:
    answer = {"targets": [target()], "effective": {"rpc_driver": "rabbit", "rpc_hosts": ["10.9.9.9:5672"]}}
    [found] = read_answer(NOVA, WITNESS, answer, BUS)
    assert (found.ok, "10.9.9.9:5672" in found.detail) == (False, True)


def test_an_answer_over_the_planned_bus_holds_in_whatever_order_its_hosts_are_named() -> None:
    effective = {"rpc_driver": "rabbit", "rpc_hosts": ["[fd00::3]:5672", "10.0.0.11:5672"]}
    answer = {"targets": [target()], "effective": effective}
    [found] = read_answer(NOVA, WITNESS, answer, BUS)
    assert found.ok


def test_an_answer_by_another_driver_at_the_same_place_does_not_hold() -> None:
    effective = {"rpc_driver": "amqp", "rpc_hosts": ["fd00::3:5672", "10.0.0.11:5672"]}
    [found] = read_answer(NOVA, WITNESS, {"targets": [target()], "effective": effective}, BUS)
    assert (found.ok, "amqp at 10.0.0.11:5672" in found.detail) == (False, True)


def test_a_question_that_could_not_be_put_is_a_failing_check_for_each_target() -> None:
    server = RpcServer("nova", "conductor", "ctl1")
    found = no_answer(NOVA, WITNESS, [server], "the host is lost", notify=True)
    assert [(one.target, one.ok, one.detail) for one in found] == [
        ("conductor@ctl1", False, "the host is lost"),
        ("own topic", False, "the host is lost"),
    ]


@pytest.mark.parametrize(
    ("before", "now", "missed"), [("active", "failed", 1), ("active", "active", 0), ("inactive", "inactive", 0)]
)
def test_a_unit_that_ran_before_and_does_not_now_is_missed(before: str, now: str, missed: int) -> None:
    facts = {"ctl1": host("ctl1", {}, [unit("glance-api", active=now)])}
    found = unit_checks({"ctl1": {"glance-api": {"active": before, "enabled": "enabled"}}}, facts)
    assert [one.target for one in found if not one.ok] == ["glance-api"] * missed


@pytest.mark.parametrize(
    ("invocation", "restarts", "found"), [("second", 1, ["glance-api"]), ("second", 0, []), ("first", 3, [])]
)
def test_a_unit_that_died_after_its_start_and_came_back_by_itself_is_missed(
    invocation: str, restarts: int, found: list[str]
) -> None:
    glance = project("glance", CTL1)
    before, now = (
        host("ctl1", {}, [replace(unit("glance-api"), invocation=one, restarts=restarts)])
        for one in ("first", invocation)
    )
    checks = restart_checks(glance, [before], {"ctl1": now})
    assert [one.target for one in checks if not one.ok] == found


def test_a_notification_that_was_read_back_holds() -> None:
    [found] = read_answer(NOVA, WITNESS, {"targets": [], "notify": notify()}, None)
    assert (found.kind, found.ok, found.detail) == ("notification", True, "published and read back")


def test_a_notification_that_was_lost_does_not_hold() -> None:
    [found] = read_answer(NOVA, WITNESS, {"targets": [], "notify": notify(delivered=False)}, None)
    assert (found.ok, found.detail) == (False, "not read back")


def test_a_queue_left_behind_is_said() -> None:
    [found] = read_answer(NOVA, WITNESS, {"targets": [], "notify": notify(queue_deleted=False)}, None)
    assert found.ok
    assert found.detail.endswith("could not be deleted")


def test_a_listener_of_several_topics_must_consume_each() -> None:
    base = project("ceilometer", TEL1)
    listener = Listener(own=True, topics=("alarming", "alarm.all"))
    one = replace(base, project=base.project.model_copy(update={"listener": listener}))
    consumers = [{"vhost": "aodh", "queue": "alarming.sample"}, {"vhost": "nova", "queue": "alarm.all.sample"}]
    assert [(check.target, check.ok) for check in listener_checks(one, {"aodh": "aodh"}, consumers)] == [
        ("alarming.* of aodh", True),
        ("alarm.all.* of aodh", False),
    ]


def test_a_listener_must_be_attached_in_the_vhost_of_each_project_that_notifies() -> None:
    consumers = [{"vhost": "nova", "queue": "notifications.info"}, {"vhost": "cinder", "queue": "cinder-scheduler"}]
    found = listener_checks(project("ceilometer", TEL1), {"nova": "nova", "cinder": "cinder"}, consumers)
    assert [(one.target, one.ok) for one in found] == [
        ("notifications.* of nova", True),
        ("notifications.* of cinder", False),
    ]
