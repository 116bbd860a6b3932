"""A small cloud in memory: glance and nova on two controllers, still on a foreign bus, a broker as planned, two hosts
that may become routers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.model.deployment import Deployment, Host, Timeouts
from deployer.model.secrets import Secret
from deployer.nornir_plugins.processor import Progress
from deployer.plan.bus_today import RpcBus
from deployer.plan.checks import Check
from deployer.plan.cluster_member import CONF, UNIT
from deployer.rollout import carry, drain, migrate, preflight, rollback, status, verify
from deployer.rollout.choice import Asked
from deployer.rollout.outcome import Migration, Preflight, Rollback, Status
from tests.unit.plan.cloud import CTL1, CTL2, FOREIGN, GLANCE, MSG1, NOVA, RTR1, RTR2, broker, deployment, project
from tests.unit.rollout import buses
from tests.unit.rollout.fake_fleet import Wire
from tests.unit.rollout.fake_host import FakeHost, FakeUnit, put_agents_in_memory
from tests.unit.rollout.world import World

OLD = f"[DEFAULT]\ntransport_url = {FOREIGN}\n".encode()
API_DATABASE = b"[api_database]\nconnection = mysql://nova:canary-db@db/nova_api\n"
ON_ROUTERS = b"[DEFAULT]\ntransport_url = amqp://cinder:x@10.0.0.31:31459/cinder\n"
NOVA_UNITS = ("nova-conductor", "nova-api")
NAMES = {GLANCE: "glance", NOVA: "nova"}
CONTROLLERS = ("ctl1", "ctl2")
EVERYTHING = {"glance@ctl1", "glance@ctl2", "nova@ctl1", "nova@ctl2"}
CELL0, CELL1 = "00000000-0000-0000-0000-000000000000", "11111111-1111-1111-1111-111111111111"


class Told(Progress):
    """Progress that is kept instead of printed."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def event(self, host: str, text: str) -> None:
        self.lines.append(f"{host}: {text}" if host else text)


@dataclass
class Cloud:
    """The deployment, its hosts, the wire to them, the controller's record, and the verbs."""

    deployment: Deployment
    wire: Wire
    store: RunStore
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        self.settle()

    @property
    def world(self) -> World:
        return self.wire.world

    def copy(self, state: Path) -> Cloud:
        """Return a cloud of its own that is, and was before, what this one is; `state` is its record's directory."""
        world = deepcopy(self.world, {id(self.world.deployment): self.world.deployment})
        shutil.copytree(self.store.root, state / "runs")
        found = Cloud(self.deployment, Wire(world), RunStore(state))
        found.files, found.cells, found.ran = self.files, self.cells, self.ran
        return found

    def settle(self) -> None:
        """Take what is now for what was before."""
        self.files = {name: dict(host.files) for name, host in self.world.hosts.items()}
        self.cells = dict(self.world.cells)
        self.ran = self.running()
        self.world.acts.clear()
        self.wire.calls.clear()
        self.told.lines.clear()

    def migrate(self, **options: Any) -> Migration:
        return migrate.migrate(self.deployment, self.store, self.told, lambda _plan: None, migrate.Options(**options))

    def preflight(self) -> Preflight:
        return preflight.preflight(self.deployment, self.store, self.told)

    def rollback(self, run: str = "", *projects: str, **options: bool) -> Rollback:
        asked = Asked(run, projects, **options)
        return rollback.rollback(self.deployment, self.store, self.told, asked)

    def status(self) -> Status:
        return status.status(self.deployment, self.store, self.told)

    def verify(self) -> list[Check]:
        return verify.verify(self.deployment, self.store, self.told)

    @property
    def run(self) -> Run:
        """The newest run."""
        return next(self.store.runs())

    def deploy(self, *routers: Host, **timeouts: float) -> None:
        """Change the inventory's routers, and some timeouts; their hosts stay in it."""
        found = _deployment(*routers)
        hosts = {**found.hosts, RTR1.name: RTR1, RTR2.name: RTR2}
        self.deployment = replace(found, hosts=hosts, timeouts=replace(found.timeouts, **timeouts))

    def moved(self) -> set[str]:
        """Return `file@host` by short name for each file that is not as before."""
        return {
            f"{short}@{name}"
            for name in CONTROLLERS
            for path, short in NAMES.items()
            if self.world.hosts[name].files[path] != self.files[name][path]
        }

    def running(self) -> set[tuple[str, str]]:
        """Return host and name of every unit of a project that runs."""
        return {(one.host, one.unit) for one in self.world.services()}

    def buses(self, name: str) -> set[RpcBus | None]:
        """Return every bus that any part of a project is on: its files, what runs, and its cells."""
        path = next(path for path, short in NAMES.items() if short == name)
        found = {buses.bus_of(self.world.hosts[host].files, path) for host in CONTROLLERS}
        found |= {one.bus for one in self.world.services() if one.project == name}
        cells = [url for _, url in self.world.cells.values() if name == "nova" and not url.startswith("none:")]
        return found | {RpcBus.of(Secret(url)) for url in cells}

    def splits(self) -> list[str]:
        """Return all that keeps the cloud from being whole: each project on one bus, and what ran before runs."""
        found = [f"{name} is on {self.buses(name)}" for name in NAMES.values() if len(self.buses(name)) != 1]
        if self.running() != self.ran:
            found.append(f"runs otherwise: {sorted(self.running() ^ self.ran)}")
        return found + [f"{host.name} is locked" for host in self.world.hosts.values() if host.lock]


