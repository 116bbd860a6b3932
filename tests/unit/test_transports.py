"""Group membership decides the buses, and oslo.messaging reads the URLs as they were meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from kombu.utils.url import parse_url
from oslo_config import cfg
from oslo_messaging.transport import TransportURL as OsloURL

from deployer.model.catalogue import load_catalogue
from deployer.model.deployment import (
    BrokerSettings,
    Deployment,
    Host,
    ProjectDeployment,
    RabbitCluster,
    RouterSettings,
    ServerTls,
    Sourced,
)
from deployer.model.secrets import Secret
from deployer.model.transports import Transport, rabbit_password, resolve

NOVA = load_catalogue()["nova"]
PASSWORD = "correct horse"


def deployment(*addresses: str, port: int = 5672, password: str = PASSWORD) -> Deployment:
    hosts = tuple(Host(f"msg{i}", address, 22, "deploy", ("rabbitmq",)) for i, address in enumerate(addresses))
    controller = Host("ctl1", "10.0.0.9", 22, "deploy", ("nova",))
    project = ProjectDeployment("nova", NOVA, (controller,), "/nova", "nova", Secret(password))
    return Deployment(
        directory=Path(),
        hosts={host.name: host for host in (*hosts, controller)},
        clusters=(RabbitCluster("rabbitmq", hosts),),
        qdrouterd=(),
        projects=(project,),
        broker=BrokerSettings(port=port),
    )


def hybrid(*addresses: str, password: str = PASSWORD, tls: ServerTls | None = None) -> Deployment:
    routers = tuple(Host(f"rtr{i}", address, 22, "deploy", ("qdrouterd",)) for i, address in enumerate(addresses))
    return replace(
        deployment("10.0.0.1", password=password), qdrouterd=routers, router=RouterSettings(port=31459, tls=tls)
    )


def rpc(of: Deployment) -> Transport:
    return resolve(of, of.projects[0]).rpc


def test_both_buses_are_the_rabbitmq_group_in_its_order() -> None:
    of = deployment("10.0.0.2", "10.0.0.1", port=5673)
    transports = resolve(of, of.projects[0])
    expected = Transport(
        driver="rabbit",
        hosts=("10.0.0.2", "10.0.0.1"),
        port=5673,
        tls=False,
        vhost="/nova",
        user="nova",
        password=Secret(PASSWORD),
        group="rabbitmq",
        setup_host="msg0",
    )
    assert (transports.rpc, transports.notify) == (expected, expected)


def test_routers_carry_rpc_in_the_order_of_their_group_and_notifications_stay_on_rabbitmq() -> None:
    of = hybrid("10.0.0.32", "10.0.0.31")
    transports = resolve(of, of.projects[0])
    assert transports.notify == rpc(deployment("10.0.0.1"))
    assert transports.rpc == Transport(
        driver="amqp",
        hosts=("10.0.0.32", "10.0.0.31"),
        port=31459,
        tls=False,
        vhost="/nova",
        user="nova",
        password=Secret(PASSWORD),
        realm="openstack",
        group="qdrouterd",
        setup_host="rtr0",
    )


def test_a_router_has_the_password_as_it_is() -> None:
    transports = resolve(of := hybrid("10.0.0.31", password="a/b"), of.projects[0])
    assert (transports.rpc.password, transports.notify.password) == (Secret("a/b"), Secret("a%2Fb"))


def test_routers_with_tls_are_verified_with_their_ca() -> None:
    of = rpc(hybrid("10.0.0.31", tls=ServerTls("/r/cert.pem", "/r/key.pem", "/r/ca.pem")))
    assert (of.tls, of.ca) == (True, "/r/ca.pem")
    assert of.url().reveal().endswith("?ssl=1")


def test_the_url_has_all_that_a_nova_cell_template_needs() -> None:
    url = rpc(deployment("msg1", "msg2", password="hunter22")).url().reveal()
    assert url == "rabbit://nova:hunter22@msg1:5672,nova:hunter22@msg2:5672//nova?ssl=0"


def test_tls_shows_in_the_query() -> None:
    assert replace(rpc(deployment("msg1")), tls=True).url().reveal().endswith("?ssl=1")


def test_host_names_are_lower_case() -> None:
    assert "@msg1.example:5672" in rpc(deployment("MSG1.Example")).url().reveal()


@pytest.mark.parametrize("password", ["a/b#c?d,e$f%20g", "sp ace&=+", "::@@[]", "p\u00e4ss\u20acword"])
def test_a_service_logs_in_with_the_password_that_the_broker_has(password: str) -> None:
    text = rpc(deployment("msg1", "10.0.0.2", "fd00::3", password=password)).url().reveal()
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    url = OsloURL.parse(conf, text)
    assert (url.transport, url.virtual_host, url.query) == ("rabbit", "/nova", {"ssl": "0"})
    assert [(host.hostname, host.port, host.username) for host in url.hosts] == [
        (name, 5672, "nova") for name in ("msg1", "10.0.0.2", "fd00::3")
    ]
    # What the rabbit driver makes of it (impl_rabbit.py), read by kombu as at a login.
    logins = [parse_url(f"amqp://nova:{quote(host.password)}@msg1:5672/v")["password"] for host in url.hosts]
    assert logins == [rabbit_password(Secret(password)).reveal()] * 3


@pytest.mark.parametrize("password", ["a/b#c?d,e$f%20g", "sp ace&=+", "::@@[]", "p\u00e4ss\u20acword"])
def test_a_routers_password_reaches_the_driver_as_it_is(password: str) -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    url = OsloURL.parse(conf, rpc(hybrid("10.0.0.31", "fd00::3", password=password)).url().reveal())
    assert url.transport == "amqp"
    assert [(host.hostname, host.port, host.username, host.password) for host in url.hosts] == [
        (name, 31459, "nova", password) for name in ("10.0.0.31", "fd00::3")
    ]


def test_only_a_slash_makes_the_brokers_password_differ_from_the_secret() -> None:
    assert rabbit_password(Secret("a/b#c?d,e$f%20 g@:")).reveal() == "a%2Fb#c?d,e$f%20 g@:"


def test_a_transport_shows_no_password() -> None:
    transport = rpc(deployment("msg1"))
    assert "correct" not in f"{transport!r}{transport}{transport.url()!r}"


TLS = ServerTls("/r/cert.pem", "/r/key.pem", "/r/ca.pem")
USERS = ["nova", "nova@cloud", "a:b", "n/o,v#a?", "no va$x%41"]
VHOSTS = ["nova", "/nova", "/", "a b", "x?y#z%41$q", "//deep/er"]


def oslo(url: Secret) -> OsloURL:
    """The URL as a service reads it: from its file, through oslo.config, which expands $."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    OsloURL(conf)  # registers the option
    conf.set_override("transport_url", url.reveal())
    return OsloURL.parse(conf)


