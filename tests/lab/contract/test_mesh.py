"""Several routers: who hears what, by which links, how often."""

from __future__ import annotations

from tests.lab.contract.client import Actor, Client, Subscription
from tests.lab.contract.conftest import eventually
from tests.lab.contract.routers import Router, Routers

RPC = "openstack.org/om/rpc"


def _everywhere(clients: list[Client], address: str) -> list[Subscription]:
    """Subscribe at every router, and wait until every router knows of all the others' subscriptions."""
    subscriptions = [client.subscribe(address) for client in clients]
    for client in clients:
        assert eventually(_heard_of, client, address, len(clients) - 1)
    return subscriptions


def _remote(client: Client, address: str) -> int:
    rows = client.rows("router.address", "name", "remoteCount")
    return next((row["remoteCount"] for row in rows if row["name"] == "M0" + address), 0)


def _seen(client: Client, address: str) -> bool:
    return bool(eventually(_remote, client, address))


def _heard_of(client: Client, address: str, routers: int) -> bool:
    return _remote(client, address) == routers


def _hop(client: Client, router_id: str) -> str:
    return str(next(row["nextHop"] for row in client.rows("router.node", "id", "nextHop") if row["id"] == router_id))


def test_in_the_products_topology_every_fanout_comes_everywhere_once(spread: list[Client], actor: Actor) -> None:
    servers = _everywhere(spread, f"{RPC}/multicast/nova/compute")
    for number, client in enumerate(spread):
        client.send(f"{RPC}/multicast/nova/compute", f"from {number}", settled=True)
        assert actor.received(*servers, count=3) == [[f"from {number}"]] * 3


def test_an_equal_cost_ring_of_three_duplicates_fanouts(ring: list[Router], actor: Actor) -> None:
    clients = [actor.connect(router.url) for router in ring]
    servers = _everywhere(clients, f"{RPC}/multicast/nova/compute")
    clients[0].send(f"{RPC}/multicast/nova/compute", "a", settled=True)
    assert actor.received(*servers, count=5, quiet=0.5) == [["a"], ["a", "a"], ["a", "a"]]
    for client in clients:
        client.close()


def test_a_call_goes_over_the_hub_and_its_answer_back(spread: list[Client]) -> None:
    address = f"{RPC}/unicast/nova/conductor/far"
    spread[1].subscribe(address, manner="echo")
    assert _seen(spread[2], address)
    assert spread[2].call(address, "ping") == "ping"


def test_a_reply_address_names_the_router_that_made_it(spread: list[Client]) -> None:
    assert "/_topo/0/Router.2/" in spread[2].subscribe(None).address


def test_an_anycast_message_goes_to_the_only_server_anywhere(spread: list[Client]) -> None:
    server = spread[1].subscribe(f"{RPC}/anycast/nova/only")
    assert _seen(spread[0], server.address)
    assert spread[0].send(server.address, "a", "b") == ["accepted", "accepted"]
    assert server.received(2) == ["a", "b"]


def test_a_server_at_the_senders_router_comes_first(spread: list[Client], actor: Actor) -> None:
    for way in ("anycast", "unicast"):
        servers = [client.subscribe(f"{RPC}/{way}/nova/local") for client in spread[:2]]
        assert _seen(spread[0], servers[0].address)
        for body in "abc":
            assert spread[0].send(servers[0].address, body) == ["accepted"]
        assert actor.received(*servers, count=3) == [[*"abc"], []]


def test_a_servers_end_is_known_across_the_mesh(spread: list[Client]) -> None:
    server = spread[1].subscribe(f"{RPC}/unicast/nova/gone")
    assert _seen(spread[2], server.address)
    server.close()
    assert eventually(_heard_of, spread[2], server.address, 0, seconds=5)


def test_a_released_message_is_released_across_the_mesh(spread: list[Client]) -> None:
    server = spread[1].subscribe(f"{RPC}/unicast/nova/picky", manner="release")
    assert _seen(spread[2], server.address)
    assert spread[2].send(server.address, "a") == ["released"]


def test_every_router_knows_every_other_and_the_way_there(spread: list[Client]) -> None:
    rows = {row["id"]: row for row in spread[1].rows("router.node", "id", "nextHop", "cost")}
    assert {name: row["nextHop"] for name, row in rows.items()} == {
        "Router.0": None,
        "Router.1": "(self)",
        "Router.2": "Router.0",
    }
    assert (rows["Router.0"]["cost"], rows["Router.2"]["cost"]) == (1, 2)


def test_another_router_is_managed_through_this_one(spread: list[Client]) -> None:
    assert spread[0].rows("router", "id", to="_topo/0/Router.2/$management") == [{"id": "Router.2"}]


def test_a_connector_tells_that_it_is_connected(spread: list[Client]) -> None:
    assert spread[1].rows("connector", "name", "connectionStatus") == [{"name": "to-0", "connectionStatus": "SUCCESS"}]


def test_what_only_a_dead_router_had_is_released_and_not_withheld(
    ready: Routers, tree: list[Router], actor: Actor
) -> None:
    victim, survivor = Actor(ready.lab, ready.host), actor.connect(tree[1].url)
    server = victim.connect(tree[2].url).subscribe(f"{RPC}/anycast/nova/doomed")
    assert _seen(survivor, server.address)
    ready.kill("tree-2")
    assert eventually(lambda: survivor.send(server.address, "a", timeout=2) == ["released"], seconds=10)
    assert _remote(survivor, server.address) == 1
    victim.kill()
    ready.again("tree-2")
    back = actor.connect(tree[2].url)
    back.subscribe(server.address)
    assert eventually(lambda: survivor.send(server.address, "a", timeout=2) == ["accepted"], seconds=15)
    for client in (survivor, back):
        client.close()


def test_a_dead_hub_is_gone_round_and_its_return_is_noticed(ready: Routers, tree: list[Router], actor: Actor) -> None:
    clients = [actor.connect(router.url) for router in tree[1:]]
    server = clients[0].subscribe(f"{RPC}/unicast/nova/round")
    assert _seen(clients[1], server.address)
    ready.kill("tree-0")
    assert eventually(lambda: clients[1].send(server.address, "a", timeout=0.5) == ["accepted"], seconds=15)
    ready.again("tree-0")
    assert eventually(lambda: _hop(clients[1], "Router.1") == "Router.0", seconds=15)
    for client in clients:
        client.close()
