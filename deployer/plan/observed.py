"""What a host is, as its agent's `facts` answer tells it (docs/architecture.md gives the shape of the answer)."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from deployer.ini import IniFile
from deployer.model.deployment import Host
from deployer.model.secrets import Blob
from deployer.plan.cells import CellMapping
from deployer.plan.router_facts import RouterFacts


@dataclass(frozen=True)
class FileFact:
    """A file on a host; `content` is None when it is absent. `mode` is the permission bits.

    `real` is the path behind symlinks, "" when nobody told. The times are in ns since the epoch, by the host's clock.
    """

    path: str
    exists: bool
    sha256: str | None = None
    mode: int = 0
    user: str = ""
    group: str = ""
    content: Blob | None = None
    real: str = ""
    inode: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0

    @cached_property
    def ini(self) -> IniFile:
        """The file as oslo.config's grammar has it, to be read and never edited: it is parsed once.

        Raises FileRefused for one that cannot be read; an absent file is empty.
        """
        return IniFile.parse(self.content.reveal() if self.content else b"", self.path)

    def preimage(self) -> dict[str, Any]:
        """Return what a step demands to find on the host before it writes."""
        return {"sha256": self.sha256}

    def identity(self) -> dict[str, Any]:
        """Return what makes it the same file for a rollback: content by hash, mode and owner."""
        return {"sha256": self.sha256, "mode": self.mode, "user": self.user, "group": self.group}


@dataclass(frozen=True)
class Libraries:
    """What an interpreter has: its oslo.messaging (None: none), that one's amqp driver, and what the driver needs."""

    oslo_messaging: str | None
    amqp: bool
    pyngus: bool
    proton: bool

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Libraries:
        """Read the agent's entry."""
        return cls(raw["oslo.messaging"], raw["amqp"], raw["pyngus"], raw["proton"])


@dataclass(frozen=True)
class ConfigSource:
    """Which files a unit reads, in oslo.config's order (later wins); `origin` tells where its start was read from.

    With a `problem` the start was not understood and `files` are those of the default search.
    """

    files: tuple[str, ...]
    origin: str
    problem: str = ""


@dataclass(frozen=True)
class UnitFact:
    """A systemd unit on a host; `interpreter` is the Python that runs it, None when unknown or not running.

    `libraries` is None without an interpreter, and where it was not asked for. `environment` has the names of the
    process's variables that oslo.config reads (OS_GROUP__OPTION), never their values. `started` is when its process
    began, in s since the epoch by the host's clock; `invocation` is systemd's own name of that start, "" when unknown;
    `restarts` is how often systemd has started it again by itself since somebody did.
    """

    name: str
    load: str
    active: str
    enabled: str
    user: str = ""
    interpreter: str | None = None
    argv: tuple[str, ...] = ()
    libraries: Libraries | None = None
    environment: tuple[str, ...] = ()
    threads: int = 1
    config: ConfigSource | None = None
    started: float | None = None
    invocation: str = ""
    restarts: int = 0

    @property
    def exists(self) -> bool:
        """Whether systemd knows the unit on this host."""
        return self.load not in ("not-found", "")

    @property
    def running(self) -> bool:
        """Whether there is something to stop, and to start again."""
        return self.active in ("active", "activating", "reloading")

    def began_before(self, file: FileFact) -> bool:
        """Whether the file was written after the unit's process began, which then has what was in it before."""
        return self.running and self.started is not None and file.mtime_ns / 1e9 > self.started

    def options(self, name: str) -> list[str]:
        """Return a repeated option's values in the order of the command line: `--config-file X`, `--config-file=X`."""
        values = []
        for word, following in itertools.pairwise((*self.argv, "")):
            if word == name and following:
                values.append(following)
            elif word.startswith(f"{name}="):
                values.append(word.partition("=")[2])
        return values


@dataclass(frozen=True)
class HostFacts:
    """One host's facts. `rabbitmq` is the agent's own section, None when it was not asked for.

    `router` and `cells` come of exchanges of their own: None where there was none.
    """

    host: str
    hostname: str
    package_manager: str | None
    files: dict[str, FileFact] = field(default_factory=dict)
    units: dict[str, UnitFact] = field(default_factory=dict)
    rabbitmq: dict[str, Any] | None = field(default=None, repr=False)
    router: RouterFacts | None = field(default=None, repr=False)
    cells: tuple[CellMapping, ...] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, host: str, answer: dict[str, Any], known: MutableMapping[str, bytes]) -> HostFacts:
        """Read the agent's answer.

        `known` maps sha256 to content seen before in this run: the agent leaves such content out, and what it sends is
        added. Raises KeyError when the agent broke the protocol.
        """
        return cls(
            host=host,
            hostname=answer["host"]["hostname"],
            package_manager=answer["host"]["package_manager"],
            files={path: _file(path, raw, known) for path, raw in answer["files"].items()},
            units={name: _unit(name, raw) for name, raw in answer["units"].items()},
            rabbitmq=answer.get("rabbitmq"),
        )

    def same_file(self, path: str) -> str:
        """Return the one path by which a file goes that was read under several names (symlinks)."""
        real = self.files[path].real
        if not real or real in self.files:
            return real or path
        return min(other for other, fact in self.files.items() if fact.real == real)

    def first_unit(self, names: tuple[str, ...] | list[str]) -> UnitFact | None:
        """Return the first of a unit's distribution names that this host has."""
        return next((self.units[name] for name in names if name in self.units and self.units[name].exists), None)


def _file(path: str, raw: dict[str, Any], known: MutableMapping[str, bytes]) -> FileFact:
    if not raw["exists"]:
        return FileFact(path, exists=False)
    sha256 = raw["sha256"]
    if "content_b64" in raw:
        known[sha256] = base64.b64decode(raw["content_b64"])
    return FileFact(
        path,
        exists=True,
        sha256=sha256,
        mode=raw["mode"],
        user=raw["user"],
        group=raw["group"],
        content=Blob(known[sha256]),
        real=raw["real"],
        inode=raw["inode"],
        mtime_ns=raw["mtime_ns"],
        ctime_ns=raw["ctime_ns"],
    )


def _unit(name: str, raw: dict[str, Any]) -> UnitFact:
    return UnitFact(
        name,
        load=raw["load"],
        active=raw["active"],
        enabled=raw["enabled"],
        user=raw["user"],
        interpreter=raw["interpreter"],
        argv=tuple(raw["argv"]),
        libraries=Libraries.of(raw["libraries"]) if raw["libraries"] else None,
        environment=tuple(raw["environment"]),
        threads=raw["threads"],
        config=_config(raw.get("config")),
        started=raw["started"],
        invocation=raw["invocation"],
        restarts=raw["restarts"],
    )


def _config(raw: dict[str, Any] | None) -> ConfigSource | None:
    return ConfigSource(tuple(raw["files"]), raw["from"], raw["problem"]) if raw else None


def consumers_of(hosts: Iterable[Host], facts: Mapping[str, HostFacts]) -> list[dict[str, str]]:
    """Return the consumers ({"vhost", "queue"}) that these hosts' brokers tell; those of one cluster tell the same."""
    states = [facts[host.name].rabbitmq or {} for host in hosts]
    return [seen for state in states for seen in state.get("consumers", [])]
