from __future__ import annotations

import pytest

from deployer.plan.rpc_address import PREFIX, RpcAddress, is_rpc_queue, queue_servers


def parsed(address: str) -> RpcAddress:
    found = RpcAddress.parse(f"{PREFIX}{address}")
    assert found is not None
    return found


# As oslo.messaging 14.0.3 makes them of vhost, exchange "nova", topic and server: RoutableAddresser of
# _drivers/amqp1_driver/addressing.py.
@pytest.mark.parametrize(
    ("vhost", "middle"), [("", ""), ("nova", "/nova"), ("/nova", "//nova"), ("/", "//"), ("a/b", "/a/b")]
)
def test_an_address_is_of_the_vhost_it_was_made_for_and_of_no_other(vhost: str, middle: str) -> None:
    for address, server in (
        (f"unicast{middle}/nova/compute/c1.example", "c1.example"),
        (f"anycast{middle}/nova/compute", ""),
    ):
        found = parsed(address)
        assert (found.topic, found.server) == ("compute", server)
        assert [one for one in ("", "nova", "/nova", "/", "a/b", "nov", "a") if found.is_in(one)] == [vhost]


@pytest.mark.parametrize(
    "address",
    [
        "openstack.org/om/notify/anycast/nova/notifications.info",
        f"{PREFIX}anycast/nova",
        f"{PREFIX}unicast/nova/compute",
        "temp.Gx1",
        "$management",
        "",
    ],
)
def test_what_is_not_of_rpc_is_no_address(address: str) -> None:
    assert RpcAddress.parse(address) is None


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        ("anycast/cinder/openstack/cinder-volume", True),
        ("unicast/cinder/openstack/cinder-volume/ctl1@lvm", True),
        ("unicast/cinder/openstack/cinder-volume.ctl1@lvm/ctl1", True),
        ("multicast/cinder/openstack/cinder-backup", False),
        ("anycast/cinder/openstack/cinder-volumes", False),
    ],
)
def test_a_topic_of_a_backend_is_below_the_topic(address: str, ours: bool) -> None:  # noqa: FBT001 - a parameter of the table
    assert parsed(address).is_of({"cinder-volume"}) == ours


@pytest.mark.parametrize(
    ("queue", "ours"),
    [
        ("engine", True),
        ("engine.ctl1.example", True),
        ("engine_fanout_0123", True),
        ("engine_worker", False),
        ("engineer.ctl1", False),
        ("reply_0123", False),
        ("notifications.info", False),
        ("cinder-volume.ctl1@lvm_fanout_0123", True),
        ("cinder-volume.ctl1@lvm.ctl1", True),
        ("ironic.conductor_manager", True),
        ("ironic.conductor_manager.ctl1.example", True),
        ("ironic.conductor_manager_fanout_0123", True),
        ("ironic.conductor", False),
    ],
)
def test_a_topics_queues_are_its_own_its_servers_and_its_fanouts(queue: str, ours: bool) -> None:  # noqa: FBT001 - a parameter of the table
    assert is_rpc_queue(queue, {"engine", "cinder-volume", "ironic.conductor_manager"}) == ours


@pytest.mark.parametrize(
    ("queue", "servers"),
    [
        ("conductor.ctl1.example", {("conductor", "ctl1.example")}),
        ("ironic.conductor_manager.ctl1.example", {("ironic.conductor_manager", "ctl1.example")}),
        ("conductor", set()),
        ("conductor_fanout_0123", set()),
    ],
)
def test_what_stands_behind_the_topic_in_a_queues_name_is_the_server(queue: str, servers: set[tuple[str, str]]) -> None:
    assert queue_servers(queue, {"conductor", "ironic.conductor_manager"}) == servers
