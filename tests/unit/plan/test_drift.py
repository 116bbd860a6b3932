"""What is told of a cloud that is not as its inventory says."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from deployer.errors import ConfigurationError, Mistake
from deployer.plan.checks import Check
from deployer.plan.cluster import BrokersPlan
from deployer.plan.drift import DEEP, KINDS, Drift, defeats, drift
from deployer.plan.planner import Plan, make_plan
from deployer.plan.routers import SCOPE, RouterPlan
from deployer.plan.steps import Intent, Wave
from tests.unit.plan.cloud import CTL1, GLANCE, after, bare, broker, deployment, host, project, unit

SITE = deployment(project("glance", CTL1))
FACTS = {"msg1": broker(SITE), "ctl1": host("ctl1", {GLANCE: "[DEFAULT]\n"}, [unit("glance-api")])}
IN_LINE = after(FACTS, make_plan(SITE, FACTS).projects)
SILENT = Check("glance", "rpc", "api@ctl1", ok=False, detail="no answer", asked_from="ctl1")


def planned(text: str = "", **conf: str) -> Plan:
    """The plan of the site with something written in place of another in glance's file."""
    content = IN_LINE["ctl1"].files[GLANCE].content
    assert content is not None
    edited = content.reveal().decode()
    for old, new in conf.items():
        edited = edited.replace(old, new)
    return make_plan(SITE, {**IN_LINE, "ctl1": host("ctl1", {GLANCE: edited + text}, [unit("glance-api")])})


def of_routers(*intents: Intent) -> Plan:
    """A plan of which nothing but this is to be done on a router."""
    routers = RouterPlan((Wave("qdrouterd", SCOPE, {"rtr1": intents}),), ())
    return Plan(SITE, BrokersPlan({}), routers, ())


def test_where_all_is_as_planned_nothing_drifted() -> None:
    assert drift(planned()) == []


def test_a_changed_option_is_told_with_both_values_and_no_password() -> None:
    [found] = drift(planned(glance="wrong"))
    assert (found.kind, found.host, found.project) == ("option", "ctl1", "glance")
    assert found.what == f"{GLANCE} [DEFAULT] transport_url"
    assert found.detail.startswith("is rabbit://wrong:***@")
    assert ", is to be rabbit://glance:***@" in found.detail
    assert "canary" not in str(found.record())


def test_another_password_is_told_without_either() -> None:
    found = drift(planned(canary="secret"))
    assert found
    assert all(one.detail.endswith("with another password") for one in found)
    assert "secret" not in str([one.record() for one in found])


def test_an_option_that_is_gone_is_told_as_not_set() -> None:
    found = drift(make_plan(SITE, FACTS))
    assert found
    assert all(one.detail.startswith("is not set, is to be ") for one in found)


def test_a_stale_service_is_told_with_its_reason() -> None:
    old = replace(unit("glance-api"), started=5.0)
    written = replace(IN_LINE["ctl1"].files[GLANCE], mtime_ns=int(9e9))
    ctl1 = replace(IN_LINE["ctl1"], units={"glance-api": old}, files={GLANCE: written})
    [found] = drift(make_plan(SITE, {**IN_LINE, "ctl1": ctl1}, {}))
    assert (found.kind, found.what, found.deep) == ("stale", "glance-api", False)
    assert found.detail.startswith("was started before")


def test_a_driver_that_an_interpreter_lacks_is_a_package() -> None:
    plan = planned()
    lacking = Intent("python.install", {"interpreter": "/venv/bin/python", "names": ["pyngus"]}, "pyngus for it")
    glance = replace(plan.projects[0], clients={"ctl1": (lacking,)})
    [found] = drift(replace(plan, projects=(glance,)))
    assert (found.kind, found.what, found.detail) == ("package", "pyngus", "pyngus for it")


def test_a_cell_that_is_to_move_is_found_by_a_deep_look_only() -> None:
    plan = planned()
    glance = replace(plan.projects[0], cells={"ctl1": (Intent("nova.cells", {}, "move 1 cell mapping of nova"),)})
    [found] = drift(replace(plan, projects=(glance,)))
    assert (found.kind, found.detail, found.deep) == ("cell", "move 1 cell mapping of nova", True)


def test_each_user_that_a_router_lacks_is_told_and_no_password() -> None:
    users = {name: base64.b64encode(b"canary").decode() for name in ("nova", "glance")}
    found = drift(of_routers(Intent("sasl.users", {"db": "/x", "realm": "openstack", "users_b64": users}, "set")))
    assert [(one.kind, one.what) for one in found] == [
        ("sasl-user", "nova@openstack"),
        ("sasl-user", "glance@openstack"),
    ]
    assert base64.b64encode(b"canary").decode() not in str([one.record() for one in found])


