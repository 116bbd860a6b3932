"""Logs in to an AMQP 1.0 router by SASL PLAIN and leaves: does this password open it?

Only the security layer of the protocol, with the standard library: protocol header, mechanisms, init, outcome
(OASIS AMQP 1.0, part 5.3), and then AMQP's own header: qdrouterd looks only there whether the peer has the TLS that
it requires. No connection is opened behind it.
"""

from __future__ import annotations

import socket

from deployer.agent import amqp_types
from deployer.agent.endpoint import TLS_ALERT, CredentialsError, Endpoint, LoginError, connected, read_exactly

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
_FRAME_LIMIT = 65536  # bytes; a mechanisms frame has some dozen


def login(endpoint: Endpoint, user: str, password: str, timeout: float) -> None:
    """Return when `user` (with its realm) is let in; raises CredentialsError, LoginError.

    `timeout` is in seconds for each thing waited for.
    """
    with connected(endpoint, timeout, verify_name=True) as peer:
        _sasl(endpoint, peer, user, password)


def _sasl(endpoint: Endpoint, peer: socket.socket, user: str, password: str) -> None:
    peer.sendall(_SASL_HEADER)
    header = read_exactly(endpoint, peer, len(_SASL_HEADER))
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
    if read_exactly(endpoint, peer, len(_AMQP_HEADER)) != _AMQP_HEADER:
        raise LoginError(f"{endpoint} goes on with something else than AMQP 1.0")


def _other_protocol(header: bytes) -> str:
    if header[:2] == TLS_ALERT:
        return "it wants TLS"
    if header[:5] == b"AMQP\0":
        return "AMQP without a login" if header[5:6] == b"\1" else "AMQP 0-9-1, as a RabbitMQ"
    return "what listens there is no AMQP 1.0 router"


def _frame(endpoint: Endpoint, peer: socket.socket, wanted: int) -> list[object]:
    """Read one SASL frame and return its fields."""
    try:
        size, skipped = amqp_types.frame_sizes(read_exactly(endpoint, peer, amqp_types.HEADER_SIZE), _FRAME_LIMIT)
        descriptor, fields = amqp_types.described_list(read_exactly(endpoint, peer, size)[skipped:])
    except amqp_types.MalformedError as error:
        raise LoginError(f"{endpoint} sends something else than AMQP 1.0's SASL frames") from error
    if descriptor != wanted:
        raise LoginError(f"{endpoint} answers the login with another frame than AMQP 1.0 has there")
    return fields


def _mechanisms(fields: list[object]) -> list[str]:
    """Return the offered names: a lone symbol may stand for an array of one."""
    offered = fields[0] if fields else []
    return [str(name) for name in (offered if isinstance(offered, list) else [offered])]
