"""What the hosts of a deployment are charged for a run: one connection, one agent, one exchange for all facts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.model.inventory import load_deployment
from deployer.nornir_plugins.connection import CONNECTION_NAME
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.session import AgentSession
from deployer.plan.query import query
from deployer.rollout.fleet import Fleet
from tests.ssh.conftest import Start
from tests.ssh.sshd import Sshd


@pytest.fixture
def host(start: Start, tmp_path: Path) -> Sshd:
    return start(f"SetEnv SHLVL=5 HYBRIDMSG_STATE={tmp_path}/state")


@pytest.fixture
def fleet(host: Sshd, tmp_path: Path) -> Iterator[Fleet]:
    """A deployment of one host that is broker and notification consumer."""
    extras = host.extras()
    (tmp_path / "hosts.yaml").write_text(
        f"all1: {{hostname: 127.0.0.1, port: {host.port}, groups: [rabbitmq, ceilometer]}}\n"
    )
    (tmp_path / "defaults.yaml").write_text(
        "username: root\n"
        "connection_options:\n"
        "  hybridmsg_ssh:\n"
        f"    extras: {{key_file: {extras['key_file']}, known_hosts: {extras['known_hosts']}, become: none}}\n"
    )
    with Fleet(load_deployment(tmp_path), Progress(quiet=True)) as found:
        yield found


def observe(fleet: Fleet) -> None:
    """Read facts as a plan does, but for units: the machine of the tests need not be run by systemd."""
    fleet.ask_facts({"all1": query(["/etc/hostname", "/etc/hosts"], [])})


def session(fleet: Fleet) -> AgentSession:
    found = fleet._nornir.inventory.hosts["all1"].connections[CONNECTION_NAME].connection
    assert isinstance(found, AgentSession)
    return found


def test_all_facts_of_a_plan_cost_one_round_trip(fleet: Fleet) -> None:
    observe(fleet)
    assert session(fleet).round_trips == 1


def test_lock_and_facts_go_over_one_connection_and_one_agent(fleet: Fleet, host: Sshd) -> None:
    fleet.lock("run-1")
    first = session(fleet)
    observe(fleet)
    assert session(fleet) is first
    assert host.log.count("Accepted publickey") == 1


def test_reading_facts_leaves_nothing_on_the_host(fleet: Fleet, tmp_path: Path) -> None:
    observe(fleet)
    assert not (tmp_path / "state").exists()
