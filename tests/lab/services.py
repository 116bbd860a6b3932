"""What the hosts' services say of themselves: which units a host must have active, and how it is doing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.lab import repository
from tests.lab.errors import LabError
from tests.lab.layout import SERVICES, Layout
from tests.lab.machine import Machine
from tests.lab.shell import tail

_UNITS = {
    "controller": SERVICES,
    "database": ("mariadb",),
    "telemetry": ("ceilometer-agent-notification",),
    "light": ("relay-conductor",),
}
_PORTS = {"database": 3306}
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Health:
    """One line of `status`."""

    name: str
    address: str
    image: str
    ssh: bool
    state: str
    failed: tuple[str, ...]
    image_current: bool


def wait_reachable(layout: Layout, machines: Iterable[Machine], seconds: float = 60) -> None:
    """Wait until every host's SSH server (and the database's port) answers."""
    targets = {}
    for machine in machines:
        for port in (22, _PORTS.get(machine.host.image)):
            if port:
                targets[f"{machine.host.address}:{port}"] = machine
    silent = set(targets) - repository.answering(layout, list(targets), seconds)
    if silent:
        logs = ", ".join(f"{target} (see {targets[target].directory}/console.log)" for target in sorted(silent))
        raise LabError(f"no answer after {seconds:.0f} s from {logs}")


def silent(layout: Layout, machines: Iterable[Machine], seconds: float) -> list[Machine]:
    """Return the hosts whose SSH server does not answer within the seconds."""
    chosen = list(machines)
    answering = repository.answering(layout, [f"{one.host.address}:22" for one in chosen], seconds)
    return [one for one in chosen if f"{one.host.address}:22" not in answering]


def wait_active(machines: Iterable[Machine], seconds: float = 180) -> None:
    """Wait until the units that make each host what it is are active."""
    deadline = time.monotonic() + seconds
    waiting = [machine for machine in machines if machine.host.image in _UNITS]
    while waiting := [machine for machine in waiting if inactive(machine)]:
        if time.monotonic() > deadline:
            raise LabError(f"units not active after {seconds:.0f} s: {'; '.join(map(_told, waiting))}")
        time.sleep(_POLL_SECONDS)


def inactive(machine: Machine) -> list[str]:
    """Return the units of that host which are not active though they must be, each with its state."""
    units = _UNITS.get(machine.host.image, ())
    if not units:
        return []
    done = machine.call(["systemctl", "is-active", *units], check=False, timeout=30)
    states = done.stdout.decode().split()
    if len(states) != len(units):  # systemd does not take questions yet
        return [*units]
    return [f"{unit} ({state})" for unit, state in zip(units, states, strict=True) if state != "active"]


def _told(machine: Machine) -> str:
    # Where this fails the lab is gone before anybody can ask it: what the units said last goes into the error.
    units = [f"--unit={unit}" for unit in _UNITS[machine.host.image]]
    said = machine.call(["journalctl", *units, "--no-pager", "--lines=12", "--output=cat"], check=False, timeout=30)
    return f"{machine.host.name}: {', '.join(inactive(machine))}\n{tail(said.stdout)}"


def health(layout: Layout, machines: list[Machine]) -> list[Health]:
    """Ask every host how it is, all at once."""
    targets = [f"{machine.host.address}:22" for machine in machines if machine.alive()]
    answering = repository.answering(layout, targets, 2)
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda machine: _health(machine, answering), machines))


def _health(machine: Machine, answering: set[str]) -> Health:
    state: str = "dead"
    failed: tuple[str, ...] = ()
    if machine.alive():
        state, failed = _systemd(machine)
    host = machine.host
    ssh = f"{host.address}:22" in answering
    return Health(host.name, host.address, host.image, ssh, state, failed, machine.image_is_current())


def _systemd(machine: Machine) -> tuple[str, tuple[str, ...]]:
    try:
        state = machine.call(["systemctl", "is-system-running"], check=False, timeout=15)
        listing = ["systemctl", "list-units", "--failed", "--plain", "--no-legend"]
        failed = machine.call(listing, check=False, timeout=15)
    except LabError:
        return "silent", ()
    names = tuple(line.split()[0] for line in failed.stdout.decode().splitlines() if line.strip())
    return state.stdout.decode().strip() or "starting", names
