"""Ask the buses, from the services' own hosts: the gate after a restart, and the whole of `verify`."""

from __future__ import annotations

import secrets
from collections.abc import Container, Iterable, Mapping, Sequence

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from deployer.errors import GateFailed, Silence
from deployer.model.deployment import ProjectDeployment
from deployer.plan.checks import Check, Witness, listener_checks, probe_request, read_answer, witnesses
from deployer.plan.expected import RpcServer, active_units
from deployer.plan.projects import notifying_over_ours
from deployer.rollout.fleet import Fleet
from tasks.probe import probe_bus

Question = tuple[ProjectDeployment, Witness, Sequence[RpcServer]]


class Bus:
    """The buses of a deployment as its services see them."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def ask(self, questions: Sequence[Question], timeout: float, *, notify: bool) -> list[Check]:
        """Put all questions, each to its witness's host and several hosts at once; `timeout` s for each answer."""
        checks: list[Check] = []
        waiting = list(questions)
        while waiting:
            wave = {question[1].host: question for question in reversed(waiting)}
            waiting = [question for question in waiting if question not in wave.values()]
            requests = {
                host: probe_request(project, witness, servers, _topic() if notify else None, timeout)
                for host, (project, witness, servers) in wave.items()
            }
            results = self._fleet.run(requests, probe_bus, requests=requests)
            for host, (project, witness, _) in wave.items():
                checks += read_answer(project, witness, results[host].answer)  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
        return checks

    def ask_projects(
        self, expected: Iterable[tuple[ProjectDeployment, Sequence[RpcServer]]], timeout: float, *, notify: bool
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
        return unasked + self.ask(questions, timeout, notify=notify)

    def verify(self, expected: Mapping[str, Sequence[RpcServer]], timeout: float) -> list[Check]:
        """Return a check for every expected server, a notification round by project, and each listener's consumers."""
        projects = [(project, expected.get(project.name, ())) for project in self._fleet.deployment.projects]
        return self.ask_projects(projects, timeout, notify=True) + self._listeners(timeout)

    def gate(self, project: ProjectDeployment, host: str, servers: Sequence[RpcServer], timeout: float) -> None:
        """Let the rollout go on only when what was restarted on `host` is on the bus; raises GateFailed.

        RPC servers must answer a ping. A host without any must get a notification round through, and a listener must be
        attached to its queues on the broker: an active unit proves nothing (it stays active with a wrong password).
        """
        witness = next(iter(witnesses(project, [self._fleet.facts[host]])), None)
        if witness is None:
            return
        own = [server for server in servers if server.host == host]
        checks = self.ask([(project, witness, own)], timeout, notify=not own)
        if project.project.listener is not None:
            checks += self._listeners(timeout)
        self.must_hold(project.name, checks)

    def gate_others(
        self, project: ProjectDeployment, restarted: Container[str], servers: Sequence[RpcServer], timeout: float
    ) -> None:
        """Hold the project to its servers on other hosts than those `restarted`, perhaps of no inventory host at all.

        Such a server is still on the old bus when the project moved: left behind it would split the project.
        """
        others = [server for server in servers if server.host not in restarted]
        if others:
            self.must_hold(project.name, self.ask_projects([(project, others)], timeout, notify=False))

    @staticmethod
    def must_hold(project: str, checks: Sequence[Check]) -> None:
        """Raise GateFailed naming every check that does not hold."""
        silent = [
            Silence(check.project, check.target, check.asked_from, check.detail) for check in checks if not check.ok
        ]
        if silent:
            raise GateFailed(project, silent)

    def _listeners(self, timeout: float) -> list[Check]:
        deployment = self._fleet.deployment
        notifying = notifying_over_ours(deployment, self._fleet.facts)
        listening = [project for project in deployment.projects if project.project.listener and self._runs(project)]
        if not listening or not deployment.rabbitmq:
            return []
        return Retrying(
            retry=retry_if_result(lambda checks: not all(check.ok for check in checks)),
            stop=stop_after_delay(timeout),
            wait=wait_fixed(1),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
        )(self._listener_checks, listening, notifying)

    def _listener_checks(
        self, listening: Sequence[ProjectDeployment], notifying: Sequence[ProjectDeployment]
    ) -> list[Check]:
        seed = self._fleet.deployment.rabbitmq[0]
        brokers = self._fleet.observe([seed])[seed.name].rabbitmq or {}
        return [check for project in listening for check in listener_checks(project, notifying, brokers["consumers"])]

    def _runs(self, project: ProjectDeployment) -> bool:
        return any(active_units(project, self._fleet.facts[host.name]) for host in project.hosts)


def _unasked(server: RpcServer) -> Check:
    return Check(server.project, "rpc", server.address, ok=False, detail="no unit of the project runs", asked_from="")


def _topic() -> str:
    return f"hybridmsg-probe-{secrets.token_hex(6)}"
