from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from deployer.errors import Finding
from deployer.model.deployment import Deployment, RouterSettings, ServerTls
from deployer.model.secrets import Secret
from deployer.plan.examined import Examination, Refusal
from deployer.plan.logins import login_findings, logins, logins_args
from deployer.plan.planner import Plan, make_plan
from deployer.plan.router_facts import RouterFacts
from tests.unit.plan.cloud import (
    CTL1,
    CTL2,
    FOREIGN,
    GLANCE,
    MSG1,
    NOVA,
    RTR1,
    bare,
    broker,
    deployment,
    host,
    project,
    unit,
    view,
)
from tests.unit.plan.looked_at import examined, let_in

NO_ANSWER = Refusal(reached=False, problem="10.0.0.11:5672 does not answer")
REFUSED = Refusal(reached=True, problem="nova is refused")
HYBRID = deployment(project("nova", CTL1, CTL2), project("glance", CTL1), qdrouterd=(RTR1,))
RABBIT = deployment(*HYBRID.projects)


def test_each_project_of_a_host_logs_in_at_every_broker_and_router_of_its_buses() -> None:
    assert {(one.driver, one.user, one.host) for one in logins(HYBRID, CTL1)} == {
        (driver, user, peer)
        for user in ("nova", "glance")
        for driver, peer in (("rabbit", "10.0.0.11"), ("amqp", "10.0.0.31"))
    }
    assert {one.user for one in logins(HYBRID, CTL2)} == {"nova"}


def test_brokers_and_routers_without_services_have_no_logins() -> None:
    assert logins(HYBRID, MSG1) == ()
    assert logins(HYBRID, RTR1) == ()


def test_one_bus_for_rpc_and_notifications_is_logged_in_to_once() -> None:
    assert [one.id for one in logins(RABBIT, CTL2)] == ["rabbit nova 10.0.0.11:5672 nova"]


def test_a_login_is_the_services_own_with_password_vhost_realm_and_tls() -> None:
    tls = ServerTls("/etc/pki/cert.pem", "/etc/pki/key.pem", "/etc/pki/ca.pem")
    project_of = replace(project("nova", CTL1), password=Secret("a/b"), vhost="/nova")
    cloud = deployment(project_of, qdrouterd=(RTR1,))
    cloud = replace(cloud, router=RouterSettings(port=31461, tls=tls))
    by_kind = {one["kind"]: one for one in logins_args(logins(cloud, CTL1))["logins"]}
    router, rabbit = by_kind["amqp"], by_kind["rabbit"]
    assert (rabbit["password"], rabbit["vhost"], rabbit["tls"], rabbit["tls_ca"]) == ("a%2Fb", "/nova", False, None)
    assert (router["password"], router["realm"], router["tls_ca"]) == ("a/b", "openstack", "/etc/pki/ca.pem")
    assert (router["port"], router["tls"]) == (31461, True)


def test_no_password_is_in_a_logins_repr_or_id() -> None:
    assert "canary" not in f"{logins(HYBRID, CTL1)} {[one.id for one in logins(HYBRID, CTL1)]}"


# Judged.


def service_host(cloud: Deployment, refused: Mapping[str, Refusal]) -> Examination:
    files = {NOVA: f"[DEFAULT]\ntransport_url = {FOREIGN}\n"}
    return let_in(cloud, host("ctl2", files, [unit("nova-conductor")]), refused)


def rabbit_finding(refusal: Refusal | None, held: Examination, plan: Plan | None = None) -> Finding:
    one = service_host(RABBIT, {"nova@10.0.0.11": refusal} if refusal else {})
    [found] = login_findings(RABBIT, {"ctl2": one, "msg1": held}, plan, ())
    return found


def holding(**definitions: Any) -> Examination:
    """The broker as planned, less what is said."""
    facts = broker(RABBIT)
    seen = dict(facts.rabbitmq or {})
    seen["definitions"] = {**seen["definitions"], **definitions}
    return examined(replace(facts, rabbitmq=seen))


def test_a_host_that_is_let_in_is_ok() -> None:
    found = rabbit_finding(None, holding())
    assert (found.host, found.check, found.state, found.detail) == ("ctl2", "login", "ok", "broker msg1 lets nova in")


def test_a_user_who_is_there_and_refused_fails_by_name() -> None:
    found = rabbit_finding(REFUSED, holding())
    assert (found.state, found.detail) == ("failed", "broker msg1: nova is refused")


@pytest.mark.parametrize("missing", ["users", "permissions"])
def test_what_the_run_makes_on_the_broker_comes_later(missing: str) -> None:
    assert rabbit_finding(REFUSED, holding(**{missing: []})).state == "later"


def test_a_broker_that_is_to_be_installed_comes_later() -> None:
    assert rabbit_finding(NO_ANSWER, examined(bare(RABBIT))).state == "later"


def test_a_running_broker_that_cannot_be_reached_fails_also_where_its_users_are_still_to_come() -> None:
    held = holding(users=[], permissions=[])
    cloud = deployment(project("glance", CTL1))
    plan = make_plan(cloud, {"ctl1": host("ctl1", {GLANCE: ""}, [unit("glance-api")]), "msg1": held.facts})
    assert plan.brokers.waves
    assert rabbit_finding(NO_ANSWER, held, plan).state == "failed"


def test_a_login_that_the_agent_did_not_try_is_no_success() -> None:
    one = replace(service_host(RABBIT, {}), logins={})
    [found] = login_findings(RABBIT, {"ctl2": one, "msg1": holding()}, None, ())
    assert (found.state, found.detail) == ("failed", "broker msg1: the login was not tried")


def test_a_broker_whose_host_is_out_of_reach_is_not_told_once_more_by_every_service_host() -> None:
    one = service_host(RABBIT, {"nova@10.0.0.11": NO_ANSWER})
    assert login_findings(RABBIT, {"ctl2": one}, None, {"msg1"}) == []


def router_finding(refusal: Refusal, **router: Any) -> Finding:
    one = service_host(HYBRID, {"nova@10.0.0.31": refusal})
    running = RouterFacts("1.19.0", ("nova@openstack",), {"nova": None}, view(nodes=("rtr1",)), "")
    there = examined(replace(host("rtr1", {}), router=replace(running, **router)))
    found = login_findings(HYBRID, {"ctl2": one, "rtr1": there, "msg1": examined(broker(HYBRID))}, None, ())
    return next(finding for finding in found if "router" in finding.detail)


@pytest.mark.parametrize(
    ("refusal", "router", "state"),
    [
        (NO_ANSWER, {"version": None, "view": None}, "later"),
        (REFUSED, {"users": ()}, "later"),
        (REFUSED, {"logins": {"nova": "wrong user or password"}}, "later"),
        (REFUSED, {}, "failed"),
        (NO_ANSWER, {}, "failed"),
        (NO_ANSWER, {"users": ()}, "failed"),
    ],
    ids=["not there", "user to come", "password to come", "refused", "out of reach", "out of reach, user to come"],
)
def test_a_router_is_judged_by_what_the_run_makes_of_it(refusal: Refusal, router: dict[str, Any], state: str) -> None:
    assert router_finding(refusal, **router).state == state
