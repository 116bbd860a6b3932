"""Builders of made-up clouds: deployments from the shipped catalogue, and hosts as their agents would tell of them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from deployer.ini import IniFile
from deployer.model.catalogue import load_catalogue
from deployer.model.deployment import Deployment, Host, ProjectDeployment, RabbitCluster
from deployer.model.secrets import Blob, Secret
from deployer.model.transports import resolve
from deployer.plan.broker import compare
from deployer.plan.broker_definitions import definitions
from deployer.plan.cluster_member import CONF, UNIT
from deployer.plan.effective import Effective
from deployer.plan.observed import FileFact, HostFacts, Libraries, UnitFact
from deployer.plan.projects import ProjectPlan
from deployer.plan.render import render
from deployer.plan.router_facts import Connection, Link, RouterFacts, RouterView

MSG1 = Host("msg1", "10.0.0.11", 22, "deploy", ("rabbitmq",))
RTR1 = Host("rtr1", "10.0.0.31", 22, "deploy", ("qdrouterd",))
RTR2 = Host("rtr2", "10.0.0.32", 22, "deploy", ("qdrouterd",))
CTL1 = Host("ctl1", "10.0.0.21", 22, "deploy", ("nova", "glance"))
CTL2 = Host("ctl2", "10.0.0.22", 22, "deploy", ("nova", "glance"))
TEL1 = Host("tel1", "10.0.0.41", 22, "deploy", ("ceilometer",))

GLANCE = "/etc/glance/glance-api.conf"
NOVA = "/etc/nova/nova.conf"
CEILOMETER = "/etc/ceilometer/ceilometer.conf"

API_DATABASE = "[api_database]\nconnection = mysql://nova:canary-db@db/nova_api\n"
"""What lets a nova host read and write the cell mappings."""

FOREIGN = "rabbit://stack:canary-old@10.9.9.9:5672/"


def project(name: str, *hosts: Host, notify: Literal["keep", "rabbitmq"] = "keep") -> ProjectDeployment:
    """A project of the shipped catalogue; vhost and user are its name, the password is canary-NAME."""
    return ProjectDeployment(name, load_catalogue()[name], hosts, name, name, Secret(f"canary-{name}"), notify)


def deployment(
    *projects: ProjectDeployment, rabbitmq: tuple[Host, ...] = (MSG1,), qdrouterd: tuple[Host, ...] = ()
) -> Deployment:
    services = [host for one in projects for host in one.hosts]
    everyone = {host.name: host for host in [*rabbitmq, *qdrouterd, *services]}
    cookie = Secret("canary-cookie")
    clusters = (RabbitCluster("rabbitmq", rabbitmq),) if rabbitmq else ()
    return Deployment(Path("inventory"), everyone, clusters, qdrouterd, projects, erlang_cookie=cookie)


def url(cloud: Deployment, name: str) -> str:
    """The URL that a project of the cloud is to use."""
    return resolve(cloud, next(one for one in cloud.projects if one.name == name)).rpc.url().reveal()


def ini(text: str) -> Effective:
    """What a unit's configuration comes to that reads one file."""
    return Effective("ctl1", "", [("x.conf", IniFile.parse(text.encode(), "x.conf"))])


def unit(name: str, active: str = "active", **more: Any) -> UnitFact:
    running = (
        {"user": "nova", "interpreter": "/usr/bin/python3", "libraries": libraries()} if active == "active" else {}
    )
    return UnitFact(name, "loaded", active, "enabled", **{**running, **more})


def file(path: str, content: bytes | None) -> FileFact:
    if content is None:
        return FileFact(path, exists=False)
    sha256 = hashlib.sha256(content).hexdigest()
    return FileFact(
        path,
        exists=True,
        sha256=sha256,
        mode=0o640,
        user="root",
        group="nova",
        content=Blob(content),
    )


def host(
    name: str, files: Mapping[str, str | bytes | None], units: Iterable[UnitFact] = (), hostname: str = ""
) -> HostFacts:
    """A host with these files (None: absent) and units."""
    contents = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    return HostFacts(
        name,
        hostname or name,
        "apt",
        files={path: file(path, content) for path, content in contents.items()},
        units={one.name: one for one in units},
    )


def libraries(
    version: str | None = "14.0.3", *, amqp: bool = True, pyngus: bool = True, proton: bool = True
) -> Libraries:
    return Libraries(version, amqp=amqp, pyngus=pyngus, proton=proton)


def service(process: str, pid: int, *, node: str = "ctl1", user: str = "nova@openstack", number: int = 1) -> Connection:
    """A service's connection to a router, the `number`th of its process."""
    name = f"openstack.org/om/container/{node}/{process}/{pid}/{number}"
    return Connection(name, user, "10.0.0.21:40000", "normal", node, process, pid)


def subscription(to: Connection, address: str, undelivered: int = 0, unsettled: int = 0) -> Link:
    """A subscription of a service's, below the addresses of RPC."""
    return Link(to.container, "out", f"openstack.org/om/rpc/{address}", undelivered, unsettled)


def view(
    connections: Iterable[Connection] = (), links: Iterable[Link] = (), nodes: tuple[str, ...] = ("rtr1", "rtr2")
) -> RouterView:
    return RouterView("rtr1", "interior", "1.19.0", nodes, {}, tuple(connections), tuple(links))


def router(
    name: str, seen: RouterView | None = None, logins: Mapping[str, str | None] | None = None, problem: str = ""
) -> HostFacts:
    """A router's host; without a view, `problem` says why."""
    return replace(host(name, {}), router=RouterFacts("1.19.0-1", (), logins or {}, seen, problem))


def broker(cloud: Deployment, name: str = "msg1", consumers: Iterable[dict[str, str]] = ()) -> HostFacts:
    """A broker of a cluster that holds all that the deployment declares for it."""
    cluster = next(one for one in cloud.clusters if name in [member.name for member in one.hosts])
    nodes = [f"rabbit@{one.name}" for one in cluster.hosts]
    conf = render("rabbitmq.conf.j2", broker=cloud.broker, nodes=len(nodes))
    cookie = cloud.erlang_cookie.reveal().encode()
    seen = {
        "installed": True,
        "version": "3.10.8",
        "running": True,
        "node": f"rabbit@{name}",
        "members": nodes,
        "running_members": nodes,
        "cookie_sha256": hashlib.sha256(cookie).hexdigest(),
        "cookie_b64": base64.b64encode(cookie).decode(),
        "definitions": compare(definitions(cloud, cluster, "3.10.8"), {}).document(),
        "empty": False,
        "consumers": list(consumers),
        "resolves": {one.name: True for one in cluster.hosts},
    }
    return replace(host(name, {CONF: conf}, [unit(UNIT)]), rabbitmq=seen)


def bare(cloud: Deployment, name: str = "msg1") -> HostFacts:
    """A host of the rabbitmq group on which nothing is installed."""
    seen = {"installed": False, "running": False, "empty": True, "resolves": {one.name: True for one in cloud.rabbitmq}}
    return replace(host(name, {CONF: None}), rabbitmq=seen)


def after(facts: Mapping[str, HostFacts], plans: Iterable[ProjectPlan]) -> dict[str, HostFacts]:
    """The hosts as they are once every edit of the plans was written."""
    found = dict(facts)
    for plan in plans:
        for name, edits in plan.edits.items():
            written = {edit.path: file(edit.path, edit.after.reveal()) for edit in edits}
            found[name] = replace(found[name], files={**found[name].files, **written})
    return found
