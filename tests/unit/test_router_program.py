"""The router's program as a subprocess, against real routers or the lab's stand-ins."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer.plan.router_facts import RouterView
from deployer.probe import router as program
from tests.unit.amqp_door import USERS, Door
from tests.unit.router_mesh import Routers, await_port, free_port

pytest.importorskip("proton", reason="needs python-qpid-proton")

SERVICE = "openstack.org/om/container/ctl1/nova-conductor/4711/0123abcd"
# A server of nova, as oslo.messaging's amqp driver attaches one; told on stdout when it is there.
SERVER = """
import sys
from proton.reactor import Container
from proton.utils import BlockingConnection
container = Container()
container.container_id = {container!r}
connection = BlockingConnection("amqp://127.0.0.1:{port}", container=container, sasl_enabled=False)
kinds = ("unicast", "multicast")
receivers = [connection.create_receiver(f"openstack.org/om/rpc/{{kind}}/nova/conductor", credit=1) for kind in kinds]
sender = connection.create_sender(None)
print("there", flush=True)
connection.wait(lambda: False, timeout=60)
"""


def ask(doors: list[Door], action: str, timeout: float = 20, **more: Any) -> dict[str, Any]:
    """Run the program as the agent does, with small pages and little patience for further copies."""
    login = {"user": "hybridmsg@openstack", "password": USERS["hybridmsg@openstack"], "tls_ca": None}
    routers = [["127.0.0.1", door.port] for door in doors]
    request = {"action": action, "routers": routers, "verify_name": False, "timeout": timeout}
    source = Path(program.__file__).read_text()
    for constant in ("PAGE = 500", "QUIET = 1.0"):
        assert constant in source
    source = source.replace("PAGE = 500", "PAGE = 2").replace("QUIET = 1.0", "QUIET = 0.4")
    done = subprocess.run(
        [sys.executable, "-I", "-c", source],
        input=json.dumps({**request, **login, **more}).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith(program.MARK)]
    assert len(lines) == 1, done.stderr.decode()
    answer: dict[str, Any] = json.loads(lines[0][len(program.MARK) :])
    return answer


TREE = {(0, 1): 1, (0, 2): 1, (1, 2): 3}
FLAT = {(0, 1): 1, (0, 2): 1, (1, 2): 1}
NOBODY = {(2, 1): 1}  # of two routers, the second one connects to a third


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Routers]]:
    """All routers of this module: a mesh takes seconds to settle, so they settle at once."""
    kinds: dict[str, tuple[int, dict[tuple[int, int], int]]]
    kinds = {"alone": (1, {}), "tree": (3, TREE), "flat": (3, FLAT), "apart": (2, NOBODY)}
    started = {name: Routers(tmp_path_factory.mktemp(name), *kind) for name, kind in kinds.items()}
    try:
        for routers in started.values():
            for port in routers.plain:
                await_port(port)
        yield started
    finally:
        for routers in started.values():
            routers.end()


@pytest.fixture
def alone(meshes: dict[str, Routers]) -> Routers:
    return meshes["alone"]


@pytest.fixture
def served(alone: Routers) -> Iterator[Routers]:
    """A router that a conductor of nova is attached to."""
    source = SERVER.format(container=SERVICE, port=alone.plain[0])
    server = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"there\n"
    yield alone
    server.kill()
    server.communicate()


def view(routers: Routers, number: int = 0) -> RouterView:
    answer = ask([routers.doors[number]], "view")
    assert answer["problem"] == ""
    return RouterView.of(answer["view"])


def test_a_router_alone_tells_who_it_is(alone: Routers) -> None:
    seen = view(alone)

    assert (seen.id, seen.mode, seen.nodes) == ("msg1", "standalone", ("msg1",))
    assert seen.version


def test_entities_are_told_by_type_and_name(alone: Routers) -> None:
    entities = view(alone).entities

    assert entities["listener", "clients"]["port"] == str(alone.plain[0])
    assert entities["address", "a1"]["distribution"] == "multicast"
    assert ("log", "DEFAULT") in entities


def test_the_programs_own_connection_is_not_in_the_view(alone: Routers) -> None:
    seen = view(alone)

    assert (seen.connections, seen.links) == ((), ())


def test_a_service_is_seen_with_its_subscriptions_on_several_pages(served: Routers) -> None:
    seen = view(served)

    [service] = seen.connections
    assert service.openstack
    assert (service.node, service.process, service.pid, service.role) == ("ctl1", "nova-conductor", 4711, "normal")
    links = {(link.container, link.dir, link.address) for link in seen.links}
    address = "openstack.org/om/rpc/{}/nova/conductor".format
    assert links == {
        (SERVICE, "out", address("unicast")),
        (SERVICE, "out", address("multicast")),
        (SERVICE, "in", ""),
    }
    assert {(link.undelivered, link.unsettled) for link in seen.links} == {(0, 0)}


def test_an_address_comes_and_goes_live(alone: Routers) -> None:
    address = {"type": "address", "name": "live"}
    made = {**address, "attributes": {"prefix": "live", "distribution": "multicast"}}

    assert ask(alone.doors, "update", delete=[], create=[made]) == {"problem": "", "changed": ["created address live"]}
    assert view(alone).entities["address", "live"]["distribution"] == "multicast"
    gone = ask(alone.doors, "update", delete=[address], create=[])
    assert gone["changed"] == ["deleted address live"]
    assert ("address", "live") not in view(alone).entities


def test_a_listener_comes_and_goes_live(alone: Routers) -> None:
    port = free_port()
    listener = {"type": "listener", "name": "live"}
    attributes = {"host": "127.0.0.1", "port": str(port), "role": "normal", "authenticatePeer": "no"}
    ask(alone.doors, "update", delete=[], create=[{**listener, "attributes": attributes}])
    await_port(port)

    assert ask(alone.doors, "update", delete=[listener], create=[])["changed"] == ["deleted listener live"]
    assert ("listener", "live") not in view(alone).entities


def test_a_log_is_updated_since_it_always_is_there(alone: Routers) -> None:
    log = {"type": "log", "name": "DEFAULT", "attributes": {"enable": "debug+"}}

    assert ask(alone.doors, "update", delete=[], create=[log]) == {"problem": "", "changed": ["updated log DEFAULT"]}
    assert view(alone).entities["log", "DEFAULT"]["enable"] == "debug+"


def test_what_is_gone_already_is_no_change(alone: Routers) -> None:
    gone = [{"type": "address", "name": "nobody"}]

    assert ask(alone.doors, "update", delete=gone, create=[]) == {"problem": "", "changed": []}


def test_deletions_come_first_and_the_first_refusal_ends_it(alone: Routers) -> None:
    keep = {"type": "address", "name": "keep", "attributes": {"prefix": "keep", "distribution": "closest"}}
    bad = {"type": "listener", "name": "bad", "attributes": {"host": "127.0.0.1", "port": "1", "colour": "red"}}
    ask(alone.doors, "update", delete=[], create=[keep])
    answer = ask(alone.doors, "update", delete=[{"type": "address", "name": "keep"}], create=[bad, keep])

    assert answer["changed"] == ["deleted address keep"]
    assert "create listener bad: " in answer["problem"]
    assert "(400)" in answer["problem"]


def test_a_password_that_an_entity_holds_is_not_told(alone: Routers) -> None:
    attributes = {"host": "127.0.0.1", "port": str(free_port()), "role": "normal", "saslUsername": "u"}
    connector = {"type": "connector", "name": "live"}
    ask(
        alone.doors, "update", delete=[], create=[{**connector, "attributes": {**attributes, "saslPassword": "s3cret"}}]
    )
    told = view(alone).entities["connector", "live"]
    ask(alone.doors, "update", delete=[connector], create=[])

    assert told["saslUsername"] == "u"
    assert "s3cret" not in repr(told)


def test_a_wrong_password_is_a_problem_and_no_view(alone: Routers) -> None:
    answer = ask(alone.doors, "view", password="other")

    assert "view" not in answer
    assert answer["problem"]


def test_fanout_over_a_tree_arrives_exactly_once(meshes: dict[str, Routers]) -> None:
    answer = ask(meshes["tree"].doors, "fanout", timeout=40, rounds=5)

    assert (answer["problem"], answer["sent"]) == ("", 5)
    assert [pair["copies"] for pair in answer["pairs"]] == [[1, 1]] * 9


def test_copies_over_equal_costs_are_counted(meshes: dict[str, Routers]) -> None:
    pairs = ask(meshes["flat"].doors, "fanout", timeout=40, rounds=5)["pairs"]

    assert max(pair["copies"][1] for pair in pairs) == 2


def test_routers_without_a_link_are_named(meshes: dict[str, Routers]) -> None:
    answer = ask(meshes["apart"].doors, "fanout", timeout=2, rounds=2)

    assert "no message came from 127.0.0.1 to 127.0.0.1" in answer["problem"]
    assert [pair["copies"] for pair in answer["pairs"]] == [[1, 1], [0, 0], [0, 0], [1, 1]]


def test_a_mesh_tells_its_routers_and_connectors(meshes: dict[str, Routers]) -> None:
    until = time.monotonic() + 40
    while len((answer := ask(meshes["tree"].doors[2:], "mesh"))["nodes"]) < 3:
        assert time.monotonic() < until

    assert answer["nodes"] == ["msg1", "msg2", "msg3"]
    connectors = {(one["name"], one["status"]) for one in answer["connectors"]}
    assert connectors == {("to-msg1", "SUCCESS"), ("to-msg2", "SUCCESS")}


def test_a_connector_that_finds_nobody_is_told_with_its_reason(meshes: dict[str, Routers]) -> None:
    [connector] = ask(meshes["apart"].doors[1:], "mesh")["connectors"]

    assert connector["name"] == "to-msg3"
    assert connector["status"] not in ("", "SUCCESS")
    assert "Connection refused" in connector["text"]


def test_a_library_that_is_missing_is_an_answer() -> None:
    source = Path(program.__file__).read_text().replace('MARK = "', 'sys.modules["proton"] = None\nMARK = "', 1)
    request = {"action": "mesh", "routers": [["127.0.0.1", 1]], "tls_ca": None, "timeout": 1}
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, input=json.dumps(request).encode(), capture_output=True, check=True)

    assert b"proton" in done.stdout.splitlines()[-1]
