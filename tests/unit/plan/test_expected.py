from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.plan.expected import (
    RpcServer,
    active_units,
    merge,
    server_units,
    servers_attached,
    servers_on,
    servers_seen,
    unit_states,
)
from deployer.plan.router_facts import Link
from tests.unit.plan import cloud
from tests.unit.plan.cloud import CTL1, NOVA, host, ini, project, unit

NOVA_ON_CTL1 = project("nova", CTL1)
CINDER = project("cinder", CTL1)


def servers(config: str, *names: str, hostname: str = "", active: str = "active") -> list[RpcServer]:
    facts = host("ctl1", {NOVA: config}, [unit(name, active) for name in names], hostname)
    return servers_on(NOVA_ON_CTL1, facts, dict.fromkeys(names, ini(config)))


def test_a_server_bears_the_hosts_own_name_not_the_inventorys() -> None:
    found = servers("[DEFAULT]\n", "nova-conductor", hostname="ctl1.example.org")
    assert found == [RpcServer("nova", "conductor", "ctl1.example.org", "ctl1", "nova-conductor")]


def test_the_host_option_names_the_server() -> None:
    assert [one.address for one in servers("[DEFAULT]\nhost = cell-7\n", "nova-conductor")] == ["conductor@cell-7"]


def test_each_unit_has_the_name_that_its_own_files_say() -> None:
    facts = host("ctl1", {}, [unit("nova-conductor"), unit("nova-compute")])
    configs = {"nova-conductor": ini("[DEFAULT]\n"), "nova-compute": ini("[DEFAULT]\nhost = cell-7\n")}
    found = servers_on(NOVA_ON_CTL1, facts, configs)
    assert [one.address for one in found] == ["conductor@ctl1", "compute@cell-7"]


@pytest.mark.parametrize("active", ["inactive", "failed", "deactivating"])
def test_what_does_not_run_need_not_answer(active: str) -> None:
    assert servers("[DEFAULT]\n", "nova-conductor", active=active) == []


@pytest.mark.parametrize("active", ["active", "activating", "reloading"])
def test_what_runs_or_comes_up_must_answer(active: str) -> None:
    assert len(servers("[DEFAULT]\n", "nova-conductor", active=active)) == 1


def test_callers_answer_nothing() -> None:
    assert servers("[DEFAULT]\n", "nova-api", "nova-novncproxy") == []


def test_a_unit_is_found_under_its_distributions_name() -> None:
    assert [one.unit for one in servers("[DEFAULT]\n", "openstack-nova-conductor")] == ["openstack-nova-conductor"]


def test_a_server_with_a_backends_name_is_known_from_the_bus_only() -> None:
    facts = host("ctl1", {}, [unit("cinder-volume"), unit("cinder-scheduler")])
    assert [one.address for one in servers_on(CINDER, facts, {})] == ["cinder-scheduler@ctl1"]
    seen = servers_seen(CINDER, {"cinder"}, [{"vhost": "cinder", "queue": "cinder-volume.ctl1.example@lvm"}])
    assert seen == [RpcServer("cinder", "cinder-volume", "ctl1.example@lvm")]


@pytest.mark.parametrize(
    "consumer",
    [
        {"vhost": "/", "queue": "conductor.ctl1"},
        {"vhost": "nova", "queue": "conductor"},
        {"vhost": "nova", "queue": "conductor_fanout_0123"},
        {"vhost": "nova", "queue": "reply_0123"},
        {"vhost": "nova", "queue": "notifications.info"},
    ],
    ids=["another vhost", "the shared queue", "fanout", "reply", "notifications"],
)
def test_other_queues_are_no_servers(consumer: dict[str, str]) -> None:
    assert servers_seen(NOVA_ON_CTL1, {"nova"}, [consumer]) == []


@pytest.mark.parametrize("name", ["ctl1@lvm.ctl1", "ctl1.example@lvm.ctl1.example"])
def test_a_volume_services_second_server_is_not_one_of_its_own(name: str) -> None:
    assert servers_seen(CINDER, {"cinder"}, [{"vhost": "cinder", "queue": f"cinder-volume.{name}"}]) == []


COMPUTE = cloud.service("nova-compute", 7)


def test_a_unicast_subscription_on_a_router_is_a_server() -> None:
    links = [cloud.subscription(COMPUTE, f"unicast/nova/nova/compute/{name}") for name in ("cmp1", "cmp2.example")]
    assert [one.address for one in servers_attached(NOVA_ON_CTL1, {"nova"}, links)] == [
        "compute@cmp1",
        "compute@cmp2.example",
    ]


@pytest.mark.parametrize(
    "link",
    [
        cloud.subscription(COMPUTE, "unicast/other/nova/compute/cmp1"),
        cloud.subscription(COMPUTE, "unicast/nova/compute/cmp1"),
        cloud.subscription(COMPUTE, "unicast/nova/nova/l3_agent/cmp1"),
        cloud.subscription(COMPUTE, "anycast/nova/nova/compute"),
        cloud.subscription(COMPUTE, "multicast/nova/nova/compute"),
        replace(cloud.subscription(COMPUTE, "unicast/nova/nova/compute/cmp1"), dir="in"),
    ],
    ids=["another vhost", "no vhost", "another topic", "the shared address", "fanout", "a sender"],
)
def test_other_links_are_no_servers(link: Link) -> None:
    assert servers_attached(NOVA_ON_CTL1, {"nova"}, [link]) == []


def test_a_server_attached_twice_is_one() -> None:
    assert len(servers_seen(NOVA_ON_CTL1, {"nova"}, [{"vhost": "nova", "queue": "compute.cmp1"}] * 3)) == 1


def test_a_server_known_from_both_is_one_and_keeps_host_and_unit() -> None:
    known = RpcServer("nova", "conductor", "ctl1", "ctl1", "nova-conductor")
    seen = [RpcServer("nova", "conductor", "ctl1"), RpcServer("nova", "compute", "cmp1")]
    assert merge([known], seen) == [RpcServer("nova", "compute", "cmp1"), known]


def test_units_come_in_the_catalogues_order_whatever_the_hosts() -> None:
    facts = host("ctl1", {}, [unit(name) for name in ("nova-api", "nova-compute", "nova-scheduler", "nova-conductor")])
    names = [one.name for one in active_units(NOVA_ON_CTL1, facts)]
    assert names == ["nova-conductor", "nova-scheduler", "nova-compute", "nova-api"]


def test_the_units_that_answer_rpc_are_known_running_or_not() -> None:
    facts = host("ctl1", {}, [unit("nova-api"), unit("openstack-nova-compute", "inactive"), unit("nova-conductor")])
    assert server_units(NOVA_ON_CTL1, facts) == {"openstack-nova-compute", "nova-conductor"}


def test_the_states_to_go_back_to_hold_every_unit_the_host_has() -> None:
    facts = host("ctl1", {}, [unit("nova-api", "inactive"), unit("nova-conductor"), unit("mariadb")])
    assert unit_states(NOVA_ON_CTL1, facts) == {
        "nova-conductor": {"active": "active", "enabled": "enabled"},
        "nova-api": {"active": "inactive", "enabled": "enabled"},
    }


def test_a_server_comes_back_from_its_record_whatever_else_stands_there() -> None:
    server = RpcServer("nova", "conductor", "ctl1", "ctl1", "nova-conductor")
    assert RpcServer.of({**server.record(), "answered": True}) == server
