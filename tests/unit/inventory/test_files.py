"""A file that cannot be used is named, with the line; and all mistakes of all files are named at once."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from deployer.model.inventory import load_deployment
from tests.unit.inventory.inventories import DEFAULTS, HOSTS, Write, check, mistakes


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
