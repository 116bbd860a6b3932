"""What `hybridmsg preflight` finds on real hosts, and what an operator may let pass by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.cloud import SERVICE_HOSTS, fingerprints, hybridmsg, hybridmsg_ends
from tests.lab.e2e.conftest import BROKERS, ROUTERS, Migrated
from tests.lab.e2e.inventories import PASSWORDS, SECRETS, Inventory

KNOWN_HOSTS = "/root/.ssh/known_hosts"
DOWN = "10.77.0.99"
NOBODYS = "nova-fortune"


@pytest.fixture
def inventory(undisturbed: Migrated, request: pytest.FixtureRequest) -> Inventory:
    """A copy of the main inventory for this test."""
    return Inventory(undisturbed.lab, request.node.originalname)


@pytest.fixture
def with_a_host_that_is_down(inventory: Inventory, undisturbed: Migrated) -> Iterator[Inventory]:
    """An inventory with one more controller, known and out of reach."""
    lab = undisturbed.lab
    known = lab.read("ops1", KNOWN_HOSTS).decode().splitlines()
    key = next(line.partition(" ")[2] for line in known if line.startswith("ctl1,"))
    lab.write("ops1", "/root/known", "\n".join([*known, f"{DOWN} {key}", ""]).encode())
    inventory.change("hosts", ctl9={"hostname": DOWN, "groups": ["controllers"]})
    yield inventory.change("defaults", connection_options__hybridmsg_ssh__extras__known_hosts="/root/known")
    lab.run("ops1", "rm /root/known")


def found(document: dict[str, Any], check: str, state: str = "") -> list[dict[str, Any]]:
    """Return a preflight's findings of one check, in one state or in all."""
    return [one for one in document["findings"] if one["check"] == check and state in ("", one["state"])]


def waived(document: dict[str, Any]) -> set[str]:
    """Return the names of what was let pass."""
    return {one["waiver"] for one in document["findings"] if one["state"] == "waived"}


def let_in(document: dict[str, Any], *peers: str) -> None:
    """Fail unless every service host logged in to every one of those brokers and routers."""
    found_in = {(one["host"], one["detail"]) for one in found(document, "login", "ok")}
    missing = [
        (host, peer)
        for host in SERVICE_HOSTS
        for peer in peers
        if not any(host == where and f" {peer} lets" in detail for where, detail in found_in)
    ]
    assert missing == []


def test_a_migrated_cloud_passes_and_every_service_host_is_let_in_by_every_broker(undisturbed: Migrated) -> None:
    lab = undisturbed.lab
    before = fingerprints(lab, live=True)
    document = hybridmsg(lab, "preflight")
    assert (document["ok"], found(document, "login", "failed")) == (True, [])
    let_in(document, *BROKERS)
    assert fingerprints(lab, live=True) == before


def test_a_hybrid_cloud_passes_and_every_service_host_is_let_in_by_every_router_too(hybrid: Migrated) -> None:
    document = hybridmsg(hybrid.lab, "preflight")
    assert document["ok"] is True
    let_in(document, *BROKERS)
    let_in({"findings": [one for one in document["findings"] if "router" in one["detail"]]}, *ROUTERS)
    assert [one["state"] for one in found(document, "fanout")] == ["ok"]


def test_a_host_that_is_down_stops_a_migration_before_anything_is_touched(
    undisturbed: Migrated, with_a_host_that_is_down: Inventory
) -> None:
    lab = undisturbed.lab
    before = fingerprints(lab, live=True)
    with_a_host_that_is_down.change("defaults", data__hybridmsg__projects={"heat": {"vhost": "elsewhere"}})
    code, document, _ = hybridmsg_ends(lab, "migrate", inventory=with_a_host_that_is_down.path)
    assert (code, document["error"]["kind"]) == (4, "PreflightFailed")
    assert "ctl9" in document["error"]["message"]
    assert fingerprints(lab, live=True) == before


def test_a_host_that_is_down_passes_when_waived_by_name(
    undisturbed: Migrated, with_a_host_that_is_down: Inventory
) -> None:
    lab, inventory = undisturbed.lab, with_a_host_that_is_down.path
    code, document, err = hybridmsg_ends(lab, "preflight", "--waive", "ctl9", inventory=inventory)
    assert (code, waived(document)) == (0, {"ctl9"}), err
    assert hybridmsg(lab, "migrate", "--waive", "ctl9", inventory=inventory)["changed"] is False


def test_a_brokers_host_that_is_down_cannot_be_waived(
    undisturbed: Migrated, with_a_host_that_is_down: Inventory
) -> None:
    with_a_host_that_is_down.change("hosts", ctl9__groups=["rabbitmq"])
    code, document, _ = hybridmsg_ends(
        undisturbed.lab, "preflight", "--waive", "ctl9", inventory=with_a_host_that_is_down.path
    )
    assert (code, waived(document)) == (4, set())


def test_a_host_left_out_of_the_inventory_is_named_on_the_bus_that_its_project_leaves_and_passes_when_waived(
    undisturbed: Migrated, inventory: Inventory
) -> None:
    lab = undisturbed.lab
    rogue = lab.hosts["ctl2"].address
    inventory.only(*BROKERS, "ctl1", "tel1")
    inventory.change("defaults", data__hybridmsg__projects={"heat": {"vhost": "heat2"}})
    code, document, _ = hybridmsg_ends(lab, "preflight", inventory=inventory.path)
    strangers = found(document, "stranger", "failed")
    assert (code, [one["waiver"] for one in strangers]) == (3, [rogue])
    assert f"{rogue} is connected to vhost heat as heat" in strangers[0]["detail"]
    code, document, err = hybridmsg_ends(lab, "preflight", "--waive", rogue, inventory=inventory.path)
    assert (code, waived(document)) == (0, {rogue}), err


def test_an_openstack_unit_that_the_catalogue_does_not_know_is_told(undisturbed: Migrated) -> None:
    lab = undisturbed.lab
    lab.run("ctl1", f"systemd-run -q --unit={NOBODYS} sleep infinity")
    try:
        document = hybridmsg(lab, "preflight")
    finally:
        lab.run("ctl1", f"systemctl stop {NOBODYS}")
    told = [one for one in found(document, "unknown unit", "told") if NOBODYS in one["detail"]]
    assert [one["host"] for one in told] == ["ctl1"]


def test_a_password_that_brokers_refuse_is_found_from_every_service_host_and_not_printed(
    undisturbed: Migrated, inventory: Inventory
) -> None:
    lab = undisturbed.lab
    inventory.write("secrets", SECRETS.replace(PASSWORDS["glance"], "another-password"))
    code, document, err = hybridmsg_ends(lab, "preflight", inventory=inventory.path)
    refused = {(one["host"], one["detail"].split()[1].rstrip(":")) for one in found(document, "login", "failed")}
    assert code == 3
    assert refused >= {(host, broker) for host in ("ctl1", "ctl2") for broker in BROKERS}
    assert "another-password" not in f"{document}{err}"
