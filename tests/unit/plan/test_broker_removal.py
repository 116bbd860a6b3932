"""What of a broker goes with --remove-backends: what the run made and nobody uses, never anything older."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from deployer.plan.broker_removal import Made, Removal, broker_removal
from deployer.plan.cluster_member import CONF, COOKIE
from deployer.plan.observed import HostFacts
from tests.unit.plan import cloud

SITE = cloud.deployment(cloud.project("nova", cloud.CTL1), cloud.project("glance", cloud.CTL1))
(CLUSTER,) = SITE.clusters
BROKER = cloud.broker(SITE)
MADE: dict[str, Any] = {
    "vhosts": ["nova", "glance"],
    "users": ["nova", "glance"],
    "permissions": [["nova", "nova"], ["glance", "glance"]],
    "policies": [["nova", "HA"]],
}
IMPORT: dict[str, Any] = {"kind": "rabbitmq.import", "status": "done", "target": "rabbitmq", "before": {}}
IMPORT["after"] = {"made": MADE}
INSTALL: dict[str, Any] = {"kind": "package.install", "status": "done", "target": "rabbitmq-server", "after": {}}
INSTALL["before"] = {"versions": {"rabbitmq-server": None}}


def wrote(path: str, sha256: str | None) -> dict[str, Any]:
    return {"kind": "file.write", "status": "done", "target": path, "before": {"sha256": sha256}, "after": {}}


def removal(*entries: dict[str, Any], broker: HostFacts = BROKER) -> Removal:
    return broker_removal(SITE, CLUSTER, {"msg1": broker}, {"msg1": entries})


def seen(**more: Any) -> HostFacts:
    return replace(BROKER, rabbitmq={**copy.deepcopy(BROKER.rabbitmq or {}), **more})


def removed(found: Removal) -> dict[str, Any]:
    steps = [one for wave in found.waves for own in wave.intents.values() for one in own]
    return next((one.args["made"] for one in steps if one.kind == "rabbitmq.remove"), {})


def kinds(found: Removal) -> list[str]:
    return [one.kind for wave in found.waves for own in wave.intents.values() for one in own]


def test_exactly_what_the_run_made_goes() -> None:
    assert removed(removal(IMPORT)) == MADE


def test_what_was_there_before_the_run_stays() -> None:
    found = removal()
    assert (found.waves, found.told) == ((), ("rabbitmq: the brokers stay: on msg1 the run did not install any",))


def test_a_vhost_that_somebody_is_connected_to_stays_with_its_user_and_is_told() -> None:
    found = removal(IMPORT, broker=seen(connections=[{"vhost": "nova", "user": "nova"}]))
    assert removed(found) == {
        "vhosts": ["glance"],
        "users": ["glance"],
        "permissions": [["glance"] * 2],
        "policies": [],
    }
    assert "rabbitmq: vhost nova stays: somebody is connected" in found.told


def test_a_user_that_is_connected_elsewhere_stays() -> None:
    found = removal(IMPORT, broker=seen(connections=[{"vhost": "old", "user": "glance"}]))
    assert (removed(found)["users"], removed(found)["vhosts"]) == (["nova"], ["nova", "glance"])


def test_a_broker_that_the_run_installed_goes_with_the_files_that_it_made() -> None:
    found = removal(INSTALL, wrote(CONF, None), wrote(COOKIE, "aa"), IMPORT)
    assert kinds(found) == ["rabbitmq.remove", "unit.stop", "unit.disable", "package.remove", "file.remove"]
    assert found.waves[-1].intents["msg1"][-1].args == {"path": CONF}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"connections": [{"vhost": "nova", "user": "nova"}]}, "somebody is connected to msg1"),
        ({"consumers": [{"vhost": "/", "queue": "q"}]}, "somebody is connected to msg1"),
        ({"definitions": {"vhosts": [{"name": "theirs"}], "users": []}}, "what the run did not make: theirs"),
        ({"definitions": {"vhosts": [], "users": [{"name": "them"}]}}, "what the run did not make: them"),
        ({"running": False}, "does not run, and cannot tell what it holds"),
    ],
    ids=["connection", "consumer", "vhost", "user", "down"],
)
def test_a_broker_that_serves_anybody_else_or_does_not_tell_stays(more: dict[str, Any], told: str) -> None:
    found = removal(INSTALL, IMPORT, broker=seen(**more))
    assert "package.remove" not in kinds(found)
    assert told in found.told[-1]


def test_what_several_hosts_imported_is_taken_together_and_once() -> None:
    other = {**IMPORT, "after": {"made": {"vhosts": ["nova", "heat"]}}}
    assert Made.of([[IMPORT], [other]]).vhosts == ("nova", "glance", "heat")
