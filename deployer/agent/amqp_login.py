"""Logs in to an AMQP 1.0 router by SASL PLAIN and leaves: does this password open it?

Only the security layer of the protocol, with the standard library: protocol header, mechanisms, init, outcome
(OASIS AMQP 1.0, part 5.3), and then AMQP's own header: qdrouterd looks only there whether the peer has the TLS that
it requires. No connection is opened behind it.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass

from deployer.agent import amqp_types
from deployer.agent.errors import AgentError

_SASL_HEADER = b"AMQP\x03\x01\x00\x00"
_AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
_MECHANISMS, _INIT, _OUTCOME = 0x40, 0x41, 0x44  # the frames' descriptors
_LET_IN = 0
_OUTCOMES: dict[object, str] = {
    1: "wrong user or password",
    2: "the router's SASL fails for a reason of its own",
    3: "the router's SASL fails until somebody mends it",
    4: "the router's SASL fails for the moment",
}
_CLOSED = "closes the connection during the login: it may want TLS, or none"
_FRAME_LIMIT = 65536  # bytes; a mechanisms frame has some dozen
_TLS_ALERT = b"\x15\x03"


class LoginError(AgentError):
    """Nobody was let in; the text says why and names host and port."""

    type = "refused"


class CredentialsError(LoginError):
    """The router listens, speaks SASL PLAIN and does not let this user in with this password."""


@dataclass(frozen=True)
class Endpoint:
    """A router's listener; `tls_ca` is a file of CA certificates, None for plain TCP."""

    host: str
    port: int
    tls_ca: str | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def login(endpoint: Endpoint, user: str, password: str, timeout: float) -> None:
    """Return when `user` (with its realm) is let in; raises CredentialsError, LoginError.

    `timeout` is in seconds for each thing waited for.
    """
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout) as plain:
            _handshake(endpoint, plain, user, password)
    except ssl.SSLCertVerificationError as error:
        raise LoginError(f"{endpoint}: its certificate is not accepted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise LoginError(f"{endpoint}: no TLS session: {error.reason or error}") from error
    except ConnectionResetError as error:
        raise LoginError(f"{endpoint} {_CLOSED}") from error
    except ConnectionRefusedError as error:
        raise LoginError(f"{endpoint} is not listening") from error
    except socket.timeout as error:  # noqa: UP041 - Python 3.9 has it as a class of its own
        raise LoginError(f"{endpoint} does not answer within {timeout:g} s") from error
    except OSError as error:
        raise LoginError(f"{endpoint} cannot be had: {error.strerror or error}") from error


def _handshake(endpoint: Endpoint, plain: socket.socket, user: str, password: str) -> None:
    if endpoint.tls_ca is None:
        _sasl(endpoint, plain, user, password)
        return
    try:
        context = ssl.create_default_context(cafile=endpoint.tls_ca)
    except (FileNotFoundError, PermissionError) as error:
        raise LoginError(f"the CA file {endpoint.tls_ca} cannot be read: {error.strerror}") from error
    # A certificate names the host; its loopback, where nobody stands in between, goes without.
    context.check_hostname = not is_loopback(endpoint.host)
    with context.wrap_socket(plain, server_hostname=endpoint.host) as wrapped:
        _sasl(endpoint, wrapped, user, password)


def is_loopback(host: str) -> bool:
    """Whether `host` is an address (or the name) of the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sasl(endpoint: Endpoint, peer: socket.socket, user: str, password: str) -> None:
    peer.sendall(_SASL_HEADER)
    header = _read(endpoint, peer, len(_SASL_HEADER))
    if header != _SASL_HEADER:
        raise LoginError(f"{endpoint}: {_other_protocol(header)}")
    offered = _mechanisms(_frame(endpoint, peer, _MECHANISMS))
    if "PLAIN" not in offered:
        raise LoginError(f"{endpoint} offers no PLAIN login, only {', '.join(offered) or 'nothing'}")
    response = b"\0".join((b"", user.encode(), password.encode()))
    init = [amqp_types.symbol("PLAIN"), amqp_types.binary(response), amqp_types.string(endpoint.host)]
    peer.sendall(amqp_types.sasl_frame(_INIT, *init))
    code = next(iter(_frame(endpoint, peer, _OUTCOME)), None)
    if code != _LET_IN:
        raise CredentialsError(f"{user} is refused: {_OUTCOMES.get(code, f'SASL outcome {code}')}")
    peer.sendall(_AMQP_HEADER)
    if _read(endpoint, peer, len(_AMQP_HEADER)) != _AMQP_HEADER:
        raise LoginError(f"{endpoint} goes on with something else than AMQP 1.0")


def _other_protocol(header: bytes) -> str:
    if header[:2] == _TLS_ALERT:
        return "it wants TLS"
    if header[:5] == b"AMQP\0":
        return "AMQP without a login" if header[5:6] == b"\1" else "AMQP 0-9-1, as a RabbitMQ"
    return "what listens there is no AMQP 1.0 router"


def _read(endpoint: Endpoint, peer: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        chunk = peer.recv(size - len(content))
        if not chunk:
            raise LoginError(f"{endpoint} {_CLOSED}")
        content += chunk
    return content


def _frame(endpoint: Endpoint, peer: socket.socket, wanted: int) -> list[object]:
    """Read one SASL frame and return its fields."""
    try:
        size, skipped = amqp_types.frame_sizes(_read(endpoint, peer, amqp_types.HEADER_SIZE), _FRAME_LIMIT)
        descriptor, fields = amqp_types.described_list(_read(endpoint, peer, size)[skipped:])
    except amqp_types.MalformedError as error:
        raise LoginError(f"{endpoint} sends something else than AMQP 1.0's SASL frames") from error
    if descriptor != wanted:
        raise LoginError(f"{endpoint} answers the login with another frame than AMQP 1.0 has there")
    return fields


def _mechanisms(fields: list[object]) -> list[str]:
    """Return the offered names: a lone symbol may stand for an array of one."""
    offered = fields[0] if fields else []
    return [str(name) for name in (offered if isinstance(offered, list) else [offered])]
