"""What is asked of a host: arguments of the agent's `facts`, such that one exchange answers all of the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deployer.model.deployment import Deployment, Host, ProjectDeployment
from deployer.plan.cluster_member import CONF, COOKIE, UNIT
from deployer.plan.observed import HostFacts
from deployer.plan.router_config import FILES as ROUTER_FILES
from deployer.plan.router_config import UNIT as ROUTER_UNIT


def facts_query(
    deployment: Deployment, host: Host, seen: Mapping[str, HostFacts], *, deep: bool = True
) -> dict[str, Any]:
    """Return the `facts` arguments for one host; content already `seen`, by host, does not travel again.

    Unless `deep`, a broker is not asked what it holds: that takes longer than all the rest.
    """
    known = {path: fact.sha256 for path, fact in seen[host.name].files.items()} if host.name in seen else {}
    projects = [project for project in deployment.projects if host in project.hosts]
    files = {path for project in projects for path in project.project.files}
    units = {name: asked for project in projects for name, asked in _programs(project).items()}
    cluster = deployment.cluster_of(host)
    if cluster:
        units[UNIT] = {}
        files |= {CONF, COOKIE}
    if host in deployment.qdrouterd:
        units[ROUTER_UNIT] = {}
        files |= set(ROUTER_FILES)
    # What units read beside these only the host knows, which adds it; once read, that does not travel again either.
    asked = query(files | known.keys(), ()) | {"units": units}
    asked["files"] |= known
    # Only the amqp driver needs more than a service brings with it.
    asked["libraries"] = bool(deployment.qdrouterd and projects)
    if cluster and deep:
        # Erlang looks peers up by host name, which is seen only once they were asked; until then names may serve.
        names = [seen[peer.name].hostname if peer.name in seen else peer.name for peer in cluster.hosts]
        asked["rabbitmq"] = {"peers": [name.partition(".")[0] for name in names]}
    return asked


def _programs(project: ProjectDeployment) -> dict[str, dict[str, str]]:
    """Return each unit with what oslo.config calls its project and its program: by these it finds files."""
    name = project.project.program or project.project.name
    return {
        alias: {"project": name, "program": unit.program or unit.names[0]}
        for unit in project.project.units
        for alias in unit.names
    }


def query(files: Iterable[str], units: Iterable[str]) -> dict[str, Any]:
    """Return the `facts` arguments for some files, whole, and units of which no configuration is wanted."""
    return {
        "files": dict.fromkeys(sorted(files)),
        "units": {name: {} for name in sorted(units)},
        "packages": [],
        "libraries": False,
        "rabbitmq": False,
    }
