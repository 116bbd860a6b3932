"""Each mistake in an inventory is named with file, line, path and remedy, all of them at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from nornir.plugins.inventory.simple import SimpleInventory

from deployer.errors import ConfigurationError, Mistake
from deployer.model.deployment import Deployment
from deployer.model.inventory import load_deployment, load_inventory

DEMO = Path(__file__).parents[2] / "inventory"
HOSTS = """\
    msg1:
      hostname: 10.0.0.1
      groups: [rabbitmq]
    ctl1:
      hostname: 10.0.0.2
      groups: [nova]
    """
DEFAULTS = """\
    username: deploy
    connection_options: {hybridmsg_ssh: {extras: {key_file: ~/.ssh/id_ed25519}}}
    """
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(hosts: str = HOSTS, groups: str | None = None, defaults: str | None = DEFAULTS) -> Path:
        for name, text in (("hosts", hosts), ("groups", groups), ("defaults", defaults)):
            if text is not None:
                (tmp_path / f"{name}.yaml").write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return write


def settings(text: str) -> str:
    """Return defaults.yaml with `text` as data.hybridmsg, which begins on line 5."""
    body = "".join(f"    {line}\n" for line in dedent(text).splitlines())
    return f"{dedent(DEFAULTS)}data:\n  hybridmsg:\n{body}"


def extras(text: str) -> str:
    """Return hosts.yaml with `text` in the extras of ctl1, on line 10."""
    return (
        dedent(HOSTS) + f"  connection_options:\n    hybridmsg_ssh:\n      extras:\n        {{key_file: k, {text}}}\n"
    )


def mistakes(directory: Path) -> list[Mistake]:
    with pytest.raises(ConfigurationError) as caught:
        load_deployment(directory)
    return caught.value.mistakes


def only_mistake(directory: Path) -> Mistake:
    found = mistakes(directory)
    assert len(found) == 1, [str(mistake) for mistake in found]
    return found[0]


def check(directory: Path, file: str, line: int | None, path: str, *words: str) -> None:
    """The one mistake there is names this place and holds these words."""
    mistake = only_mistake(directory)
    assert (Path(mistake.file).name, mistake.line, mistake.path) == (file, line, path), str(mistake)
    for word in words:
        assert word in mistake.problem


# What is right


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
    assert [project.name for project in demo.projects] == ["glance", "cinder", "nova", "heat", "ceilometer"]


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


# What is wrong with a file


def test_no_hosts_file(tmp_path: Path) -> None:
    check(tmp_path, "hosts.yaml", None, "hosts", "No such file")


def test_an_empty_hosts_file(write: Write) -> None:
    check(write("# nothing\n"), "hosts.yaml", None, "hosts", "names no host", "Add one")


def test_a_file_that_is_a_list(write: Write) -> None:
    check(write("- msg1\n"), "hosts.yaml", None, "hosts", "must be a mapping")


def test_a_file_that_is_not_utf8(write: Write) -> None:
    directory = write()
    (directory / "groups.yaml").write_bytes(b"# caf\xe9\n")
    check(directory, "groups.yaml", None, "groups", "not UTF-8")


def test_a_yaml_syntax_error(write: Write) -> None:
    check(write(groups="a: {}\nb: [1\n"), "groups.yaml", 3, "", "YAML syntax error")


def test_a_tab_for_indentation(write: Write) -> None:
    check(write(groups="a:\n\tgroups: []\n"), "groups.yaml", 2, "", "spaces, not tabs")


def test_a_host_named_twice_names_both_lines(write: Write) -> None:
    hosts = dedent(HOSTS) + "msg1:\n  hostname: 10.0.0.3\n"
    check(write(hosts), "hosts.yaml", 7, "hosts.msg1", "lines 1 and 7")


def test_a_key_named_twice_names_both_lines(write: Write) -> None:
    hosts = dedent(HOSTS) + "  hostname: 10.0.0.3\n"
    check(write(hosts), "hosts.yaml", 7, "hosts.ctl1.hostname", "lines 5 and 7")


def test_a_host_name_that_is_a_number(write: Write) -> None:
    hosts = dedent(HOSTS) + "12: {hostname: 10.0.0.3, groups: [nova]}\n"
    check(write(hosts), "hosts.yaml", 7, "hosts", "not text", "quotes")


def test_a_host_name_that_is_a_path(write: Write) -> None:
    hosts = dedent(HOSTS) + "../up: {hostname: 10.0.0.3, groups: [nova]}\n"
    check(write(hosts), "hosts.yaml", 7, "hosts.../up", "letters, digits")


def test_an_alias_inside_itself(write: Write) -> None:
    check(write(groups="a: &a {data: *a}\n"), "groups.yaml", 1, "groups.a.data", "contains itself")


def test_a_tag_nobody_knows(write: Write) -> None:
    hosts = HOSTS.replace("10.0.0.2", "!vault x")
    check(write(hosts), "hosts.yaml", 5, "hosts.ctl1.hostname", "!vault")


# What is wrong with an entry


def test_an_unknown_key_of_a_host(write: Write) -> None:
    hosts = dedent(HOSTS) + "  prot: 22\n"
    check(write(hosts), "hosts.yaml", 7, "hosts.ctl1.prot", 'Did you mean "port"?')


def test_an_unknown_key_of_a_group(write: Write) -> None:
    check(write(groups="nova:\n  color: red\n"), "groups.yaml", 2, "groups.nova.color", "unknown key", "hostname")


def test_an_unknown_key_of_the_defaults(write: Write) -> None:
    defaults = dedent(DEFAULTS) + "usrname: x\n"
    check(write(defaults=defaults), "defaults.yaml", 3, "defaults.usrname", 'Did you mean "username"?')


def test_groups_are_nothing_for_defaults(write: Write) -> None:
    defaults = dedent(DEFAULTS) + "groups: [nova]\n"
    check(write(defaults=defaults), "defaults.yaml", 3, "defaults.groups", "unknown key")


@pytest.mark.parametrize(
    ("file", "path"), [("hosts", "hosts.ctl1"), ("groups", "groups.nova"), ("defaults", "defaults")]
)
def test_a_password_in_the_clear_is_refused_and_not_shown(write: Write, file: str, path: str) -> None:
    texts = {
        "hosts": dedent(HOSTS) + "  password: hunter22\n",
        "groups": "nova:\n  password: hunter22\n",
        "defaults": dedent(DEFAULTS) + "password: hunter22\n",
    }
    mistake = only_mistake(write(**{file: texts[file]}))
    assert (Path(mistake.file).stem, mistake.path) == (file, f"{path}.password")
    assert "key_file" in mistake.problem
    assert "hunter22" not in str(mistake)


def test_a_password_of_any_connection_is_refused(write: Write) -> None:
    hosts = dedent(HOSTS) + "  connection_options:\n    netmiko: {password: hunter22}\n"
    check(write(hosts), "hosts.yaml", 8, "hosts.ctl1.connection_options.netmiko.password", "refused")


def test_a_port_that_is_text(write: Write) -> None:
    hosts = dedent(HOSTS) + '  port: "22"\n'
    check(write(hosts), "hosts.yaml", 7, "hosts.ctl1.port", "integer", "not text")


@pytest.mark.parametrize("port", [0, 65536, -22])
def test_a_port_out_of_range(write: Write, port: int) -> None:
    hosts = dedent(HOSTS) + f"  port: {port}\n"
    check(write(hosts), "hosts.yaml", 7, "hosts.ctl1.port", "than or equal to")


def test_a_host_with_nothing_below_it(write: Write) -> None:
    hosts = dedent(HOSTS) + "ctl2:\n"
    check(write(hosts), "hosts.yaml", 7, "hosts.ctl2", "must be a mapping, not nothing", "{}")


def test_groups_that_are_one_word(write: Write) -> None:
    hosts = HOSTS.replace("[nova]", "nova")
    check(write(hosts), "hosts.yaml", 6, "hosts.ctl1.groups", "list, not text")


def test_an_address_that_is_a_number(write: Write) -> None:
    check(write(HOSTS.replace("10.0.0.2", "10.2")), "hosts.yaml", 5, "hosts.ctl1.hostname", "not a number")


@pytest.mark.parametrize("address", ["10.0.0.300", "a b", "deploy@ctl1", "ctl1,ctl2", "-oProxyCommand=x"])
def test_an_address_that_is_none(write: Write, address: str) -> None:
    hosts = HOSTS.replace("10.0.0.2", f'"{address}"')
    check(write(hosts), "hosts.yaml", 5, "hosts.ctl1.hostname", "neither an IP address nor a host name")


def test_an_address_with_its_port(write: Write) -> None:
    hosts = HOSTS.replace("10.0.0.2", "10.0.0.2:2200")
    check(write(hosts), "hosts.yaml", 5, "hosts.ctl1.hostname", "port:")


def test_an_unknown_extra(write: Write) -> None:
    path = "hosts.ctl1.connection_options.hybridmsg_ssh.extras.jumphost"
    check(write(extras("jumphost: x")), "hosts.yaml", 10, path, 'Did you mean "jump_host"?')


def test_an_extra_with_a_value_it_cannot_have(write: Write) -> None:
    path = "hosts.ctl1.connection_options.hybridmsg_ssh.extras.become"
    check(write(extras("become: su")), "hosts.yaml", 10, path, "'none' or 'sudo'")


@pytest.mark.parametrize("jump", ["me@gate:0", "me@gate:99999", "@gate:22", "me@ga te:22"])
def test_a_jump_host_that_is_no_login(write: Write, jump: str) -> None:
    path = "hosts.ctl1.connection_options.hybridmsg_ssh.extras.jump_host"
    check(write(extras(f"jump_host: '{jump}'")), "hosts.yaml", 10, path)


def test_an_unknown_setting(write: Write) -> None:
    defaults = settings("secret_file: x")
    check(write(defaults=defaults), "defaults.yaml", 5, "defaults.data.hybridmsg.secret_file", '"secrets_file"?')


def test_an_unknown_setting_deep_down(write: Write) -> None:
    defaults = settings("rabbitmq:\n  policies:\n    - {name: a, patern: x, pattern: x, definition: {a: b}}")
    path = "defaults.data.hybridmsg.rabbitmq.policies[0].patern"
    check(write(defaults=defaults), "defaults.yaml", 7, path, 'Did you mean "pattern"?')


def test_a_setting_that_is_missing(write: Write) -> None:
    defaults = settings("rabbitmq:\n  policies:\n    - {name: a, pattern: x}")
    path = "defaults.data.hybridmsg.rabbitmq.policies[0].definition"
    check(write(defaults=defaults), "defaults.yaml", 7, path, "is missing")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("timeouts: {gate: 0}", "timeouts.gate"),
        ("limits: {parallel: 0}", "limits.parallel"),
        ("rabbitmq: {port: 99999}", "rabbitmq.port"),
        ("rabbitmq: {package: --purge}", "rabbitmq.package"),
        ("rabbitmq: {policies: [{name: a, pattern: b, definition: {c: {}}}]}", "rabbitmq.policies[0].definition.c"),
        ("notify: qdrouterd", "notify"),
        ('projects: {nova: {vhost: ""}}', "projects.nova.vhost"),
        ('projects: {nova: {user: "a\\nb"}}', "projects.nova.user"),
    ],
)
def test_a_setting_out_of_range(write: Write, text: str, path: str) -> None:
    check(write(defaults=settings(text)), "defaults.yaml", 5, f"defaults.data.hybridmsg.{path}")


def test_settings_for_an_unknown_project(write: Write) -> None:
    defaults = settings("projects: {nvoa: {vhost: x}}")
    check(write(defaults=defaults), "defaults.yaml", 5, "defaults.data.hybridmsg.projects.nvoa", '"nova"?')


def test_settings_of_a_host(write: Write) -> None:
    hosts = dedent(HOSTS) + "  data:\n    hybridmsg: {notify: keep}\n"
    check(write(hosts), "hosts.yaml", 8, "hosts.ctl1.data.hybridmsg", "Move them to defaults.yaml")


def test_settings_under_a_misspelt_name(write: Write) -> None:
    defaults = dedent(DEFAULTS) + "data:\n  hybridmgs: {notify: keep}\n"
    check(write(defaults=defaults), "defaults.yaml", 4, "defaults.data.hybridmgs", '"hybridmsg"?')


def test_connection_options_under_a_misspelt_name(write: Write) -> None:
    hosts = dedent(HOSTS) + "  connection_options:\n    hybridmsg-ssh: {port: 1}\n"
    path = "hosts.ctl1.connection_options.hybridmsg-ssh"
    check(write(hosts), "hosts.yaml", 8, path, '"hybridmsg_ssh"?')


# What is wrong between entries


def test_a_group_nobody_knows(write: Write) -> None:
    check(write(HOSTS.replace("[nova]", "[nvoa]")), "hosts.yaml", 6, "hosts.ctl1.groups[0]", '"nvoa"', '"nova"?')


def test_a_group_of_an_unknown_group(write: Write) -> None:
    check(write(groups="a:\n  groups: [haet]\n"), "groups.yaml", 2, "groups.a.groups[0]", '"haet"', '"heat"?')


def test_groups_in_a_circle(write: Write) -> None:
    groups = "a: {groups: [b]}\nb: {groups: [c, nova]}\nc: {groups: [a]}\n"
    check(write(groups=groups), "groups.yaml", 1, "groups.a.groups", "a -> b -> c -> a")


def test_two_hosts_at_one_address(write: Write) -> None:
    hosts = HOSTS.replace("10.0.0.2", "10.0.0.1")
    check(write(hosts), "hosts.yaml", 5, "hosts.ctl1.hostname", '"msg1" on line 1', "10.0.0.1:22")


def test_a_host_with_no_address(write: Write) -> None:
    hosts = dedent(HOSTS) + "ctl2: {groups: [nova]}\n"
    check(write(hosts), "hosts.yaml", 7, "hosts.ctl2", "has no address", "hostname:")


def test_a_host_with_no_role(write: Write) -> None:
    hosts = dedent(HOSTS) + "ctl2: {hostname: 10.0.0.3}\n"
    check(write(hosts), "hosts.yaml", 7, "hosts.ctl2", "does nothing", "rabbitmq")


def test_no_username_is_one_mistake_for_all_hosts(write: Write) -> None:
    defaults = dedent(DEFAULTS).replace("username: deploy\n", "")
    check(write(defaults=defaults), "defaults.yaml", None, "defaults.username", "msg1, ctl1")


def test_a_username_that_is_wrong_is_not_missing_as_well(write: Write) -> None:
    defaults = dedent(DEFAULTS).replace("username: deploy", "username: 7")
    check(write(defaults=defaults), "defaults.yaml", 1, "defaults.username", "not a number")


def test_no_key_file_is_one_mistake_for_all_hosts(write: Write) -> None:
    path = "defaults.connection_options.hybridmsg_ssh.extras.key_file"
    check(write(defaults="username: deploy\n"), "defaults.yaml", None, path, "msg1, ctl1")


def test_no_broker_for_the_projects(write: Write) -> None:
    hosts = "ctl1: {hostname: 10.0.0.2, groups: [nova, heat]}\n"
    check(write(hosts), "hosts.yaml", None, "hosts", '"rabbitmq"', "nova, heat")


def test_a_broker_at_a_loopback_address(write: Write) -> None:
    hosts = HOSTS.replace("10.0.0.1", "127.0.0.1")
    check(write(hosts), "hosts.yaml", 2, "hosts.msg1.hostname", "cannot reach")


def test_a_router_waits_for_the_next_release(write: Write) -> None:
    hosts = HOSTS.replace("[nova]", "[nova, qdrouterd]")
    check(write(hosts), "hosts.yaml", 6, "hosts.ctl1.groups", "next release")


def test_a_jump_host_nobody_knows(write: Write) -> None:
    path = "hosts.ctl1.connection_options.hybridmsg_ssh.extras.jump_host"
    check(write(extras("jump_host: msg2")), "hosts.yaml", 10, path, '"msg1"?', "user@host:port")


def test_a_host_that_is_its_own_jump_host(write: Write) -> None:
    path = "hosts.ctl1.connection_options.hybridmsg_ssh.extras.jump_host"
    check(write(extras("jump_host: ctl1")), "hosts.yaml", 10, path, "its own jump host")


def test_a_jump_host_for_all_hosts_must_leave_itself_out(write: Write) -> None:
    defaults = DEFAULTS.replace("ed25519", "ed25519, jump_host: msg1")
    path = "hosts.msg1.connection_options.hybridmsg_ssh.extras.jump_host"
    check(write(defaults=defaults), "hosts.yaml", 1, path, "its own jump host")


def test_a_jump_host_behind_a_jump_host(write: Write) -> None:
    hop = "connection_options: {hybridmsg_ssh: {extras: {key_file: k, jump_host: 'a@b:22'}}}"
    hosts = extras("jump_host: msg2") + f"msg2: {{hostname: 10.0.0.3, groups: [rabbitmq], {hop}}}\n"
    path = "hosts.ctl1.connection_options.hybridmsg_ssh.extras.jump_host"
    check(write(hosts), "hosts.yaml", 10, path, "behind a jump host")


def test_one_user_with_two_passwords(write: Write) -> None:
    hosts = HOSTS.replace("[nova]", "[nova, heat]")
    directory = write(hosts, defaults=settings("projects: {nova: {user: o}, heat: {user: o}}"))
    check(directory, "secrets.yaml", None, "heat_oslomsg_rpc_password", '"o"', "nova_oslomsg_rpc_password")


# All of it


def test_every_mistake_is_named_at_once(write: Write) -> None:
    hosts = """\
        msg1: {hostname: 10.0.0.1, groups: [rabitmq]}
        ctl1: {hostname: 10.0.0.2, groups: [nova], port: 99999, colour: red}
        ctl2: {hostname: 10.0.0.2, groups: [nova]}
        """
    directory = write(hosts, "heat: {platfrom: x}\n", dedent(DEFAULTS) + "data: {hybridmsg: {notfy: keep}}\n")
    assert [(Path(m.file).name, m.line, m.path) for m in mistakes(directory)] == [
        ("hosts.yaml", 1, "hosts.msg1.groups[0]"),
        ("hosts.yaml", 2, "hosts.ctl1.port"),
        ("hosts.yaml", 2, "hosts.ctl1.colour"),
        ("hosts.yaml", 3, "hosts.ctl2.hostname"),
        ("groups.yaml", 1, "groups.heat.platfrom"),
        ("defaults.yaml", 3, "defaults.data.hybridmsg.notfy"),
    ]


def test_a_wrong_inventory_leaves_no_secrets_behind(write: Write) -> None:
    directory = write(HOSTS.replace("[nova]", "[nvoa]"))
    assert mistakes(directory)
    assert not (directory / "secrets.yaml").exists()


def test_a_deployment_shows_no_secret(write: Write) -> None:
    directory = write()
    deployment = load_deployment(directory)
    assert deployment.projects[0].password.reveal() not in repr(deployment)
    assert deployment.erlang_cookie.reveal() not in repr(deployment)
