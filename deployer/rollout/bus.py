"""Ask the buses, from the services' own hosts: the gate after a restart, and the whole of `verify`."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from deployer.errors import GateFailed, Silence
from deployer.model.deployment import Host, ProjectDeployment, RabbitCluster
from deployer.model.transports import resolve
from deployer.plan.checks import (
    Check,
    Kind,
    Witness,
    listener_checks,
    no_answer,
    probe_request,
    read_answer,
    restart_checks,
    unit_checks,
    witnesses,
)
from deployer.plan.expected import RpcServer, active_units, unit_states
from deployer.plan.listeners import heard_vhosts
from deployer.plan.observed import HostFacts, consumers_of
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
        buses = {host: resolve(self._fleet.deployment, project) for host, (project, _, _) in wave.items()}
        speaking = {host: notify and own.notify.driver != "noop" for host, own in buses.items()}
        requests = {
            host: probe_request(project, witness, servers, _topic() if speaking[host] else None, timeout)
            for host, (project, witness, servers) in wave.items()
        }
        results, errors = self._fleet.attempt(requests, probe_bus, requests=requests)
        checks: list[Check] = []
        for host, (project, witness, servers) in wave.items():
            if host in errors:
                checks += no_answer(project, witness, servers, str(errors[host]), notify=speaking[host])
            else:
                bus = buses[host].rpc if planned else None
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

        Projects that `expected` does not name are not looked at.
        `ran` holds the unit states before the last run: a unit that ran then and does not now is a failing check too.
        """
        deployed = self._fleet.deployment.projects
        projects = [(project, expected[project.name]) for project in deployed if project.name in expected]
        answers = self.ask_projects(projects, timeout, notify=True)
        listeners = self._listeners(timeout)
        left = self._left_behind([project for project, _ in projects])
        return answers + listeners + self._routers(projects) + left + unit_checks(ran, self._fleet.facts)

    def _routers(self, expected: Iterable[tuple[ProjectDeployment, Sequence[RpcServer]]]) -> list[Check]:
        """Return the routers' own view: who is attached where, whether fanout is whole."""
        deployment = self._fleet.deployment
        if not deployment.qdrouterd:
            return []
        facts, problems = self._ask(deployment.qdrouterd, "router")
        if problems:
            return problems
        checks = router_checks(deployment, facts)
        for project, servers in expected:
            if resolve(deployment, project).rpc.driver == "amqp":
                checks += subscription_checks(project, servers, facts.values())
        return checks + fanout_checks(deployment, ask_fanout(self._fleet))

    def _left_behind(self, projects: Iterable[ProjectDeployment]) -> list[Check]:
        """Return whether anybody uses RabbitMQ for a project's RPC where that went to a router or another cluster."""
        deployment = self._fleet.deployment
        homes = [(project, resolve(deployment, project).rpc.group) for project in projects]
        left = [(project, [one for one in deployment.clusters if one.group != home]) for project, home in homes]
        hosts = [host for _, clusters in left for one in clusters for host in one.hosts]
        facts, found = self._ask(hosts, "old bus")
        for project, clusters in left if not found else ():
            if clusters:
                consumers = [consumers_of(one.hosts, facts) for one in clusters if _tells(one, facts)]
                told = [seen for one in consumers for seen in one] if len(consumers) == len(clusters) else None
                found += old_bus_checks(deployment, [project], told)
        return found

    def _ask(self, hosts: Iterable[Host], kind: Kind) -> tuple[Mapping[str, HostFacts], list[Check]]:
        """Ask hosts of brokers or routers again; a failing check of this kind for each that cannot be asked."""
        named = {host.name: host for host in hosts}
        facts, errors = ask_each(named, lambda names: self._fleet.observe([named[name] for name in names]))
        return facts, [Check("", kind, name, False, str(error), "") for name, error in errors.items()]

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
        checks += restart_checks(project, ran, self._fleet.facts)
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
        """Look for each listener's consumers on the cluster where the others notify, for vhosts are alike elsewhere."""
        deployment = self._fleet.deployment
        facts = self._fleet.observe(deployment.rabbitmq)
        groups = {project.name: resolve(deployment, project).notify.group for project in deployment.projects}
        checks: list[Check] = []
        for cluster in deployment.clusters:
            consumers = consumers_of(cluster.hosts, facts)
            for project, vhosts in listening:
                here = {name: vhost for name, vhost in vhosts.items() if groups[name] == cluster.group}
                checks += listener_checks(project, here, consumers)
        return checks

    def _listens(self, project: ProjectDeployment) -> bool:
        """Whether a unit of the project that listens runs on any of its hosts."""
        names = {name for unit in project.project.units if unit.role == "listener" for name in unit.names}
        running = (unit for host in project.hosts for unit in active_units(project, self._fleet.facts[host.name]))
        return any(unit.name in names for unit in running)


def _tells(cluster: RabbitCluster, facts: Mapping[str, HostFacts]) -> bool:
    """Whether any broker of the cluster runs: each knows all consumers."""
    return any((facts[host.name].rabbitmq or {}).get("running") for host in cluster.hosts)


def _silence(project: str, check: Check) -> Silence:
    found = Silence(check.project or project, check.target, check.asked_from, check.detail)
    rpc = check.kind == "rpc"
    return found if rpc else replace(found, target=f"{check.kind} {check.target}", verb="does not hold")


def _unasked(server: RpcServer) -> Check:
    return Check(server.project, "rpc", server.address, ok=False, detail="no unit of the project runs", asked_from="")


def _topic() -> str:
    return f"hybridmsg-probe-{secrets.token_hex(6)}"
