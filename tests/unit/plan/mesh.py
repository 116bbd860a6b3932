"""Builders of made-up router hosts, and what becomes of them when a plan is carried out on them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deployer.model.deployment import Deployment, Host, ProjectDeployment
from deployer.model.secrets import Blob, Secret
from deployer.plan.observed import FileFact, HostFacts, UnitFact
from deployer.plan.router_config import CONF, FILES, UNIT
from deployer.plan.router_facts import RouterFacts, RouterView
from deployer.plan.routers import plan_routers
from deployer.plan.steps import Intent, Wave
from tests.unit.plan.cloud import CTL1, deployment, project

Facts = dict[str, HostFacts]
# As a running qdrouterd 1.19 tells them of each entity, beside what its file says.
TOLD: dict[str, dict[str, object]] = {
    "listener": {"cost": 1, "http": False},
    "connector": {"stripAnnotations": "both"},
    "log": {"module": "DEFAULT"},
}
NUMBERS = ("cost", "idleTimeoutSeconds")


def router_host(number: int) -> Host:
    return Host(f"r{number}", f"10.0.1.{number}", 22, "deploy", ("qdrouterd",))


def site(routers: int, *projects: ProjectDeployment, first: int = 0, **settings: Any) -> Deployment:
    """A deployment of glance (or the projects given) with so many routers, r0 or `first` the hub."""
    hosts = tuple(router_host(number) for number in range(first, first + routers))
    cloud = deployment(*(projects or (project("glance", CTL1),)), qdrouterd=hosts)
    router = replace(cloud.router, **settings)
    return replace(cloud, router=router, router_password=Secret("canary-router"))


def bare(name: str) -> HostFacts:
    """A host on which nothing of a router is installed."""
    absent = {path: FileFact(path, exists=False) for path in FILES}
    units = {UNIT: UnitFact(UNIT, "not-found", "inactive", "")}
    router = RouterFacts(version=None, users=(), logins={}, view=None, problem="connection refused")
    return HostFacts(name, name, "apt", files=absent, units=units, router=router)


def finished(cloud: Deployment) -> Facts:
    """The hosts of the deployment's routers once the plan was carried out."""
    facts = {host.name: bare(host.name) for host in cloud.qdrouterd}
    return carried_out(cloud, facts, plan_routers(cloud, facts).waves)


def carried_out(cloud: Deployment, facts: Facts, waves: Iterable[Wave]) -> Facts:
    """The hosts after these waves; each router's users are tried against what it knows then."""
    found = dict(facts)
    for wave in waves:
        for name, intents in wave.intents.items():
            for intent in intents:
                found[name] = _after(found[name], intent)
    return found


def router(facts: HostFacts, **changes: Any) -> HostFacts:
    """The host with its router changed."""
    assert facts.router is not None
    return replace(facts, router=replace(facts.router, **changes))


def silent(facts: HostFacts, active: str = "active") -> HostFacts:
    """The host with its router telling nothing; `active` is its unit's state."""
    units = {UNIT: replace(facts.units[UNIT], active=active)}
    return replace(router(facts, view=None, problem="connection refused"), units=units)


def with_entity(facts: HostFacts, kind: str, name: str, **attributes: object) -> HostFacts:
    """The host with one entity of the running router changed, or one more."""
    assert facts.router is not None
    assert facts.router.view is not None
    view = facts.router.view
    entities = {**view.entities, (kind, name): {**view.entities.get((kind, name), {}), **attributes}}
    return router(facts, view=replace(view, entities=entities))


def sections(conf: bytes) -> list[tuple[str, dict[str, str]]]:
    """A qdrouterd.conf read as qdrouterd does: a # begins a comment, a section ends with a brace on its line."""
    found: list[tuple[str, dict[str, str]]] = []
    for whole in conf.decode().splitlines():
        line = whole.partition("#")[0].strip()
        if line.endswith("{"):
            found.append((line.removesuffix("{").strip(), {}))
        elif line not in ("", "}"):
            key, _, value = line.partition(":")
            found[-1][1][key.strip()] = value.strip()
    return found


def _after(facts: HostFacts, intent: Intent) -> HostFacts:
    args, seen = intent.args, facts.router
    assert seen is not None
    if intent.kind == "file.write":
        assert intent.preimage == {"sha256": facts.files[args["path"]].sha256}
        return replace(facts, files={**facts.files, args["path"]: _file(args)})
    if intent.kind in ("package.install", "package.upload"):
        names = args.get("names") or [args["name"]]
        units = {UNIT: UnitFact(UNIT, "loaded", "active", "enabled")} if "qdrouterd" in names else facts.units
        version = "1.19.0" if "qdrouterd" in names else seen.version
        return replace(router(facts, version=version), units=units)
    if intent.kind == "sasl.users":
        users = {f"{user}@{args['realm']}" for user in args["users_b64"]}
        return router(facts, users=tuple(sorted({*seen.users, *users})), logins={})
    if intent.kind == "unit.restart":
        started = replace(facts.units[UNIT], active="active")
        return replace(router(facts, view=_view(facts.files[CONF])), units={UNIT: started})
    if intent.kind == "router.update":
        return _updated(facts, args)
    assert intent.kind in ("unit.enable", "router.await")
    return facts


def _file(args: Mapping[str, Any]) -> FileFact:
    content = base64.b64decode(args["content_b64"])
    owner = {"mode": args["mode"], "user": args["user"], "group": args["group"]}
    sha256 = hashlib.sha256(content).hexdigest()
    return FileFact(args["path"], exists=True, sha256=sha256, content=Blob(content), **owner)


def _updated(facts: HostFacts, args: Mapping[str, Any]) -> HostFacts:
    assert facts.router is not None
    assert facts.router.view is not None
    view = facts.router.view
    entities = dict(view.entities)
    for one in args["delete"]:
        del entities[one["type"], one["name"]]
    for one in args["create"]:
        assert one["type"] == "log" or (one["type"], one["name"]) not in entities
        entities[one["type"], one["name"]] = {**TOLD.get(one["type"], {}), **one["attributes"]}
    return router(facts, view=replace(view, entities=entities))


def _view(conf: FileFact) -> RouterView:
    """What a router tells of itself that was started with this file."""
    assert conf.content is not None
    entities = {}
    settings = {}
    for kind, attributes in sections(conf.content.reveal()):
        if kind == "router":
            settings = attributes
            continue
        name = attributes.get("name") or attributes["module"]
        typed = {key: _typed(key, value) for key, value in attributes.items() if key != "saslPassword"}
        entities[kind, name] = {**TOLD.get(kind, {}), **typed}
    return RouterView(settings["id"], settings["mode"], "1.19.0", (settings["id"],), entities, (), ())


def _typed(key: str, value: str) -> object:
    if key in NUMBERS:
        return int(value)
    return value == "yes" if value in ("yes", "no") else value
