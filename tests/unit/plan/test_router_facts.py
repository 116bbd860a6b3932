"""A router's answers, read; and the query that asks for them."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.plan.router_facts import Connection, Fanout, FanoutPair, RouterFacts
from tasks.routers import RouterQuery

VIEW: dict[str, Any] = {
    "id": "msg1",
    "mode": "interior",
    "version": "1.19.0",
    "nodes": ["msg1", "msg2"],
    "entities": [{"type": "listener", "name": "clients", "attributes": {"port": "31459"}}],
    "connections": [{"container": "msg2", "user": "hybridmsg@openstack", "host": "10.0.0.2:4", "role": "inter-router"}],
    "links": [{"container": "c", "dir": "out", "address": "a/b", "undelivered": 1, "unsettled": 2}],
}
ANSWER: dict[str, Any] = {"version": "1.19.0-1", "users": ["nova@openstack"], "logins": {"nova": None}, "problem": ""}


def connection(container: str) -> Connection:
    return Connection.of({"container": container, "user": "nova@openstack", "host": "10.0.0.3:5", "role": "normal"})


def test_a_view_is_read_whole() -> None:
    facts = RouterFacts.of({**ANSWER, "view": VIEW})

    assert (facts.version, facts.users, facts.logins) == ("1.19.0-1", ("nova@openstack",), {"nova": None})
    assert facts.view is not None
    assert (facts.view.id, facts.view.nodes) == ("msg1", ("msg1", "msg2"))
    assert facts.view.entities["listener", "clients"] == {"port": "31459"}
    assert (facts.view.links[0].dir, facts.view.links[0].undelivered, facts.view.links[0].unsettled) == ("out", 1, 2)


def test_a_router_without_a_view_has_a_problem() -> None:
    facts = RouterFacts.of({**ANSWER, "view": None, "problem": "127.0.0.1:31459 is not listening"})

    assert (facts.view, facts.problem) == (None, "127.0.0.1:31459 is not listening")


@pytest.mark.parametrize("process", ["nova-conductor", "uwsgi/nova api"])
def test_a_services_container_tells_host_process_and_pid(process: str) -> None:
    service = connection(f"openstack.org/om/container/ctl1/{process}/4711/0123abcd")

    assert service.openstack
    assert (service.node, service.process, service.pid) == ("ctl1", process, 4711)


@pytest.mark.parametrize("container", ["msg2", "", "elsewhere/ctl1/nova/4711/x"])
def test_anybody_else_is_no_service(container: str) -> None:
    other = connection(container)

    assert not other.openstack
    assert (other.node, other.process, other.pid) == ("", "", None)


def test_a_container_of_another_form_still_is_openstacks() -> None:
    odd = connection("openstack.org/om/container/ctl1")

    assert odd.openstack
    assert odd.pid is None


def test_pairs_without_exactly_one_copy_are_wrong() -> None:
    copies = {"msg1": [1, 1], "msg2": [2, 2], "msg3": [0, 1]}
    pairs = [{"from": "msg1", "to": host, "copies": counted} for host, counted in copies.items()]
    fanout = Fanout.of({"sent": 5, "pairs": pairs, "exactly_once": False, "problem": ""})

    assert fanout.wrong == (FanoutPair("msg1", "msg2", 2, 2), FanoutPair("msg1", "msg3", 0, 1))
    assert [str(pair) for pair in fanout.wrong] == ["msg1 to msg2: 2", "msg1 to msg3: 0 to 1"]


def test_a_query_shows_nothing_of_what_it_asks_with() -> None:
    query = RouterQuery({"password": "s3cret", "logins": {"nova": "n0va"}, "timeout": 30})

    assert "s3cret" not in f"{query!r} {query}"
    assert query.deadline > 30
