"""A fleet of hosts that live in memory: a stand-in for SSH and agents, with Fleet's own code around it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from nornir.core.task import Result

from deployer.errors import ConnectionLost, HostError, HybridmsgError, Interrupted, Locked, StalePlan
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.observed import HostFacts
from deployer.plan.steps import Step
from deployer.rollout.fleet import Fleet


@dataclass
class FakeUnit:
    active: str = "active"
    enabled: str = "enabled"
    started: float = 0.0


@dataclass
class FakeHost:
    """`lock` is the run that holds the host, `journals` its entries by run, `ctimes` when files were last written."""

    name: str
    files: dict[str, bytes]
    units: dict[str, FakeUnit]
    rabbitmq: dict[str, Any] | None = None
    lock: str | None = None
    journals: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    ctimes: dict[str, float] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)


@dataclass
class World:
    """All hosts, and what shall go wrong. They share one clock, in seconds, that moves on with every act."""

    hosts: dict[str, FakeHost]
    silent: set[str] = field(default_factory=set)
    """Servers, like `conductor@ctl1`, that never answer."""
    dying: set[tuple[str, str]] = field(default_factory=set)
    """Hosts' units that are dead after a restart."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Task and host of every request, in order."""
    clock: float = 1_800_000_000.0
    faults: dict[tuple[str, str], tuple[range, BaseException]] = field(default_factory=dict)

    def fleet(self, deployment: Deployment, _progress: Progress) -> FakeFleet:
        return FakeFleet(self, deployment)

    def fail(self, host: str, task: str, error: BaseException, at: range = range(1, 1000)) -> None:
        """Let the requests of this task to this host fail: `at` counts them, from 1 as of now."""
        before = self.calls.count((task, host))
        self.faults[task, host] = range(at.start + before, at.stop + before), error

    def now(self) -> float:
        self.clock += 1
        return self.clock

    def stamp(self) -> str:
        return datetime.fromtimestamp(self.now(), timezone.utc).isoformat()

    def request(self, task: str, host: FakeHost, arguments: Mapping[str, Any]) -> Result:
        self.calls.append((task, host.name))
        at, error = self.faults.get((task, host.name), (range(0), ValueError()))
        if self.calls.count((task, host.name)) in at:
            host.lock = None if isinstance(error, ConnectionLost) else host.lock
            raise error
        act: Callable[..., Result] = getattr(self, task)
        return act(host, **arguments)

    def lock_host(self, host: FakeHost, run: str) -> Result:
        if host.lock not in (None, run):
            raise Locked(host.name, {"run": str(host.lock)})
        host.lock = run
        return Result(None)

    def read_history(self, host: FakeHost, run: str) -> Result:
        return Result(None, runs=[{"run": run, "entries": host.journals.get(run, [])}])

    def probe_bus(self, host: FakeHost, requests: Mapping[str, Any]) -> Result:
        request = requests[host.name]["request"]
        targets = []
        for target in request["targets"]:
            answered = f"{target['topic']}@{target['server']}" not in self.silent
            targets.append({**target, "answered": answered, "how": "pong", "error": "" if answered else "no answer"})
        delivered = f"notification@{host.name}" not in self.silent
        notify = {"delivered": delivered, "error": "" if delivered else "not read back", "queue_deleted": True}
        return Result(None, answer={"targets": targets, "notify": notify if request["notify"] else None})

    def read_facts(self, host: FakeHost, queries: Mapping[str, Any]) -> Result:
        query = queries[host.name]
        files = {path: _file(host, path) for path in query["files"]}
        units = {name: _unit(host.units.get(name)) for name in query["units"]}
        told = {"hostname": host.name, "package_manager": "apt"}
        return Result(None, facts={"host": told, "files": files, "units": units, "rabbitmq": host.rabbitmq})

    def apply_steps(self, host: FakeHost, run: str, steps: Mapping[str, Sequence[Step]], **_: object) -> Result:
        _needs_lock(host)
        for step in steps[host.name]:
            if step.kind == "file.write" and step.preimage != {"sha256": _sha256(host.files.get(step.args["path"]))}:
                raise StalePlan(host.name, f"{step.args['path']} is not what the plan was made from")
        for step in steps[host.name]:
            self._apply(host, run, step)
        return Result(None, changed=True)

    def _apply(self, host: FakeHost, run: str, step: Step) -> None:
        target = step.args.get("path") or step.args.get("unit") or ""
        entry: dict[str, Any] = {}
        entry |= {"step": step.id, "scope": step.scope, "kind": step.kind, "target": target, "after": {}, "before": {}}
        entry |= {"at": self.stamp(), "status": "doing"}
        journal = host.journals.setdefault(run, [])
        if step.kind == "file.write":
            before, after = host.files.get(target), base64.b64decode(step.args["content_b64"])
            host.blobs[str(_sha256(before))] = before or b""
            entry |= {"before": {"sha256": _sha256(before)}, "after": {"sha256": _sha256(after)}}
            self.write(host.name, target, after)
        elif step.kind == "unit.restart":
            entry |= {"before": {"active": host.units[target].active}}
            self.restart(host.name, target)
        journal += [entry, {**entry, "status": "done"}]

    def undo_steps(self, host: FakeHost, run: str, steps: Mapping[str, Sequence[str]], **options: Any) -> Result:
        _needs_lock(host)
        last = {entry["step"]: entry for entry in host.journals[run]}
        own = [last[step] for step in sorted(steps[host.name], reverse=True)]
        for entry in own:
            left = (entry["before"].get("sha256"), entry["after"].get("sha256"))
            stale = entry["kind"] == "file.write" and _sha256(host.files.get(entry["target"])) not in left
            if stale and not options["force"]:
                raise StalePlan(host.name, f"{entry['target']} was changed after the run")
        for entry in own:
            if entry["kind"] == "file.write":
                self.write(host.name, entry["target"], host.blobs[str(entry["before"]["sha256"])])
            elif entry["before"]["active"] == "active":
                self.restart(host.name, entry["target"])
            host.journals[run].append({**entry, "at": self.stamp(), "status": "undone"})
        return Result(None, changed=True)

    def write(self, host: str, path: str, content: bytes) -> None:
        self.hosts[host].files[path], self.hosts[host].ctimes[path] = content, self.now()

    def restart(self, host: str, unit: str) -> None:
        one = self.hosts[host].units[unit]
        one.started, one.active = self.now(), "failed" if (host, unit) in self.dying else "active"


