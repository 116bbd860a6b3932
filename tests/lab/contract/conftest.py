"""The contract suite's host, its routers and its clients: all on one bare host, each router on ports of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab import Lab, repository
from tests.lab.contract.client import Actor, Client
from tests.lab.contract.routers import Router, Routers, addresses, listener, mesh

HOST = "contract"
_TESTED = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which router the tests ran on: a run on the stand-in proves nothing about the real one by itself."""
    if tested := config.stash.get(_TESTED, None):
        terminalreporter.write_line(f"contract suite ran on: {tested}")


@pytest.fixture(scope="session")
def routers(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Routers]:
    """A bare host with the package of the lab's repository: the stand-in's, or a real one's."""
    if HOST in lab.hosts:
        lab.remove(HOST)
    lab.add_bare(HOST)
    host = Routers(lab, HOST)
    host.install("qdrouterd", "sasl2-bin", "libsasl2-modules", "python3-qpid-proton")
    version = lab.run(HOST, ["dpkg-query", "-f", "${Version}", "-W", "qdrouterd"]).stdout
    request.config.stash[_TESTED] = f"{repository.router(lab.layout)} (package qdrouterd {version})"
    yield host
    lab.remove(HOST)


@pytest.fixture(scope="session")
def ready(routers: Routers) -> Routers:
    """The same host with users and their passwords."""
    routers.prepare()
    return routers


@pytest.fixture(scope="session")
def actor(ready: Routers) -> Iterator[Actor]:
    """A client process on the host."""
    one = Actor(ready.lab, ready.host)
    yield one
    one.kill()


@pytest.fixture(scope="session")
def single(ready: Routers) -> Iterator[Router]:
    """A router alone, with the addresses of OpenStack."""
    yield ready.start("single", [("router", {"mode": "standalone", "id": "Alone"}), listener(21000), *addresses()])
    ready.stop("single")


@pytest.fixture
def alone(single: Router, actor: Actor) -> Iterator[Client]:
    """A client of that router."""
    client = actor.connect(single.url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def tree(ready: Routers, actor: Actor) -> Iterator[list[Router]]:
    """Three routers linked by the product's topology: hub 0, and 1-2 for the day the hub is away."""
    yield from _mesh(ready, actor, "tree", 22000, {(1, 0): 1, (2, 0): 1, (2, 1): 3})


@pytest.fixture(scope="session")
def ring(ready: Routers, actor: Actor) -> Iterator[list[Router]]:
    """Three routers, all linked at equal cost: what the product must never make."""
    yield from _mesh(ready, actor, "ring", 23000, {(1, 0): 1, (2, 0): 1, (2, 1): 1})


@pytest.fixture
def spread(tree: list[Router], actor: Actor) -> Iterator[list[Client]]:
    """A client at each router of the tree."""
    clients = [actor.connect(router.url) for router in tree]
    yield clients
    for client in clients:
        client.close()


def eventually(check: Callable[..., Any], *arguments: Any, seconds: float = 10) -> Any:
    """Return the first true value of check(*arguments); the last one when none comes within the seconds."""
    deadline = time.monotonic() + seconds
    while not (value := check(*arguments)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


def _mesh(
    routers: Routers, actor: Actor, name: str, port: int, links: dict[tuple[int, int], int]
) -> Iterator[list[Router]]:
    configurations = mesh(port, links, 3)
    names = [f"{name}-{number}" for number in range(3)]
    started = [routers.start(one, sections) for one, sections in zip(names, configurations, strict=True)]
    for router in started:
        client = actor.connect(router.url)
        assert eventually(_settled, client, seconds=20), f"{router.name} knows {client.rows('router.node')} only"
        client.close()
    yield started
    routers.stop(*names)


def _settled(client: Client) -> bool:
    rows = client.rows("router.node", "id", "nextHop", "routerLink")
    return len([row for row in rows if row["nextHop"] or row["routerLink"] is not None]) == 3
