"""A preflight over real SSH, with the product's own agent: what it costs, and what it tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.model.inventory import load_deployment
from deployer.nornir_plugins.connection import CONNECTION_NAME
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.session import AgentSession
from deployer.plan.logins import logins
from deployer.rollout.fleet import Fleet
from tests.ssh.conftest import Start
from tests.unit.broker_door import BrokerDoor


@pytest.fixture
def broker() -> Iterator[BrokerDoor]:
    door = BrokerDoor()
    yield door
    door.close()


@pytest.fixture
def fleet(start: Start, tmp_path: Path, broker: BrokerDoor) -> Iterator[Fleet]:
    """One host that is broker and nova, run by a systemd that knows no unit; at the broker's port is a stand-in."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text("#!/bin/sh\nexit 0\n")
    (programs / "systemctl").chmod(0o755)
    host = start(f"SetEnv SHLVL=5 HYBRIDMSG_STATE={tmp_path}/state PATH={programs}:{os.environ['PATH']}")
    extras = host.extras()
    (tmp_path / "hosts.yaml").write_text(
        f"all1: {{hostname: 127.0.0.1, port: {host.port}, groups: [rabbitmq, nova]}}\n"
    )
    (tmp_path / "secrets.yaml").touch(0o600)
    (tmp_path / "secrets.yaml").write_text("nova_oslomsg_rpc_password: nova/password\n")
    (tmp_path / "defaults.yaml").write_text(
        "username: root\n"
        "connection_options:\n"
        "  hybridmsg_ssh:\n"
        f"    extras: {{key_file: {extras['key_file']}, known_hosts: {extras['known_hosts']}, become: none}}\n"
        f"data: {{hybridmsg: {{rabbitmq: {{port: {broker.port}}}}}}}\n"
    )
    with Fleet(load_deployment(tmp_path), Progress(quiet=True)) as found:
        yield found


def session(fleet: Fleet) -> AgentSession:
    found = fleet._nornir.inventory.hosts["all1"].connections[CONNECTION_NAME].connection
    assert isinstance(found, AgentSession)
    return found


def test_all_that_a_preflight_needs_of_a_host_costs_one_round_trip(fleet: Fleet, tmp_path: Path) -> None:
    examined, errors = fleet.examine(["all1"])
    assert errors == {}
    assert session(fleet).round_trips == 1
    one = examined["all1"]
    assert abs(one.ahead) < 5
    assert set(one.disk) == {f"{tmp_path}/state", "/etc"}
    assert {"127.0.0.1", "::1"} & set(one.addresses)
    assert fleet.facts["all1"].rabbitmq is not None
    assert not (tmp_path / "state").exists(), "nothing is left on the host"


def test_the_hosts_services_are_let_in_with_their_real_password(fleet: Fleet, broker: BrokerDoor) -> None:
    assert list(fleet.examine(["all1"])[0]["all1"].logins.values()) == [None]
    assert broker.left.wait(5)


def test_the_gate_is_one_more_round_trip_over_the_same_agent(fleet: Fleet) -> None:
    fleet.examine(["all1"])
    first = session(fleet)
    asked = {"all1": logins(fleet.deployment, fleet.deployment.hosts["all1"])}
    assert list(fleet.log_in(asked)["all1"].values()) == [None]
    assert session(fleet) is first
    assert first.round_trips == 2
