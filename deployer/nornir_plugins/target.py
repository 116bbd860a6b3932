"""Where to log in and how: the settings of one SSH login, read from Nornir's connection parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deployer.errors import Unreachable
from deployer.nornir_plugins.known_hosts import SSH_PORT

DEFAULT_KNOWN_HOSTS = "~/.ssh/known_hosts"
SILENCE = 60.0


@dataclass(frozen=True)
class Target:
    """One SSH login: address, user, private key and known_hosts files, waits in seconds.

    `silence` is how long either end may hear nothing of the other before it takes it for lost.
    """

    host: str
    port: int
    user: str
    key_file: str
    known_hosts: str = DEFAULT_KNOWN_HOSTS
    connect_timeout: float = 10.0
    keepalive: int = 15
    silence: float = SILENCE

    @property
    def address(self) -> str:
        """`host:port`, as messages name it."""
        return f"{self.host}:{self.port}"

    def bastion(self, where: str) -> Target:
        """Return the login for a jump host `[user@]host[:port]`; key and waits are the host's own."""
        user, _, address = where.rpartition("@")
        host, _, port = address.rpartition(":") if _has_port(address) else (address, "", "")
        if not host or not (port or str(SSH_PORT)).isdigit():
            raise Unreachable(self.address, f"jump_host {where!r} is not user@host:port", "Correct it in the inventory")
        return replace(self, host=host.strip("[]"), port=int(port or SSH_PORT), user=user or self.user)


def _has_port(address: str) -> bool:
    return address.count(":") == 1 or "]:" in address


def from_parameters(hostname: str | None, username: str | None, port: int | None, extras: Mapping[str, Any]) -> Target:
    """Return the login that Nornir's parameters ask for; raises Unreachable when one is missing."""
    address = f"{hostname}:{port or SSH_PORT}"
    for name, value in (("hostname", hostname), ("username", username), ("key_file", extras.get("key_file"))):
        if not value:
            raise Unreachable(address, f"no {name} is given", "Set it in the inventory; logins are by key file only")
    return Target(
        host=str(hostname),
        port=port or SSH_PORT,
        user=str(username),
        key_file=str(extras["key_file"]),
        known_hosts=str(extras.get("known_hosts") or DEFAULT_KNOWN_HOSTS),
        connect_timeout=float(extras.get("connect_timeout", 10.0)),
        keepalive=int(extras.get("keepalive", 15)),
        silence=float(extras.get("silence", SILENCE)),
    )
