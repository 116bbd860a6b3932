"""The hosts of a deployment as one: every exchange with them goes through here, one Nornir run at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from nornir.core import Nornir
from nornir.core.filter import F
from nornir.core.processor import Processors
from nornir.core.task import Result
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from deployer.errors import ConfigurationError, HostError, HostsFailed, HybridmsgError, Locked, Unreachable
from deployer.model.deployment import Deployment, Host
from deployer.model.inventory import load_inventory
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.runner import DeadlineRunner
from deployer.plan.cell_moves import cells_request, cells_witness
from deployer.plan.cells import CellMapping
from deployer.plan.examined import Examination, Refusal
from deployer.plan.logins import Login, logins, logins_args
from deployer.plan.observed import HostFacts
from deployer.plan.query import facts_query
from deployer.plan.router_facts import RouterFacts
from deployer.plan.router_query import router_args
from deployer.rollout.endings import Tally
from tasks.cells import read_cells
from tasks.facts import read_facts
from tasks.preflight import PreflightQuery, examine_host, log_in
from tasks.routers import RouterQuery, read_router
from tasks.steps import lock_host

if TYPE_CHECKING:
    from typing_extensions import Self

Answer = TypeVar("Answer")


class Fleet:
    """Connections to the hosts of a deployment, opened when first needed and closed together.

    `facts` holds what is known of each host, as last read; `tally` how far what is to be done on them came.
    """

    _taken_for = ""

    def __init__(self, deployment: Deployment, progress: Progress) -> None:
        self.deployment = deployment
        self.facts: dict[str, HostFacts] = {}
        self.tally = Tally(deployment.hosts)
        self._contents: dict[str, bytes] = {}
        # Not InitNornir: its logging tells task arguments, and it knows no role that groups.yaml leaves out.
        self._nornir = Nornir(
            inventory=load_inventory(deployment.directory),
            runner=DeadlineRunner(deployment.limits.parallel),
            processors=Processors([progress]),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nornir.close_connections(on_good=True, on_failed=True)

    def run(self, hosts: Iterable[str], task: Callable[..., Result], **arguments: Any) -> dict[str, Result]:
        """Run one task on some hosts at once and return each one's Result; raises HostsFailed when any failed."""
        results, errors = self.attempt(hosts, task, **arguments)
        if errors:
            raise HostsFailed(errors)
        return results

    def attempt(
        self, hosts: Iterable[str], task: Callable[..., Result], **arguments: Any
    ) -> tuple[dict[str, Result], dict[str, HybridmsgError]]:
        """Run one task on some hosts at once; return the Results of those that did it and the errors of the others.

        Hosts that failed in an earlier wave are asked again when named: Nornir's own memory of them is cleared.
        """
        names = list(hosts)
        if not names:
            return {}, {}
        self._nornir.data.reset_failed_hosts()
        results = self._nornir.filter(F(name__in=names)).run(task=task, **arguments)
        errors = {name: _error(name, results[name][0]) for name in names if results[name].failed}
        return {name: results[name][0] for name in names if name not in errors}, errors

    def observe(self, hosts: Iterable[Host] | None = None) -> dict[str, HostFacts]:
        """Read the facts of some hosts (all by default), one exchange each, and return what is known of all.

        A host with a router takes one more, for the router's own view.
        """
        asked = list(self.deployment.hosts.values() if hosts is None else hosts)
        queries = {host.name: facts_query(self.deployment, host, self.facts) for host in asked}
        found = self.ask_facts(queries)
        routers = self.ask_routers(host.name for host in asked if host in self.deployment.qdrouterd)
        for host in asked:
            cells = self.facts[host.name].cells if host.name in self.facts else None
            self.facts[host.name] = replace(found[host.name], router=routers.get(host.name), cells=cells)
        return self.facts

    def examine(
        self, hosts: Iterable[str], *, logging_in: bool = True, deep: bool = True
    ) -> tuple[dict[str, Examination], dict[str, HybridmsgError]]:
        """Look at some hosts before a run, one exchange each; return what was read, and the errors of the others.

        Afterwards `facts` is what it is after `observe`. With `logging_in` their services' logins are tried; unless
        `deep`, brokers are not asked what they hold.
        """
        asked = {name: self.deployment.hosts[name] for name in hosts}
        own = {name: logins(self.deployment, host) if logging_in else () for name, host in asked.items()}
        requests = {
            name: PreflightQuery(self._preflight_args(host, own[name], deep=deep)) for name, host in asked.items()
        }
        results, errors = self.attempt(requests, examine_host, requests=requests)
        found = {
            name: Examination.of(name, result.answer, result.now, self._contents)  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
            for name, result in results.items()
        }
        self.facts.update({name: one.facts for name, one in found.items()})
        return found, errors

    def _preflight_args(self, host: Host, own: Iterable[Login], *, deep: bool) -> dict[str, Any]:
        return {
            "facts": facts_query(self.deployment, host, self.facts, deep=deep),
            "router": router_args(self.deployment, host) if host in self.deployment.qdrouterd else None,
            **logins_args(own),
        }

    def log_in(self, asked: Mapping[str, Iterable[Login]]) -> dict[str, dict[str, Refusal | None]]:
        """Let hosts log in as their services do; return each one's answers by login. Raises HostsFailed."""
        requests = {name: PreflightQuery(logins_args(own)) for name, own in asked.items()}
        results = self.run(requests, log_in, requests=requests)
        return {name: result.logins for name, result in results.items()}  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes

    def leave_out(self, hosts: Iterable[str]) -> None:
        """Go on without some service hosts."""
        for name in hosts:
            self.deployment = self.deployment.without(name)
            self.tally.leave_out([name])

    def ask_routers(self, hosts: Iterable[str]) -> dict[str, RouterFacts]:
        """Read what the routers of some hosts are and who is attached."""
        own = {name: self.deployment.hosts[name] for name in hosts}
        requests = {name: RouterQuery(router_args(self.deployment, host)) for name, host in own.items()}
        results = self.run(requests, read_router, requests=requests)
        return {name: result.router for name, result in results.items()}  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes

    def observe_cells(self) -> None:
        """Read nova's cell mappings, which are in its database, through one of its hosts. Needs `facts`."""
        for project in self.deployment.projects:
            # A file that cannot be read is for the plan to name, with all else that is wrong.
            with suppress(ConfigurationError):
                witness = cells_witness(project, self.facts)
                if witness is not None:
                    queries = {witness.host: cells_request(project, witness)}
                    answer = self.run(queries, read_cells, queries=queries)[witness.host].cells  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
                    cells = tuple(map(CellMapping.of, answer))
                    self.facts[witness.host] = replace(self.facts[witness.host], cells=cells)

    def ask_facts(self, queries: Mapping[str, Mapping[str, Any]]) -> dict[str, HostFacts]:
        """Read facts by queries of one's own, host by name."""
        results = self.run(queries, read_facts, queries=queries)
        return {name: self.read(name, result) for name, result in results.items()}

    def read(self, name: str, result: Result) -> HostFacts:
        """Return the facts that a Result of `read_facts` holds."""
        return HostFacts.of(name, result.facts, self._contents)  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes

    def take(self, run: str) -> dict[str, HybridmsgError]:
        """Take every host that can be had for this run; return the errors of the others, which are out of reach.

        Raises HostsFailed of those that another run holds, or that cannot be had for another reason: who else is out of
        reach does not matter then.
        """
        self._taken_for = run
        errors = self.attempt(self.deployment.hosts, lock_host, run=run)[1]
        refused = {name: error for name, error in errors.items() if not isinstance(error, Unreachable)}
        if refused:
            raise HostsFailed(refused)
        return errors

    def lock(self, run: str, hosts: Iterable[str] | None = None, patience: float = 0) -> None:
        """Take hosts (all by default) for this run, until the fleet closes; raises HostsFailed of Locked.

        Taking a host twice is once. `patience` is how long (s) to wait for an agent of this very run whose session was
        lost: it holds the host until it has finished the step in hand.
        """
        self._taken_for = run
        retrying = Retrying(
            retry=retry_if_exception(lambda error: _is_held_by(error, run)),
            stop=stop_after_delay(patience),
            wait=wait_fixed(1),
            reraise=True,
        )
        retrying(self.run, self.deployment.hosts if hosts is None else list(hosts), lock_host, run=run)

    def take_again(self, hosts: Iterable[str]) -> dict[str, HybridmsgError]:
        """Take hosts again whose session may be lost, as they were taken; return the errors of those not to be had.

        Their agent finishes the step in hand first, for which it has `timeouts.step`.
        """
        patience = self.deployment.timeouts.step
        return ask_each(hosts, lambda names: self.lock(self._taken_for, names, patience))[1]


def ask_each(names: Iterable[str], ask: Callable[[list[str]], Answer]) -> tuple[Answer, dict[str, HybridmsgError]]:
    """Ask some hosts at once, again without those that fail; return the answer of the others, and the errors."""
    asked = list(names)
    try:
        return ask(asked), {}
    except HostsFailed as failed:
        errors = failed.errors
    answer, more = ask_each([name for name in asked if name not in errors], ask)
    return answer, errors | more


def _is_held_by(error: BaseException, run: str) -> bool:
    holders = (
        [one.holder for one in error.errors.values() if isinstance(one, Locked)]
        if isinstance(error, HostsFailed)
        else []
    )
    return any(holder.get("run") == run for holder in holders)


def _error(host: str, result: Result) -> HybridmsgError:
    if isinstance(result.exception, HybridmsgError):
        return result.exception
    return HostError(host, f"unexpected {type(result.exception).__name__}: {result.exception}", "Please report this")
