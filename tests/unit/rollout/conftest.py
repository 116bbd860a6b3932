"""A small cloud in memory: glance and nova on two controllers, still on a foreign bus, and a broker as planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployer.journal.runs import Run, RunStore
from deployer.model.deployment import Deployment, Timeouts
from deployer.nornir_plugins.processor import Progress
from deployer.plan.checks import Check
from deployer.plan.cluster_member import CONF, UNIT
from deployer.rollout import migrate, rollback, verify
from deployer.rollout.outcome import Migration, Rollback
from tests.unit.plan.cloud import CTL1, CTL2, FOREIGN, GLANCE, NOVA, broker, deployment, project
from tests.unit.rollout.fake_fleet import FakeHost, FakeUnit, World

OLD = f"[DEFAULT]\ntransport_url = {FOREIGN}\n".encode()
NOVA_UNITS = ("nova-conductor", "nova-api")


@dataclass
class Cloud:
    """The deployment, its hosts, the controller's record, and the verbs."""

    deployment: Deployment
    world: World
    store: RunStore

    def migrate(self) -> Migration:
        return migrate.migrate(self.deployment, self.store, Progress(quiet=True), lambda _plan: None)

    def rollback(self, *, force: bool = False) -> Rollback:
        return rollback.rollback(self.deployment, self.store, Progress(quiet=True), force=force)

    def verify(self) -> list[Check]:
        return verify.verify(self.deployment, self.store, Progress(quiet=True))

    @property
    def run(self) -> Run:
        """The newest run."""
        return next(self.store.runs())

    def moved(self) -> set[str]:
        """Return `file@host` by short name for each file that is not the old one."""
        names = {GLANCE: "glance", NOVA: "nova"}
        hosts = [self.world.hosts["ctl1"], self.world.hosts["ctl2"]]
        return {f"{names[path]}@{host.name}" for host in hosts for path in names if host.files[path] != OLD}


EVERYTHING = {"glance@ctl1", "glance@ctl2", "nova@ctl1", "nova@ctl2"}


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    deployed = deployment(project("glance", CTL1, CTL2), project("nova", CTL1, CTL2))
    deployed = Deployment(**{**deployed.__dict__, "timeouts": Timeouts(step=2, gate=1)})
    hosts = {name: _controller(name) for name in ("ctl1", "ctl2")}
    seen = broker(deployed)
    conf = seen.files[CONF].content
    assert conf is not None
    hosts["msg1"] = FakeHost("msg1", {CONF: conf.reveal()}, {UNIT: FakeUnit()}, seen.rabbitmq)
    world = World(hosts)
    for module in (migrate, rollback, verify):
        monkeypatch.setattr(module, "Fleet", world.fleet)
    return Cloud(deployed, world, RunStore(tmp_path / "state"))


@pytest.fixture
def other_inventory(cloud: Cloud) -> Callable[..., None]:
    """Return what gives the cloud another inventory, made of these projects."""

    def change(*names_and_hosts: tuple[str, tuple[str, ...]]) -> None:
        hosts = {"ctl1": CTL1, "ctl2": CTL2}
        projects = [project(name, *(hosts[host] for host in own)) for name, own in names_and_hosts]
        cloud.deployment = deployment(*projects)

    return change


def _controller(name: str) -> FakeHost:
    units = {unit: FakeUnit() for unit in ("glance-api", *NOVA_UNITS)}
    return FakeHost(name, {GLANCE: OLD, NOVA: OLD}, units)
