"""The qdrouterd group and its settings: what they mean, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.model.deployment import ServerTls
from deployer.model.inventory import load_deployment
from tests.unit.inventory.inventories import HOSTS, Write, check, settings

ROUTER = "msg2: {hostname: 10.0.0.3, groups: [qdrouterd]}\n"
TLS = "tls: {certificate: /etc/pki/r.pem, key: /etc/pki/r.key, ca: /etc/pki/ca.pem}"
SETTINGS = "defaults.data.hybridmsg.qdrouterd"


def hosts(*routers: str) -> str:
    """The usual inventory with routers, from line 7 on."""
    return "".join(f"{line[4:]}\n" for line in HOSTS.splitlines() if line.strip()) + "".join(routers)


def test_routers_are_in_the_order_of_the_file(write: Write) -> None:
    deployment = load_deployment(write(hosts(ROUTER, "aaa1: {hostname: 10.0.0.4, groups: [qdrouterd]}\n")))

    assert [host.name for host in deployment.qdrouterd] == ["msg2", "aaa1"]


def test_the_ports_are_those_of_openstack_ansible(write: Write) -> None:
    router = load_deployment(write(hosts(ROUTER))).router

    assert (router.port, router.inter_router_port, router.tls) == (31459, 31460, None)
    assert (router.package, router.package_file, router.realm, router.user) == (
        "qdrouterd",
        None,
        "openstack",
        "hybridmsg",
    )


def test_with_tls_the_ports_are_openstack_ansibles_for_tls(write: Write) -> None:
    router = load_deployment(write(hosts(ROUTER), defaults=settings(f"qdrouterd: {{{TLS}}}"))).router

    assert (router.port, router.inter_router_port) == (31461, 31462)
    assert router.tls == ServerTls("/etc/pki/r.pem", "/etc/pki/r.key", "/etc/pki/ca.pem")


def test_a_port_of_ones_own_stays_with_tls(write: Write) -> None:
    router = load_deployment(write(hosts(ROUTER), defaults=settings(f"qdrouterd: {{port: 5671, {TLS}}}"))).router

    assert (router.port, router.inter_router_port) == (5671, 31462)


def test_settings_reach_the_deployment(write: Write) -> None:
    text = "qdrouterd: {package: qpid-dispatch-router, realm: cloud, user: admin}\ntimeouts: {drain: 7}"
    deployment = load_deployment(write(hosts(ROUTER), defaults=settings(text)))
    router = deployment.router

    assert (router.package, router.realm, router.user) == ("qpid-dispatch-router", "cloud", "admin")
    assert deployment.timeouts.drain == 7


def test_the_routers_password_is_generated_once_there_are_routers(write: Write, tmp_path: Path) -> None:
    without = load_deployment(write())
    assert (without.router_password.reveal(), "qdrouterd_password" in without.generated_secrets) == ("", False)

    first = load_deployment(write(hosts(ROUTER)))
    assert first.generated_secrets == ("qdrouterd_password",)
    assert len(first.router_password.reveal()) == 32
    assert load_deployment(tmp_path).router_password == first.router_password


def test_the_routers_password_stays_known_when_the_group_is_emptied(write: Write) -> None:
    password = load_deployment(write(hosts(ROUTER))).router_password

    assert load_deployment(write(hosts())).router_password == password


def test_a_password_that_the_router_would_cut_off_is_refused(write: Write, tmp_path: Path) -> None:
    (tmp_path / "secrets.yaml").write_text(f"qdrouterd_password: {'x' * 200}\n")
    (tmp_path / "secrets.yaml").chmod(0o600)

    check(write(hosts(ROUTER)), "secrets.yaml", 1, "qdrouterd_password", "199 bytes")


def test_a_package_file_is_found_beside_the_inventory(write: Write, tmp_path: Path) -> None:
    (tmp_path / "q.deb").write_bytes(b"!<arch>")
    deployment = load_deployment(write(hosts(ROUTER), defaults=settings("qdrouterd: {package_file: q.deb}")))

    assert deployment.router.package_file == tmp_path / "q.deb"


@pytest.mark.parametrize(
    ("name", "word"), [("gone.deb", "no such file"), ("hosts.yaml", ".deb or .rpm"), ("a b.deb", "its name")]
)
def test_a_package_file_that_is_none_is_named(write: Write, name: str, word: str) -> None:
    directory = write(defaults=settings(f"qdrouterd: {{package_file: {name}}}"))
    check(directory, "defaults.yaml", 5, f"{SETTINGS}.package_file", word)


def test_nine_routers_are_too_many(write: Write) -> None:
    routers = [f"r{number}: {{hostname: 10.0.1.{number}, groups: [qdrouterd]}}\n" for number in range(9)]

    check(write(hosts(*routers)), "hosts.yaml", 15, "hosts.r8.groups", "9 hosts", "Keep 8")
    assert len(load_deployment(write(hosts(*routers[:8]))).qdrouterd) == 8


def test_a_router_at_a_loopback_address(write: Write) -> None:
    check(
        write(hosts(ROUTER.replace("10.0.0.3", "localhost"))),
        "hosts.yaml",
        7,
        "hosts.msg2.hostname",
        "cannot reach a router",
    )


def test_routers_need_a_broker_for_notifications(write: Write) -> None:
    check(write(ROUTER), "hosts.yaml", None, "hosts", '"rabbitmq"', "msg2 need a broker")


def test_both_listeners_on_one_port(write: Write) -> None:
    directory = write(hosts(ROUTER), defaults=settings("qdrouterd: {inter_router_port: 31459}"))
    check(directory, "defaults.yaml", 5, f"{SETTINGS}.inter_router_port", "31459", "port for clients")


def test_a_router_on_rabbitmqs_port_of_the_same_host(write: Write) -> None:
    text = settings("qdrouterd: {port: 5672}")
    shared = hosts().replace("[rabbitmq]", "[rabbitmq, qdrouterd]")
    check(write(shared, defaults=text), "defaults.yaml", 5, f"{SETTINGS}.port", "RabbitMQ", "msg1")


def test_a_router_may_have_rabbitmqs_port_on_a_host_of_its_own(write: Write) -> None:
    assert load_deployment(write(hosts(ROUTER), defaults=settings("qdrouterd: {port: 5672}"))).router.port == 5672


@pytest.mark.parametrize(
    ("user", "word"), [("hybridmsg", "administrator"), ("nova@cloud", "cannot log in"), ("-x", "cannot log in")]
)
def test_a_projects_user_that_a_router_cannot_have(write: Write, user: str, word: str) -> None:
    text = settings(f"projects: {{nova: {{user: {user}}}}}")

    check(write(hosts(ROUTER), defaults=text), "defaults.yaml", 5, "defaults.data.hybridmsg.projects.nova.user", word)
    assert load_deployment(write(defaults=text)).projects[0].user == user


def test_projects_with_one_user_cannot_be_told_apart_on_routers(write: Write) -> None:
    text = settings("projects: {glance: {user: stack}, nova: {user: stack}}")

    path = "defaults.data.hybridmsg.projects.nova.user"
    both = hosts(ROUTER, "ctl2: {hostname: 10.0.0.4, groups: [glance]}\n")
    check(write(both, defaults=text), "defaults.yaml", 5, path, '"stack" is the user of glance too')


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("realm: a#b", "realm"),
        ("realm: 'a b'", "realm"),
        ("user: -u", "user"),
        ("user: a@b", "user"),
        ("port: 0", "port"),
        ("package: --purge", "package"),
        ("tls: {certificate: c.pem, key: /k, ca: /ca}", "tls.certificate"),
        ("tls: {certificate: /c, key: '/k#1', ca: /ca}", "tls.key"),
        ("tls: {certificate: /c, key: /k}", "tls.ca"),
        ("listen: 1", "listen"),
    ],
)
def test_what_would_break_the_routers_configuration_is_refused(write: Write, text: str, path: str) -> None:
    check(write(hosts(ROUTER), defaults=settings(f"qdrouterd: {{{text}}}")), "defaults.yaml", 5, f"{SETTINGS}.{path}")
