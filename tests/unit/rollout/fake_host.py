"""A host that lives in memory below the agent's own code: what carries steps out, journals and undoes them is real."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from deployer.agent import cells, commit_kinds, file_kinds, guard_unit, journal_lines, kinds, steps, unit_kinds
from deployer.agent.deeds import Deed, Undo
from deployer.agent.errors import AgentError, RefusedError, StaleError, StepError
from deployer.agent.images import Image
from deployer.agent.journal import Journal
from deployer.agent.pending import Pending
from deployer.agent.types import Json, Prepared, Step, StepOutcome
from deployer.agent.units import full_name

if TYPE_CHECKING:
    from typing_extensions import Self

KEPT = (0o640, "root", "nova")
"""Mode and owner of a file of which nothing else is said."""


@dataclass
class FakeUnit:
    """`read` holds the host's files as they were when the unit was started: what it runs on.

    `restarts` is how often it dies, and systemd starts it again, after each start.
    `reads` are the files that its start names; none: nobody can tell, and it reads its project's main one.
    """

    active: str = "active"
    enabled: str = "enabled"
    started: float = 0.0
    read: dict[str, bytes] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    restarts: int = 0


@dataclass
class FakeHost:
    """`lock` is the run that holds the host, `ctimes` when files were last written; `users` are its router's.

    `pending` is what its guard, which it cannot have when it is `unguarded`, would put back.
    """

    name: str
    address: str
    files: dict[str, bytes]
    units: dict[str, FakeUnit]
    rabbitmq: dict[str, Any] | None = None
    lock: str | None = None
    hold: Json | None = None
    journals: dict[str, MemoryJournal] = field(default_factory=dict)
    ctimes: dict[str, float] = field(default_factory=dict)
    owners: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    pending: Pending | None = None
    unguarded: bool = False
    users: set[str] = field(default_factory=set)


class MemoryJournal(Journal):
    """The agent's journal of one run, without a disk."""

    def __init__(self, run: str) -> None:
        self.run, self.tell = run, lambda _event: None
        self._begun: Json = {"run": run, "who": "", "when": "", "record": None}
        self._written: list[Json] = []
        self._kept: dict[str, bytes] = {}

    def exists(self) -> bool:
        return bool(self._begun["when"] or self._written)

    def begin(self, who: str, when: str, record: Json | None = None) -> None:
        if record is not None or not self._begun["when"]:
            self._begun = {"run": self.run, "who": who, "when": when, "record": record}

    def keep(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self._kept[sha256] = content
        return sha256

    def blob(self, sha256: str) -> bytes:
        if sha256 not in self._kept:
            raise RefusedError(f"blobs/{sha256} cannot be read: No such file or directory")
        return self._kept[sha256]

    def write(self, line: Json) -> None:
        # As it travels, and as a disk would give it back.
        self._written.append(json.loads(json.dumps(line)))

    def replace(self, lines: list[Json]) -> None:
        self._written = list(lines)

    def entries(self) -> list[Json]:
        try:
            journal_lines.check(self._written)
        except journal_lines.DamagedLineError as error:
            raise RefusedError(f"journal.jsonl is damaged: {error}") from error
        return list(self._written)

    def about(self) -> Json:
        return dict(self._begun)

    def check_blobs(self) -> None:
        for entry in self._written:
            if entry["before"].get("sha256"):
                self.blob(entry["before"]["sha256"])

    def drop_damaged_blobs(self) -> None:
        """Memory damages nothing."""


class Hardware(Protocol):
    """What the kinds below need of the world around: the host that is asked right now, and what happens there."""

    cells: dict[str, tuple[str, str]]

    @property
    def host(self) -> FakeHost: ...

    def write(self, host: str, path: str, content: bytes) -> None: ...

    def switch(self, host: str, unit: str, verb: str) -> None: ...

    def killed(self, host: str, unit: str) -> bool: ...

    def act(self, verb: str, what: str, host: str) -> None: ...

    def purge(self, vhost: str, queues: Iterable[str]) -> None: ...


def put_agents_in_memory(world: Hardware, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the agent's own engine work on the host that the world is asking."""
    files = Files(world)
    acts = {
        "package.install": lambda args: _install(world.host, args["names"]),
        "package.remove": lambda args: _remove(world.host, args["names"]),
        "sasl.users": lambda args: world.host.users.update(f"{user}@{args['realm']}" for user in args["users_b64"]),
        "rabbitmq.purge": lambda args: world.purge(args["vhost"], args["queues"]),
        **dict.fromkeys(
            ("router.await", "rabbitmq.await", "rabbitmq.import", "rabbitmq.join", "rabbitmq.remove"),
            lambda _args: None,
        ),
    }
    simple = {kind: _simple(act) for kind, act in acts.items()}
    monkeypatch.setattr(steps, "ThreadPoolExecutor", OneByOne)
    monkeypatch.setattr(unit_kinds, "units", Systemd(world))
    monkeypatch.setattr(commit_kinds, "pending", PendingFile(world))
    monkeypatch.setattr(commit_kinds, "guard_unit", Guard(world))
    monkeypatch.setattr(cells, "probe", lambda *words: _database(world, words[2]))
    monkeypatch.setattr(steps, "images", files)
    monkeypatch.setattr(
        kinds, "_KINDS", {**simple, **files.kinds, **unit_kinds.KINDS, **cells.KINDS, **commit_kinds.KINDS}
    )
    monkeypatch.setattr(kinds, "UNDO", {**unit_kinds.UNDO, **cells.UNDO, **commit_kinds.UNDO, **files.undo})
    monkeypatch.setattr(kinds, "CHECKS", {**cells.CHECKS, **dict.fromkeys(files.kinds, files.check)})


class OneByOne:
    """Does in the order of their submission what the agent's threads do at once: tests know what comes first."""

    def __init__(self, max_workers: int) -> None:
        assert max_workers > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left to wait for."""

    def submit(self, act: Callable[[], StepOutcome]) -> Future[StepOutcome]:
        done: Future[StepOutcome] = Future()
        try:
            done.set_result(act())
        except AgentError as error:
            done.set_exception(error)
        return done


class Files:
    """The step kinds of files; in the place of `images`, too, which reads them."""

    def __init__(self, world: Hardware) -> None:
        self._world = world
        self.kinds = {"file.write": self._write, "file.remove": self._remove}
        self.undo: dict[str, Undo] = dict.fromkeys(self.kinds, self._restore)

    def read(self, path: str) -> Image:
        content = self._world.host.files.get(path)
        return Image(path, exists=content is not None, content=content or b"")

    def check(self, deed: Deed) -> None:
        found = {deed.merged.sha256} if deed.merged else {*deed.left, deed.before["sha256"]}
        if not deed.superseded and self.read(deed.target).sha256 not in found:
            raise StaleError(f"{deed.target} was changed after the run", step=deed.step)

    def _write(self, step: Step) -> Prepared:
        path, content = step.args["path"], base64.b64decode(step.args["content_b64"])
        file_kinds.check_preimage(step, self.read(path))
        mode, user, group = self._world.host.owners.get(path, KEPT)
        owner = (step.args["mode"] or mode, step.args["user"] or user, step.args["group"] or group)
        return self._put(path, content, owner)

    def _remove(self, step: Step) -> Prepared:
        return self._put(step.args["path"], None, KEPT)

    def _put(self, path: str, content: bytes | None, owner: tuple[int, str, str]) -> Prepared:
        host, image = self._world.host, self.read(path)
        after = Image(path, exists=content is not None, content=content or b"").sha256

        def act() -> StepOutcome:
            self._set(host, path, content, owner)
            return StepOutcome(changed=image.sha256 != after, after={"sha256": after})

        before = {"sha256": image.sha256, "owner": host.owners.get(path, KEPT)}
        return Prepared(path, act, before, {"sha256": after}, image.content if image.exists else None, content)

    def _restore(self, deed: Deed, journal: Journal, force: bool) -> StepOutcome:  # noqa: FBT001 - the form of every Undo
        if not force or deed.merged:
            self.check(deed)
        if deed.superseded:
            return StepOutcome(changed=False)
        sha256, owner = deed.before["sha256"], tuple(deed.before["owner"])
        content = None if sha256 is None else journal.blob(sha256)
        if deed.merged:
            content, owner = deed.merged.content, self._world.host.owners.get(deed.target, owner)
        self._set(self._world.host, deed.target, content, owner)
        return StepOutcome(changed=True, after={"sha256": self.read(deed.target).sha256})

    def _set(self, host: FakeHost, path: str, content: bytes | None, owner: tuple[int, str, str]) -> None:
        host.owners[path] = owner
        if content is not None:
            self._world.write(host.name, path, content)
        elif host.files.pop(path, None) is not None:
            self._world.act("remove", path, host.name)


class Systemd:
    """In the place of `units` below the real step kinds of units."""

    def __init__(self, world: Hardware) -> None:
        self._world = world

    @staticmethod
    def full_name(name: str) -> str:
        return full_name(name)

    def state(self, unit: str) -> Json:
        one = self._world.host.units.get(_short(unit), FakeUnit("inactive", ""))
        return {"active": one.active, "enabled": one.enabled, "reload_needed": False}

    def control(self, verb: str, unit: str, _timeout: float) -> str:
        self._world.switch(self._world.host.name, _short(unit), verb)
        return ""

    def was_killed(self, unit: str) -> bool:
        return self._world.killed(self._world.host.name, _short(unit))


class PendingFile:
    """In the place of `pending` below the real step kinds of commits."""

    def __init__(self, world: Hardware) -> None:
        self._world = world

    def read(self, _state: Path) -> Pending | None:
        return self._world.host.pending

    def save(self, _state: Path, pending: Pending) -> None:
        self._world.host.pending = pending if pending.scopes else None

    @staticmethod
    def uptime() -> float:
        return 0.0


class Guard:
    """In the place of `guard_unit` below the real step kinds of commits; it never strikes."""

    LOG_NAME = guard_unit.LOG_NAME

    def __init__(self, world: Hardware) -> None:
        self._world = world

    def install(self, _state: Path, services: Iterable[str]) -> None:
        known = {one.removesuffix(".service") for one in services}
        assert known <= {*self._world.host.units}, "a guard is ordered before services that there are"

    def arm(self, _state: Path, seconds: float) -> None:
        assert seconds > 0
        if self._world.host.unguarded:
            raise StepError("the timer that puts this host back cannot be started")

    def disarm(self) -> None:
        """It never strikes."""


def failed_to_start(unit: str) -> StepError:
    return StepError(f"systemctl start {unit} failed (exit code 1)", f"See journalctl -u {unit}")


def _short(unit: str) -> str:
    return unit.removesuffix(".service")


def _simple(act: Callable[[Json], object]) -> Callable[[Step], Prepared]:
    def prepare(step: Step) -> Prepared:
        def carry_out() -> StepOutcome:
            act(step.args)
            return StepOutcome(changed=True)

        return Prepared(step.kind, carry_out)

    return prepare


def _install(host: FakeHost, names: list[str]) -> None:
    host.packages.update(names)
    if "qdrouterd" in names:
        host.units.setdefault("qdrouterd", FakeUnit("inactive", "disabled"))


def _remove(host: FakeHost, names: list[str]) -> None:
    host.packages.difference_update(names)
    if "qdrouterd" in names:
        host.units.pop("qdrouterd")


def _database(world: Hardware, request: Mapping[str, Any]) -> Json:
    """nova's interpreter, asked for its cells or told to move some: old and new transport URL by uuid."""
    moves = request["moves"]
    stale = [uuid for uuid, move in moves.items() if world.cells[uuid][1] != move["old"]]
    for uuid, move in moves.items() if not stale else ():
        world.cells[uuid] = (world.cells[uuid][0], move["new"])
        world.act("cell", world.cells[uuid][0], world.host.name)
    return {"error": "", "stale": stale, "cells": cell_list(world.cells)}


def cell_list(found: Mapping[str, tuple[str, str]]) -> list[Json]:
    return [
        {"uuid": uuid, "name": name, "transport_url_b64": base64.b64encode(url.encode()).decode()}
        for uuid, (name, url) in found.items()
    ]
