from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployer.plan.drain import leftovers, rabbit_left, router_left
from deployer.plan.router_facts import Connection, Link
from tests.unit.plan.cloud import service, subscription, view

TOPICS = ("conductor", "scheduler", "compute")
CONDUCTOR = service("nova-conductor", 7)
CONDUCTOR_LINKS = [
    subscription(CONDUCTOR, "anycast/nova/nova/conductor"),
    subscription(CONDUCTOR, "unicast/nova/nova/conductor/ctl1"),
    subscription(CONDUCTOR, "multicast/nova/nova/conductor"),
]


def queue(name: str, ready: int = 0, unacked: int = 0, consumers: int = 1) -> dict[str, Any]:
    return {"queue": name, "ready": ready, "unacked": unacked, "consumers": consumers}


def left(connections: list[Connection], links: list[Link]) -> list[str]:
    return router_left([view(connections, links)], {"nova@openstack"}, TOPICS)


@pytest.mark.parametrize("busy", [queue("conductor", ready=2), queue("conductor", unacked=1)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_rabbitmq_is_idle_only_when_no_reading_shows_a_message(busy: dict[str, Any], place: int) -> None:
    reads = [[queue("conductor"), queue("compute.cmp1")] for _ in range(3)]
    assert rabbit_left(reads) == []
    reads[place][0] = busy
    assert rabbit_left(reads) == [f"queue conductor: {busy['ready']} ready, {busy['unacked']} unacknowledged"]


def test_a_queue_that_nobody_consumes_is_not_waited_for_and_is_a_leftover() -> None:
    read = [
        queue("compute.gone", ready=3, unacked=1, consumers=0),
        queue("compute.old", consumers=0),
        queue("conductor", 9),
    ]
    assert rabbit_left([[read[0], read[1]]] * 3) == []
    assert leftovers(read) == {"compute.gone": 4}


def test_a_fanout_queue_that_died_with_its_process_is_no_leftover_and_one_whose_name_comes_again_is() -> None:
    drawn = queue("compute_fanout_998a6b384b2f401196be5fc020d4b765", ready=3, consumers=0)
    managed = queue("compute_fanout_cmp1:nova-compute:1", ready=2, consumers=0)
    assert leftovers([drawn, managed]) == {"compute_fanout_cmp1:nova-compute:1": 2}


def test_servers_alone_on_a_router_with_nothing_on_the_way_are_idle() -> None:
    assert left([CONDUCTOR], CONDUCTOR_LINKS) == []


@pytest.mark.parametrize(("undelivered", "unsettled"), [(1, 0), (0, 1)])
def test_what_is_on_the_way_to_a_server_is_named(undelivered: int, unsettled: int) -> None:
    busy = subscription(CONDUCTOR, "unicast/nova/nova/conductor/ctl1", undelivered, unsettled)
    who = f"nova-conductor (pid 7) on ctl1, {busy.address}"
    assert left([CONDUCTOR], [*CONDUCTOR_LINKS[:1], busy]) == [
        f"{who}: {undelivered} undelivered, {unsettled} unsettled"
    ]


def test_a_caller_that_is_still_attached_is_named_once() -> None:
    api = [service("nova-api", 9), service("nova-api", 9, number=2)]
    assert left([CONDUCTOR, *api], CONDUCTOR_LINKS) == ["nova-api (pid 9) on ctl1: still attached"]


def test_a_servers_own_calls_over_another_router_do_not_make_it_a_caller() -> None:
    calling = view([service("nova-conductor", 7, number=2)])
    views = [view([CONDUCTOR], CONDUCTOR_LINKS), calling]
    assert router_left(views, {"nova@openstack"}, TOPICS) == []


@pytest.mark.parametrize(
    "other",
    [service("nova-conductor", 8), service("nova-conductor", 7, node="ctl2")],
    ids=["another process", "another host"],
)
def test_a_process_that_serves_nothing_is_a_caller_whatever_its_name(other: Connection) -> None:
    assert left([CONDUCTOR, other], CONDUCTOR_LINKS) == [
        f"nova-conductor (pid {other.pid}) on {other.node}: still attached"
    ]


def test_who_waits_for_replies_only_serves_nothing() -> None:
    api = service("nova-api", 9)
    assert left([api], [Link(api.container, "out", "temp.x1", 0, 0)]) == ["nova-api (pid 9) on ctl1: still attached"]


@pytest.mark.parametrize(
    "other",
    [
        service("glance-api", 9, user="glance@openstack"),
        service("nova-api", 9, user="nova@elsewhere"),
        replace(service("x", 9), container="qdstat-1"),
    ],
    ids=["another project", "another realm", "no service"],
)
def test_others_are_not_waited_for(other: Connection) -> None:
    busy = subscription(other, "anycast/nova/nova/conductor", 5, 5)
    assert left([CONDUCTOR, other], [*CONDUCTOR_LINKS, busy]) == []


def test_replies_on_their_way_to_a_server_are_not_waited_for() -> None:
    assert left([CONDUCTOR], [*CONDUCTOR_LINKS, Link(CONDUCTOR.container, "out", "temp.x1", 3, 3)]) == []
