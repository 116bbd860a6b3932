"""The hold that a rollback leaves on every host of its run, so that nobody's timer migrates the cloud again.

`reconcile` reports it and changes nothing; `release`, or a `migrate` that somebody asks for, lifts it.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from deployer.errors import HostsFailed, HybridmsgError
from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.rollout.fleet import Fleet
from tasks.hold import read_hold, set_hold


@dataclass(frozen=True)
class Hold:
    """Which run was rolled back, by whom, when (ISO 8601, UTC), and the projects that went back.

    With a `problem` the host's own word is damaged: it is held all the same, and cannot tell the rest.
    """

    run: str
    who: str
    when: str
    projects: tuple[str, ...]
    problem: str = ""

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Hold:
        """Read a hold as a host tells it."""
        run, who, when, problem = (str(raw.get(key, "")) for key in ("run", "who", "when", "damaged"))
        return cls(run, who, when, tuple(map(str, raw.get("projects", ()))), problem)

    def record(self) -> dict[str, Any]:
        """Return the hold as a host tells it: `{"damaged": problem}` where its own word is damaged."""
        if self.problem:
            return {"damaged": self.problem}
        return {"run": self.run, "who": self.who, "when": self.when, "projects": list(self.projects)}

    def __str__(self) -> str:
        if self.problem:
            return f"held, and cannot tell by whom: {self.problem}"
        return f"held since {self.when}: {self.who} rolled {', '.join(self.projects)} back (run {self.run})"


def read(fleet: Fleet, hosts: Iterable[str] | None = None) -> dict[str, Hold]:
    """Return the hold of each host (all by default) that has one; raises HostsFailed. Needs no lock."""
    results = fleet.run(_names(fleet, hosts), read_hold)
    return held({name: result.hold for name, result in results.items()})  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes


def held(raw: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Hold]:
    """Return the holds among what hosts tell, as `hold` in the answers of `lock` and `history`."""
    return {host: Hold.of(one) for host, one in raw.items() if one}


def place(fleet: Fleet, run: Run, projects: Iterable[str]) -> dict[str, HybridmsgError]:
    """Hold every host of a run of which projects went back; return the errors of those that did not take it.

    The locks of the others are held.
    """
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    hold = Hold(run.run, who, datetime.now(timezone.utc).isoformat(timespec="seconds"), tuple(projects))
    hosts = [name for name in run.hosts or run.units if name in fleet.deployment.hosts]
    return fleet.attempt(hosts, set_hold, hold=hold.record())[1]


def lift(fleet: Fleet, hosts: Iterable[str] | None = None) -> dict[str, Hold]:
    """Lift what holds these hosts (all by default), whose locks are held; return what it was. Raises HostsFailed."""
    results = fleet.run(_names(fleet, hosts), set_hold, hold=None)
    return held({name: result.hold for name, result in results.items()})  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes


def _names(fleet: Fleet, hosts: Iterable[str] | None) -> list[str]:
    return list(fleet.deployment.hosts if hosts is None else hosts)


def release(deployment: Deployment, store: RunStore, progress: Progress) -> dict[str, Hold]:
    """Take every host and lift what holds it; return the hold of each host that had one.

    Raises HostsFailed, when all that could be had are released, for hosts that are out of reach; of Locked, having
    released none, when another run holds any.
    """
    with Fleet(deployment, progress) as fleet:
        lost = fleet.take(store.begin("release", deployment.directory).run)
        lifted = lift(fleet, (name for name in deployment.hosts if name not in lost))
        for host, hold in lifted.items():
            progress.event(host, f"was {hold}; lifted")
        if lost:
            raise HostsFailed(lost)
        return lifted
