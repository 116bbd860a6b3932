"""The door of an AMQP 1.0 router for tests: SASL in hand-written bytes, so that it depends on no library's build."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from io import BufferedReader

SASL = b"AMQP\x03\x01\x00\x00"
AMQP = b"AMQP\x00\x01\x00\x00"
USERS = {"nova@openstack": "n0va", "hybridmsg@openstack": "adm#in"}


def frame(body: bytes, kind: int = 1) -> bytes:
    return struct.pack(">IBBH", len(body) + 8, 2, kind, 0) + body


def performative(descriptor: int, fields: bytes, count: int = 1) -> bytes:
    """A described list8: 0x00, smallulong descriptor, 0xc0, size, count, fields (part 1.6.22 and 5.3.3)."""
    return b"\x00\x53" + bytes([descriptor]) + b"\xc0" + bytes([len(fields) + 1, count]) + fields


def mechanisms(*names: str) -> bytes:
    """An array8 of sym8: 0xe0, size, count, constructor 0xa3, elements."""
    elements = b"".join(bytes([len(name)]) + name.encode() for name in names)
    return frame(performative(0x40, b"\xe0" + bytes([len(elements) + 2, len(names)]) + b"\xa3" + elements))


def outcome(code: int) -> bytes:
    return frame(performative(0x44, b"\x50" + bytes([code])))


def credentials(init: bytes) -> tuple[str, str]:
    """User and password of a sasl-init; behind its mechanism stands a binary (vbin8, vbin32): NUL user NUL password."""
    after = init[init.index(b"PLAIN") + len("PLAIN") :]
    width = {0xA0: 1, 0xB0: 4}[after[0]]
    size = int.from_bytes(after[1 : 1 + width], "big")
    _, user, password = after[1 + width :][:size].split(b"\0")
    return user.decode(), password.decode()


class Door:
    """Listens on a port of the loopback and lets USERS in; then passes on to `behind`, or only shows AMQP's header."""

    def __init__(
        self, behind: int | None = None, offer: bytes | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._behind, self._tls = behind, tls
        self._offer = SASL + mechanisms("EXTERNAL", "PLAIN") if offer is None else offer
        self.opened = AMQP
        self.refusal = 1
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        if self._listening.fileno() >= 0:
            # A thread in accept() keeps a socket listening that is only closed.
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                threading.Thread(target=self._greet, args=(peer,), daemon=True).start()

    def _greet(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError, struct.error), contextlib.ExitStack() as held:
            held.enter_context(peer)
            inner = held.enter_context(self._tls.wrap_socket(peer, server_side=True)) if self._tls else peer
            reader = held.enter_context(inner.makefile("rb"))
            reader.read(len(SASL))
            inner.sendall(self._offer)
            [size] = struct.unpack(">I", reader.read(4))
            user, password = credentials(reader.read(size - 4))
            let_in = USERS.get(user) == password
            inner.sendall(outcome(0 if let_in else self.refusal))
            if let_in:
                self._pass_on(inner, reader)

    def _pass_on(self, inner: socket.socket, reader: BufferedReader) -> None:
        if self._behind is None:
            reader.read(len(AMQP))
            inner.sendall(self.opened)
            return
        with socket.create_connection(("127.0.0.1", self._behind)) as behind:
            back = threading.Thread(target=_pump, args=(behind.makefile("rb"), inner), daemon=True)
            back.start()
            _pump(reader, behind)


def _pump(source: BufferedReader, sink: socket.socket) -> None:
    """Pass on what comes until its end, and that end."""
    with contextlib.suppress(OSError):
        for chunk in iter(lambda: source.read1(65536), b""):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
