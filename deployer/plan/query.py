"""What is asked of a host: arguments of the agent's `facts`, such that one exchange answers all of the plan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deployer.model.deployment import Deployment, Host
from deployer.plan.cluster_member import CONF, UNIT
from deployer.plan.observed import HostFacts


def facts_query(deployment: Deployment, host: Host, before: HostFacts | None) -> dict[str, Any]:
    """Return the `facts` arguments for one host; content already seen in `before` does not travel again."""
    known = {path: fact.sha256 for path, fact in before.files.items()} if before else {}
    projects = [project for project in deployment.projects if host in project.hosts]
    units = {name for project in projects for unit in project.project.units for name in unit.names}
    files = {path for project in projects for path in project.project.files}
    broker = host in deployment.rabbitmq
    if broker:
        units.add(UNIT)
        files.add(CONF)
    asked = query(files, units)
    asked["files"] |= {path: known.get(path) for path in files}
    if broker:
        asked["rabbitmq"] = {"peers": [peer.name for peer in deployment.rabbitmq]}
    return asked


def query(files: Iterable[str], units: Iterable[str]) -> dict[str, Any]:
    """Return the `facts` arguments for some files, whole, and units."""
    return {
        "files": dict.fromkeys(sorted(files)),
        "units": sorted(units),
        "packages": [],
        "programs": [],
        "rabbitmq": False,
    }
