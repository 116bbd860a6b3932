"""Transport URLs of oslo.messaging: written percent-encoded, read without ever showing the password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

from deployer.model.masking import mask
from deployer.model.secrets import Secret

DEFAULT_PORT = 5672
# What oslo_messaging.TransportURL allows unencoded in user and password, less `$`, which oslo.config expands.
_SAFE = "&=+!*()"
_URL = re.compile(r"(?P<driver>[A-Za-z][A-Za-z0-9+.-]*)://(?P<hosts>[^/?#]*)(?P<vhost>/[^?#]*)?(?:\?(?P<query>[^#]*))?")


@dataclass(frozen=True)
class TransportURL:
    """driver://user:password@host:port[,...]/vhost?query; the vhost `/nova` is written `//nova`."""

    driver: str
    hosts: tuple[tuple[str, int], ...]
    user: str
    password: Secret
    vhost: str
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def render(self) -> Secret:
        """Return the URL as it belongs in a configuration file, safe from `$` expansion."""
        login = ""
        if self.user or self.password:
            login = f"{quote(self.user, safe=_SAFE)}:{quote(self.password.reveal(), safe=_SAFE)}@"
        hosts = ",".join(f"{login}{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.hosts)
        query = f"?{urlencode(self.query, safe='/', quote_via=quote)}" if self.query else ""
        return Secret(f"{self.driver}://{hosts}/{quote(self.vhost, safe='/')}{query}")

    def masked(self) -> str:
        """Return the URL with its secrets masked, fit for people."""
        return mask(self.render().reveal())

    @classmethod
    def parse(cls, text: str) -> TransportURL:
        """Read a URL as oslo.messaging does; raises ValueError, which shows no part of the URL."""
        found = _URL.fullmatch(text.strip())
        if not found:
            raise ValueError(
                "not a transport URL: it must read driver://user:password@host:port/vhost, percent-encoded"
            )
        logins, hosts = [], []
        for entry in filter(None, found["hosts"].split(",")):
            login, _, address = entry.rpartition("@")
            logins.append(tuple(unquote(part) for part in login.partition(":")[::2]))
            hosts.append(_address(address))
        if len(set(logins)) > 1:
            raise ValueError("the hosts of the transport URL have different users or passwords")
        user, password = logins[0] if logins else ("", "")
        return cls(
            driver=found["driver"].lower(),
            hosts=tuple(hosts),
            user=user,
            password=Secret(password),
            vhost=unquote((found["vhost"] or "/")[1:]),
            query=tuple(parse_qsl(found["query"] or "")),
        )


def _address(text: str) -> tuple[str, int]:
    """Split host[:port] as oslo_utils.netutils.parse_host_port does: a bare IPv6 address has no port."""
    found = re.fullmatch(r"(\[[^\[\]]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?", text)
    if found:
        return found[1].strip("[]"), int(found[2] or DEFAULT_PORT)
    if re.fullmatch(r"[0-9A-Fa-f:.]+", text) and text.count(":") > 1:
        return text, DEFAULT_PORT
    raise ValueError("the transport URL has no valid host:port (percent-encode the password)")
