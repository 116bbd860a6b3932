"""Logins against a server that answers with the frames of a RabbitMQ 3.10.8."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployer.agent.broker_login import login
from deployer.agent.endpoint import CredentialsError, Endpoint, LoginError
from tests.unit.agent.test_amqp_login import self_signed
from tests.unit.broker_door import START, USERS, BrokerDoor, close

Doors = Callable[..., BrokerDoor]


@pytest.fixture
def doors() -> Iterator[Doors]:
    """Make doors, each closed with the test."""
    made: list[BrokerDoor] = []

    def make(greeting: bytes = START, tls: ssl.SSLContext | None = None) -> BrokerDoor:
        made.append(BrokerDoor(greeting, tls))
        return made[-1]

    yield make
    for door in made:
        door.close()


def enter(door: BrokerDoor, user: str = "nova", password: str = "", vhost: str = "nova", ca: str | None = None) -> None:
    login(Endpoint("127.0.0.1", door.port, ca), user, password or USERS["nova"], vhost, 5)


def test_the_right_password_opens_the_vhost_and_says_goodbye(doors: Doors) -> None:
    door = doors()
    enter(door)
    assert door.left.wait(5)


@pytest.mark.parametrize(
    ("user", "password", "vhost", "told"),
    [
        ("nova", "nova/password", "nova", "nova is refused: ACCESS_REFUSED"),
        ("nobody", "nova%2Fpassword", "nova", "nobody is refused: ACCESS_REFUSED"),
        ("glance", "gl$ance", "nova", "glance is refused the vhost nova: NOT_ALLOWED - access to vhost 'nova' refused"),
        ("nova", "nova%2Fpassword", "/nova", "nova is refused the vhost /nova: NOT_ALLOWED - vhost /nova not found"),
    ],
    ids=["password", "user", "permission", "vhost"],
)
def test_a_refusal_of_the_broker_is_told_in_its_own_words(
    doors: Doors, user: str, password: str, vhost: str, told: str
) -> None:
    with pytest.raises(CredentialsError, match=f"^{re.escape(told)}"):
        enter(doors(), user, password, vhost)


@pytest.mark.parametrize(
    ("greeting", "told"),
    [
        (b"AMQP\x03\x01\x00\x00", "AMQP of another version than 0-9-1, as a router"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no RabbitMQ"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "it wants TLS"),
        (b"", "closes the connection"),
        (START[:-1] + b"\x00", "no RabbitMQ"),
        (START.replace(b"PLAIN AMQPLAIN", b"GSSAPI EXTERN."), "offers no PLAIN login, only GSSAPI, EXTERN."),
        (struct.pack(">BHI", 1, 0, 8) + struct.pack(">HHBB", 10, 10, 0, 9) + b"\0\0\xce", "greets with something else"),
        (struct.pack(">BHIHH", 1, 0, 4, 10, 30) + b"\xce", "answers the login with another method"),
        (close(320, "CONNECTION_FORCED - broker shut down"), "closes the connection: 320 CONNECTION_FORCED"),
        (START + struct.pack(">BHIHH", 1, 0, 4, 10, 20) + b"\xce", "wants more than user and password"),
        (START + close(541, "INTERNAL_ERROR"), "closes the connection: 541 INTERNAL_ERROR"),
    ],
)
def test_what_is_no_such_broker_is_told_by_what_it_is(doors: Doors, greeting: bytes, told: str) -> None:
    with pytest.raises(LoginError, match=re.escape(told)) as caught:
        enter(doors(greeting))
    assert not isinstance(caught.value, CredentialsError)


def test_a_broker_that_hangs_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(LoginError, match=r"not answer within 0\.1 s"):
        login(Endpoint("127.0.0.1", mute.getsockname()[1]), "nova", "x", "nova", 0.1)


def test_a_vhost_whose_name_is_too_long_for_the_protocol_is_an_error_of_its_own(doors: Doors) -> None:
    with pytest.raises(LoginError, match="longer than the 255 bytes"):
        enter(doors(), vhost="n" * 256)


def test_no_error_shows_the_password(doors: Doors) -> None:
    with pytest.raises(LoginError) as caught:
        enter(doors(), password="s3cret")
    assert "s3cret" not in f"{caught.value} {caught.value.frame()}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def encrypted(doors: Doors, certificate: tuple[Path, Path]) -> BrokerDoor:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return doors(tls=context)


def test_a_certificate_of_the_ca_is_accepted_under_any_name_as_the_rabbit_driver_does(
    encrypted: BrokerDoor, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    login(Endpoint("msg9", encrypted.port, str(certificate[0])), "nova", "nova%2Fpassword", "nova", 5)


def test_a_certificate_of_another_ca_is_not_accepted(encrypted: BrokerDoor, tmp_path: Path) -> None:
    with pytest.raises(LoginError, match="certificate is not accepted"):
        enter(encrypted, ca=str(self_signed(tmp_path)[0]))


def test_tls_without_a_ca_takes_the_systems(encrypted: BrokerDoor) -> None:
    with pytest.raises(LoginError, match="certificate is not accepted: self-signed"):
        login(Endpoint("127.0.0.1", encrypted.port, tls=True), "nova", "nova%2Fpassword", "nova", 5)


def test_a_broker_without_tls_is_told_from_a_wrong_certificate(doors: Doors, certificate: tuple[Path, Path]) -> None:
    with pytest.raises(LoginError, match=r"no TLS session|closes the connection"):
        enter(doors(), ca=str(certificate[0]))
