"""How the hosts of the qdrouterd group become one mesh of routers: pure, from what they are now.

What a running router can change without a restart it changes so. Where it cannot, one router after the other is
restarted, the hub last, and the next one waits until the mesh is whole again: clients fail over to another meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deployer.errors import ConfigurationError
from deployer.model.deployment import Deployment
from deployer.plan import router_intents as acts
from deployer.plan.observed import HostFacts
from deployer.plan.router_member import Router, obstacles
from deployer.plan.steps import Intent, Wave
from deployer.plan.topology import links

SCOPE = "backend:qdrouterd"


@dataclass(frozen=True)
class RouterPlan:
    """`waves` are all that is to be done; `changes` has a line for people for each change of a router.

    `versions` is, by host, what each router that runs says it is.
    """

    waves: tuple[Wave, ...]
    changes: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=dict)


def plan_routers(deployment: Deployment, facts: Mapping[str, HostFacts]) -> RouterPlan:
    """Return what makes the qdrouterd hosts one mesh that lets the deployment's users in.

    Raises ConfigurationError with every host that cannot become a router.
    """
    routers = [Router.of(deployment, place, facts[host.name]) for place, host in enumerate(deployment.qdrouterd)]
    if mistakes := obstacles(deployment, routers):
        raise ConfigurationError(mistakes)
    waves = [
        _install(deployment, routers),
        _users(deployment, routers),
        _start(deployment, routers),
        _change(deployment, routers),
        _restart(deployment, routers),
    ]
    if len(routers) > 1 and any(wave.intents for wave in waves):
        waves.append(_await_mesh(deployment, routers))
    changes = tuple(line for router in routers for line in _describe(deployment, router))
    return RouterPlan(tuple(wave for wave in waves if wave.intents), changes, running_versions(deployment, facts))


def running_versions(deployment: Deployment, facts: Mapping[str, HostFacts]) -> dict[str, str]:
    """Return, by host, what each router that runs says it is; a stand-in says so there."""
    routers = {host.name: facts[host.name].router for host in deployment.qdrouterd if host.name in facts}
    return {name: one.view.version for name, one in routers.items() if one is not None and one.view is not None}


def _install(deployment: Deployment, routers: Sequence[Router]) -> Wave:
    intents: dict[str, tuple[Intent, ...]] = {}
    for router in routers:
        if not router.installed:
            files = router.outdated(*router.files_before_package)
            intents[router.host.name] = (*acts.write(router, files), *acts.install(deployment, router))
        elif router.view is None and (tools := acts.install_tools(deployment, router)):
            intents[router.host.name] = tools
    return Wave("qdrouterd: install", SCOPE, intents)


def _users(deployment: Deployment, routers: Sequence[Router]) -> Wave:
    """Everywhere before anything is restarted: a router with a new password must be let in by its peers."""
    intents = {
        router.host.name: acts.set_users(deployment, router.missing_users) for router in routers if router.missing_users
    }
    return Wave("qdrouterd: users", SCOPE, intents)


def _start(deployment: Deployment, routers: Sequence[Router]) -> Wave:
    """Its peers may not run yet, or not listen to it: the mesh is waited for at the end."""
    intents = {router.host.name: acts.bring_up(deployment, router, ()) for router in routers if not router.runs}
    return Wave("qdrouterd: start", SCOPE, intents)


def _change(deployment: Deployment, routers: Sequence[Router]) -> Wave:
    intents = {
        router.host.name: acts.change_live(deployment, router)
        for router in routers
        if router.runs and not router.needs_restart
    }
    changed = {host: own for host, own in intents.items() if own}
    return Wave("qdrouterd: change while it runs", SCOPE, changed, serial=True)


def _restart(deployment: Deployment, routers: Sequence[Router]) -> Wave:
    # While the port or the encryption between the routers changes, those still to come cannot be reached.
    nodes = [] if any(router.moves for router in routers) else _ids(routers)
    hub_last = [*routers[1:], *routers[:1]]
    intents = {
        router.host.name: acts.bring_up(deployment, router, nodes)
        for router in hub_last
        if router.runs and router.needs_restart
    }
    return Wave("qdrouterd: restart with its configuration", SCOPE, intents, serial=True)


def _await_mesh(deployment: Deployment, routers: Sequence[Router]) -> Wave:
    nodes = _ids(routers)
    intents: dict[str, tuple[Intent, ...]] = {
        router.host.name: (acts.await_router(deployment, router, nodes),) for router in routers
    }
    return Wave("qdrouterd: wait for the mesh", SCOPE, intents)


def _ids(routers: Sequence[Router]) -> list[str]:
    return [router.host.name for router in routers]


def _describe(deployment: Deployment, router: Router) -> list[str]:
    host, settings = router.host.name, deployment.router
    lines = []
    if not router.installed:
        lines.append(f"{host}: + router, port {settings.port}{' with TLS' if settings.tls else ''}")
        lines += [
            f"{host}: + link to {deployment.qdrouterd[link.target].name}, cost {link.cost}"
            for link in links(len(deployment.qdrouterd))
            if link.source == router.place
        ]
    elif router.view is None:
        lines.append(f"{host}: ~ router, which tells nothing now: {router.seen.problem or 'it does not run'}")
    lines += [f"{host}: + user {user}@{router.realm}" for user in router.missing_users]
    lines += [f"{host}: - {one.type} {one.name}" for one in router.difference.delete]
    lines += [f"{host}: + {one.type} {one.name}" for one in router.difference.create]
    if router.runs and router.needs_restart:
        lines.append(f"{host}: ~ router, restarted")
    return lines
