"""openstack-ansible's variables in defaults.yaml: what they mean, where each value is from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from deployer.model.deployment import Deployment
from deployer.model.inventory import load_deployment
from deployer.model.osa_chain import BusValues, bus_values
from deployer.model.osa_variables import Bus, variable
from deployer.model.transports import Transport, Transports, elsewhere, resolve
from tests.unit.inventory.inventories import DEFAULTS, HOSTS, Write, check, mistakes

SITE = dedent(HOSTS)
MORE = "msg2: {hostname: 10.0.0.3, groups: [rabbitmq_notify]}\n"
ROUTER = "rtr1: {hostname: 10.0.0.4, groups: [qdrouterd]}\n"
GLANCE = "ctl2: {hostname: 10.0.0.5, groups: [glance]}\n"
TLS = "{certificate: /r/c.pem, key: /r/k.pem, ca: /r/ca.pem}"
POLICY = "[{name: ttl, pattern: '^notifications', tags: {message-ttl: 5}}]"


def variables(text: str, hybridmsg: str = "{}") -> str:
    """Return defaults.yaml with `text` below data:, from line 5 on."""
    body = "".join(f"  {line}\n" for line in dedent(text).splitlines())
    return f"{dedent(DEFAULTS)}data:\n  hybridmsg: {hybridmsg}\n{body}"


def buses(deployment: Deployment, project: str = "nova") -> Transports:
    return resolve(deployment, next(one for one in deployment.projects if one.name == project))


def values(deployment: Deployment, bus: Bus, project: str = "nova") -> BusValues:
    return bus_values(deployment, next(one for one in deployment.projects if one.name == project), bus)


def path(name: str) -> str:
    return f"defaults.data.{name}"


class TestDefaults:
    def test_without_routers_both_buses_are_the_rabbitmq_group(self, write: Write) -> None:
        rpc, notify = (values(load_deployment(write()), bus) for bus in ("rpc", "notify"))
        assert [(one.transport.value, one.host_group.value, one.servers.value) for one in (rpc, notify)] == [
            ("rabbit", "rabbitmq", ("10.0.0.1",))
        ] * 2
        assert (rpc.setup_host.value, rpc.port.value, rpc.use_ssl.value) == ("msg1", 5672, False)
        assert (rpc.userid.value, rpc.vhost.value) == ("nova", "nova")

    def test_routers_take_rpc_over_with_their_port(self, write: Write) -> None:
        found = values(load_deployment(write(SITE + ROUTER)), "rpc")
        assert (found.transport.value, found.transport.source) == ("amqp", "group qdrouterd")
        assert (found.host_group.value, found.servers.value, found.port.value) == ("qdrouterd", ("10.0.0.4",), 31459)

    def test_notifications_log_in_as_rpc_does(self, write: Write) -> None:
        text = "nova_oslomsg_rpc_userid: stack\nnova_oslomsg_rpc_vhost: /stack"
        deployment = load_deployment(write(defaults=variables(text)))
        notify = values(deployment, "notify")
        assert (notify.userid.value, notify.vhost.value) == ("stack", "/stack")
        assert notify.vhost.source == "defaults.yaml:6"
        assert (deployment.projects[0].user, deployment.projects[0].vhost) == ("stack", "/stack")

    def test_a_vhost_with_a_slash_is_doubled_in_the_url(self, write: Write) -> None:
        deployment = load_deployment(write(defaults=variables("nova_oslomsg_rpc_vhost: /nova")))
        assert buses(deployment).rpc.url().reveal().endswith("@10.0.0.1:5672//nova?ssl=0")

    def test_tls_is_that_of_the_brokers_on_openstack_ansibles_port(self, write: Write) -> None:
        deployment = load_deployment(write(defaults=variables("", f"{{rabbitmq: {{tls: {TLS}}}}}")))
        assert (
            buses(deployment)
            .rpc.url()
            .reveal()
            .endswith("@10.0.0.1:5671/nova?ssl=1&ssl_version=TLSv1_2&ssl_ca_file=/r/ca.pem")
        )

    def test_a_project_without_tls_is_on_the_plain_port(self, write: Write) -> None:
        text = variables("nova_oslomsg_notify_use_ssl: false", f"{{rabbitmq: {{tls: {TLS}}}}}")
        found = buses(load_deployment(write(defaults=text)))
        assert [(bus.port, bus.tls) for bus in (found.rpc, found.notify)] == [(5671, True), (5672, False)]


class TestPrecedence:
    def test_a_projects_own_variable_goes_before_the_general_one(self, write: Write) -> None:
        text = "oslomsg_notify_transport: none\nnova_oslomsg_notify_transport: rabbit"
        deployment = load_deployment(write(SITE + GLANCE, defaults=variables(text)))
        assert values(deployment, "notify").transport.source == "defaults.yaml:6"
        assert (buses(deployment).notify.driver, buses(deployment, "glance").notify.driver) == ("rabbit", "noop")

    def test_settings_of_hybridmsgs_own_are_a_source(self, write: Write) -> None:
        text = variables("", "{rabbitmq: {port: 5673}, projects: {nova: {vhost: /n, user: u}}}")
        found = values(load_deployment(write(defaults=text)), "rpc")
        assert (found.port.value, found.port.source) == (5673, "defaults.yaml:4")
        assert (found.vhost.value, found.vhost.source) == ("/n", "defaults.yaml:4")
        assert (found.userid.value, found.userid.source) == ("u", "defaults.yaml:4")

    def test_a_project_that_stays_on_rabbitmq_gets_rabbitmqs_hosts_and_port_not_the_routers(self, write: Write) -> None:
        text = variables("nova_oslomsg_rpc_transport: rabbit\noslomsg_rpc_port: 31459")
        deployment = load_deployment(write(SITE + ROUTER + GLANCE, defaults=text))
        assert (buses(deployment).rpc.hosts, buses(deployment).rpc.port) == (("10.0.0.1",), 5672)
        assert buses(deployment, "glance").rpc.driver == "amqp"

    def test_servers_may_be_some_of_the_groups_in_another_order(self, write: Write) -> None:
        hosts = SITE + MORE.replace("rabbitmq_notify", "rabbitmq")
        deployment = load_deployment(write(hosts, defaults=variables("oslomsg_rpc_servers: 10.0.0.3,10.0.0.1")))
        rpc = buses(deployment).rpc
        assert (rpc.hosts, rpc.group) == (("10.0.0.3", "10.0.0.1"), "rabbitmq")
        assert buses(deployment).notify.hosts == ("10.0.0.1", "10.0.0.3")

    @pytest.mark.parametrize(("written", "meant"), [("yes", True), ("True", True), ("off", False), ("false", False)])
    def test_truth_is_written_as_ansible_reads_it(self, write: Write, written: str, meant: bool) -> None:  # noqa: FBT001 - a table's column
        text = variables(f"nova_oslomsg_rpc_use_ssl: '{written}'", f"{{rabbitmq: {{tls: {TLS}}}}}")
        assert buses(load_deployment(write(defaults=text))).rpc.tls is meant

    def test_a_name_with_a_dash_has_underscores_in_its_variables(self) -> None:
        assert variable("rpc", "port", "ironic-inspector") == "ironic_inspector_oslomsg_rpc_port"


class TestTwoClusters:
    TEXT = variables("oslomsg_notify_host_group: rabbitmq_notify")

    def test_each_bus_is_on_a_cluster_of_its_own(self, write: Write) -> None:
        deployment = load_deployment(write(SITE + MORE, defaults=self.TEXT))
        assert [(one.group, [host.name for host in one.hosts]) for one in deployment.clusters] == [
            ("rabbitmq", ["msg1"]),
            ("rabbitmq_notify", ["msg2"]),
        ]
        found = buses(deployment)
        assert (found.rpc.hosts, found.notify.hosts) == (("10.0.0.1",), ("10.0.0.3",))
        assert [host.name for host in deployment.rabbitmq] == ["msg1", "msg2"]
        assert deployment.cluster_of(deployment.hosts["msg2"]) == deployment.clusters[1]

    def test_a_named_group_is_a_role_that_groups_yaml_need_not_know(self, write: Write) -> None:
        assert load_deployment(write(SITE + MORE, defaults=self.TEXT)).hosts["msg2"].groups == ("rabbitmq_notify",)

    def test_whoever_names_the_notify_bus_does_not_want_another_kept(self, write: Write) -> None:
        assert load_deployment(write(SITE + MORE, defaults=self.TEXT)).projects[0].notify == "rabbitmq"

    def test_a_project_may_keep_its_bus_all_the_same(self, write: Write) -> None:
        text = variables("oslomsg_notify_host_group: rabbitmq_notify", "{projects: {nova: {notify: keep}}}")
        assert load_deployment(write(SITE + MORE, defaults=text)).projects[0].notify == "keep"

    def test_groups_around_both_are_no_third_cluster(self, write: Write) -> None:
        hosts = SITE.replace("[rabbitmq]", "[rabbitmq_rpc]") + MORE
        groups = "rabbitmq_rpc: {groups: [rabbitmq]}\nrabbitmq_notify: {groups: [rabbitmq]}\n"
        text = variables("oslomsg_rpc_host_group: rabbitmq_rpc\noslomsg_notify_host_group: rabbitmq_notify")
        clusters = load_deployment(write(hosts, groups, text)).clusters
        assert [one.group for one in clusters] == ["rabbitmq_rpc", "rabbitmq_notify"]

    def test_a_host_is_in_one_cluster_only(self, write: Write) -> None:
        hosts = SITE.replace("[rabbitmq]", "[rabbitmq, rabbitmq_notify]")
        check(write(hosts, defaults=self.TEXT), "hosts.yaml", 3, "hosts.msg1.groups", "rabbitmq_notify", "Keep one")

    def test_a_password_may_be_the_notify_clusters_own(self, write: Write, tmp_path: Path) -> None:
        secrets = tmp_path / "secrets.yaml"
        secrets.write_text("nova_oslomsg_rpc_password: rpc-word-1\nnova_oslomsg_notify_password: notify-word-1\n")
        secrets.chmod(0o600)
        found = buses(load_deployment(write(SITE + MORE, defaults=self.TEXT)))
        assert [bus.password.reveal() for bus in (found.rpc, found.notify)] == ["rpc-word-1", "notify-word-1"]

    def test_one_user_of_one_cluster_has_one_password(self, write: Write, tmp_path: Path) -> None:
        secrets = tmp_path / "secrets.yaml"
        secrets.write_text("nova_oslomsg_rpc_password: rpc-word-1\nnova_oslomsg_notify_password: notify-word-1\n")
        secrets.chmod(0o600)
        check(write(), "secrets.yaml", None, "nova_oslomsg_notify_password", "nova_oslomsg_rpc_password")


class TestWithoutNotifications:
    def test_none_is_the_driver_noop_and_no_broker_is_needed_where_rpc_is_on_routers(self, write: Write) -> None:
        hosts = ROUTER + GLANCE
        deployment = load_deployment(write(hosts, defaults=variables("oslomsg_notify_transport: none")))
        found = buses(deployment, "glance")
        assert (found.rpc.driver, found.notify.driver, found.notify.hosts) == ("amqp", "noop", ())
        assert deployment.clusters == ()
        with pytest.raises(ValueError, match="noop"):
            found.notify.url()

    def test_brokers_that_every_bus_leaves_are_a_cluster_still_for_they_are_asked_who_is_on_them(
        self, write: Write
    ) -> None:
        text = variables("oslomsg_notify_transport: none")
        assert [one.group for one in load_deployment(write(SITE + ROUTER, defaults=text)).clusters] == ["rabbitmq"]

    def test_a_broker_that_is_missing_is_not_taken_for_none(self, write: Write) -> None:
        check(
            write(ROUTER + GLANCE),
            "hosts.yaml",
            None,
            "hosts",
            "glance need a broker",
            "oslomsg_notify_transport: none",
        )

    def test_rpc_without_a_broker_is_not_helped_by_none(self, write: Write) -> None:
        directory = write(GLANCE, defaults=variables("oslomsg_notify_transport: none"))
        check(directory, "hosts.yaml", None, "hosts", "glance need a broker")


class TestElsewhere:
    def test_servers_outside_the_inventory_are_rendered_told_and_not_deployed(self, write: Write) -> None:
        text = variables("nova_oslomsg_notify_servers: 'mq1.example, fd00::9'\nnova_oslomsg_notify_port: 5673")
        deployment = load_deployment(write(defaults=text))
        notify = buses(deployment).notify
        assert (notify.hosts, notify.port, notify.group) == (("mq1.example", "fd00::9"), 5673, "")
        assert "[fd00::9]:5673" in notify.url().reveal()
        assert [one.group for one in deployment.clusters] == ["rabbitmq"]
        (line,) = elsewhere(deployment)
        for word in ("nova: notifications", "mq1.example", "not deployed here", "vhost nova"):
            assert word in line

    def test_their_port_follows_their_tls(self, write: Write) -> None:
        text = variables("nova_oslomsg_rpc_servers: mq1.example\nnova_oslomsg_rpc_use_ssl: true")
        rpc = buses(load_deployment(write(defaults=text))).rpc
        assert (rpc.port, rpc.tls, rpc.ca) == (5671, True, "")

    def test_no_broker_is_needed_where_all_buses_are_elsewhere(self, write: Write) -> None:
        text = variables("oslomsg_rpc_servers: mq1.example\noslomsg_notify_servers: mq1.example")
        assert load_deployment(write(GLANCE, defaults=text)).clusters == ()


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("oslomsg_rpc_transport: kafka", "oslomsg_rpc_transport", ["no RPC", "rabbit or amqp"]),
        ("oslomsg_rpc_transport: none", "oslomsg_rpc_transport", ["somewhere"]),
        ("oslomsg_notify_transport: amqp", "oslomsg_notify_transport", ["lost", "rabbit or none"]),
        ("nova_oslomsg_notify_transport: kafka", "nova_oslomsg_notify_transport", ["neither deployed nor verified"]),
        ("oslomsg_rpc_transport: zmq", "oslomsg_rpc_transport", ["no transport"]),
        ("oslomsg_rpc_transport: amqp", "oslomsg_rpc_transport", ['"qdrouterd"', "Add one"]),
        ("oslomsg_rpc_host_group: rabbitmq_al", "oslomsg_rpc_host_group", ['Did you mean "rabbitmq"?']),
        ("nova_oslomsg_rpc_host_group: nova", "nova_oslomsg_rpc_host_group", ["nova is a project"]),
        ("nova_oslomsg_rpc_setup_host: ctl1", "nova_oslomsg_rpc_setup_host", ['no host of the group "rabbitmq"']),
        ("oslomsg_rpc_servers: '10.0.0.1,mq.example'", "oslomsg_rpc_servers", ["mq.example", "host_group"]),
        ("oslomsg_rpc_servers: 'a b'", "oslomsg_rpc_servers", ["neither an IP address"]),
        ("oslomsg_rpc_servers: ''", "oslomsg_rpc_servers", ["neither an IP address"]),
        ("oslomsg_rpc_use_ssl: true", "oslomsg_rpc_use_ssl", ["hybridmsg.rabbitmq.tls"]),
        ("oslomsg_rpc_use_ssl: 1", "oslomsg_rpc_use_ssl", ["true or false"]),
        ("oslomsg_rpc_port: 5673", "oslomsg_rpc_port", ["5672", "hybridmsg.rabbitmq.port"]),
        ("oslomsg_rpc_port: 0", "oslomsg_rpc_port", ["greater than or equal to 1"]),
        ("oslomsg_rpc_port: '{{ rabbitmq_port }}'", "oslomsg_rpc_port", ["template of Ansible's"]),
        ("oslomsg_rpc_ssl_version: TLSv1_9", "oslomsg_rpc_ssl_version", ["TLSv1_2"]),
        ("oslomsg_rpc_ssl_ca_file: ca.pem", "oslomsg_rpc_ssl_ca_file", ["absolute path"]),
        ("nova_oslomsg_rpc_vhost: ''", "nova_oslomsg_rpc_vhost", ["not empty"]),
        ("nova_oslomsg_rpc_password: hunter22", "nova_oslomsg_rpc_password", ["secrets file"]),
        ("oslomsg_rpc_policies: [{name: a, pattern: b}]", "oslomsg_rpc_policies", ["[0].tags: is missing"]),
        (
            "oslomsg_rpc_policies: [{name: a, patern: b, tags: {c: d}}]",
            "oslomsg_rpc_policies",
            ['[0].patern: unknown key. Did you mean "pattern"?'],
        ),
        (
            "oslomsg_rpc_policies: [{name: a, pattern: '^(?!(amq', tags: {c: d}}]",
            "oslomsg_rpc_policies",
            ["[0].pattern: is no regular expression: missing )"],
        ),
        ("oslomsg_rpc_prot: 5672", "oslomsg_rpc_prot", ['Did you mean "oslomsg_rpc_port"?']),
        ("nvoa_oslomsg_rpc_port: 5672", "nvoa_oslomsg_rpc_port", ['"nvoa" is no project. Did you mean "nova"?']),
        ("billing_oslomsg_rpc_port: 1", "billing_oslomsg_rpc_port", ['"billing" is no project', "Known here: "]),
        ("oslomsg_rpc_vhost: /", "oslomsg_rpc_vhost", ["no general one. Write PROJECT_oslomsg_rpc_vhost"]),
        ("oslomsg_rabbit_quorum_queues: true", "oslomsg_rabbit_quorum_queues", ["Take it out"]),
    ],
)
def test_a_variable_that_cannot_be_is_refused_by_name(write: Write, text: str, name: str, words: list[str]) -> None:
    directory = write(defaults=variables(text))
    check(directory, "defaults.yaml", 5, path(name), *words)
    assert "hunter22" not in str(mistakes(directory))


def test_a_general_variable_that_is_wrong_for_every_project_is_refused_once(write: Write) -> None:
    directory = write(SITE + GLANCE, defaults=variables("oslomsg_rpc_port: 5673"))
    check(directory, "defaults.yaml", 5, path("oslomsg_rpc_port"), "5672")


def test_routers_are_refused_a_port_and_a_group_that_are_not_theirs(write: Write) -> None:
    text = variables("nova_oslomsg_rpc_port: 5672")
    check(write(SITE + ROUTER, defaults=text), "defaults.yaml", 5, path("nova_oslomsg_rpc_port"), "31459", "qdrouterd")
    text = variables("nova_oslomsg_rpc_host_group: rabbitmq")
    check(write(SITE + ROUTER, defaults=text), "defaults.yaml", 5, path("nova_oslomsg_rpc_host_group"), "rabbit")


def test_routers_outside_the_inventory_are_refused(write: Write) -> None:
    text = variables("nova_oslomsg_rpc_servers: rtr.example")
    check(write(SITE + ROUTER, defaults=text), "defaults.yaml", 5, path("nova_oslomsg_rpc_servers"), "qdrouterd")


def test_the_routers_group_has_no_brokers(write: Write) -> None:
    text = variables("oslomsg_notify_host_group: qdrouterd")
    check(write(SITE + ROUTER, defaults=text), "defaults.yaml", 5, path("oslomsg_notify_host_group"), "the routers'")


def test_one_thing_said_twice_and_not_alike_is_refused(write: Write) -> None:
    text = variables("nova_oslomsg_rpc_vhost: /nova", "{projects: {nova: {vhost: n}}}")
    where = "defaults.data.hybridmsg.projects.nova.vhost"
    check(write(defaults=text), "defaults.yaml", 4, where, "nova_oslomsg_rpc_vhost (defaults.yaml:5)")


@pytest.mark.parametrize(("file", "line", "where"), [("hosts", 8, "hosts.ctl1"), ("groups", 3, "groups.nova")])
def test_elsewhere_than_in_the_defaults_a_variable_is_refused_with_its_remedy(
    write: Write, file: str, line: int, where: str
) -> None:
    data = "  data:\n    oslomsg_rpc_port: 5672\n"
    texts: dict[str, Any] = {"hosts": SITE + data, "groups": f"nova:\n{data}"}
    directory = write(**{file: texts[file]})
    check(directory, f"{file}.yaml", line, f"{where}.data.oslomsg_rpc_port", "data: of defaults.yaml")


def test_among_hybridmsgs_own_settings_a_variable_is_told_where_it_goes(write: Write) -> None:
    text = variables("", "{oslomsg_rpc_port: 5672}")
    check(write(defaults=text), "defaults.yaml", 4, "defaults.data.hybridmsg.oslomsg_rpc_port", "beside hybridmsg:")


def test_policies_are_openstack_ansibles_and_each_bus_has_its_own(write: Write) -> None:
    text = variables(f"oslomsg_notify_policies: {POLICY}")
    deployment = load_deployment(write(defaults=text))
    notify = values(deployment, "notify").policies
    assert [(one.name, one.pattern, one.definition) for one in notify.value] == [
        ("ttl", "^notifications", {"message-ttl": 5})
    ]
    assert (notify.source, values(deployment, "rpc").policies.value) == ("defaults.yaml:5", ())


def test_projects_may_share_a_vhost_and_a_user(write: Write, tmp_path: Path) -> None:
    names = [f"{name}_oslomsg_rpc_{what}: stack" for name in ("nova", "glance") for what in ("userid", "vhost")]
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text("nova_oslomsg_rpc_password: one-word-1\nglance_oslomsg_rpc_password: one-word-1\n")
    secrets.chmod(0o600)
    deployment = load_deployment(write(SITE + GLANCE, defaults=variables("\n".join(names))))
    seen = [(bus.user, bus.vhost) for bus in (buses(deployment).rpc, buses(deployment, "glance").rpc)]
    assert seen == [("stack", "stack")] * 2


def test_the_transports_are_what_the_chain_says(write: Write) -> None:
    """What show-transports tells and what is written cannot differ: one is made from the other."""
    deployment = load_deployment(write(SITE + ROUTER))
    rpc: Transport = buses(deployment).rpc
    found = values(deployment, "rpc")
    assert (rpc.driver, rpc.hosts, rpc.port, rpc.tls) == (
        found.transport.value,
        found.servers.value,
        found.port.value,
        found.use_ssl.value,
    )
