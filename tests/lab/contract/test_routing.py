"""How one router distributes: by prefix, to whoever subscribed, and to nobody."""

from __future__ import annotations

import pytest

from tests.lab.contract.client import Actor, Client
from tests.lab.contract.conftest import eventually
from tests.lab.contract.routers import Router, Routers, listener

RPC = "openstack.org/om/rpc"
NOBODY = ["released", "no credit"]


def test_a_fanout_comes_to_every_server_once(alone: Client, actor: Actor) -> None:
    address = f"{RPC}/multicast/nova/compute"
    servers = [alone.subscribe(address) for _ in range(2)]
    alone.send(address, "a", "b", settled=True)
    assert actor.received(*servers, count=4) == [["a", "b"], ["a", "b"]]


def test_a_fanout_below_a_vhost_comes_to_every_server_too(alone: Client, actor: Actor) -> None:
    address = f"{RPC}/multicast/vhost/nova/compute"
    servers = [alone.subscribe(address) for _ in range(2)]
    alone.send(address, "a", settled=True)
    assert actor.received(*servers, count=2) == [["a"], ["a"]]


def test_without_address_sections_fanouts_are_split(ready: Routers, actor: Actor) -> None:
    router = ready.start("bare", [("router", {"mode": "standalone", "id": "Bare"}), listener(26000)])
    client = actor.connect(router.url)
    servers = [client.subscribe(f"{RPC}/multicast/nova/compute") for _ in range(2)]
    client.send(f"{RPC}/multicast/nova/compute", *"abcde")
    bodies = actor.received(*servers, count=5)
    assert sorted(bodies[0] + bodies[1]) == [*"abcde"]
    assert all(bodies)
    client.close()
    ready.stop("bare")


@pytest.mark.parametrize("way", ["unicast", "anycast"])
def test_each_message_comes_to_one_of_two_servers(alone: Client, actor: Actor, way: str) -> None:
    address = f"{RPC}/{way}/nova/conductor"
    servers = [alone.subscribe(address) for _ in range(2)]
    assert alone.send(address, *"abcdef") == ["accepted"] * 6
    bodies = actor.received(*servers, count=6)
    assert sorted(bodies[0] + bodies[1]) == [*"abcdef"]
    assert all(bodies)


def test_an_anonymous_sender_reaches_the_address_in_each_message(alone: Client) -> None:
    server = alone.subscribe(f"{RPC}/anycast/nova/anonymous")
    assert alone.send(server.address, "a", anonymous=True) == ["accepted"]
    assert server.received(1) == ["a"]


def test_a_call_is_answered_at_a_reply_address_of_the_routers_making(alone: Client) -> None:
    alone.subscribe(f"{RPC}/unicast/nova/conductor/ctl1", manner="echo")
    assert alone.call(f"{RPC}/unicast/nova/conductor/ctl1", "ping") == "ping"


def test_a_thousand_casts_all_arrive(alone: Client) -> None:
    bodies = [str(number) for number in range(1000)]
    server = alone.subscribe(f"{RPC}/anycast/nova/load")
    assert alone.send(server.address, *bodies, timeout=30) == ["accepted"] * 1000
    assert server.received(1000) == bodies


def test_a_sender_to_nobody_gets_no_credit(alone: Client) -> None:
    assert alone.send(f"{RPC}/anycast/nova/nobody", "a", timeout=0.5) == ["no credit"]


def test_an_anonymous_message_to_nobody_is_released(alone: Client) -> None:
    assert alone.send(f"{RPC}/unicast/nova/nobody", "a", anonymous=True, timeout=2) == ["released"]


def test_a_sender_is_given_credit_when_somebody_comes(ready: Routers, alone: Client, single: Router) -> None:
    other = Actor(ready.lab, ready.host)
    address = f"{RPC}/anycast/nova/late"
    alone.actor.ask(do="subscribe", name="probe", on=alone.name, address=f"{address}/x", credit=1, manner="accept")
    late = other.connect(single.url).subscribe(address)
    assert alone.send(address, "a") == ["accepted"]
    assert late.received(1) == ["a"]
    other.kill()


def test_what_a_server_releases_is_released_to_the_sender(alone: Client) -> None:
    server = alone.subscribe(f"{RPC}/unicast/nova/picky", manner="release")
    assert alone.send(server.address, "a") == ["released"]


def test_a_lost_servers_address_gives_no_credit_any_more(ready: Routers, alone: Client, single: Router) -> None:
    victim = Actor(ready.lab, ready.host)
    held = victim.connect(single.url).subscribe(f"{RPC}/unicast/nova/held", manner="hold")
    assert alone.send(held.address, "a", timeout=1) == ["pending"]
    victim.kill()
    assert eventually(lambda: alone.send(held.address, "b", timeout=0.3) == ["no credit"], seconds=5)


def test_messages_wait_for_a_server_without_credit(alone: Client, single: Router) -> None:
    server = alone.subscribe(f"{RPC}/unicast/nova/busy", manner="hold", credit=1)
    assert alone.send(server.address, "a", "b", timeout=0.5) == ["pending", "pending"]
    rows = alone.rows("router.link", "owningAddr", "linkDir", "undeliveredCount", "unsettledCount")
    mine = [row for row in rows if row["owningAddr"] == "M0" + server.address and row["linkDir"] == "out"]
    assert [(row["undeliveredCount"], row["unsettledCount"]) for row in mine] == [(1, 1)]
    server.close()
