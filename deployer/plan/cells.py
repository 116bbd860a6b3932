"""nova's cell mappings: which of them must move with nova's bus. Pure.

Each mapping holds a transport URL of its own in nova's API database: a literal one, or a template that nova fills with
the parts of its own [DEFAULT] transport_url whenever it reads it (nova/objects/cell_mapping.py, format_mq_url).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

from deployer.model.secrets import Secret


@dataclass(frozen=True)
class CellMapping:
    """One cell of nova; `transport_url` is as it stands in the database, a template not filled in."""

    uuid: str
    name: str
    transport_url: Secret

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> CellMapping:
        """Read one entry of the agent's answer to `cells`."""
        url = base64.b64decode(raw["transport_url_b64"]).decode()
        return cls(raw["uuid"], raw["name"] or "", Secret(url))

    def used(self, nova: Secret) -> Secret:
        """Return the URL that nova makes of it when its own [DEFAULT] transport_url is `nova`.

        What cannot be filled in, nova uses as it stands.
        """
        try:
            return Secret(self.transport_url.reveal().format(**_parts(nova.reveal())))
        except (ValueError, LookupError, AttributeError):
            return self.transport_url


def _parts(url: str) -> dict[str, object]:
    """Return what a template may name; of a URL with several hosts also each one's parts, numbered from 1."""
    whole = urlparse(url)
    parts: dict[str, object] = {
        "username": whole.username,
        "password": whole.password,
        "hostname": whole.hostname,
        "port": whole.port,
        "scheme": whole.scheme,
        "query": whole.query,
        "fragment": whole.fragment,
        "path": whole.path.lstrip("/"),
    }
    if "," in whole.netloc:
        for number, netloc in enumerate(whole.netloc.split(","), 1):
            one = urlparse(f"//{netloc}")
            parts |= {f"{name}{number}": getattr(one, name) for name in ("username", "password", "hostname", "port")}
    return parts
