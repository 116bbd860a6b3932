"""What can be wrong with the buses that an inventory asks for, as the chain of variables resolves them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deployer.errors import Mistake
from deployer.model.deployment import QDROUTERD, RABBITMQ, Deployment, Host, ProjectDeployment
from deployer.model.inventory_files import InventoryFiles
from deployer.model.osa_chain import BusValues, bus_values
from deployer.model.osa_variables import BUSES, Bus, variable
from deployer.model.shape_check import did_you_mean
from deployer.model.yaml_source import KeyPath

NO_NOTIFICATIONS = f"{variable('notify', 'transport')}: none"


@dataclass(frozen=True)
class _Question:
    """One bus of one project, resolved, with what it is checked against."""

    deployment: Deployment
    project: ProjectDeployment
    bus: Bus
    values: BusValues

    def path(self, field: str) -> KeyPath | None:
        """Return where a variable stands, the project's own before the general one; None when it stands nowhere."""
        names = (variable(self.bus, field, self.project.name), variable(self.bus, field))
        return next((("data", name) for name in names if name in self.deployment.variables), None)

    def own(self, field: str) -> KeyPath:
        """Return where a variable stands, or would stand for this project alone."""
        return self.path(field) or ("data", variable(self.bus, field, self.project.name))

    @property
    def settings(self) -> str:
        """Return the settings that the servers' listeners are made from."""
        return "qdrouterd" if self.values.transport.value == "amqp" else "rabbitmq"


def check_transports(files: InventoryFiles, draft: Deployment) -> None:
    """Record buses without servers, servers of no group, listeners that are not there, and clusters that overlap.

    `draft` is the deployment before its secrets are known.
    """
    _check_doubles(files, draft)
    needy: dict[str, list[str]] = {}
    for question in _questions(draft):
        transport, group = question.values.transport.value, question.values.host_group.value
        if transport == "none":
            continue
        if transport == "rabbit" and group == RABBITMQ and not draft.members(group):
            needy.setdefault(question.project.name, []).append(question.bus)
        elif problem := _homeless(question) or _unlistened(question):
            files.defaults_file.refuse(*problem)
    _check_needy(files, draft, needy)
    _check_overlaps(files, draft)


def one_password_each(deployment: Deployment, secrets_file: str) -> list[Mistake]:
    """Return what is wrong where projects share a user and its passwords differ: on one cluster, or on the routers."""
    first: dict[tuple[str, str], tuple[_Question, str]] = {}
    mistakes: dict[str, Mistake] = {}
    for question in _questions(deployment):
        values = question.values
        own = question.bus == "notify" and bool(question.project.notify_password)
        key = variable("notify" if own else "rpc", "password", question.project.name)
        place = values.host_group.value or ",".join(values.servers.value)
        other, other_key = first.setdefault((place, values.userid.value), (question, key))
        if other.values.password.value != values.password.value:
            problem = (
                f'is the password of the user "{values.userid.value}" and differs from {other_key}. '
                "Give both keys one value, or the projects users of their own"
            )
            mistakes.setdefault(key, Mistake(secrets_file, key, problem))
    return list(mistakes.values())


def _questions(deployment: Deployment) -> Iterator[_Question]:
    for project in deployment.projects:
        for bus in BUSES:
            yield _Question(deployment, project, bus, bus_values(deployment, project, bus))


def _homeless(question: _Question) -> tuple[KeyPath, str] | None:
    """Return why the servers of a bus cannot be these."""
    values, deployment = question.values, question.deployment
    transport, group = values.transport.value, values.host_group.value
    members = deployment.members(group)
    if transport == "amqp" and not deployment.qdrouterd:
        return question.own("transport"), f'amqp needs routers: no host is in the group "{QDROUTERD}". Add one'
    if transport == "amqp" and group != QDROUTERD:
        where = question.path("host_group") or question.own("servers")
        return where, f'amqp is spoken by the routers of the group "{QDROUTERD}" only. Take this out, or write rabbit'
    if transport == "rabbit" and group == QDROUTERD:
        remedy = f"Write {variable(question.bus, 'transport')}: amqp, or name a group of brokers"
        return question.own("host_group"), f"names the routers' group, and the transport is rabbit. {remedy}"
    if transport == "rabbit" and group in [project.name for project in deployment.projects]:
        problem = f"{group} is a project, and RabbitMQ would be installed on its hosts. Name a group of brokers"
        return question.own("host_group"), problem
    if group and not members:
        known = {name for host in deployment.hosts.values() for name in host.groups}
        return question.own("host_group"), f'no host is in the group "{group}"{did_you_mean(group, known)}'
    return _strangers(question, members)


