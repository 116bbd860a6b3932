from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.model.deployment import Host
from deployer.model.secrets import Secret
from deployer.model.transports import resolve
from deployer.plan.bus_today import RpcBus, cut_off, router_user, rpc_bus, rpc_topics
from tests.unit.plan.cloud import CTL1, RTR1, RTR2, deployment, ini, project

NOVA = project("nova", CTL1)
RABBIT = deployment(NOVA)
HYBRID = deployment(NOVA, qdrouterd=(RTR1, RTR2))


def bus(url: str) -> RpcBus:
    found = RpcBus.of(Secret(url))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text", ["", "transport_url =\n", "transport_url = rabbit://\n", "transport_url = nova:pw@host\n"]
)
def test_a_file_that_names_no_host_is_on_no_bus(text: str) -> None:
    assert rpc_bus(ini(f"[DEFAULT]\n{text}")) is None


def test_a_file_tells_its_driver_hosts_and_vhost_and_no_password() -> None:
    found = rpc_bus(ini("[DEFAULT]\ntransport_url = rabbit://n:canary@A:5672,n:canary@b:5672//nova\n"))
    assert found == RpcBus("rabbit", ("a", "b"), "/nova")


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("amqp://nova:pw@10.0.0.31:31459/nova", True),
        ("amqp://other:old@10.0.0.99:1,other:old@10.0.0.32:1/nova", True),
        ("rabbit://nova:pw@10.0.0.31:5672/nova", False),
        ("amqp://nova:pw@10.0.0.31:31459/", False),
        ("amqp://nova:pw@10.9.9.9:31459/nova", False),
    ],
    ids=["itself", "one member left", "another driver at the same place", "another vhost", "other hosts"],
)
def test_members_may_come_and_go_driver_and_vhost_make_the_bus(url: str, same: bool) -> None:  # noqa: FBT001 - a parameter of the table
    assert bus(url).is_on(resolve(HYBRID, NOVA).rpc) == same


def test_our_brokers_are_known_in_whatever_vhost() -> None:
    urls = ("rabbit://n:p@10.0.0.11/x", "amqp://n:p@10.0.0.11/nova", "rabbit://n:p@10.9.9.9/nova")
    assert [bus(url).is_brokers(RABBIT) for url in urls] == [True, False, False]


def test_a_bus_is_served_by_the_hosts_it_names_also_when_they_left_their_group() -> None:
    left = deployment(NOVA, project("glance", RTR1, RTR2))
    served = bus("amqp://nova:pw@10.0.0.31:31459,nova:pw@10.0.0.32:31459/nova").served_by(left)
    assert (left.qdrouterd, served) == ((), (RTR1, RTR2))
    assert bus("amqp://nova:pw@10.9.9.9:31459/nova").served_by(left) == ()


RTR_NEW = Host("new", "10.0.0.39", 22, "deploy", ("qdrouterd",))
R1, R2, R3 = (Host(f"r{number}", f"10.0.0.3{number}", 22, "deploy", ("qdrouterd",)) for number in (1, 2, 3))
MESH = "amqp://n:p@10.0.0.31:1,n:p@10.0.0.32:1,n:p@10.0.0.33:1/nova"


@pytest.mark.parametrize(
    ("group", "lost"),
    [
        ((R1, R2, R3), ()),
        ((R1, R2), ()),
        ((R1, R3), ()),
        ((R2, R3), (R1,)),
        ((R1,), (R2, R3)),
        ((R3,), (R1, R2)),
        ((), ()),
        ((RTR_NEW,), ()),
    ],
    ids=["none leaves", "the last", "one in between", "the hub", "the hub alone", "another alone", "all", "replaced"],
)
def test_who_leaves_a_mesh_is_cut_off_when_it_is_the_hub_or_leaves_one_alone(
    group: tuple[Host, ...], lost: tuple[Host, ...]
) -> None:
    hosts = {host.name: host for host in (R1, R2, R3, RTR_NEW)}
    site = replace(deployment(NOVA, qdrouterd=group), hosts=hosts)
    assert cut_off(bus(MESH), site) == lost
    assert cut_off(bus(MESH.replace("amqp", "rabbit")), site) == ()


def test_a_router_whose_host_left_the_inventory_keeps_nobody_from_going_on() -> None:
    assert cut_off(bus(MESH), deployment(NOVA, qdrouterd=(R2, R3))) == ()


def test_every_topic_that_servers_take_work_from_counts() -> None:
    assert rpc_topics(NOVA) == ("conductor", "scheduler", "compute")
    assert rpc_topics(project("heat", CTL1)) == ("engine", "engine_worker", "heat-engine-listener")
    assert rpc_topics(project("glance", CTL1)) == ()


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("amqp://nova:pw@a:1/nova", "nova@openstack"),
        ("amqp://nova%40cloud:pw@a:1/nova", "nova@cloud"),
        ("rabbit://nova:pw@a:1/nova", ""),
        ("amqp://nova:pw@a:1,other:pw@b:1/nova", ""),
        ("", ""),
    ],
    ids=["plain", "with its realm", "on RabbitMQ", "several users", "no URL"],
)
def test_the_user_on_routers_is_the_files_completed_by_the_files_realm(url: str, user: str) -> None:
    text = f"[DEFAULT]\ntransport_url = {url}\n[oslo_messaging_amqp]\nsasl_default_realm = openstack\n"
    assert router_user(ini(text)) == user


def test_without_a_realm_a_plain_user_is_what_the_routers_see() -> None:
    assert router_user(ini("[DEFAULT]\ntransport_url = amqp://nova:pw@a:1/nova\n")) == "nova"
