"""The product's tests in the lab: one migration serves them all, and what undoes it comes last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.cloud import SERVICE_HOSTS, fingerprints, hybridmsg
from tests.lab.e2e.inventories import MAIN, SECRETS

BROKERS = ("msg1", "msg2", "msg3")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cloud is pristine first, then migrated, then rolled back: each test runs where its fixture is true."""
    items.sort(key=_stage)


def _stage(item: pytest.Item) -> int:
    names = getattr(item, "fixturenames", ())
    return sum(name in names for name in ("migrated", "rolled_back"))


@dataclass(frozen=True)
class Migrated:
    """The cloud after the one migration: its JSON document, and what the service hosts were before."""

    lab: Lab
    document: dict[str, Any]
    before: dict[str, list[str]]


@pytest.fixture(scope="session")
def pristine(lab: Lab) -> Lab:
    """The lab as its images have it: nothing of an earlier run on any host."""
    used = [name for name in (*BROKERS, *SERVICE_HOSTS, "ops1") if _touched(lab, name)]
    if used:
        lab.reset(*used)
    lab.write("ops1", f"{MAIN}/secrets.yaml", SECRETS.encode(), mode=0o600)
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
def rolled_back(migrated: Migrated) -> tuple[Migrated, dict[str, Any]]:
    """The same cloud after `rollback`, and the rollback's document."""
    return migrated, hybridmsg(migrated.lab, "rollback")


@pytest.fixture
def undisturbed(migrated: Migrated) -> Iterator[Migrated]:
    """The migrated cloud, which a test must leave as it found it: files, owners, and what runs."""
    found = fingerprints(migrated.lab)
    yield migrated
    assert fingerprints(migrated.lab) == found
