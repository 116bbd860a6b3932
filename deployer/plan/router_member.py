"""One router as its host's facts show it, what sets it apart from what it is to be, and the reasons not to touch it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from deployer.errors import Mistake
from deployer.model.deployment import Deployment, Host
from deployer.model.secrets import Secret
from deployer.model.transports import resolve
from deployer.plan.observed import FileFact, HostFacts, UnitFact
from deployer.plan.router_config import (
    ACCOUNT,
    CONF,
    FILES,
    OURS,
    PASSWORD,
    SASL_CONF,
    UNIT,
    Entity,
    configuration,
    entities,
    plain,
    sasl_configuration,
)
from deployer.plan.router_facts import RouterFacts, RouterView
from deployer.plan.router_removal import is_ours

_UNSEEN = RouterFacts(version=None, users=(), logins={}, view=None, problem="")
_UNTOLD = frozenset({"saslPassword"})
_LIVE = ("sslProfile", "listener", "connector", "address", "log")


@dataclass(frozen=True)
class WantedFile:
    """A file of a router; one that is `secret` is read by the router's account alone."""

    path: str
    content: bytes = field(repr=False)
    secret: bool = False

    @property
    def mode(self) -> int:
        """Return its permission bits."""
        return 0o600 if self.secret else 0o644

    @property
    def owner(self) -> str:
        """Return its user and group."""
        return ACCOUNT if self.secret else "root"

    def is_now(self, fact: FileFact) -> bool:
        """Whether the host has it so."""
        now = (fact.sha256, fact.mode, fact.user)
        return now == (hashlib.sha256(self.content).hexdigest(), self.mode, self.owner)


@dataclass(frozen=True)
class Difference:
    """What management is to delete and to create in a running router, in this order."""

    delete: tuple[Entity, ...] = ()
    create: tuple[Entity, ...] = ()

    def __len__(self) -> int:
        return len({(one.type, one.name) for one in (*self.delete, *self.create)})


@dataclass(frozen=True)
class Router:
    """A host with a router, now or soon, at its `place` in the qdrouterd group."""

    host: Host
    place: int
    package_manager: str | None
    unit: UnitFact | None
    seen: RouterFacts
    files: Mapping[str, FileFact] = field(repr=False)
    wanted: tuple[Entity, ...] = field(repr=False)
    wanted_files: tuple[WantedFile, ...] = field(repr=False)
    passwords: Mapping[str, Secret] = field(repr=False)
    administrator: str
    realm: str

    @classmethod
    def of(cls, deployment: Deployment, place: int, facts: HostFacts) -> Router:
        """Read the facts of a host that was asked for its router, the unit UNIT and FILES."""
        return cls(
            host=deployment.qdrouterd[place],
            place=place,
            package_manager=facts.package_manager,
            unit=facts.units.get(UNIT),
            seen=facts.router or _UNSEEN,
            files={path: facts.files.get(path, FileFact(path, exists=False)) for path in FILES},
            wanted=entities(deployment, place),
            wanted_files=(
                WantedFile(CONF, configuration(deployment, place)),
                WantedFile(SASL_CONF, sasl_configuration()),
                WantedFile(PASSWORD, deployment.router_password.reveal().encode(), secret=True),
            ),
            passwords=passwords(deployment),
            administrator=deployment.router.user,
            realm=deployment.router.realm,
        )

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return self.seen.version is not None

    @property
    def runs(self) -> bool:
        """Whether its unit runs, whatever the router in it does."""
        return self.installed and self.unit is not None and self.unit.running

    @property
    def is_foreign(self) -> bool:
        """Whether it runs for somebody else: its file was not written by us."""
        conf = self.files[CONF]
        return self.runs and conf.exists and not is_ours(conf)

    @property
    def view(self) -> RouterView | None:
        """Return what the router tells of itself, None while it tells nothing."""
        return self.seen.view if self.installed else None

    @property
    def keeps_silent(self) -> bool:
        """Whether it runs and lets its administrator in, and yet tells nothing of itself: it may well be serving."""
        return self.runs and self.view is None and self.seen.logins.get(self.administrator, "not tried") is None

    @property
    def missing_users(self) -> dict[str, Secret]:
        """Return the users that it does not know or does not let in; all of them while it lets nobody in."""
        if self.view is None and not self.keeps_silent:
            return dict(self.passwords)
        return {
            user: password
            for user, password in self.passwords.items()
            if f"{user}@{self.realm}" not in self.seen.users or self.seen.logins.get(user) is not None
        }

    @property
    def files_before_package(self) -> tuple[str, ...]:
        """Return what is written before the package: where it starts the router at once, that must not let all in.

        Debian's packages do, and keep configuration that is there before them; Red Hat's may replace it.
        """
        return (CONF, SASL_CONF) if not self.installed and self.package_manager == "apt" else ()

    @property
    def files_at_start(self) -> tuple[str, ...]:
        """Return what is written once the package, and with it the router's account, is there."""
        return tuple(path for path in FILES if path not in self.files_before_package)

    def outdated(self, *paths: str) -> list[WantedFile]:
        """Return those of these files that are not as wanted."""
        return [file for file in self.wanted_files if file.path in paths and not file.is_now(self.files[file.path])]

    @cached_property
    def difference(self) -> Difference:
        """Return how the running router differs from what is wanted; what is not ours by name does not count."""
        if self.view is None:
            return Difference()
        now = {key: of for key, of in self.view.entities.items() if key[0] in _LIVE}
        wanted = {(one.type, one.name): one for one in self.wanted if one.type in _LIVE}
        changed = {key for key, one in wanted.items() if key in now and not _is_now(one, now[key])}
        leaving = {key for key in now if key not in wanted and key[1].startswith(OURS)} | changed
        # A listener keeps its profile from going: users of a thing leave before it, and come after it.
        order = sorted(leaving, key=lambda key: (-_LIVE.index(key[0]), key[1]))
        return Difference(
            delete=tuple(Entity(kind, name, {}) for kind, name in order if kind != "log"),
            create=tuple(one for key, one in wanted.items() if key in changed or key not in now),
        )

    @property
    def needs_restart(self) -> bool:
        """Whether it runs and only a restart makes it what is wanted.

        Management changes neither what a router is nor a profile that listeners already use. The files that are read
        at the start only count too. One that does not let its own administrator in serves nobody as it should.
        """
        held = bool(self.outdated(*self._read_at_start_only) or self.newer_files)
        if self.view is None:
            return self.runs and (held or not self.keeps_silent)
        profiles = {one.name for one in self.difference.delete if one.type == "sslProfile"}
        renewed = profiles & {one.name for one in self.difference.create if one.type == "sslProfile"}
        [router] = [one for one in self.wanted if one.type == "router"]
        same = (self.view.id, self.view.mode) == (router.attributes["id"], router.attributes["mode"])
        return bool(not same or renewed or held)

    @property
    def moves(self) -> bool:
        """Whether its peers, once it runs with its new file, have to reach it by another port or encryption."""
        parts = self.wanted_files[0].content.split(b"\n\n")
        now = self.files[CONF].content
        listener = [part for part in parts if f"name: {OURS}routers\n".encode() in part]
        return now is not None and any(part not in now.reveal() for part in listener)

    @property
    def newer_files(self) -> list[WantedFile]:
        """Return the files that only a start reads and that changed since this one, be they as wanted by now.

        So a run leaves them that was cut off before its restart. Management tells no password: only time does.
        """
        unit = self.unit if self.installed else None
        newer = {path for path in self._read_at_start_only if unit is not None and unit.began_before(self.files[path])}
        return [file for file in self.wanted_files if file.path in newer]

    @property
    def _read_at_start_only(self) -> tuple[str, ...]:
        """Return SASL's file, and the password where connectors hold it."""
        connects = any(one.type == "connector" for one in self.wanted)
        return (SASL_CONF, PASSWORD) if connects else (SASL_CONF,)


