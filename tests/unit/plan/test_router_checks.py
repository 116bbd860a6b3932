from __future__ import annotations

import pytest

from deployer.plan.expected import RpcServer
from deployer.plan.observed import HostFacts
from deployer.plan.router_checks import fanout_checks, old_bus_checks, router_checks, subscription_checks
from deployer.plan.router_facts import Fanout, FanoutPair
from tests.unit.plan import cloud
from tests.unit.plan.cloud import CTL1, RTR1, RTR2, deployment, project, service, subscription, view

NOVA, GLANCE = project("nova", CTL1), project("glance", CTL1)
SITE = deployment(NOVA, GLANCE, qdrouterd=(RTR1, RTR2))
COMPUTE = service("nova-compute", 7)
LINKS = [subscription(COMPUTE, "unicast/nova/nova/compute/cmp1")]
SERVER = RpcServer("nova", "compute", "cmp1")


def test_a_router_that_knows_the_others_and_lets_everybody_in_holds_and_says_who_is_attached() -> None:
    facts = {
        "rtr1": cloud.router("rtr1", view([COMPUTE, service("nova-api", 8)], LINKS), {"nova": None}),
        "rtr2": cloud.router("rtr2", view()),
    }
    found = router_checks(SITE, facts)
    assert [(one.kind, one.target, one.ok) for one in found] == [("router", "rtr1", True), ("router", "rtr2", True)]
    assert found[0].detail == "rtr1, 1.19.0, 2 connections of services"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (cloud.router("rtr1", problem="Connection refused"), "Connection refused"),
        (cloud.host("rtr1", {}), "does not tell who is attached"),
        (cloud.router("rtr1", view(), {"nova": "auth failed", "glance": None}), "nova cannot log in: auth failed"),
        (cloud.router("rtr1", view(nodes=("rtr1",))), "knows 1 of 2 routers: rtr1"),
    ],
    ids=["dead", "not asked", "a login refused", "alone"],
)
def test_a_router_that_is_not_whole_does_not_hold(facts: HostFacts, words: str) -> None:
    broken, whole = router_checks(SITE, {"rtr1": facts, "rtr2": cloud.router("rtr2", view())})
    assert (broken.ok, whole.ok) == (False, True)
    assert words in broken.detail


def test_a_server_is_attached_where_any_router_has_its_subscription() -> None:
    routers = [cloud.router("rtr1", view()), cloud.router("rtr2", view([COMPUTE], LINKS))]
    found = subscription_checks(NOVA, [SERVER, RpcServer("nova", "compute", "cmp2")], routers)
    assert [(one.project, one.target, one.ok) for one in found] == [
        ("nova", "compute@cmp1", True),
        ("nova", "compute@cmp2", False),
    ]
    assert found[0].asked_from == "rtr2"


@pytest.mark.parametrize("address", ["unicast/glance/nova/compute/cmp1", "anycast/nova/nova/compute"])
def test_a_subscription_in_another_vhost_or_of_the_topic_alone_is_not_the_servers(address: str) -> None:
    [found] = subscription_checks(
        NOVA, [SERVER], [cloud.router("rtr1", view([COMPUTE], [subscription(COMPUTE, address)]))]
    )
    assert not found.ok


def seen(queue: str, vhost: str = "nova") -> dict[str, str]:
    return {"vhost": vhost, "queue": queue}


@pytest.mark.parametrize("queue", ["conductor", "compute.cmp1", "scheduler_fanout_01", "reply_01"])
def test_who_still_uses_the_old_bus_is_named(queue: str) -> None:
    nova, glance = old_bus_checks(SITE, [NOVA, GLANCE], [seen(queue), seen("notifications.info")])
    assert (nova.kind, nova.project, nova.ok, glance.ok) == ("old bus", "nova", False, True)
    assert nova.detail == f"still consumed there: {queue}"


@pytest.mark.parametrize("consumer", [seen("notifications.info"), seen("conductor", "other"), seen("conductors")])
def test_notifications_and_others_may_stay(consumer: dict[str, str]) -> None:
    [found] = old_bus_checks(SITE, [NOVA], [consumer])
    assert found.ok


def test_replies_count_only_where_the_vhost_is_the_projects_alone() -> None:
    shared = [project("nova", CTL1), project("glance", CTL1)]
    shared = [type(one)(**{**vars(one), "vhost": "/"}) for one in shared]
    found = old_bus_checks(deployment(*shared), shared, [seen("reply_01", "/")])
    assert all(one.ok for one in found)


def test_brokers_that_do_not_tell_prove_nothing() -> None:
    assert [(one.project, one.ok) for one in old_bus_checks(SITE, [NOVA, GLANCE], None)] == [
        ("nova", False),
        ("glance", False),
    ]


def test_fanout_that_arrives_exactly_once_is_one_check() -> None:
    pairs = tuple(FanoutPair(a, b, 1, 1) for a in ("10.0.0.31", "10.0.0.32") for b in ("10.0.0.31", "10.0.0.32"))
    [found] = fanout_checks(SITE, Fanout(5, pairs, True, ""))
    assert (found.kind, found.ok, found.asked_from) == ("fanout", True, "rtr1")


def test_each_pair_of_routers_between_which_fanout_is_doubled_or_lost_is_named() -> None:
    pairs = (
        FanoutPair("10.0.0.31", "10.0.0.31", 1, 1),
        FanoutPair("10.0.0.31", "10.0.0.32", 2, 2),
        FanoutPair("10.0.0.32", "10.0.0.31", 0, 1),
    )
    found = fanout_checks(SITE, Fanout(5, pairs, False, ""))
    assert [(one.target, one.ok, one.detail) for one in found] == [
        ("rtr1 to rtr2", False, "each message came 2 times"),
        ("rtr2 to rtr1", False, "each message came 0 to 1 times"),
    ]


def test_a_fanout_check_that_could_not_be_carried_out_says_why() -> None:
    [found] = fanout_checks(SITE, Fanout(0, (), False, "no route to rtr2"))
    assert (found.ok, found.detail) == (False, "no route to rtr2")
