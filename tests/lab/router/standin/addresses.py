"""Addresses: what they are, how they distribute, and who is there for them on this router."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .config import Entity

if TYPE_CHECKING:
    from .links import InLink, OutLink

Service = Callable[[bytes], None]


@dataclass(eq=False)
class Address:
    """One address: `key` is M0... for one the whole mesh knows, L... for one of this router's own."""

    key: str
    distribution: str
    consumers: list[OutLink] = field(default_factory=list)
    senders: list[InLink] = field(default_factory=list)
    service: Service | None = None
    under_way: Counter[str] = field(default_factory=Counter)
    ingress: int = 0
    egress: int = 0
    transit: int = 0

    @property
    def mobile(self) -> bool:
        """Whether the other routers are told about its consumers."""
        return self.key.startswith("M")

    @property
    def name(self) -> str:
        """The address as consumers give it."""
        return self.key[2:] if self.mobile else self.key[1:]


class AddressTable:
    """All addresses of a router, and the treatment that its configuration gives them."""

    def __init__(self, router_id: str, default: str) -> None:
        self.known: dict[str, Address] = {}
        self.configured: dict[str, Entity] = {}
        self._router_id = router_id
        self._default = default

    def find(self, text: str) -> Address | str | None:
        """Return the address that a text means, the id of the router it leads to, or None for no address at all.

        An address that nobody uses is a new one each time, until somebody has it kept.
        """
        path = text.removeprefix("amqp:").strip()
        if path.startswith("//"):  # amqp://HOST/ADDRESS
            path = path[2:].partition("/")[2]
        path = path.lstrip("/")
        words = path.split("/", 3)
        if words[0] == "_topo" and len(words) == 4:
            return self._address("L" + words[3]) if words[2] == self._router_id else words[2]
        if words[0] == "_local":
            return self._address("L" + path.partition("/")[2])
        if path == "$management":
            return self._address("L$management")
        return self._address("M0" + path) if path else None

    def make_dynamic(self) -> tuple[str, Address]:
        """Return a new address of this router's own and the text by which the whole mesh reaches it."""
        name = f"temp.{secrets.token_urlsafe(11)}"
        return f"amqp:/_topo/0/{self._router_id}/{name}", self._address("L" + name)

    def subscribed(self) -> list[str]:
        """Return the mobile addresses that have consumers here."""
        return sorted(one.name for one in self.known.values() if one.mobile and one.consumers)

    def keep(self, address: Address) -> None:
        """Have it found from now on: it has a consumer, a sender or a service."""
        self.known[address.key] = address

    def release(self, address: Address) -> None:
        """Forget it, unless it still has one of them."""
        if not (address.consumers or address.senders or address.service):
            self.known.pop(address.key, None)

    def _address(self, key: str) -> Address:
        return self.known.get(key) or Address(key, self._distribution(key[2:]) if key.startswith("M") else "closest")

    def _distribution(self, name: str) -> str:
        # The longest prefix wins, and a prefix ends where a word of the address does.
        best, found = "", self._default
        for entity in self.configured.values():
            prefix = entity.text("prefix").rstrip("/.#*")
            if len(prefix) > len(best) and (name == prefix or name.startswith((prefix + "/", prefix + "."))):
                best, found = prefix, entity.text("distribution")
        return found
