"""The door of a RabbitMQ for tests: AMQP 0-9-1 up to Open-Ok, with the frames that RabbitMQ 3.10.8 was seen to send."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from io import BufferedReader
from pathlib import Path

START = bytes.fromhex((Path(__file__).parent / "data" / "rabbitmq-connection-start.hex").read_text())
TUNE = bytes.fromhex("0100000000000c000a001e07ff00020000003cce")
OPEN_OK = bytes.fromhex("01000000000005000a002900ce")
REFUSED = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
USERS = {"nova": "nova%2Fpassword", "glance": "gl$ance"}
VHOSTS = {"nova": {"nova"}, "/": {"nova", "glance"}}
"""The users of each vhost."""


def close(code: int, text: str, class_id: int = 0, method: int = 0) -> bytes:
    """A Connection.Close as RabbitMQ sends it."""
    body = struct.pack(">HHHB", 10, 50, code, len(text)) + text.encode() + struct.pack(">HH", class_id, method)
    return struct.pack(">BHI", 1, 0, len(body)) + body + b"\xce"


class BrokerDoor:
    """Listens on a port of the loopback; `greeting` stands for its first words. `left` is set by a proper goodbye."""

    def __init__(self, greeting: bytes = START, tls: ssl.SSLContext | None = None) -> None:
        self._greeting, self._tls = greeting, tls
        self.attempts = 0
        self.left = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        # A thread in accept() keeps a socket listening that is only closed.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                self.attempts += 1
                threading.Thread(target=self._greet, args=(peer,), daemon=True).start()

    def _greet(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError, struct.error), contextlib.ExitStack() as held:
            held.enter_context(peer)
            inner = held.enter_context(self._tls.wrap_socket(peer, server_side=True)) if self._tls else peer
            self._let_in(inner, held.enter_context(inner.makefile("rb")))

    def _let_in(self, inner: socket.socket, reader: BufferedReader) -> None:
        _must_be(reader.read(8), b"AMQP\x00\x00\x09\x01")
        inner.sendall(self._greeting)
        if not self._greeting:
            return
        user, password = _credentials(_method(reader, 11))
        if USERS.get(user) != password:
            inner.sendall(close(403, REFUSED))
            return
        inner.sendall(TUNE)
        _must_be(_method(reader, 31), bytes.fromhex("07ff000200000000"))
        arguments = _method(reader, 40)
        vhost = arguments[1 : 1 + arguments[0]].decode()
        if user not in VHOSTS.get(vhost, set()):
            why = f"access to vhost '{vhost}' refused for user '{user}'"
            why = why if vhost in VHOSTS else f"vhost {vhost} not found"
            inner.sendall(close(530, f"NOT_ALLOWED - {why}", 10, 40))
            return
        inner.sendall(OPEN_OK)
        _method(reader, 50)
        self.left.set()


def _method(reader: BufferedReader, wanted: int) -> bytes:
    """Return the arguments of the connection method that must come next."""
    kind, channel, size = struct.unpack(">BHI", reader.read(7))
    body = reader.read(size + 1)
    _must_be((kind, channel, body[-1]), (1, 0, 0xCE))
    _must_be(struct.unpack_from(">HH", body), (10, wanted))
    return body[4:-1]


def _credentials(start_ok: bytes) -> tuple[str, str]:
    """User and password: behind the client's properties and the mechanism stands NUL user NUL password."""
    (properties,) = struct.unpack_from(">I", start_ok)
    rest = start_ok[4 + properties :]
    _must_be(rest[:6], b"\x05PLAIN")
    (size,) = struct.unpack_from(">I", rest, 6)
    _, user, password = rest[10 : 10 + size].split(b"\0")
    _must_be(rest[10 + size :], b"\x05en_US")
    return user.decode(), password.decode()


def _must_be(sent: object, wanted: object) -> None:
    """Hang up on a client that breaks the protocol: that fails its test."""
    if sent != wanted:
        raise ValueError(sent)