def test_each_part_of_a_running_router_is_told_as_missing_different_or_too_many() -> None:
    gone, other, more = ({"type": "connector", "name": name} for name in ("gone", "other", "more"))
    update = Intent("router.update", {"delete": [other, more], "create": [gone, other]}, "change 3 parts")
    found = {one.what: one.detail for one in drift(of_routers(update))}
    assert found == {
        "connector other": "is not as it is to be",
        "connector more": "is too many",
        "connector gone": "is missing",
    }


def test_a_routers_file_and_package_are_told_and_waiting_is_not() -> None:
    acts = [
        Intent("package.install", {"names": ["qdrouterd"]}, "install qdrouterd"),
        Intent("file.write", {"path": "/etc/qpid-dispatch/qdrouterd.conf"}, "write it"),
        Intent("unit.restart", {"unit": "qdrouterd"}, "restart qdrouterd"),
        Intent("router.await", {}, "wait"),
    ]
    found = [(one.kind, one.what) for one in drift(of_routers(*acts))]
    assert found == [
        ("package", "qdrouterd"),
        ("router", "/etc/qpid-dispatch/qdrouterd.conf"),
        ("router", "qdrouterd"),
    ]


def test_what_a_broker_lacks_is_told_line_by_line() -> None:
    seen = broker(SITE).rabbitmq or {}
    lacking = {**seen, "definitions": {**seen["definitions"], "permissions": []}}
    plan = make_plan(SITE, {**IN_LINE, "msg1": replace(IN_LINE["msg1"], rabbitmq=lacking)})
    assert drift(plan) == [Drift("broker", "", "", "definitions", "let user glance use vhost glance")]


def test_a_broker_that_is_not_there_is_a_package() -> None:
    found = drift(make_plan(SITE, {**IN_LINE, "msg1": bare(SITE)}))
    assert ("package", "msg1", "rabbitmq-server") in [(one.kind, one.host, one.what) for one in found]


def test_a_shallow_plan_asks_no_broker_and_plans_none() -> None:
    unread = replace(IN_LINE["msg1"], rabbitmq=None)
    assert drift(make_plan(SITE, {**IN_LINE, "msg1": unread}, deep=False)) == []


def test_a_server_that_does_not_answer_is_told() -> None:
    [found] = drift(planned(), [SILENT, replace(SILENT, target="other@ctl1", ok=True)])
    assert (found.kind, found.project, found.what) == ("rpc", "glance", "api@ctl1")
    assert found.detail == "no answer (asked from ctl1)"


def test_nobody_misses_the_answers_of_a_project_that_changes_anyway() -> None:
    assert {one.kind for one in drift(planned(glance="wrong"), [SILENT])} == {"option"}


def test_a_router_whose_mesh_is_not_whole_is_told_of_its_host() -> None:
    lonely = Check("", "router", "rtr1", ok=False, detail="knows 1 of 2 routers", asked_from="")
    [found] = drift(planned(), [lonely])
    assert (found.kind, found.host, found.detail) == ("router", "rtr1", "knows 1 of 2 routers")


def test_drift_is_told_by_kind() -> None:
    found = drift(planned(glance="wrong"), [replace(SILENT, project="nova")])
    assert [one.kind for one in found] == ["option", "rpc"]
    assert [KINDS.index(one.kind) for one in found] == sorted(KINDS.index(one.kind) for one in found)


def test_what_defeats_an_option_is_told_where_it_stands() -> None:
    overridden = replace(unit("glance-api"), environment=("OS_DEFAULT__TRANSPORT_URL",))
    ctl1 = replace(IN_LINE["ctl1"], units={"glance-api": overridden})
    with pytest.raises(ConfigurationError) as refused:
        make_plan(SITE, {**IN_LINE, "ctl1": ctl1})
    [found] = defeats(refused.value.mistakes, SITE.hosts)
    assert (found.kind, found.host, found.what) == ("option", "ctl1", "glance-api")
    assert "OS_DEFAULT__TRANSPORT_URL" in found.detail


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        (
            Mistake("ctl1: /etc/x.conf", "glance-api", "is in force here", 7),
            ("ctl1", "/etc/x.conf:7", "glance-api: is in force here"),
        ),
        (Mistake("msg1", "", "holds somebody's data"), ("msg1", "plan", "holds somebody's data")),
        (Mistake("nova", "", "its RPC is to move"), ("", "nova", "its RPC is to move")),
    ],
)
def test_a_mistake_is_told_of_its_host_and_place(mistake: Mistake, expected: tuple[str, str, str]) -> None:
    assert defeats([mistake], {"ctl1", "msg1"}) == [Drift("option", expected[0], "", expected[1], expected[2])]


def test_only_a_deep_look_finds_brokers_cells_and_silence() -> None:
    assert {kind for kind in KINDS if Drift(kind, "", "", "", "").deep} == DEEP == {"broker", "cell", "rpc"}
