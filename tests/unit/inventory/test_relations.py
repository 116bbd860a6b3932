"""Entries that are wrong together: groups, roles, addresses, logins, jump hosts."""

from __future__ import annotations

from textwrap import dedent

from tests.unit.inventory.inventories import DEFAULTS, HOSTS, Write, check, extras, settings


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