def _strangers(question: _Question, members: tuple[Host, ...]) -> tuple[KeyPath, str] | None:
    values, group = question.values, question.values.host_group.value
    addresses = {host.address.lower() for host in members}
    others = [server for server in values.servers.value if server.lower() not in addresses]
    if group and others:
        problem = f'{", ".join(others)}: no host of the group "{group}" has that address. Name its group in '
        return question.own("servers"), f"{problem}{variable(question.bus, 'host_group')}, or servers of one group only"
    setup = values.setup_host.value
    if setup and setup not in [host.name for host in members]:
        of_group = f'is no host of the group "{group}"' if group else "is given, and the servers are not deployed here"
        return question.own("setup_host"), f"{of_group}. Take it out, or name a host of the bus's own group"
    return None


def _unlistened(question: _Question) -> tuple[KeyPath, str] | None:
    """Return why nobody would listen where services are told to go; of servers elsewhere that is not known."""
    values, deployment = question.values, question.deployment
    if not values.host_group.value:
        return None
    tls, port = values.use_ssl.value, values.port.value
    if question.settings == "qdrouterd":
        listens = deployment.router.port if tls == (deployment.router.tls is not None) else None
    else:
        listens = deployment.broker.port_for(tls=tls)
    if listens is None:
        problem = f"is {str(tls).lower()}, and the servers take clients {'without' if tls else 'with'} TLS only"
        return question.own("use_ssl"), f"{problem}. See hybridmsg.{question.settings}.tls"
    if listens != port:
        problem = f"is {port}, and the servers listen on {listens} (hybridmsg.{question.settings}.port). Write one port"
        return question.own("port"), problem
    return None


def _check_needy(files: InventoryFiles, draft: Deployment, needy: dict[str, list[str]]) -> None:
    """One mistake for all projects that find no broker in the usual group."""
    unknown_group = any("no such group" in mistake.problem for mistake in files.mistakes())
    names = [*needy] or ([] if draft.projects or draft.rabbitmq else [host.name for host in draft.qdrouterd])
    if not names or unknown_group:
        return
    problem = f'no host is in the group "{RABBITMQ}", and {", ".join(names)} need a broker. Add one'
    if all(buses == ["notify"] for buses in needy.values()):
        problem += f", or write {NO_NOTIFICATIONS} in data: of defaults.yaml where nobody needs notifications"
    files.hosts_file.refuse((), problem)


def _check_overlaps(files: InventoryFiles, draft: Deployment) -> None:
    """A host has one broker, and that is in one cluster."""
    owners: dict[str, str] = {}
    for cluster in draft.clusters:
        for host in cluster.hosts:
            owner = owners.setdefault(host.name, cluster.group)
            if owner != cluster.group:
                problem = f"is in {owner} and in {cluster.group}, and each is a cluster of its own. Keep one"
                files.hosts_file.refuse((host.name, "groups"), problem)


def _check_doubles(files: InventoryFiles, draft: Deployment) -> None:
    """One thing said in two places, and not alike."""
    settings = files.defaults.data.hybridmsg.projects
    for name, own in settings.items():
        for key, field, written in (("vhost", "vhost", own.vhost), ("user", "userid", own.user)):
            given = draft.variables.get(variable("rpc", field, name))
            if given and written is not None and given.value != written:
                problem = f"is {written} here, and {variable('rpc', field, name)} ({given.source}) is not. Keep one"
                files.defaults_file.refuse(("data", "hybridmsg", "projects", name, key), problem)