@pytest.mark.parametrize("vhost", VHOSTS)
@pytest.mark.parametrize("user", USERS)
def test_both_buses_are_read_back_as_they_were_meant(user: str, vhost: str) -> None:
    of = hybrid("10.0.0.31", "fd00::3", password="a/b#c?d,e$f%20@:")
    project = replace(of.projects[0], user=user, vhost=vhost)
    for bus, hosts in zip(
        (resolve(of, project).rpc, resolve(of, project).notify), (["10.0.0.31", "fd00::3"], ["10.0.0.1"]), strict=True
    ):
        found = oslo(bus.url())
        assert (found.transport, found.virtual_host) == (bus.driver, vhost)
        assert [(one.hostname, one.port, one.username, one.password) for one in found.hosts] == [
            (host, bus.port, user, bus.password.reveal()) for host in hosts
        ]


def test_a_brokers_tls_is_asked_for_in_the_query_alone() -> None:
    of = deployment("10.0.0.1")
    found = oslo(rpc(replace(of, broker=BrokerSettings(port=5671, tls=TLS))).url())
    assert found.query == {"ssl": "1", "ssl_version": "TLSv1_2", "ssl_ca_file": "/r/ca.pem"}
    assert [host.port for host in found.hosts] == [5671]


def test_without_a_protocol_python_negotiates_one() -> None:
    bus = replace(rpc(deployment("10.0.0.1")), tls=True, ca="/etc/ssl/ca.pem")
    assert oslo(bus.url()).query == {"ssl": "1", "ssl_ca_file": "/etc/ssl/ca.pem"}


def test_the_realm_is_no_part_of_the_url() -> None:
    bus = rpc(hybrid("10.0.0.31"))
    assert bus.realm == "openstack"
    assert "openstack" not in bus.url().reveal()


def test_two_clusters_have_a_bus_each() -> None:
    second = Host("msg9", "10.0.9.9", 22, "deploy", ("rabbitmq_notify",))
    of = deployment("10.0.0.1")
    of = replace(
        of,
        clusters=(*of.clusters, RabbitCluster("rabbitmq_notify", (second,))),
        variables={"oslomsg_notify_host_group": Sourced("rabbitmq_notify", "defaults.yaml:7")},
    )
    found = resolve(of, of.projects[0])
    assert [(bus.group, bus.hosts, bus.setup_host) for bus in (found.rpc, found.notify)] == [
        ("rabbitmq", ("10.0.0.1",), "msg0"),
        ("rabbitmq_notify", ("10.0.9.9",), "msg9"),
    ]


def test_a_deployment_goes_on_without_a_host_that_is_down() -> None:
    of = deployment("10.0.0.1")
    assert (of.without("ctl1").projects, "ctl1" in of.without("ctl1").hosts) == ((), False)
    assert of.without("other").projects == of.projects
