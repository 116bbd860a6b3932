"""A host, group or setting that is wrong by itself is named with file, line, path and remedy."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from deployer.model.inventory import load_deployment
from tests.unit.inventory.inventories import (
    DEFAULTS,
    HOSTS,
    Write,
    check,
    extras,
    mistakes,
    only_mistake,
    settings,
)


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


def test_an_expression_that_only_the_broker_knows_is_left_to_it(write: Write) -> None:
    policy = r"{name: a, pattern: '^(?>notif|rpc)\..++', definition: {a: b}}"
    [kept] = load_deployment(write(defaults=settings(f"rabbitmq:\n  policies:\n    - {policy}"))).broker.policies or ()
    assert kept.pattern == r"^(?>notif|rpc)\..++"


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("qdrouterd: {realm: a#b}", "64 letters"),
        ("qdrouterd: {user: -u}", "64 letters"),
        ("rabbitmq: {package: --purge}", "package's name"),
        ("rabbitmq: {tls: {certificate: c.pem, key: /k, ca: /ca}}", "absolute path"),
        ("rabbitmq: {policies: [{name: a, pattern: b, definition: {}}]}", "is empty"),
    ],
)
def test_a_word_that_cannot_be_is_refused_in_our_words(write: Write, text: str, words: str) -> None:
    problem = only_mistake(write(defaults=settings(text))).problem
    assert words in problem
    assert "pattern" not in problem


def test_one_wrong_setting_hides_no_other_mistake(write: Write) -> None:
    text = "qdrouterd: {realm: a#b, port: 1, inter_router_port: 1}\nprojects: {nvoa: {vhost: x}}"
    hosts = dedent(HOSTS) + "rtr1: {hostname: 10.0.0.4, groups: [qdrouterd]}\n"
    found = [mistake.path for mistake in mistakes(write(hosts, None, settings(text)))]
    assert [path.removeprefix("defaults.data.hybridmsg.") for path in found] == [
        "qdrouterd.realm",
        "qdrouterd.inter_router_port",
        "projects.nvoa",
    ]
