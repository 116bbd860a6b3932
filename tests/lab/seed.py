"""What a host gets of its own before it boots first: name, keys, machine-id, its address in services' configs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tests.lab import keys
from tests.lab.layout import OPERATOR, LabHost, Layout
from tests.lab.network import GATEWAY
from tests.lab.recipes import iniset

# On the second light host relay runs and is not enabled at boot: this starts it.
_STARTS = """\
[Unit]
Description=Start what is not enabled at boot (lab)
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=systemctl start --no-block {units}
[Install]
WantedBy=multi-user.target
"""
_USERS = {"root": (0, "root"), "deploy": (1000, "home/deploy"), "asks": (1001, "home/asks")}
# One controller answers oslo.messaging's ping and the others do not, so that a deployer meets both.
_PINGING = "ctl1"
_PROJECT_FILES = {
    "nova": "nova.conf",
    "cinder": "cinder.conf",
    "heat": "heat.conf",
    "neutron": "neutron.conf",
}
# On this one both of neutron's files name a bus: neutron.conf wins for neutron-api, the other for neutron-rpc-server.
_TWO_MINDED = "ctl2"
_NEUTRON_FILES = {
    "etc/neutron/neutron.conf": "rabbit://guest:guest@localhost:5672/",
    "etc/neutron/server.conf.d/site.conf": "rabbit://guest:guest@localhost:5672/site",
}


def hosts_file(hosts: Iterable[LabHost]) -> bytes:
    """Return /etc/hosts as every host has it."""
    lines = ["127.0.0.1 localhost", f"{GATEWAY} repository"]
    lines += [f"{host.address} {host.name}" for host in hosts]
    return ("\n".join(lines) + "\n").encode()


def known_hosts_file(layout: Layout, hosts: Iterable[LabHost]) -> bytes:
    """Return the operator's known_hosts: each host by name and by address."""
    lines = [f"{host.name},{host.address} {keys.host_public_key(layout, host.name)}\n" for host in hosts]
    return "".join(lines).encode()


def seed(layout: Layout, host: LabHost, hosts: list[LabHost], root: Path) -> None:
    """Write the host's own files into its root, which is mounted and not booted."""
    identity = keys.ensure_identity(layout, host.name)
    _put(root / "etc/hostname", f"{host.name}\n".encode())
    _put(root / "etc/hosts", hosts_file(hosts))
    _put(root / "etc/machine-id", (identity / "machine-id").read_bytes(), 0o444)
    for suffix, mode in (("", 0o600), (".pub", 0o644)):
        _put(root / f"etc/ssh/{keys.HOST_KEY}{suffix}", (identity / f"{keys.HOST_KEY}{suffix}").read_bytes(), mode)
    operator = keys.ensure_operator_key(layout)
    for uid, home in _USERS.values():
        _put(root / home / ".ssh/authorized_keys", operator.with_suffix(".pub").read_bytes(), 0o600, uid)
    if host.name == OPERATOR:
        _put(root / "root/.ssh/id_ed25519", operator.read_bytes(), 0o600)
        _put(root / "root/.ssh/known_hosts", known_hosts_file(layout, hosts))
    if host.image == "controller":
        _seed_controller(host, root)
    if host.image == "light":
        _seed_light(host, root)


def _seed_controller(host: LabHost, root: Path) -> None:
    for project, file in _PROJECT_FILES.items():
        options = []
        if project in ("nova", "cinder"):  # what their packages write when installed on the host itself
            options.append(("DEFAULT", "my_ip", host.address))
        if host.name == _PINGING:
            options.append(("DEFAULT", "rpc_ping_enabled", "true"))
        iniset.edit(root / "etc" / project / file, options)
    for path, url in _NEUTRON_FILES.items() if host.name == _TWO_MINDED else ():
        iniset.edit(root / path, [("DEFAULT", "transport_url", url)])


def _seed_light(host: LabHost, root: Path) -> None:
    """Of two such hosts each has what the other lacks: a unit active and not enabled, one neither, one both."""
    first = host.name == "light1"
    started = ("relay-conductor", "relay-api") if first else ("relay-conductor",)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    if first:
        for unit in started:
            (wants / f"{unit}.service").symlink_to(f"/lib/systemd/system/{unit}.service")
    else:
        _put(root / "etc/systemd/system/lab-services.service", _STARTS.format(units=" ".join(started)).encode())
        (wants / "lab-services.service").symlink_to("../lab-services.service")


def _put(file: Path, data: bytes, mode: int = 0o644, owner: int = 0) -> None:
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        os.fchmod(handle.fileno(), mode)
        os.fchown(handle.fileno(), owner, owner)