class NewCloud(Protocol):
    def __call__(self, like: Cloud | None = None) -> Cloud: ...


@pytest.fixture
def new_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewCloud:
    """Return what makes a cloud, or another like one that is there; the verbs reach the one made last."""
    numbers = iter(range(10_000))
    monkeypatch.setattr(drain, "AGAIN", 0.0)
    # The record's durability is its own tests' business.
    monkeypatch.setattr("deployer.journal.durable.os.fsync", lambda _descriptor: None)

    def make(like: Cloud | None = None) -> Cloud:
        state = tmp_path / f"state{next(numbers)}"
        if like is None:
            deployed = _deployment()
            world = World(_hosts(deployed), deployed, {CELL0: ("cell0", "none:///"), CELL1: ("cell1", FOREIGN)})
            made = Cloud(deployed, Wire(world), RunStore(state))
        else:
            made = like.copy(state)
        _connect(made, monkeypatch)
        return made

    return make


@pytest.fixture
def cloud(new_cloud: NewCloud) -> Cloud:
    return new_cloud()


@pytest.fixture
def standard(cloud: Cloud) -> Cloud:
    """A cloud that is on the deployment's RabbitMQ, with two routers in its inventory since."""
    cloud.migrate()
    cloud.deploy(RTR1, RTR2)
    cloud.settle()
    return cloud


@pytest.fixture
def hybrid(standard: Cloud) -> Cloud:
    """A cloud whose RPC is on two routers; `files` and `cells` are as they were before."""
    files, cells = standard.files, standard.cells
    standard.migrate()
    standard.settle()
    standard.files, standard.cells = files, cells
    return standard


@pytest.fixture
def other_inventory(cloud: Cloud) -> Callable[..., None]:
    """Return what gives the cloud another inventory, made of these projects."""

    def change(*names_and_hosts: tuple[str, tuple[str, ...]]) -> None:
        hosts = {"ctl1": CTL1, "ctl2": CTL2}
        projects = [project(name, *(hosts[host] for host in own)) for name, own in names_and_hosts]
        cloud.deployment = deployment(*projects)

    return change


def _connect(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    put_agents_in_memory(cloud.world, monkeypatch)
    for module in (migrate, preflight, rollback, status, verify):
        monkeypatch.setattr(module, "Fleet", cloud.wire.fleet)
    # Numbers of an undo's steps begin with the clock, which two undos must not find the same.
    monkeypatch.setattr(carry, "time", SimpleNamespace(time=cloud.world.now))


def _deployment(*routers: Host) -> Deployment:
    found = deployment(project("glance", CTL1, CTL2), project("nova", CTL1, CTL2), qdrouterd=routers)
    return replace(found, timeouts=Timeouts(step=2, gate=1, drain=5, settle=0), router_password=Secret("canary-router"))


def _hosts(deployed: Deployment) -> dict[str, FakeHost]:
    seen = broker(deployed)
    conf = seen.files[CONF].content
    assert conf is not None
    hosts = [_controller(CTL1), _controller(CTL2), *(FakeHost(one.name, one.address, {}, {}) for one in (RTR1, RTR2))]
    # As an agent sends it: nothing of it is shared with what the plan wants.
    rabbitmq = json.loads(json.dumps(seen.rabbitmq))
    hosts.append(FakeHost("msg1", MSG1.address, {CONF: conf.reveal()}, {UNIT: FakeUnit()}, rabbitmq))
    return {host.name: host for host in hosts}


def _controller(host: Host) -> FakeHost:
    files = {GLANCE: OLD, NOVA: OLD + API_DATABASE}
    units = {unit: FakeUnit(read=dict(files)) for unit in ("glance-api", *NOVA_UNITS)}
    return FakeHost(host.name, host.address, files, units)
