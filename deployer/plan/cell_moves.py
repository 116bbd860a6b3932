"""The cell mappings that move with nova: one nova host writes them into the database that all share. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from deployer.errors import Mistake
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.masking import mask
from deployer.model.secrets import Secret
from deployer.model.transport_url import TransportURL
from deployer.model.transports import Transport
from deployer.plan.bus_today import RpcBus, rpc_bus
from deployer.plan.cells import CellMapping
from deployer.plan.checks import Witness, config_words
from deployer.plan.effective import effective_configs
from deployer.plan.expected import active_units
from deployer.plan.observed import HostFacts
from deployer.plan.steps import Intent, Step

CELL0 = "00000000-0000-0000-0000-000000000000"
"""The cell of instances that were never scheduled; it has no bus (nova/objects/cell_mapping.py, CELL0_UUID)."""

MOVE_TIMEOUT = 180.0
"""Seconds that a move, or its undo, may take: the agent asks nova's interpreter three times, for 60 s at most each."""

_UNREAD = "cell mappings stay as they are: no host with [api_database] connection runs a service that could tell them"


@dataclass(frozen=True)
class CellMoves:
    """The intents by host (none, or one's), and a line for people for each mapping that moves or is left elsewhere."""

    intents: dict[str, tuple[Intent, ...]]
    lines: tuple[str, ...] = ()


def cells_witness(project: ProjectDeployment, facts: Mapping[str, HostFacts]) -> Witness | None:
    """Return the unit that reads and writes the cell mappings: of the first host that knows the API database."""
    if not project.project.cells:
        return None
    knowing = [one for host in project.hosts for one in _knowing(project, facts[host.name])]
    return knowing[0] if knowing else None


def _knowing(project: ProjectDeployment, facts: HostFacts) -> list[Witness]:
    configs = effective_configs(facts, project)
    return [
        Witness(facts.host, unit)
        for unit in active_units(project, facts)
        if unit.interpreter and unit.name in configs and configs[unit.name].sets("api_database", "connection")
    ]


def cell_obstacles(project: ProjectDeployment, rpc: Transport, facts: Mapping[str, HostFacts]) -> list[Mistake]:
    """Return a mistake when RPC goes to `rpc` and nobody could read which mappings have to go along.

    A project of which nothing runs is let through: nobody can be asked, and nothing is cut off. Raises
    ConfigurationError when a file cannot be read.
    """
    hosts = [facts[host.name] for host in project.hosts]
    if not project.project.cells or not any(active_units(project, fact) for fact in hosts):
        return []
    buses = [rpc_bus(conf) for fact in hosts for conf in effective_configs(fact, project).values()]
    if all(bus is not None and bus.is_on(rpc) for bus in buses):
        return []
    witness = cells_witness(project, facts)
    if witness is not None and facts[witness.host].cells is not None:
        return []
    problem = (
        "its RPC is to move, and nobody could read the cell mappings in its database: one that names today's bus would "
        "be left behind, and the cell's services with it. Name, among the hosts of the group, one that has "
        "[api_database] connection in its files and a running unit of the project"
    )
    return [Mistake(project.name, "", problem)]


def cells_request(project: ProjectDeployment, witness: Witness) -> dict[str, Any]:
    """Return the agent's `cells` arguments."""
    return {"interpreter": witness.unit.interpreter, "user": witness.unit.user, **config_words(project, witness.unit)}


def plan_cells(
    deployment: Deployment, project: ProjectDeployment, rpc: Transport, facts: Mapping[str, HostFacts]
) -> CellMoves:
    """Return the mappings that must name `rpc` from now on; empty where they were not read."""
    if not project.project.cells:
        return CellMoves({})
    configs = {host.name: effective_configs(facts[host.name], project) for host in project.hosts}
    buses = frozenset(bus for own in configs.values() for conf in own.values() if (bus := rpc_bus(conf)))
    witness = cells_witness(project, facts)
    if witness is None:
        untold = not all(bus.is_on(rpc) for bus in buses)
        return CellMoves({}, (f"{project.name}: {_UNREAD}",) if untold else ())
    if facts[witness.host].cells is None:
        return CellMoves({})
    ours = _Ours(deployment, rpc, buses)
    today = Secret(configs[witness.host][witness.unit.name].text("DEFAULT", "transport_url"))
    moving, lines = _sort(facts[witness.host].cells or (), today, ours)
    if not moving:
        return CellMoves({}, lines)
    args = {**cells_request(project, witness), "mappings_b64": _b64(moving, rpc.url()), "timeout": MOVE_TIMEOUT}
    reason = f"move {len(moving)} cell mapping{'s' * (len(moving) > 1)} of {project.name}"
    return CellMoves({witness.host: (Intent("nova.cells", args, reason),)}, lines)


def before_image(step: Step, cells: Iterable[CellMapping]) -> bytes:
    """Return what the host keeps before a `nova.cells` step acts: the moved mappings' URLs as they are, as JSON."""
    moved = json.loads(base64.b64decode(step.args["mappings_b64"]))
    before = {cell.uuid: cell.transport_url.reveal() for cell in cells if cell.uuid in moved}
    return json.dumps(before, sort_keys=True).encode()


@dataclass(frozen=True)
class _Ours:
    """What tells a cell on nova's own bus from one that the operator put on another."""

    deployment: Deployment
    rpc: Transport
    today: frozenset[RpcBus]

    def has(self, url: Secret) -> bool:
        """Whether a URL is of the bus that nova's files name, or of one that the deployment made for nova."""
        bus = RpcBus.of(url)
        if bus is None:
            return False
        if any(_same_bus(bus, one) for one in self.today):
            return True
        user = TransportURL.parse(url.reveal()).user
        return (bus.vhost, user) == (self.rpc.vhost, self.rpc.user) and bool(bus.served_by(self.deployment))

    def is_new(self, url: Secret) -> bool:
        """Whether a URL is that of the planned bus; only TLS makes the query matter."""
        try:
            seen, wanted = (TransportURL.parse(one.reveal()) for one in (url, self.rpc.url()))
        except ValueError:
            return False
        return seen == wanted or (not self.rpc.tls and replace(seen, query=wanted.query) == wanted)


def _sort(cells: Iterable[CellMapping], today: Secret, ours: _Ours) -> tuple[list[CellMapping], tuple[str, ...]]:
    moving, lines = [], []
    for cell in cells:
        before = cell.used(today)
        if cell.uuid == CELL0 or before.reveal().startswith("none:") or ours.is_new(cell.used(ours.rpc.url())):
            continue
        name, shown = cell.name or cell.uuid, mask(before.reveal())
        if ours.has(before):
            moving.append(cell)
            lines.append(f"cell {name}: {shown} becomes {mask(ours.rpc.url().reveal())}")
        else:
            lines.append(f"cell {name} stays on {shown}: that is not the bus of nova's own files")
    return moving, tuple(lines)


def _same_bus(one: RpcBus, other: RpcBus) -> bool:
    return (one.driver, set(one.hosts), one.vhost) == (other.driver, set(other.hosts), other.vhost)


def _b64(cells: Iterable[CellMapping], url: Secret) -> str:
    return base64.b64encode(json.dumps({cell.uuid: url.reveal() for cell in cells}).encode()).decode()