def passwords(deployment: Deployment) -> dict[str, Secret]:
    """Return the password of every user of a router: those of the projects on it and the administrator's."""
    buses = [resolve(deployment, project).rpc for project in deployment.projects]
    found = {bus.user: bus.password for bus in buses if bus.driver == "amqp"}
    return {**found, deployment.router.user: deployment.router_password}


def obstacles(deployment: Deployment, routers: Iterable[Router]) -> list[Mistake]:
    """Return every reason not to make these hosts routers, each with its remedy."""
    found = []
    for router in routers:
        if router.unit is not None and router.unit.load == "masked":
            problem = f"{UNIT} is masked: run `systemctl unmask {UNIT}` there, or take the host out of the group"
            found.append(Mistake(router.host.name, "", problem))
        if router.is_foreign:
            problem = (
                f"its {UNIT} runs with a configuration that is not hybridmsg's, and somebody may be attached. Where "
                f"nobody needs it, stop it (systemctl stop {UNIT}) and run again, or take the host out of the group"
            )
            found.append(Mistake(router.host.name, "", problem))
        elif router.keeps_silent and not router.needs_restart:
            problem = (
                f"its {UNIT} runs and lets users in, and what it has cannot be asked ({router.seen.problem}): services "
                "may depend on it, so it is not restarted for that. Run again; where it goes on, restart it yourself "
                f"when that does no harm (systemctl restart {UNIT})"
            )
            found.append(Mistake(router.host.name, "", problem))
        if not router.installed and (problem := _cannot_install(deployment, router)):
            found.append(Mistake(router.host.name, "", problem))
    return found


def _cannot_install(deployment: Deployment, router: Router) -> str:
    suffix = {"apt": ".deb", "dnf": ".rpm"}.get(router.package_manager or "")
    file = deployment.router.package_file
    if suffix is None:
        return f"has neither apt-get nor dnf: install {deployment.router.package} there yourself"
    if file is not None and file.suffix != suffix:
        return f"takes no {file.suffix} packages: qdrouterd.package_file must be a {suffix} for it"
    return ""


def _is_now(entity: Entity, now: Mapping[str, object]) -> bool:
    """Whether the running router has each attribute that we write; a password is not told, defaults do not count."""
    return all(
        name in now and plain(now[name]) == plain(value)
        for name, value in entity.attributes.items()
        if name not in _UNTOLD
    )
