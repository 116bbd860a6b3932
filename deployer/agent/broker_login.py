"""Logs in to a RabbitMQ broker as a service does, opens a vhost and leaves: does this password open it?

AMQP 0-9-1 up to Connection.Open-Ok (its specification, sections 1.4 and 2.2.4; the methods' numbers are in
amqp0-9-1.xml), with the standard library. No channel is opened: nothing is declared, and nothing is left behind.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from deployer.agent.endpoint import TLS_ALERT, CredentialsError, Endpoint, LoginError, connected, read_exactly

_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD, _END = 1, 0xCE
_NAME_LIMIT = 255
_FRAME_LIMIT = 131072  # bytes; Connection.Start, the longest here, has some hundred
_START, _START_OK, _SECURE, _TUNE, _TUNE_OK, _OPEN, _OPEN_OK, _CLOSE = (
    (10, number) for number in (10, 11, 20, 30, 31, 40, 41, 50)
)
_GOODBYE = struct.pack(">HB", 200, 0) + bytes(4)
_ACCESS_REFUSED, _NOT_ALLOWED = 403, 530


def login(endpoint: Endpoint, user: str, password: str, vhost: str, timeout: float) -> None:
    """Return when `user` is let in and may use `vhost`; raises CredentialsError, LoginError.

    `timeout` is in seconds for each thing waited for. A certificate need not have the broker's name: oslo.messaging's
    rabbit driver does not look (impl_rabbit.py of 14.0.3, _fetch_ssl_params).
    """
    with connected(endpoint, timeout, verify_name=False) as peer:
        peer.sendall(_HEADER)
        mechanisms = _mechanisms(endpoint, _expect(endpoint, peer, _START))
        if "PLAIN" not in mechanisms:
            raise LoginError(f"{endpoint} offers no PLAIN login, only {', '.join(mechanisms) or 'nothing'}")
        _send(peer, _START_OK, _start_ok(user, password))
        _send_tune(peer, _expect(endpoint, peer, _TUNE, refused=f"{user} is refused"))
        _send(peer, _OPEN, _short(vhost) + b"\0\0")
        _expect(endpoint, peer, _OPEN_OK, refused=f"{user} is refused the vhost {vhost}")
        # A peer that is gone by now has said all that was asked.
        with suppress(OSError):
            _send(peer, _CLOSE, _GOODBYE)
            peer.recv(1)


def _start_ok(user: str, password: str) -> bytes:
    """Return the arguments: client properties, mechanism, response, locale.

    With the capability a refusal is told, not only the connection closed (rabbitmq.com/docs/auth-notification).
    """
    response = b"\0".join((b"", user.encode(), password.encode()))
    say_why = _short("authentication_failure_close") + b"t\1"
    properties = _short("capabilities") + b"F" + _long(say_why)
    return _long(properties) + _short("PLAIN") + _long(response) + _short("en_US")


def _send_tune(peer: socket.socket, offered: bytes) -> None:
    channels, frame = struct.unpack_from(">HI", offered)
    _send(peer, _TUNE_OK, struct.pack(">HIH", channels, frame, 0))


def _expect(endpoint: Endpoint, peer: socket.socket, wanted: tuple[int, int], refused: str = "") -> bytes:
    """Return the arguments of the method that comes next; what else comes is an error of its own."""
    method, arguments = _receive(endpoint, peer)
    if method == wanted:
        return arguments
    if method == _CLOSE:
        code, text = _reason(arguments)
        if refused and code in (_ACCESS_REFUSED, _NOT_ALLOWED):
            raise CredentialsError(f"{refused}: {text}")
        raise LoginError(f"{endpoint} closes the connection: {code} {text}")
    if method == _SECURE:
        raise LoginError(f"{endpoint} wants more than user and password")
    raise LoginError(f"{endpoint} answers the login with another method than AMQP 0-9-1 has there")


def _receive(endpoint: Endpoint, peer: socket.socket) -> tuple[tuple[int, int], bytes]:
    head = read_exactly(endpoint, peer, 7)
    kind, _channel, size = struct.unpack(">BHI", head)
    if kind != _METHOD or not 4 <= size <= _FRAME_LIMIT:
        raise LoginError(f"{endpoint}: {_other_protocol(head)}")
    body = read_exactly(endpoint, peer, size + 1)
    if body[-1] != _END:
        raise LoginError(f"{endpoint}: {_other_protocol(head)}")
    first, second = struct.unpack_from(">HH", body)
    return (first, second), body[4:-1]


def _other_protocol(head: bytes) -> str:
    if head[:2] == TLS_ALERT:
        return "it wants TLS"
    if head[:4] == b"AMQP":
        return "AMQP of another version than 0-9-1, as a router"
    return "what listens there is no RabbitMQ"


def _send(peer: socket.socket, method: tuple[int, int], arguments: bytes) -> None:
    body = struct.pack(">HH", *method) + arguments
    peer.sendall(struct.pack(">BHI", _METHOD, 0, len(body)) + body + bytes([_END]))


def _mechanisms(endpoint: Endpoint, start: bytes) -> list[str]:
    """Return the mechanisms offered: behind two octets of version and the table of the server's properties."""
    try:
        (skipped,) = struct.unpack_from(">I", start, 2)
        (size,) = struct.unpack_from(">I", start, 6 + skipped)
    except struct.error as error:
        raise LoginError(f"{endpoint} greets with something else than AMQP 0-9-1") from error
    return start[10 + skipped : 10 + skipped + size].decode("utf-8", "replace").split()


def _reason(arguments: bytes) -> tuple[int, str]:
    (code,) = struct.unpack_from(">H", arguments)
    return code, arguments[3 : 3 + arguments[2]].decode("utf-8", "replace")


def _short(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > _NAME_LIMIT:
        raise LoginError(f"{text} is longer than the {_NAME_LIMIT} bytes that AMQP 0-9-1 has for a name")
    return struct.pack("B", len(encoded)) + encoded


def _long(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content
