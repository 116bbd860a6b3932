"""Inventories on the operator host that differ from the demo's in one thing."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from tests.lab import Lab

MAIN = "/etc/hybridmsg"
PASSWORDS = {
    "nova": "n/o#v?a, $pass %word",
    "cinder": "ci@n:d$$er%20 {x}[y]",
    "neutron": "ne<u>t|r^o`n;#!*()",
    "heat": "h\"e'a\\t;&=+~ü",
    "glance": "plain-glance-password",
    "ceilometer": "plain-ceilometer-password",
}


def _dump(document: dict[str, Any]) -> str:
    out = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.dump(document, out)
    return str(out.getvalue())


SECRETS = _dump({f"{project}_oslomsg_rpc_password": password for project, password in PASSWORDS.items()})


class Inventory:
    """A copy of the main inventory on the operator host, for one test, with changes of its own."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self.path = f"/root/inventories/{name}"
        lab.run("ops1", f"rm -rf {self.path} && mkdir -p /root/inventories && cp -a {MAIN} {self.path}")

    def change(self, file: str, **values: Any) -> Inventory:
        """Set keys of hosts, groups or defaults; a path has `__` between its parts, None removes."""
        path = f"{self.path}/{file}.yaml"
        document = YAML(typ="safe", pure=True).load(self._lab.read("ops1", path))
        for dotted, value in values.items():
            *parents, last = dotted.split("__")
            place = document
            for parent in parents:
                place = place.setdefault(parent, {})
            if value is None:
                del place[last]
            else:
                place[last] = value
        return self.write(file, _dump(document))

    def write(self, file: str, text: str) -> Inventory:
        """Write a whole file of the inventory."""
        self._lab.write("ops1", f"{self.path}/{file}.yaml", text.encode(), mode=0o600 if file == "secrets" else 0o644)
        return self

    def only(self, *hosts: str) -> Inventory:
        """Keep only these hosts."""
        path = f"{self.path}/hosts.yaml"
        document = YAML(typ="safe", pure=True).load(self._lab.read("ops1", path))
        return self.write("hosts", _dump({name: document[name] for name in hosts}))
