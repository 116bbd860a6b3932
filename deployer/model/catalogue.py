"""The catalogue: what is known of each OpenStack project (files, units, topics), one file each in projects/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML

from deployer.errors import ConfigurationError, Mistake
from deployer.model.shape_check import refuse_each
from deployer.model.yaml_source import YamlFile, read_yaml

Role = Literal["server", "client", "notifier", "listener"]
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_ROLES = ("rabbitmq", "qdrouterd")  # groups of the inventory that are no project's
_NEEDED = {"order", "exchange", "files", "units"}  # of a new project: they have no default


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    return path


_AbsolutePath = Annotated[str, AfterValidator(_absolute)]


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
    one_thread: bool = False
    """Whether it hangs over routers where uWSGI or mod_wsgi runs it with several threads: see docs/hybrid.md."""
    rabbit_only: str = ""
    """Why it needs RabbitMQ as its RPC bus, where it does: then it is refused on the way to routers."""
    topics: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    """Topics of a server that only its own project's servers send to: drained, but not asked for an answer."""
    order: int
    server: Literal["host", "backend", "option", "drawn"] = "host"
    """A server's own name: [DEFAULT] host or the hostname; host@backend (one server a backend); what another option or
    default says; or an id drawn at each start. Names that are not the host's are known from the bus only."""

    @model_validator(mode="after")
    def _topics_are_a_servers(self) -> Unit:
        if self.role != "server" and (self.topics or self.inner):
            raise ValueError(f"{self.names[0]}: only a server has topics")
        if self.role == "server" and self.server == "drawn" and (self.topics or not self.inner):
            raise ValueError(f"{self.names[0]}: nobody can ask a name drawn at each start: all its topics are inner")
        if self.role == "server" and self.server != "drawn" and not self.topics:
            raise ValueError(f"{self.names[0]}: a server has topics")
        return self


class Project(_Entry):
    """One OpenStack project: `order` is between projects, `files` has the main configuration file first."""

    name: str
    order: int
    exchange: str
    files: tuple[_AbsolutePath, ...] = Field(min_length=1)
    context: dict[str, str] = {}
    notifies: bool = False
    cells: bool = False
    """Whether a database of its own maps cells to transport URLs (nova)."""
    casts_to_absent: bool = False
    """Whether a service casts to servers that may not be there, and would end, or wait 30 s, when such a cast fails."""
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


@cache
def _shipped() -> dict[str, dict[str, Any]]:
    yaml = YAML(typ="safe", pure=True)
    entries = [file for file in files("deployer.model").joinpath("projects").iterdir() if file.name.endswith(".yaml")]
    return {file.name.removesuffix(".yaml"): yaml.load(file.read_text(encoding="utf-8")) for file in entries}


def load_catalogue(own: Path | None = None) -> dict[str, Project]:
    """Return the catalogue, name -> Project, in project order: the shipped one with the operator's files over it.

    A NAME.yaml in the directory `own`, which need not exist, replaces the keys it gives of the shipped project of that
    name, or is a new project. Raises ConfigurationError with every mistake in these files.
    """
    shipped = _shipped()
    projects = {name: Project(name=name, **entry) for name, entry in shipped.items()}
    mistakes: list[Mistake] = []
    for path in sorted(own.iterdir()) if own is not None and own.is_dir() else ():
        if path.suffix not in (".yaml", ".yml"):
            continue
        file = read_yaml(path)
        project = _own_project(file, path, shipped)
        if project is not None:
            projects[project.name] = project
        mistakes += file.mistakes
    if mistakes:
        raise ConfigurationError(mistakes)
    return {project.name: project for project in sorted(projects.values(), key=lambda one: (one.order, one.name))}


def _own_project(file: YamlFile, path: Path, shipped: Mapping[str, Mapping[str, Any]]) -> Project | None:
    """Return the project that an operator's file describes, or None: what is wrong is recorded in the file."""
    if path.suffix != ".yaml" or not _NAME.fullmatch(path.stem) or path.stem in _ROLES:
        file.refuse((), f"is no project's name. Name it PROJECT.yaml, not one of {', '.join(_ROLES)}, in lower case")
        return None
    if "name" in file.data:
        file.refuse(("name",), "is the file's own name. Delete the line")
        return None
    if file.mistakes:
        return None
    near = get_close_matches(path.stem, shipped, n=1, cutoff=0.75)
    if near and path.stem not in shipped and not file.data.keys() >= _NEEDED:
        file.refuse((), f'is no project that is known, and not all of a new one. Did you mean "{near[0]}.yaml"?')
        return None
    try:
        return Project.model_validate({**shipped.get(path.stem, {}), **file.data, "name": path.stem})
    except ValidationError as error:
        refuse_each(Project, file, (), error)
        return None
