"""Ask the buses, from the services' own hosts: the gate after a restart, and the whole of `verify`."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from deployer.errors import GateFailed, Silence
from deployer.model.deployment import ProjectDeployment
from deployer.model.transports import resolve
from deployer.plan.checks import (
    Check,
    Witness,
    listener_checks,
    no_answer,
    probe_request,
    read_answer,
    unit_checks,
    witnesses,
)
from deployer.plan.expected import RpcServer, active_units, unit_states
from deployer.plan.listeners import heard_vhosts
from deployer.plan.observed import HostFacts
from deployer.plan.projects import ProjectPlan
from deployer.plan.router_checks import fanout_checks, old_bus_checks, router_checks, subscription_checks
from deployer.rollout.fleet import Fleet, ask_each
from deployer.rollout.routers import ask_fanout
from tasks.probe import probe_bus

Question = tuple[ProjectDeployment, Witness, Sequence[RpcServer]]
UnitStates = Mapping[str, Mapping[str, Mapping[str, str]]]


class Bus:
    """The buses of a deployment as its services see them."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def ask(self, questions: Sequence[Question], timeout: float, *, notify: bool, planned: bool = True) -> list[Check]:
        """Put all questions, each to its witness's host and several hosts at once; `timeout` s for each answer.

        With `planned`, only an answer over the bus that the inventory plans counts. A host that cannot put its
        question makes failing checks, never an error: the other answers are wanted too.
        """
        waiting: dict[str, list[Question]] = {}
        for question in questions:
            waiting.setdefault(question[1].host, []).append(question)
        checks: list[Check] = []
        while waiting:
            wave = {host: queue.pop(0) for host, queue in waiting.items()}
            waiting = {host: queue for host, queue in waiting.items() if queue}
            checks += self._ask_at_once(wave, timeout, notify=notify, planned=planned)
        return checks

    def _ask_at_once(self, wave: Mapping[str, Question], timeout: float, *, notify: bool, planned: bool) -> list[Check]:
        requests = {
            host: probe_request(project, witness, servers, _topic() if notify else None, timeout)
            for host, (project, witness, servers) in wave.items()
        }
        results, errors = self._fleet.attempt(requests, probe_bus, requests=requests)
        checks: list[Check] = []
        for host, (project, witness, servers) in wave.items():
            if host in errors:
                checks += no_answer(project, witness, servers, str(errors[host]), notify=notify)
            else:
                bus = resolve(self._fleet.deployment, project).rpc if planned else None
                checks += read_answer(project, witness, results[host].answer, bus)  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
        return checks

    def ask_projects(
        self,
        expected: Iterable[tuple[ProjectDeployment, Sequence[RpcServer]]],
        timeout: float,
        *,
        notify: bool,
        planned: bool = True,
    ) -> list[Check]:
        """Ask the servers of projects, each from a unit of its own project; the work is spread over the hosts."""
        questions: list[Question] = []
        unasked: list[Check] = []
        for place, (project, servers) in enumerate(expected):
            asking = witnesses(project, [self._fleet.facts[host.name] for host in project.hosts])
            if asking:
                questions.append((project, asking[place % len(asking)], servers))
            else:
                unasked += [_unasked(server) for server in servers]
        return unasked + self.ask(questions, timeout, notify=notify, planned=planned)

    def verify(self, expected: Mapping[str, Sequence[RpcServer]], ran: UnitStates, timeout: float) -> list[Check]:
        """Return a check for every expected server, a notification round by project, each listener's consumers.

        `ran` holds the unit states before the last run: a unit that ran then and does not now is a failing check too.
        """
        projects = [(project, expected.get(project.name, ())) for project in self._fleet.deployment.projects]
        answers = self.ask_projects(projects, timeout, notify=True)
        listeners = self._listeners(timeout)
        return answers + listeners + self._routers(projects) + unit_checks(ran, self._fleet.facts)

    def _routers(self, expected: Iterable[tuple[ProjectDeployment, Sequence[RpcServer]]]) -> list[Check]:
        """Return the routers' own view: who is attached where, who is left on the old bus, whether fanout is whole."""
        deployment = self._fleet.deployment
        if not deployment.qdrouterd:
            return []
        hosts = {host.name: host for host in (*deployment.qdrouterd, *deployment.rabbitmq)}
        facts, errors = ask_each(hosts, lambda names: self._fleet.observe([hosts[name] for name in names]))
        if errors:
            return [Check("", "router", name, False, str(error), "") for name, error in errors.items()]
        checks = router_checks(deployment, facts)
        for project, servers in expected:
            checks += subscription_checks(project, servers, facts.values())
        states = [facts[host.name].rabbitmq or {} for host in deployment.rabbitmq]
        told = [state["consumers"] for state in states if state.get("running")]
        consumers = [seen for one in told for seen in one]
        checks += old_bus_checks(deployment, deployment.projects, consumers if told else None)
        return checks + fanout_checks(deployment, ask_fanout(self._fleet))

    def gate_servers(self, plan: ProjectPlan, ran: Sequence[HostFacts], timeout: float) -> None:
        """Let callers start only when every server of the project answers on the planned bus; raises GateFailed.

        An active unit proves nothing: it stays active with a wrong password. Servers of no inventory host count too:
        left on the old bus they would split the project. `ran` holds the project's hosts as they were before that.
        """
        asking = witnesses(plan.project, ran)
        own = {witness.host: [one for one in plan.servers if one.host == witness.host] for witness in asking}
        others = [server for server in plan.servers if server.host not in own]
        for witness in asking[:1]:
            own[witness.host] += others
        questions = [(plan.project, witness, own[witness.host]) for witness in asking if own[witness.host]]
        self.must_hold(plan.project.name, self.ask(questions, timeout, notify=False))

    def gate_callers(self, plan: ProjectPlan, ran: Sequence[HostFacts], timeout: float) -> None:
        """Let the rollout go on only when those that answer no RPC are at work again; raises GateFailed.

        A host without RPC servers must get a notification round through, and a listener must be attached to its queues
        on the broker. What `ran` before the project stopped must run.
        """
        project = plan.project
        serving = {server.host for server in plan.servers}
        asking = [one for one in witnesses(project, ran) if one.host not in serving]
        checks = self.ask([(project, witness, ()) for witness in asking], timeout, notify=True)
        units = {fact.host: unit_states(project, fact) for fact in ran}
        self._fleet.observe(project.hosts)
        if project.project.listener is not None:
            checks += self._listeners(timeout)
        self.must_hold(project.name, checks + unit_checks(units, self._fleet.facts))

    @staticmethod
    def must_hold(project: str, checks: Sequence[Check]) -> None:
        """Raise GateFailed naming every check that does not hold."""
        silent = [_silence(project, check) for check in checks if not check.ok]
        if silent:
            raise GateFailed(project, silent)

    def _listeners(self, timeout: float) -> list[Check]:
        deployment = self._fleet.deployment
        facts = self._fleet.facts
        running = [project for project in deployment.projects if project.project.listener and self._listens(project)]
        listening = [(project, heard_vhosts(deployment, facts, project)) for project in running]
        if not listening or not deployment.rabbitmq:
            return []
        return Retrying(
            retry=retry_if_result(lambda checks: not all(check.ok for check in checks)),
            stop=stop_after_delay(timeout),
            wait=wait_fixed(1),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
        )(self._listener_checks, listening)

    def _listener_checks(self, listening: Sequence[tuple[ProjectDeployment, Mapping[str, str]]]) -> list[Check]:
        brokers = self._fleet.deployment.rabbitmq
        facts = self._fleet.observe(brokers)
        consumers = [seen for host in brokers for seen in (facts[host.name].rabbitmq or {}).get("consumers", [])]
        return [check for project, vhosts in listening for check in listener_checks(project, vhosts, consumers)]

    def _listens(self, project: ProjectDeployment) -> bool:
        """Whether a unit of the project that listens runs on any of its hosts."""
        names = {name for unit in project.project.units if unit.role == "listener" for name in unit.names}
        running = (unit for host in project.hosts for unit in active_units(project, self._fleet.facts[host.name]))
        return any(unit.name in names for unit in running)


def _silence(project: str, check: Check) -> Silence:
    found = Silence(check.project or project, check.target, check.asked_from, check.detail)
    rpc = check.kind == "rpc"
    return found if rpc else replace(found, target=f"{check.kind} {check.target}", verb="does not hold")


def _unasked(server: RpcServer) -> Check:
    return Check(server.project, "rpc", server.address, ok=False, detail="no unit of the project runs", asked_from="")


def _topic() -> str:
    return f"hybridmsg-probe-{secrets.token_hex(6)}"
