"""Logins against a server of hand-written bytes, after OASIS AMQP 1.0 part 5.3; and an encrypted one."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployer.agent.amqp_login import login
from deployer.agent.endpoint import CredentialsError, Endpoint, LoginError
from tests.unit.amqp_door import SASL, USERS, Door, frame, mechanisms, performative

Doors = Callable[..., Door]


@pytest.fixture
def doors() -> Iterator[Doors]:
    """Make doors, each closed with the test."""
    made: list[Door] = []

    def make(offer: bytes | None = None, tls: ssl.SSLContext | None = None) -> Door:
        made.append(Door(offer=offer, tls=tls))
        return made[-1]

    yield make
    for door in made:
        door.close()


def enter(door: Door, user: str = "nova@openstack", password: str = "", ca: Path | None = None) -> None:
    login(Endpoint("127.0.0.1", door.port, str(ca) if ca else None), user, password or USERS["nova@openstack"], 5)


def test_the_right_password_is_let_in(doors: Doors) -> None:
    enter(doors())


@pytest.mark.parametrize(
    ("user", "password"), [("nova@openstack", "other"), ("nova", "n0va"), ("nova@elsewhere", "n0va")]
)
def test_a_wrong_password_or_realm_is_refused_by_name(doors: Doors, user: str, password: str) -> None:
    with pytest.raises(CredentialsError, match=f"^{user} is refused: wrong user or password$"):
        enter(doors(), user, password)


def test_a_router_whose_sasl_is_broken_says_so(doors: Doors) -> None:
    door = doors()
    door.refusal = 3

    with pytest.raises(CredentialsError, match="until somebody mends it"):
        enter(door, password="other")


def test_a_lone_mechanism_is_read_as_the_only_one(doors: Doors) -> None:
    enter(doors(SASL + frame(performative(0x40, b"\xa3\x05PLAIN"))))


def test_wide_encodings_of_the_same_frame_are_read(doors: Doors) -> None:
    names = b"".join(len(name).to_bytes(4, "big") + name for name in (b"ANONYMOUS", b"PLAIN"))
    array = b"\xf0" + (len(names) + 5).to_bytes(4, "big") + (2).to_bytes(4, "big") + b"\xb3" + names
    wide = b"\x00\x80" + (0x40).to_bytes(8, "big")
    enter(doors(SASL + frame(wide + b"\xd0" + (len(array) + 4).to_bytes(4, "big") + (1).to_bytes(4, "big") + array)))


def test_a_router_without_plain_is_told_by_what_it_offers(doors: Doors) -> None:
    with pytest.raises(LoginError, match="offers no PLAIN login, only ANONYMOUS, EXTERNAL"):
        enter(doors(SASL + mechanisms("ANONYMOUS", "EXTERNAL")))


@pytest.mark.parametrize(
    ("greeting", "told"),
    [
        (b"AMQP\x00\x00\x09\x01", "AMQP 0-9-1, as a RabbitMQ"),
        (b"AMQP\x00\x01\x00\x00", "AMQP without a login"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no AMQP 1.0 router"),
        (b"\x15\x03\x01\x00\x02\x02\x46....", "it wants TLS"),
        (SASL + b"\xff" * 8, "something else than AMQP 1.0's SASL frames"),
        (SASL + frame(b"\x00\x53\x40\xc0\xff\x01"), "something else than AMQP 1.0's SASL frames"),
        (SASL + frame(performative(0x44, b"\x50\x00")), "another frame"),
    ],
)
def test_what_is_no_such_router_is_told_by_what_it_is(doors: Doors, greeting: bytes, told: str) -> None:
    with pytest.raises(LoginError, match=re.escape(told)):
        enter(doors(greeting))


def test_a_router_that_hangs_up_behind_a_good_login_lets_nobody_in(doors: Doors) -> None:
    door = doors()
    door.opened = b""

    with pytest.raises(LoginError, match="closes the connection during the login: it may want TLS"):
        enter(door)


def test_a_port_where_nobody_listens_is_told() -> None:
    with socket.socket() as taken:
        # Bound and not listening: connections are refused for as long as the test lasts.
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(LoginError, match=f"^127.0.0.1:{port} is not listening$"):
            login(Endpoint("127.0.0.1", port), "nova@openstack", "n0va", 5)


def test_a_router_that_hangs_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(LoginError, match=r"not answer within 0\.1 s"):
        login(Endpoint("127.0.0.1", mute.getsockname()[1]), "nova@openstack", "n0va", 0.1)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for msg1 that is its own CA, and its key."""
    made = (folder / "cert.pem", folder / "key.pem")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(made[1])]
    name = ["-subj", "/CN=msg1", "-addext", "subjectAltName=DNS:msg1", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *key, *name, "-out", str(made[0])], check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def encrypted(doors: Doors, certificate: tuple[Path, Path]) -> Door:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return doors(tls=context)


def test_an_encrypted_login_is_let_in(encrypted: Door, certificate: tuple[Path, Path]) -> None:
    enter(encrypted, ca=certificate[0])


def test_a_certificate_of_another_ca_is_not_accepted(encrypted: Door, tmp_path: Path) -> None:
    with pytest.raises(LoginError, match="certificate is not accepted: self-signed certificate"):
        enter(encrypted, ca=self_signed(tmp_path)[0])


def test_a_certificate_with_another_name_is_not_accepted(
    encrypted: Door, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    login(Endpoint("msg1", encrypted.port, str(certificate[0])), "nova@openstack", "n0va", 5)

    with pytest.raises(LoginError, match="certificate is not accepted"):
        login(Endpoint("msg2", encrypted.port, str(certificate[0])), "nova@openstack", "n0va", 5)


def test_a_missing_ca_file_is_named(encrypted: Door, tmp_path: Path) -> None:
    with pytest.raises(LoginError, match=f"the CA file {tmp_path / 'ca'} cannot be read"):
        enter(encrypted, ca=tmp_path / "ca")


def test_a_router_without_tls_is_told_from_a_wrong_certificate(doors: Doors, certificate: tuple[Path, Path]) -> None:
    with pytest.raises(LoginError, match=r"no TLS session|closes the connection"):
        enter(doors(), ca=certificate[0])


def test_no_error_shows_the_password(doors: Doors) -> None:
    with pytest.raises(LoginError) as caught:
        enter(doors(), password="s3cret")
    assert "s3cret" not in f"{caught.value} {caught.value.frame()}"
