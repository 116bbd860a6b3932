from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deployer.agent import preflight
from tests.unit.agent.client import Client
from tests.unit.agent.conftest import Programs
from tests.unit.amqp_door import USERS, Door
from tests.unit.broker_door import BrokerDoor


@pytest.fixture
def broker() -> Iterator[BrokerDoor]:
    door = BrokerDoor()
    yield door
    door.close()


@pytest.fixture
def router() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


def asked(name: str, kind: str, port: int, user: str, password: str, **more: Any) -> dict[str, Any]:
    where = {"host": "127.0.0.1", "port": port, "tls": False, "tls_ca": None}
    return {"id": name, "kind": kind, **where, "user": user, "password": password, "vhost": "", "realm": "", **more}


def try_all(*logins: dict[str, Any], timeout: float = 5) -> dict[str, Any]:
    return dict(preflight.logins({"logins": list(logins), "timeout": timeout})["logins"])


def test_users_are_let_in_by_broker_and_router(broker: BrokerDoor, router: Door) -> None:
    first = asked("1", "rabbit", broker.port, "nova", "nova%2Fpassword", vhost="nova")
    second = asked("2", "amqp", router.port, "nova", USERS["nova@openstack"], realm="openstack")
    assert try_all(first, second) == {"1": None, "2": None}


def test_a_user_who_is_refused_is_told_from_a_peer_that_cannot_be_had(broker: BrokerDoor, router: Door) -> None:
    with socket.socket() as taken:
        # Bound and not listening: connections are refused for as long as the test lasts.
        taken.bind(("127.0.0.1", 0))
        closed = taken.getsockname()[1]
        found = try_all(
            asked("1", "rabbit", broker.port, "nova", "wrong", vhost="nova"),
            asked("2", "amqp", router.port, "nova", "wrong", realm="openstack"),
            asked("3", "rabbit", closed, "nova", "nova%2Fpassword", vhost="nova"),
        )
    assert {name: one["reached"] for name, one in found.items()} == {"1": True, "2": True, "3": False}
    assert found["3"]["problem"] == f"127.0.0.1:{closed} is not listening"


def test_one_refused_user_does_not_keep_the_next_from_being_tried(broker: BrokerDoor) -> None:
    found = try_all(
        asked("1", "rabbit", broker.port, "nova", "wrong", vhost="nova"),
        asked("2", "rabbit", broker.port, "nova", "nova%2Fpassword", vhost="nova"),
    )
    assert found["2"] is None


def test_a_peer_that_hangs_is_waited_for_once_for_all_of_its_users() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        logins = [asked(str(number), "rabbit", port, "nova", "x", vhost="nova") for number in range(50)]
        found = try_all(*logins, timeout=0.2)
        mute.settimeout(5)
        mute.accept()[0].close()
        mute.setblocking(False)
        with pytest.raises(BlockingIOError):
            mute.accept()
    assert {one["problem"] for one in found.values()} == {f"127.0.0.1:{port} does not answer within 0.2 s"}


def test_one_exchange_tells_facts_state_and_logins(
    programs: Programs, agents: Callable[..., Client], broker: BrokerDoor
) -> None:
    programs.add("systemctl")
    facts = {"files": {"/etc/hostname": None}, "units": [], "packages": [], "libraries": False, "rabbitmq": False}
    login = asked("1", "rabbit", broker.port, "nova", "nova%2Fpassword", vhost="nova")
    answer = agents().ask("preflight", facts=facts, router=None, logins=[login], timeout=5)
    assert answer["logins"] == {"1": None}
    assert answer["facts"]["files"]["/etc/hostname"]["exists"]
    assert "127.0.0.1" in answer["host"]["addresses"]
    assert answer["router"] is None
