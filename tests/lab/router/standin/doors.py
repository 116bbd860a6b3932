"""Listeners and connectors: how connections come to be, with SASL and TLS as their sections say."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from proton import SSL, SSLDomain, SSLException, Transport

from .config import Entity
from .journal import Journal
from .loop import Loop, Timer
from .peer import Peer, Side

_CAPACITY = 250
_RETRY_SECONDS = 1.0
_PORTS = {"amqp": 5672, "amqps": 5671}

Admit = Callable[[socket.socket, Transport, Side], Peer]


class Listener:
    """Accepts connections on one address; raises OSError when it cannot be had."""

    def __init__(
        self,
        entity: Entity,
        profiles: Mapping[str, Entity],
        sasl: tuple[str, str],
        loop: Loop,
        journal: Journal,
        admit: Admit,
    ) -> None:
        self.entity = entity
        self._profiles = profiles
        self._sasl = sasl
        self._loop = loop
        self._journal = journal
        self._admit = admit
        host = entity.text("host") or "0.0.0.0"  # noqa: S104 - what an empty host means to qdrouterd
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sock = socket.create_server((host, _port(entity)), family=family, backlog=128)
        self._sock.setblocking(False)
        loop.watch(self._sock, selectors.EVENT_READ, self._accept)
        journal.write("SERVER", "notice", f"Listening on {host}:{_port(entity)} ({entity.text('role')})")

    def close(self) -> None:
        """Accept no more; connections that are there stay."""
        self._loop.forget(self._sock)
        self._sock.close()

    def _accept(self, events: int) -> None:
        del events
        try:
            sock, (host, port, *_) = self._sock.accept()
        except OSError:
            return
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        side = _side(self.entity, "in", f"{host}:{port}")
        transport = Transport(Transport.SERVER)
        try:
            self._secure(transport)
        except (SSLException, OSError) as error:
            self._journal.error("SERVER", f"Connection from {side.other} to {self.entity.name}: no TLS: {error}")
            sock.close()
            return
        self._admit(sock, transport, side).start()

    def _secure(self, transport: Transport) -> None:
        entity = self.entity
        profile = entity.text("sslProfile")
        if profile:
            domain = SSLDomain(SSLDomain.MODE_SERVER)
            settings = _profile(self._profiles, profile)
            _readable(settings, "certFile", "privateKeyFile")
            key = settings.text("privateKeyFile")
            domain.set_credentials(settings.text("certFile"), key, settings.text("password") or None)
            if ca := settings.text("caCertFile"):
                _readable(settings, "caCertFile")
                domain.set_trusted_ca_db(ca)
            if not entity.flag("requireSsl"):
                domain.allow_unsecured_client()
            SSL(transport, domain)
        sasl = transport.sasl()
        path, name = self._sasl
        sasl.config_name(name)
        if path:
            sasl.config_path(path)
        if mechanisms := entity.text("saslMechanisms"):
            sasl.allowed_mechs(mechanisms.replace(",", " "))
        sasl.allow_insecure_mechs = True
        transport.require_auth(entity.flag("authenticatePeer"))
        transport.require_encryption(entity.flag("requireEncryption") or entity.flag("requireSsl"))
        transport.idle_timeout = entity.number("idleTimeoutSeconds", 16)


class Connector:
    """Keeps one connection to another router, trying again for as long as it is there."""

    def __init__(
        self, entity: Entity, profiles: Mapping[str, Entity], loop: Loop, journal: Journal, admit: Admit, password: str
    ) -> None:
        self.entity = entity
        self.status = "CONNECTING"
        self.message = "Never connected"
        self._profiles = profiles
        self._loop = loop
        self._journal = journal
        self._admit = admit
        self._password = password
        self._peer: Peer | None = None
        self._timer: Timer = loop.later(0, self._connect)
        self._closed = False

    def close(self) -> None:
        """Give it up, and close its connection."""
        self._closed = True
        self._timer.cancel()
        if self._peer and not self._peer.ended:
            self._peer.close()

    def opened(self) -> None:
        """Take note that the other router let it in."""
        self.status, self.message = "SUCCESS", "Connection opened"

    def lost(self, reason: str) -> None:
        """Take note that the connection ended, or never was; try again soon."""
        if self._closed:
            return
        where = f"{self.entity.text('host')}:{self.entity.text('port')}"
        self._journal.info("SERVER", f"Connection to {where} failed: {reason or 'closed'}")
        self.status, self.message = "CONNECTING", f"Connection to {where} failed: {reason or 'closed'}"
        self._peer = None
        self._timer.cancel()
        self._timer = self._loop.later(_RETRY_SECONDS, self._connect)

    def _connect(self) -> None:
        host, port = self.entity.text("host"), _port(self.entity)
        try:
            info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            sock = socket.socket(info[0], socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(BlockingIOError):
                sock.connect(info[4])
        except OSError as error:
            self.lost(str(error))
            return
        self._loop.watch(sock, selectors.EVENT_WRITE, lambda _: self._connected(sock))

    def _connected(self, sock: socket.socket) -> None:
        self._loop.forget(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error or self._closed:
            sock.close()
            self.lost(os.strerror(error))
            return
        transport = Transport(Transport.CLIENT)
        side = _side(self.entity, "out", f"{self.entity.text('host')}:{self.entity.text('port')}")
        try:
            peer = self._admit(sock, transport, side)
            self._secure(transport, peer)
        except (SSLException, OSError) as failure:
            sock.close()
            self.lost(str(failure))
            return
        self._peer = peer
        peer.start()

    def _secure(self, transport: Transport, peer: Peer) -> None:
        entity = self.entity
        if profile := entity.text("sslProfile"):
            settings = _profile(self._profiles, profile)
            domain = SSLDomain(SSLDomain.MODE_CLIENT)
            if ca := settings.text("caCertFile"):
                _readable(settings, "caCertFile")
                domain.set_trusted_ca_db(ca)
            named = entity.flag("verifyHostname")
            domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME if named else SSLDomain.VERIFY_PEER)
            SSL(transport, domain).peer_hostname = entity.text("host")
        sasl = transport.sasl()
        sasl.allow_insecure_mechs = True
        if mechanisms := entity.text("saslMechanisms"):
            sasl.allowed_mechs(mechanisms.replace(",", " "))
        if user := entity.text("saslUsername"):
            peer.connection.user = user
            peer.connection.password = self._password
        peer.connection.hostname = entity.text("host")
        transport.idle_timeout = entity.number("idleTimeoutSeconds", 16)


def password(text: str) -> str:
    """Return the password that saslPassword means: `file:PATH` is the first line of a file, `env:NAME` not offered."""
    if text.startswith("file:"):
        return Path(text.removeprefix("file:").strip()).read_text(encoding="utf-8").split("\n")[0]
    return text.removeprefix("literal:").removeprefix("pass:")


def _side(entity: Entity, direction: str, other: str) -> Side:
    capacity = entity.number("linkCapacity", _CAPACITY) or _CAPACITY
    return Side(entity.text("role"), direction, entity.name, entity.number("cost", 1), capacity, other)


def _port(entity: Entity) -> int:
    text = entity.text("port")
    return _PORTS.get(text) or int(text)


def _profile(profiles: Mapping[str, Entity], name: str) -> Entity:
    found = profiles.get(name)
    if found is None:
        raise OSError(f"no sslProfile {name}")
    return found


def _readable(profile: Entity, *attributes: str) -> None:
    for attribute in attributes:
        with Path(profile.text(attribute)).open("rb"):
            pass
