"""A fleet of hosts that live in memory: a stand-in for SSH and the hosts, with Fleet's and the agent's own code."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from nornir.core.task import Result

from deployer.agent import history as agent_history
from deployer.agent import steps as agent_steps
from deployer.agent import undo as agent_undo
from deployer.agent.errors import AgentError
from deployer.errors import ConnectionLost, HostError, HybridmsgError, Interrupted, Locked
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.session import _reported
from deployer.plan.examined import refusals
from deployer.plan.observed import HostFacts
from deployer.plan.router_facts import Fanout
from deployer.plan.rpc_address import is_rpc_queue
from deployer.plan.steps import Step
from deployer.rollout.endings import Tally
from deployer.rollout.fleet import Fleet
from tasks.preflight import PreflightQuery
from tasks.routers import RouterQuery
from tasks.session import Keep
from tests.unit.rollout import buses
from tests.unit.rollout.fake_host import KEPT, FakeHost, FakeUnit, MemoryJournal, cell_list
from tests.unit.rollout.world import World

HOLDER = ("ann@ops", "2026-01-01T00:00:00+00:00")


@dataclass(frozen=True)
class Fault:
    """What a request fails with; `late`: the host does what it was asked, and only its answer is lost."""

    error: BaseException
    late: bool = False


class Wire:
    """All requests to the hosts of a world, and which shall fail; `calls` has task and host of each, in order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: list[tuple[str, str]] = []
        self._faults: dict[tuple[str, str], tuple[range, Fault]] = {}
        self._cuts: dict[int, Fault] = {}
        self._meanwhile: dict[tuple[str, str, int], Callable[[], None]] = {}

    def fleet(self, deployment: Deployment, _progress: Progress) -> FakeFleet:
        self.world.deployment = deployment
        return FakeFleet(self, deployment)

    def fail(
        self, host: str, task: str, error: BaseException, at: range = range(1, 1000), *, late: bool = False
    ) -> None:
        """Let the requests of this task to this host fail: `at` counts them, from 1 as of now."""
        before = self.calls.count((task, host))
        self._faults[task, host] = range(at.start + before, at.stop + before), Fault(error, late)

    def cut(self, number: int, error: BaseException, *, late: bool) -> None:
        """Let a request fail, whatever it is: the `number`th from now."""
        self._cuts[len(self.calls) + number] = Fault(error, late)

    def meanwhile(self, host: str, task: str, act: Callable[[], None], at: int = 1) -> None:
        """Let something happen just before a request: the `at`th of this task to this host, from 1 as of now."""
        self._meanwhile[task, host, at + self.calls.count((task, host))] = act

    def mend(self) -> None:
        """Let nothing fail from now on."""
        self._faults.clear()
        self._cuts.clear()

    def request(self, task: str, host: FakeHost, arguments: Mapping[str, Any]) -> Result:
        self.calls.append((task, host.name))
        self._meanwhile.get((task, host.name, self.calls.count((task, host.name))), lambda: None)()
        fault, self.world.asked = self._fault(task, host), host
        if fault is not None and not fault.late:
            raise self._lost(host, fault)
        act: Callable[..., Result] = getattr(self, task)
        # What a host tells of its journal is a part of its answer.
        unheard = {"keep": None} if fault is not None and "keep" in arguments else {}
        try:
            result = act(host, **{**arguments, **unheard})
        except AgentError as error:
            raise _reported(host.name, error.frame()) from None
        if fault is not None:
            raise self._lost(host, fault)
        return result

    def _fault(self, task: str, host: FakeHost) -> Fault | None:
        at, fault = self._faults.get((task, host.name), (range(0), None))
        if self.calls.count((task, host.name)) in at:
            return fault
        return self._cuts.get(len(self.calls))

    @staticmethod
    def _lost(host: FakeHost, fault: Fault) -> BaseException:
        host.lock = None if isinstance(fault.error, ConnectionLost) else host.lock
        return fault.error

    # What a host can be asked: the tasks by their names.

    def lock_host(self, host: FakeHost, run: str) -> Result:
        if host.lock not in (None, run):
            raise Locked(host.name, {"run": str(host.lock)})
        host.lock = run
        return Result(None)

    def read_history(self, host: FakeHost, run: str | None = None) -> Result:
        known = [journal for name, journal in host.journals.items() if run in (None, name) and journal.exists()]
        runs, pending = [agent_history.told(journal) for journal in known], host.pending and asdict(host.pending)
        return Result(None, runs=runs, hold=host.hold, pending=pending)

    def write_record(
        self, host: FakeHost, run: str, record: Mapping[str, Any], prune: Mapping[str, int] | None = None
    ) -> Result:
        assert prune is None or prune.keys() == {"runs", "days"}
        _journal(host, run, record)
        return Result(None, pruned=[])

    def read_blobs(self, host: FakeHost, run: str, sha256s: Mapping[str, list[str]]) -> Result:
        kept = _known(host, run)
        return Result(None, blobs={sha256: kept.blob(sha256) for sha256 in sha256s[host.name]})

    def restore_journal(
        self, host: FakeHost, run: str, journals: Mapping[str, Mapping[str, Any]], *, replace: bool
    ) -> Result:
        _needs_lock(host)
        args = json.loads(json.dumps({"run": run, "replace": replace, **journals[host.name]}))
        agent_history.restore(_known(host, run), args, *HOLDER)
        return Result(None, changed=True)

    def read_hold(self, host: FakeHost) -> Result:
        return Result(None, hold=host.hold)

    def set_hold(self, host: FakeHost, hold: Mapping[str, Any] | None) -> Result:
        _needs_lock(host)
        before, host.hold = host.hold, None if hold is None else dict(hold)
        return Result(None, hold=before)

    def read_facts(self, host: FakeHost, queries: Mapping[str, Any]) -> Result:
        query = queries[host.name]
        read = {path for name in query["units"] if name in host.units for path in host.units[name].reads}
        files = {path: _file(host, path) for path in {*query["files"], *read}}
        units = {name: _unit(host.units.get(name), libraries=query["libraries"]) for name in query["units"]}
        told = {"hostname": host.name, "package_manager": "apt", "python": "3.11.2"}
        rabbitmq = self.world.rabbitmq(host) if query["rabbitmq"] else None
        return Result(None, facts={"host": told, "files": files, "units": units, "rabbitmq": rabbitmq})

    def examine_host(self, host: FakeHost, requests: Mapping[str, PreflightQuery]) -> Result:
        args = requests[host.name].args
        facts = self.read_facts(host, {host.name: args["facts"]}).facts  # type: ignore[attr-defined]  # as in Fleet
        asked = {host.name: RouterQuery(args["router"])} if args["router"] else {}
        router = self.read_router(host, asked).router if asked else None  # type: ignore[attr-defined]  # as in Fleet
        answer = {"facts": facts, "router": router and buses.told(router), "host": self.world.state(host)}
        return Result(None, answer={**answer, **self._logins(host, args)}, now=self.world.clock)

    def log_in(self, host: FakeHost, requests: Mapping[str, PreflightQuery]) -> Result:
        return Result(None, logins=refusals(self._logins(host, requests[host.name].args)["logins"]))

    def _logins(self, host: FakeHost, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"logins": {one["id"]: self.world.refusal(host, one) for one in args["logins"]}}

    def read_cells(self, host: FakeHost, queries: Mapping[str, Any]) -> Result:
        assert host.name in queries
        return Result(None, cells=cell_list(self.world.cells))

    def read_queues(self, host: FakeHost, queries: Mapping[str, Any]) -> Result:
        if not (host.rabbitmq or {}).get("running"):
            raise HostError(host.name, "RabbitMQ's queues cannot be read")
        vhost, topics = queries[host.name]["vhost"], queries[host.name]["topics"]
        waiting = self.world.queues.setdefault(vhost, {})
        consumers = [one["queue"] for one in self.world.consumers(host.name) if one["vhost"] == vhost]
        read = [
            {"queue": name, "ready": waiting.get(name, 0), "unacked": 0, "consumers": consumers.count(name)}
            for name in sorted({*waiting, *consumers})
            if is_rpc_queue(name, topics)
        ]
        for name in {*consumers} - self.world.stuck:
            waiting[name] = max(waiting.get(name, 0) - 1, 0)
        return Result(None, reads=[read] * 3)

    def read_router(self, host: FakeHost, requests: Mapping[str, RouterQuery]) -> Result:
        routers = self.world.routers()
        attached = [one for one in self.world.services() if self.world.router_of(one) is host]
        found = buses.router(host, requests[host.name].args, routers, attached + self.world.still_attached(host))
        return Result(None, router=found)

    def check_fanout(self, host: FakeHost, request: RouterQuery) -> Result:
        assert host in self.world.routers().values()
        return Result(None, fanout=Fanout(int(request.args["rounds"]), (), exactly_once=True, problem=""))

    def probe_bus(self, host: FakeHost, requests: Mapping[str, Any]) -> Result:
        request = requests[host.name]["request"]
        bus = buses.bus_of(host.files, *request["config_files"])
        answering = {server for one in self.world.services() if one.bus == bus for server in one.servers}
        targets = [self.world.answer(target, answering, bus) for target in request["targets"]]
        delivered = f"notification@{host.name}" not in self.world.silent
        notify = {"delivered": delivered, "error": "" if delivered else "not read back", "queue_deleted": True}
        effective = {} if bus is None else {"rpc_driver": bus.driver, "rpc_hosts": self.world.with_port(bus)}
        answer = {"targets": targets, "notify": notify if request["notify"] else None, "effective": effective}
        return Result(None, answer=answer)

    def apply_steps(self, host: FakeHost, run: str, steps: Mapping[str, Sequence[Step]], **options: Any) -> Result:
        todo = [agent_steps.parse(step.wire(), run) for step in steps[host.name]]
        journal = _journal(host, run, options.get("record"), options.get("keep"))
        outcomes = agent_steps.apply(todo, journal, lambda _event: None, threading.Event())
        return Result(None, changed=True, outcomes=outcomes, run=run)

    def undo_steps(self, host: FakeHost, run: str, steps: Mapping[str, Sequence[str]], **options: Any) -> Result:
        if run not in host.journals:
            raise HostError(host.name, f"this host has no record of run {run}")
        journal = _journal(host, run, options.get("record"), options.get("keep"))
        merged = agent_undo.parse_merged((options.get("merged") or {}).get(host.name, {}))
        gone, force = threading.Event(), options["force"]
        agent_undo.undo(journal, steps[host.name], lambda _event: None, gone, force=force, merged=merged)
        return Result(None, changed=True)


