"""The product's tests in the lab: one migration serves them all, and what undoes it comes last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.cloud import CONSUMER, SERVICE_HOSTS, add_routers, fingerprints, hybridmsg
from tests.lab.e2e import cells
from tests.lab.e2e.inventories import MAIN, SECRETS, Inventory

BROKERS = ("msg1", "msg2", "msg3")
ROUTERS = ("msg1", "msg2")
LIFE = ("pristine", "migrated", "hybrid", "standard_again", "rolled_back", "two_clusters")
"""The fixtures in the order in which they change the cloud; each needs the one before it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cloud lives through LIFE once: each test runs where its fixture is true."""
    items.sort(key=_stage)


def _stage(item: pytest.Item) -> int:
    names = getattr(item, "fixturenames", ())
    return max((place for place, name in enumerate(LIFE) if name in names), default=0)


@dataclass(frozen=True)
class Migrated:
    """The cloud after the one migration: its JSON document, and what the service hosts were before."""

    lab: Lab
    document: dict[str, Any]
    before: dict[str, list[str]]
    inventory: str = MAIN


@pytest.fixture(scope="session")
def pristine(lab: Lab) -> Lab:
    """The lab as its images have it: nothing of an earlier run on any host."""
    used = [name for name in (*BROKERS, *SERVICE_HOSTS, "ops1") if _touched(lab, name)]
    if used:
        lab.reset(*used)
    lab.write("ops1", f"{MAIN}/secrets.yaml", SECRETS.encode(), mode=0o600)
    # The tests make more runs than a cloud remembers, and go back to the first in the end.
    lab.run("ops1", f"sed -i 's/journal: {{runs: 20/journal: {{runs: 200/' {MAIN}/defaults.yaml")
    lab.run("ops1", ["grep", "-q", "runs: 200", f"{MAIN}/defaults.yaml"])
    return lab


def _touched(lab: Lab, host: str) -> bool:
    traces = "/var/lib/hybridmsg /var/lib/hybridmsg-controller /usr/sbin/rabbitmqctl"
    return lab.run(host, f"ls -d {traces}", check=False).stdout.strip() != ""


@pytest.fixture(scope="session")
def migrated(pristine: Lab) -> Migrated:
    """The cloud migrated once, with passwords that hold every awkward character."""
    before = fingerprints(pristine)
    document = hybridmsg(pristine, "migrate", timeout=900)
    return Migrated(pristine, document, before)


@pytest.fixture(scope="session")
def hybrid(migrated: Migrated) -> Iterator[Migrated]:
    """The cloud with RPC over two routers; nova's cell was given a literal URL before, as many clouds have it."""
    lab = migrated.lab
    cells.make_literal(lab)
    before = fingerprints(lab)
    add_routers(lab, *ROUTERS)
    yield Migrated(lab, hybridmsg(lab, "migrate", timeout=900), before)
    cells.make_template(lab)


@pytest.fixture(scope="session")
def standard_again(hybrid: Migrated) -> tuple[Migrated, dict[str, Any]]:
    """The cloud after the rollback of the hybrid migration, and the rollback's document."""
    return hybrid, hybridmsg(hybrid.lab, "rollback")


@pytest.fixture(scope="session")
def rolled_back(migrated: Migrated, standard_again: object) -> tuple[Migrated, dict[str, Any]]:
    """The cloud after the rollback of the first migration too, and that rollback's document."""
    return migrated, hybridmsg(migrated.lab, "rollback")


@pytest.fixture(scope="session")
def two_clusters(rolled_back: tuple[Migrated, dict[str, Any]]) -> Migrated:
    """Some projects of the cloud with RPC on one new RabbitMQ cluster and notifications on another; heat sends none."""
    lab = rolled_back[0].lab
    lab.reset(*BROKERS)
    inventory = Inventory(lab, "two-clusters")
    inventory.change("groups", rabbitmq_notify={}, controllers={"groups": ["neutron", "heat", "glance"]})
    inventory.change("hosts", msg1__groups=["rabbitmq"], msg2__groups=["rabbitmq"], msg3__groups=["rabbitmq_notify"])
    inventory.change(
        "defaults", data__oslomsg_notify_host_group="rabbitmq_notify", data__heat_oslomsg_notify_transport="none"
    )
    return Migrated(lab, hybridmsg(lab, "migrate", inventory=inventory.path, timeout=900), {}, inventory.path)


@pytest.fixture
def undisturbed(migrated: Migrated) -> Iterator[Migrated]:
    """The migrated cloud, which a test must leave as it found it: files, owners, and what runs."""
    found = fingerprints(migrated.lab)
    yield migrated
    assert fingerprints(migrated.lab) == found


@pytest.fixture
def undisturbed_hybrid(hybrid: Migrated) -> Iterator[Migrated]:
    """The hybrid cloud, which a test must leave as it found it."""
    found = fingerprints(hybrid.lab)
    yield hybrid
    assert fingerprints(hybrid.lab) == found


@pytest.fixture
def heat_to_routers(undisturbed: Migrated, request: pytest.FixtureRequest) -> Inventory:
    """An inventory in which heat, alone, is to go over two routers: the quickest switch there is."""
    inventory = heat_alone(undisturbed.lab, request.node.originalname, *ROUTERS)
    return inventory.change("defaults", data__hybridmsg__timeouts={"gate": 20, "drain": 8, "step": 40})


def heat_alone(lab: Lab, name: str, *routers: str) -> Inventory:
    """Return an inventory of heat and the brokers: what is done with it is done in a third of the time."""
    inventory = Inventory(lab, name)
    add_routers(lab, *routers, inventory=inventory.path)
    inventory.only(*BROKERS, "ctl1", "ctl2").change("groups", controllers={"groups": ["heat"]})
    # ceilometer, which is not in it, goes on reading heat's notifications in the vhost that heat's RPC may leave.
    return inventory.change("defaults", data__hybridmsg__waive=[lab.hosts[CONSUMER].address])
