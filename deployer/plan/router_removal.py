"""How a router leaves a host: pure, from what the host is; and who keeps it there."""

from __future__ import annotations

from deployer.model.deployment import Deployment
from deployer.plan.observed import FileFact, HostFacts
from deployer.plan.router_config import FILES, HEADER, UNIT, USERS
from deployer.plan.router_facts import RouterView
from deployer.plan.steps import Intent


def is_ours(conf: FileFact) -> bool:
    """Whether this qdrouterd.conf was written by hybridmsg."""
    return conf.content is not None and conf.content.reveal().startswith(HEADER)


def attached(view: RouterView) -> list[str]:
    """Return the OpenStack services that are connected to the router, for people."""
    services = {
        f"{one.process or one.container} on {one.node or one.host} (user {one.user})"
        for one in view.connections
        if one.openstack
    }
    return sorted(services)


def removal(deployment: Deployment, facts: HostFacts) -> tuple[Intent, ...]:
    """Return what takes a router off its host: unit, package, configuration, password and users."""
    timeouts, package = deployment.timeouts, deployment.router.package
    unit = facts.units.get(UNIT)
    packages = {"names": [package], "manager": facts.package_manager, "timeout": timeouts.install}
    stop = (
        Intent("unit.stop", {"unit": UNIT, "timeout": timeouts.step}, f"stop {UNIT}"),
        Intent("unit.disable", {"unit": UNIT}, f"do not start {UNIT} at boot"),
    )
    return (
        *(stop if unit is not None and unit.exists else ()),
        Intent("package.remove", packages, f"remove {package}"),
        *(Intent("file.remove", {"path": path}, f"remove {path}") for path in (*FILES, USERS)),
    )
