"""What the management protocol shows and changes, on one router."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.contract.client import Actor, Client
from tests.lab.contract.conftest import eventually
from tests.lab.contract.routers import PASSWORD_FILE, Router, Routers, connector, listener

RPC = "openstack.org/om/rpc"


@pytest.fixture(scope="module")
def changeable(ready: Routers, actor: Actor) -> Iterator[Client]:
    """A client of a router that tests may change."""
    router = ready.start("changeable", [("router", {"mode": "interior", "id": "Changeable"}), listener(27000)])
    client = actor.connect(router.url)
    yield client
    client.close()
    ready.stop("changeable")


def test_the_router_tells_its_id_mode_and_version(alone: Client) -> None:
    row = alone.rows("router", "id", "mode", "version")[0]
    assert (row["id"], row["mode"]) == ("Alone", "standalone")
    assert row["version"]


def test_a_router_alone_tells_of_no_node(alone: Client) -> None:
    assert alone.rows("router.node", "id") == []


def test_what_is_configured_is_told_with_its_types(alone: Client) -> None:
    names = ("name", "host", "port", "role", "cost", "authenticatePeer", "saslMechanisms", "idleTimeoutSeconds")
    assert alone.rows("listener", *names, "requireSsl", "sslProfile") == [
        {
            "name": "port-21000",
            "host": "127.0.0.1",
            "port": "21000",
            "role": "normal",
            "cost": 1,
            "authenticatePeer": True,
            "saslMechanisms": "PLAIN",
            "idleTimeoutSeconds": 16,
            "requireSsl": False,
            "sslProfile": None,
        }
    ]


def test_every_module_of_the_log_is_told(alone: Client) -> None:
    rows = {row["name"]: row["enable"] for row in alone.rows("log", "name", "enable")}
    assert (rows["log/DEFAULT"], rows["log/SERVER"]) == ("info+", None)


def test_a_query_for_an_unknown_attribute_or_type_is_refused(alone: Client) -> None:
    assert alone.manage("QUERY", {"attributeNames": ["colour"]}, entityType="listener").status == 404
    assert alone.manage("QUERY", {"attributeNames": []}, entityType="gateway").status == 400


def test_a_connection_shows_container_user_host_and_role(alone: Client) -> None:
    rows = alone.rows("connection", "container", "user", "host", "role", "dir", "opened", "sasl", "isEncrypted")
    mine = next(row for row in rows if row["container"] == alone.name)
    assert mine["host"].startswith("127.0.0.1:")
    del mine["host"]
    assert mine == {
        "container": alone.name,
        "user": "nova@openstack",
        "role": "normal",
        "dir": "in",
        "opened": True,
        "sasl": "PLAIN",
        "isEncrypted": False,
    }


def test_a_subscription_shows_as_an_outgoing_link_with_its_address(alone: Client) -> None:
    server = alone.subscribe(f"{RPC}/unicast/nova/shown")
    names = ("linkType", "linkDir", "owningAddr", "undeliveredCount", "unsettledCount", "connectionId")
    rows = [row for row in alone.rows("router.link", *names) if row["owningAddr"] == "M0" + server.address]
    identity = {row["container"]: row["identity"] for row in alone.rows("connection", "container", "identity")}
    assert rows == [
        {
            "linkType": "endpoint",
            "linkDir": "out",
            "owningAddr": "M0" + server.address,
            "undeliveredCount": 0,
            "unsettledCount": 0,
            "connectionId": identity[alone.name],
        }
    ]


def test_an_address_shows_how_it_distributes_and_how_many_subscribe(alone: Client) -> None:
    servers = [alone.subscribe(f"{RPC}/multicast/nova/counted") for _ in range(2)]
    rows = alone.rows("router.address", "name", "distribution", "subscriberCount", "remoteCount")
    assert {
        "name": "M0" + servers[0].address,
        "distribution": "multicast",
        "subscriberCount": 2,
        "remoteCount": 0,
    } in rows


def test_rows_come_in_pages(alone: Client) -> None:
    for _ in range(3):
        alone.subscribe(f"{RPC}/unicast/nova/paged")
    body = {"attributeNames": ["name"]}
    whole = alone.manage("QUERY", body, entityType="router.link").body["results"]
    page = alone.manage("QUERY", body, entityType="router.link", offset="1", count="2").body["results"]
    assert len(whole) > 3
    assert page == whole[1:3]


def test_a_listener_made_live_lets_clients_in(changeable: Client, actor: Actor) -> None:
    name, attributes = "extra", dict(listener(27001)[1]) | {"port": "27001", "authenticatePeer": True}
    del attributes["name"]
    assert changeable.manage("CREATE", attributes, type="listener", name=name).status == 201
    assert name in {row["name"] for row in changeable.rows("listener", "name")}
    assert eventually(lambda: actor.refusal("amqp://127.0.0.1:27001") is None, seconds=3)
    assert changeable.manage("DELETE", type="listener", name=name).status == 204
    assert eventually(lambda: actor.refusal("amqp://127.0.0.1:27001") is not None, seconds=3)


def test_a_listener_is_not_updated(changeable: Client) -> None:
    answer = changeable.manage("UPDATE", {"idleTimeoutSeconds": 5}, type="listener", name="port-27000")
    assert answer.status in (400, 501)


def test_an_address_made_live_distributes_and_is_gone_when_deleted(changeable: Client, actor: Actor) -> None:
    attributes = {"prefix": "live", "distribution": "multicast"}
    assert changeable.manage("CREATE", attributes, type="router.config.address", name="live").status == 201
    assert {"name": "live", "prefix": "live", "distribution": "multicast"} in changeable.rows(
        "router.config.address", "name", "prefix", "distribution"
    )
    servers = [changeable.subscribe("live/fanout") for _ in range(2)]
    changeable.send("live/fanout", "a", settled=True)
    assert actor.received(*servers, count=2) == [["a"], ["a"]]
    assert changeable.manage("DELETE", type="router.config.address", name="live").status == 204
    assert "live" not in {row["name"] for row in changeable.rows("router.config.address", "name")}


def test_a_connector_made_live_connects_and_goes_when_deleted(ready: Routers, changeable: Client, actor: Actor) -> None:
    ready.start(
        "other",
        [("router", {"mode": "interior", "id": "Other"}), listener(27100), listener(27101, role="inter-router")],
    )
    attributes = {key: str(value) for key, value in connector("to-other", 27101)[1].items() if key != "name"}
    assert changeable.manage("CREATE", attributes, type="connector", name="to-other").status == 201
    assert eventually(lambda: "Other" in {row["id"] for row in changeable.rows("router.node", "id")})
    assert changeable.manage("DELETE", type="connector", name="to-other").status == 204
    assert eventually(lambda: "inter-router" not in {row["role"] for row in changeable.rows("connection", "role")})
    ready.stop("other")


def test_an_sslprofile_is_made_and_deleted_live(changeable: Client) -> None:
    assert changeable.manage("CREATE", {"caCertFile": PASSWORD_FILE}, type="sslProfile", name="live").status == 201
    assert "live" in {row["name"] for row in changeable.rows("sslProfile", "name")}
    assert changeable.manage("DELETE", type="sslProfile", name="live").status == 204


def test_the_log_is_updated_live(changeable: Client) -> None:
    answer = changeable.manage("UPDATE", {"enable": "warning+"}, type="log", name="log/DEFAULT")
    assert answer.status == 200, answer.text
    rows = {row["module"]: row["enable"] for row in changeable.rows("log", "module", "enable")}
    assert rows["DEFAULT"] == "warning+"


def test_what_does_not_exist_is_not_deleted(changeable: Client) -> None:
    assert changeable.manage("DELETE", type="listener", name="nobody").status == 404


def test_what_exists_is_not_made_again(changeable: Client) -> None:
    attributes = {"host": "127.0.0.1", "port": "27050"}
    assert changeable.manage("CREATE", attributes, type="listener", name="port-27000").status == 400


def test_an_unknown_attribute_is_refused(changeable: Client) -> None:
    assert changeable.manage("CREATE", {"port": "27051", "colour": "red"}, type="listener", name="red").status == 400


def test_a_connection_is_closed_by_management(single: Router, alone: Client, actor: Actor) -> None:
    victim = actor.connect(single.url)
    rows = alone.rows("connection", "container", "identity")
    identity = next(row["identity"] for row in rows if row["container"] == victim.name)
    assert alone.manage("UPDATE", {"adminStatus": "deleted"}, type="connection", identity=identity).status == 200
    assert eventually(lambda: not victim.connected(), seconds=3)