class FakeFleet(Fleet):
    """Fleet with `attempt`, its one way to hosts, turned to a Wire."""

    def __init__(self, wire: Wire, deployment: Deployment) -> None:
        self.deployment, self.wire = deployment, wire
        self.facts: dict[str, HostFacts] = {}
        self.tally = Tally(deployment.hosts)
        self._contents: dict[str, bytes] = {}

    def __exit__(self, *error: object) -> None:
        for host in self.wire.world.hosts.values():
            host.lock = None

    def attempt(
        self, hosts: Iterable[str], task: Callable[..., Result], **arguments: Any
    ) -> tuple[dict[str, Result], dict[str, HybridmsgError]]:
        results: dict[str, Result] = {}
        errors: dict[str, HybridmsgError] = {}
        for name in list(hosts):
            with _kept(errors, name):
                results[name] = self.wire.request(task.__name__, self.wire.world.hosts[name], arguments)
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


def _known(host: FakeHost, run: str) -> MemoryJournal:
    return host.journals.setdefault(run, MemoryJournal(run))


def _journal(host: FakeHost, run: str, record: Mapping[str, Any] | None, keep: Keep | None = None) -> MemoryJournal:
    """Return a run's journal, which goes on; what is written to it is told to `keep`."""
    _needs_lock(host)
    journal = _known(host, run)
    journal.tell = lambda event: keep(host.name, event["journal"]) if keep else None
    journal.begin(*HOLDER, None if record is None else json.loads(json.dumps(record)))
    return journal