class FakeFleet(Fleet):
    """Fleet with `attempt`, its one way to hosts, turned to a World."""

    def __init__(self, world: World, deployment: Deployment) -> None:
        self.deployment, self.world = deployment, world
        self.facts: dict[str, HostFacts] = {}
        self._contents: dict[str, bytes] = {}

    def __exit__(self, *error: object) -> None:
        for host in self.world.hosts.values():
            host.lock = None

    def attempt(
        self, hosts: Iterable[str], task: Callable[..., Result], **arguments: Any
    ) -> tuple[dict[str, Result], dict[str, HybridmsgError]]:
        results: dict[str, Result] = {}
        errors: dict[str, HybridmsgError] = {}
        for name in list(hosts):
            with _kept(errors, name):
                results[name] = self.world.request(task.__name__, self.world.hosts[name], arguments)
        return results, errors


@contextmanager
def _kept(errors: dict[str, HybridmsgError], host: str) -> Iterator[None]:
    """Keep a host's error, as Nornir does; what interrupts the whole run goes on."""
    try:
        yield
    except Interrupted:
        raise
    except HybridmsgError as error:
        errors[host] = error


def _needs_lock(host: FakeHost) -> None:
    if host.lock is None:
        raise HostError(host.name, "refused: no lock")


def _sha256(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()


def _file(host: FakeHost, path: str) -> dict[str, Any]:
    if path not in host.files:
        return {"exists": False}
    content = host.files[path]
    owner = {"mode": 0o640, "user": "root", "group": "nova", "inode": 1}
    times = {"ctime_ns": int(host.ctimes.get(path, 0) * 1e9)}
    held = {"sha256": _sha256(content), "content_b64": base64.b64encode(content).decode()}
    return {"exists": True, "real": path, **owner, **times, **held}


def _unit(unit: FakeUnit | None) -> dict[str, Any]:
    runs = unit is not None and unit.active == "active"
    found = unit or FakeUnit("inactive", "disabled")
    state = {"load": "loaded" if unit else "not-found", "active": found.active, "enabled": found.enabled}
    process = {"main_pid": 7 if runs else 0, "user": "nova", "interpreter": "/usr/bin/python3" if runs else None}
    return {**state, **process, "argv": [], "started": found.started if runs else None}
