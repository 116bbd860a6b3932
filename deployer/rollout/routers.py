"""Bring the routers to what the plan wants and prove that fanout arrives exactly once; take them away again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from deployer.errors import HostError, HostsFailed, HybridmsgError
from deployer.plan.query import query
from deployer.plan.router_config import CONF, FILES, UNIT
from deployer.plan.router_facts import Fanout, RouterFacts
from deployer.plan.router_query import fanout_args
from deployer.plan.router_removal import attached, is_ours, removal
from deployer.plan.routers import SCOPE, plan_routers
from deployer.plan.steps import Wave
from deployer.rollout.carry import Carrier
from deployer.rollout.fleet import Fleet
from tasks.routers import RouterQuery, check_fanout

ROUNDS = 3
"""Once to do it all; once more for what a restart showed; the last finds nothing to do."""
FANOUT_TIMEOUT = 20.0
"""Seconds that one fanout check may wait until every subscription is known everywhere."""
SETTLING = 1.0
"""Seconds between two fanout checks: duplicates after a router came back last about as long."""


def bring_routers(fleet: Fleet, carrier: Carrier) -> None:
    """Carry the router plan out until it is empty, then wait for fanout to arrive exactly once between all routers.

    Raises HostsFailed when a step fails, HostError when the plan does not become empty or fanout is not exactly once,
    ConfigurationError when a host cannot become a router. Without routers nothing is done.
    """
    deployment = fleet.deployment
    if not deployment.qdrouterd:
        return
    for _ in range(ROUNDS):
        waves = plan_routers(deployment, fleet.facts).waves
        if not waves:
            await_fanout(fleet)
            return
        for wave in waves:
            carrier.carry(wave)
        fleet.observe(deployment.qdrouterd)
    problem = f"the routers are still not as planned after {ROUNDS} rounds"
    raise HostError(deployment.qdrouterd[0].name, problem, "See what `hybridmsg plan` still wants of them")


def ask_fanout(fleet: Fleet, timeout: float = FANOUT_TIMEOUT) -> Fanout:
    """Send fanouts between all routers, from the hub's host, and return how often each came. `timeout` in s."""
    hub = fleet.deployment.qdrouterd[0].name
    results = fleet.run([hub], check_fanout, request=RouterQuery(fanout_args(fleet.deployment, timeout)))
    fanout: Fanout = results[hub].fanout  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
    return fanout


def await_fanout(fleet: Fleet) -> None:
    """Wait until fanout arrives exactly once, for `timeouts.gate` at most: a mesh that changed has to settle.

    Raises HostError naming each pair of routers between which it does not.
    """
    deployment = fleet.deployment
    retrying = Retrying(
        retry=retry_if_result(lambda fanout: not fanout.exactly_once),
        stop=stop_after_delay(deployment.timeouts.gate),
        wait=wait_fixed(SETTLING),
        retry_error_callback=_last,
    )
    fanout: Fanout = retrying(ask_fanout, fleet, min(FANOUT_TIMEOUT, deployment.timeouts.gate))
    if not fanout.exactly_once:
        problem = f"fanout between the routers does not arrive exactly once: {fault(fleet, fanout)}"
        remedy = "No service was moved to them. Are there links between routers that hybridmsg did not make?"
        raise HostError(deployment.qdrouterd[0].name, problem, remedy)


def fault(fleet: Fleet, fanout: Fanout) -> str:
    """Return what is wrong with a fanout for people, its routers by their names in the inventory."""
    names = {host.address: host.name for host in fleet.deployment.qdrouterd}
    pairs = [
        str(replace(pair, source=names.get(pair.source, pair.source), target=names.get(pair.target, pair.target)))
        for pair in fanout.wrong
    ]
    return "; ".join([*([fanout.problem] if fanout.problem else []), *pairs])


def deserted_routers(fleet: Fleet) -> list[str]:
    """Return the inventory's hosts that have a router of hybridmsg's and are not in the qdrouterd group any more."""
    routers = {host.name for host in fleet.deployment.qdrouterd}
    found = fleet.ask_facts({name: query([CONF], []) for name in fleet.deployment.hosts if name not in routers})
    return [name for name, facts in found.items() if is_ours(facts.files[CONF])]


def remove_routers(fleet: Fleet, carrier: Carrier, hosts: Iterable[str]) -> None:
    """Remove router, package, configuration and users from these hosts, all or none.

    Raises HostsFailed while an OpenStack service is attached to any of them, or one that runs does not tell who is.
    """
    facts = fleet.ask_facts({name: query(FILES, [UNIT]) for name in hosts})
    if not facts:
        return
    running = [name for name, fact in facts.items() if fact.units[UNIT].running]
    errors: dict[str, HybridmsgError] = {
        name: HostError(name, *reason)
        for name, router in fleet.ask_routers(running).items()
        if (reason := _kept_by(router)) is not None
    }
    if errors:
        raise HostsFailed(errors)
    intents = {name: removal(fleet.deployment, fact) for name, fact in facts.items()}
    carrier.carry(Wave("qdrouterd: remove", SCOPE, intents))


def _kept_by(router: RouterFacts) -> tuple[str, str] | None:
    """Return why a running router must stay, and the remedy."""
    if router.view is None:
        problem = f"its router does not tell who is attached: {router.problem}"
        return problem, f"Where nobody needs it, stop it by hand (systemctl stop {UNIT}) and run again"
    services = attached(router.view)
    if services:
        return f"its router is in use by {', '.join(services)}", "Move them to RabbitMQ first. No router was removed"
    return None


def _last(state: RetryCallState) -> object:
    return state.outcome.result() if state.outcome else None