def _needs_lock(host: FakeHost) -> None:
    if host.lock is None:
        raise HostError(host.name, "refused: no lock")


def _file(host: FakeHost, path: str) -> dict[str, Any]:
    if path not in host.files:
        return {"exists": False}
    content = host.files[path]
    mode, user, group = host.owners.get(path, KEPT)
    changed = int(host.ctimes.get(path, 0) * 1e9)
    times = {"inode": changed, "mtime_ns": changed, "ctime_ns": changed}
    held = {"sha256": hashlib.sha256(content).hexdigest(), "content_b64": base64.b64encode(content).decode()}
    return {"exists": True, "real": path, "mode": mode, "user": user, "group": group, **times, **held}


def _unit(unit: FakeUnit | None, *, libraries: bool) -> dict[str, Any]:
    runs = unit is not None and unit.active == "active"
    found = unit or FakeUnit("inactive", "disabled")
    state = {"load": "loaded" if unit else "not-found", "active": found.active, "enabled": found.enabled}
    process = {"main_pid": 7 if runs else 0, "user": "nova", "interpreter": "/usr/bin/python3" if runs else None}
    has = {"oslo.messaging": "14.9.0", "amqp": True, "pyngus": True, "proton": True} if libraries and runs else None
    started = found.started if runs else None
    config = {"files": list(found.reads), "from": "process", "problem": ""} if found.reads else None
    words: dict[str, Any] = {"environment": [], "argv": [], "threads": 1, "config": config}
    return {
        **state,
        **process,
        **words,
        "started": started,
        "invocation": str(started),
        "restarts": found.restarts,
        "libraries": has,
    }
