"""The catalogue: what is known of each OpenStack project (files, units, topics), read from catalogue.yaml."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ruamel.yaml import YAML

Role = Literal["server", "client", "notifier", "listener"]


class _Entry(BaseModel):
    """Base of the catalogue's entries: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listener(_Entry):
    """The option that lists the buses a project reads notifications from: repeated, one URL each time."""

    section: str = ""
    key: str = ""
    own: bool = False
    """Whether it reads its own notify bus, and no option names others (aodh-listener, designate-sink)."""
    topics: tuple[str, ...] = ("notifications",)


class Unmoved(_Entry):
    """A part of a project that hybridmsg names and leaves alone."""

    what: str
    why: str
    file: str | None = None


class Unit(_Entry):
    """One systemd unit: `names` are alternatives, the first that exists on a host is the unit there."""

    names: tuple[str, ...] = Field(min_length=1)
    role: Role
    program: str = ""
    """oslo.config's name of the program, for its default search: the first of `names` unless given."""
    topics: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    """Topics of a server that only its own project's servers send to: drained, but not asked for an answer."""
    order: int
    server: Literal["host", "backend"] = "host"
    """A server's own name: [DEFAULT] host or the hostname, or host@backend (one server a backend)."""

    @model_validator(mode="after")
    def _topics_are_a_servers(self) -> Unit:
        if bool(self.topics) != (self.role == "server") or (self.inner and not self.topics):
            raise ValueError(f"{self.names[0]}: a server has topics, nothing else does")
        return self


class Project(_Entry):
    """One OpenStack project: `order` is between projects, `files` has the main configuration file first."""

    name: str
    order: int
    exchange: str
    files: tuple[str, ...] = Field(min_length=1)
    context: dict[str, str] = {}
    notifies: bool = False
    cells: bool = False
    """Whether a database of its own maps cells to transport URLs (nova)."""
    casts_to_absent: bool = False
    """Whether a service casts, as it starts, to servers that may not be there, and ends when that cast fails."""
    listener: Listener | None = None
    user: str = ""
    vhost: str = ""
    program: str = ""
    """oslo.config's name of the project, for its default search; user, vhost and program are the name unless given."""
    not_oslo: tuple[str, ...] = ()
    """Options of [DEFAULT] that are named like oslo.messaging's and are the project's own."""
    unmoved: tuple[Unmoved, ...] = ()
    managed: bool = True
    """Whether its files are edited; otherwise it is only told of."""
    units: tuple[Unit, ...] = Field(min_length=1)

    @property
    def rpc(self) -> bool:
        """Whether any unit answers RPC."""
        return any(unit.role == "server" for unit in self.units)

    @model_validator(mode="after")
    def _servers_before_clients(self) -> Project:
        servers = [unit.order for unit in self.units if unit.role == "server"]
        clients = [unit.order for unit in self.units if unit.role == "client"]
        if servers and clients and max(servers) >= min(clients):
            raise ValueError(f"{self.name}: every server must be ordered before every client")
        return self


def parse_catalogue(text: str) -> dict[str, Project]:
    """Return the projects of a catalogue document in their order; raises pydantic.ValidationError."""
    document = YAML(typ="safe", pure=True).load(text)
    projects = [Project(name=name, **entry) for name, entry in document.items()]
    return {project.name: project for project in sorted(projects, key=lambda project: project.order)}


@cache
def _shipped() -> dict[str, Project]:
    return parse_catalogue(files("deployer.model").joinpath("catalogue.yaml").read_text(encoding="utf-8"))


def load_catalogue() -> dict[str, Project]:
    """Return the shipped catalogue, name -> Project, in project order."""
    return dict(_shipped())
