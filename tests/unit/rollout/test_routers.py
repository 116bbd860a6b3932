"""Routers are brought up until nothing is left to do and fanout arrives once, and go only when nobody needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from nornir.core.task import Result

from deployer.errors import HostError, HostsFailed
from deployer.model.deployment import Deployment
from deployer.model.secrets import Blob
from deployer.plan.observed import FileFact, HostFacts
from deployer.plan.router_config import CONF, UNIT
from deployer.plan.router_facts import Connection, Fanout, FanoutPair, RouterFacts
from deployer.plan.steps import Wave
from deployer.rollout.carry import Carrier
from deployer.rollout.fleet import Fleet
from deployer.rollout.routers import bring_routers, deserted_routers, remove_routers
from tests.unit.plan.mesh import Facts, bare, carried_out, finished, router, silent, site

ONCE = Fanout(sent=5, pairs=(), exactly_once=True, problem="")
TWICE = FanoutPair("10.0.1.1", "10.0.1.0", 1, 2)
NOVA = Connection.of(
    {
        "container": "openstack.org/om/container/ctl1/nova-conductor/7/abc",
        "user": "nova@openstack",
        "host": "10.0.0.21:4",
        "role": "normal",
    }
)


class Mesh:
    """Fleet and carrier in one: router hosts in memory; `fanouts` come one after the other, the last for ever."""

    def __init__(self, deployment: Deployment, facts: Facts, *fanouts: Fanout) -> None:
        self.deployment, self.hosts, self.fanouts = deployment, facts, list(fanouts or [ONCE])
        self.facts = dict(facts)
        self.asked_fanout: list[str] = []
        self.carried: list[str] = []
        self.idle = False
        self.removed: list[str] = []

    def carry(self, wave: Wave) -> None:
        self.carried.append(wave.title)
        if wave.title == "qdrouterd: remove":
            self.removed += wave.intents
        elif not self.idle:
            self.hosts = carried_out(self.deployment, self.hosts, [wave])

    def observe(self, _hosts: object) -> Facts:
        self.facts = dict(self.hosts)
        return self.facts

    def ask_facts(self, queries: Mapping[str, Any]) -> Facts:
        return {name: self.hosts[name] for name in queries}

    def ask_routers(self, hosts: Iterable[str]) -> dict[str, RouterFacts]:
        return {name: seen for name in hosts if (seen := self.hosts[name].router)}

    def run(self, hosts: list[str], task: Callable[..., Result], **arguments: Any) -> dict[str, Result]:
        assert task.__name__ == "check_fanout"
        assert "canary" not in repr(arguments)
        self.asked_fanout += hosts
        fanout = self.fanouts.pop(0) if len(self.fanouts) > 1 else self.fanouts[0]
        return {hosts[0]: Result(None, fanout=fanout)}

    def bring(self) -> None:
        bring_routers(cast("Fleet", self), cast("Carrier", self))

    def remove(self, *hosts: str) -> None:
        remove_routers(cast("Fleet", self), cast("Carrier", self), hosts)


def brief(cloud: Deployment) -> Deployment:
    return replace(cloud, timeouts=replace(cloud.timeouts, gate=0.1))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployer.rollout.routers.SETTLING", 0.01)


def test_bare_hosts_become_routers_and_fanout_is_checked_from_the_hub() -> None:
    mesh = Mesh(site(2), {name: bare(name) for name in ("r0", "r1")})
    mesh.bring()

    assert mesh.carried[-1] == "qdrouterd: wait for the mesh"
    assert mesh.asked_fanout == ["r0"]


def test_without_routers_nothing_is_asked() -> None:
    mesh = Mesh(site(0), {})
    mesh.bring()

    assert (mesh.carried, mesh.asked_fanout) == ([], [])


def test_finished_routers_are_not_touched_and_checked_all_the_same() -> None:
    cloud = site(2)
    mesh = Mesh(cloud, finished(cloud))
    mesh.bring()

    assert (mesh.carried, mesh.asked_fanout) == ([], ["r0"])


def test_routers_that_never_become_what_was_planned_end_the_run() -> None:
    mesh = Mesh(site(1), {"r0": bare("r0")})
    mesh.idle = True

    with pytest.raises(HostError, match="r0: the routers are still not as planned after 3 rounds"):
        mesh.bring()


def test_a_mesh_that_settles_is_waited_for() -> None:
    cloud = site(2)
    mesh = Mesh(cloud, finished(cloud), replace(ONCE, exactly_once=False, pairs=(TWICE,)), ONCE)
    mesh.bring()

    assert len(mesh.asked_fanout) == 2


def test_fanout_that_comes_twice_ends_the_run_and_names_the_pairs() -> None:
    cloud = brief(site(2))
    mesh = Mesh(cloud, finished(cloud), replace(ONCE, exactly_once=False, pairs=(TWICE,)))

    with pytest.raises(HostError, match="does not arrive exactly once: r1 to r0: 1 to 2"):
        mesh.bring()


def test_a_check_that_could_not_be_made_says_why() -> None:
    cloud = brief(site(2))
    mesh = Mesh(cloud, finished(cloud), replace(ONCE, exactly_once=False, problem="hybridmsg@openstack is refused"))

    with pytest.raises(HostError, match="hybridmsg@openstack is refused"):
        mesh.bring()


def test_a_router_nobody_is_attached_to_is_removed() -> None:
    cloud = site(2)
    mesh = Mesh(cloud, finished(cloud))
    mesh.remove("r0", "r1")

    assert mesh.removed == ["r0", "r1"]


def test_while_a_service_is_attached_to_one_router_none_is_removed_and_it_is_named() -> None:
    cloud = site(2)
    mesh = Mesh(cloud, attached(finished(cloud), "r1"))

    with pytest.raises(HostsFailed, match=r"r1: .*nova-conductor on ctl1 \(user nova@openstack\)") as caught:
        mesh.remove("r0", "r1")
    assert list(caught.value.errors) == ["r1"]
    assert mesh.removed == []


def test_a_router_that_runs_and_tells_nothing_is_not_removed() -> None:
    cloud = site(1)
    mesh = Mesh(cloud, {"r0": silent(finished(cloud)["r0"])})

    with pytest.raises(HostsFailed, match="does not tell who is attached: connection refused"):
        mesh.remove("r0")


def test_a_router_that_does_not_run_needs_nobodys_leave() -> None:
    cloud = site(1)
    mesh = Mesh(cloud, {"r0": silent(finished(cloud)["r0"], "failed")})
    mesh.remove("r0")

    assert mesh.removed == ["r0"]


def test_no_router_to_remove_is_no_work() -> None:
    mesh = Mesh(site(0), {})
    mesh.remove()

    assert mesh.carried == []


def test_a_router_whose_host_left_the_group_is_deserted_when_hybridmsg_made_it() -> None:
    emptied = replace(site(0), hosts={host.name: host for host in site(3).qdrouterd})
    theirs = FileFact(CONF, exists=True, sha256="0" * 64, content=Blob(b"router {\n    mode: edge\n}\n"))
    facts = {**finished(site(2)), "r2": replace(bare("r2"), files={CONF: theirs})}

    assert deserted_routers(cast("Fleet", Mesh(emptied, facts))) == ["r0", "r1"]
    assert deserted_routers(cast("Fleet", Mesh(replace(site(2), hosts=emptied.hosts), facts))) == []


def attached(facts: Facts, name: str) -> Facts:
    seen: HostFacts = facts[name]
    assert seen.router is not None
    assert seen.router.view is not None
    assert UNIT in seen.units
    return {**facts, name: router(seen, view=replace(seen.router.view, connections=(NOVA,)))}
