"""What a right inventory means: order, roles, inheritance, defaults."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent

import pytest
from nornir.plugins.inventory.simple import SimpleInventory

from deployer.model.deployment import Deployment
from deployer.model.inventory import load_deployment, load_inventory
from tests.unit.inventory.inventories import HOSTS, Write, extras, settings

DEMO = Path(__file__).parents[3] / "inventory"


@pytest.fixture
def demo(tmp_path: Path) -> Deployment:
    for file in DEMO.glob("*.yaml"):
        if file.name != "secrets.yaml":
            shutil.copy(file, tmp_path)
    return load_deployment(tmp_path)


def test_the_demo_has_its_hosts_in_file_order(demo: Deployment) -> None:
    assert [(host.name, host.address) for host in demo.hosts.values()] == [
        ("msg1", "10.77.0.11"),
        ("msg2", "10.77.0.12"),
        ("msg3", "10.77.0.13"),
        ("ctl1", "10.77.0.21"),
        ("ctl2", "10.77.0.22"),
        ("tel1", "10.77.0.41"),
    ]
    assert {(host.port, host.username) for host in demo.hosts.values()} == {(22, "deploy")}


def test_the_demo_has_its_roles_through_nested_groups(demo: Deployment) -> None:
    assert [host.name for host in demo.rabbitmq] == ["msg1", "msg2", "msg3"]
    assert demo.qdrouterd == ()
    assert {project.name: [host.name for host in project.hosts] for project in demo.projects} == {
        "glance": ["ctl1", "ctl2"],
        "cinder": ["ctl1", "ctl2"],
        "nova": ["ctl1", "ctl2"],
        "neutron": ["ctl1", "ctl2"],
        "heat": ["ctl1", "ctl2"],
        "ceilometer": ["tel1"],
    }


def test_the_demo_loads_with_nornirs_own_inventory_plugin_too() -> None:
    inventory = SimpleInventory(*(str(DEMO / f"{name}.yaml") for name in ("hosts", "groups", "defaults"))).load()
    extras = inventory.hosts["ctl1"].get_connection_parameters("hybridmsg_ssh").extras
    assert extras == {
        "key_file": "~/.ssh/id_ed25519",
        "known_hosts": "~/.ssh/known_hosts",
        "become": "sudo",
    }


def test_projects_come_in_catalogue_order(demo: Deployment) -> None:
    assert [project.name for project in demo.projects] == ["glance", "cinder", "nova", "neutron", "heat", "ceilometer"]


def test_a_role_needs_no_entry_in_groups_yaml(write: Write) -> None:
    directory = write()
    assert [project.name for project in load_deployment(directory).projects] == ["nova"]
    assert load_inventory(directory).hosts["ctl1"].has_parent_group("nova")


def test_defaults_are_those_of_openstack_ansible(write: Write) -> None:
    deployment = load_deployment(write())
    (project,) = deployment.projects
    assert (project.vhost, project.user, project.notify) == ("nova", "nova", "keep")
    assert (deployment.broker.port, deployment.broker.package) == (5672, "rabbitmq-server")
    assert (deployment.timeouts.gate, deployment.limits.parallel) == (90, 20)


def test_one_broker_has_no_mirroring_policy(write: Write) -> None:
    assert load_deployment(write()).broker.policies == ()


def test_several_brokers_mirror_their_queues(demo: Deployment) -> None:
    (policy,) = demo.broker.policies
    assert policy.pattern == r"^(?!(amq\.)|(.*_fanout_)|(reply_)).*"
    assert (policy.definition, policy.apply_to, policy.priority) == ({"ha-mode": "all"}, "all", 0)


def test_settings_reach_the_deployment(write: Write) -> None:
    text = """\
        secrets_file: other.yaml
        rabbitmq:
          port: 5673
          package: rabbitmq
          policies: [{name: ttl, pattern: .*, definition: {message-ttl: 5}, apply_to: queues, priority: 3}]
        notify: rabbitmq
        projects: {nova: {vhost: /nova, user: openstack}}
        timeouts: {gate: 7}
        limits: {parallel: 2}
        """
    directory = write(defaults=settings(text))
    deployment = load_deployment(directory)
    (project,) = deployment.projects
    assert (project.vhost, project.user, project.notify) == ("/nova", "openstack", "rabbitmq")
    assert (deployment.broker.port, deployment.broker.package) == (5673, "rabbitmq")
    assert [(policy.name, policy.definition) for policy in deployment.broker.policies] == [("ttl", {"message-ttl": 5})]
    assert (deployment.timeouts.gate, deployment.timeouts.step, deployment.limits.parallel) == (7, 120, 2)
    assert (directory / "other.yaml").exists()


def test_a_projects_own_notify_wins_over_the_general_one(write: Write) -> None:
    directory = write(defaults=settings("notify: rabbitmq\nprojects: {nova: {notify: keep}}"))
    assert load_deployment(directory).projects[0].notify == "keep"


def test_an_anchor_and_a_merge_key_work_as_in_nornir(write: Write) -> None:
    hosts = """\
        msg1: &base
          hostname: 10.0.0.1
          groups: [rabbitmq]
          port: 2200
        ctl1:
          <<: *base
          hostname: 10.0.0.2
          groups: [nova]
        """
    host = load_deployment(write(hosts)).hosts["ctl1"]
    assert (host.address, host.port, host.groups) == ("10.0.0.2", 2200, ("nova",))


def test_the_connections_own_port_and_user_win(write: Write) -> None:
    hosts = dedent(HOSTS) + "  connection_options: {hybridmsg_ssh: {port: 2222, username: root}}\n"
    host = load_deployment(write(hosts)).hosts["ctl1"]
    assert (host.port, host.username) == (2222, "root")


def test_a_jump_host_needs_no_role_and_is_handed_to_the_connection_by_address(write: Write) -> None:
    hosts = extras("jump_host: gate") + "gate: {hostname: gate.example, port: 2200, username: hop}\n"
    directory = write(hosts)
    assert load_deployment(directory).hosts["gate"].groups == ()
    parameters = load_inventory(directory).hosts["ctl1"].get_connection_parameters("hybridmsg_ssh")
    assert parameters.extras == {"key_file": "k", "jump_host": "hop@gate.example:2200"}


def test_one_address_behind_different_jump_hosts_is_two_machines(write: Write) -> None:
    hosts = extras("jump_host: 'a@gate:22'").replace("10.0.0.2", "10.0.0.1")
    assert len(load_deployment(write(hosts)).hosts) == 2


def test_unused_projects_may_have_settings_and_empty_groups(write: Write) -> None:
    directory = write(groups="heat: {}\n", defaults=settings("projects: {heat: {vhost: h}}"))
    assert [project.name for project in load_deployment(directory).projects] == ["nova"]
