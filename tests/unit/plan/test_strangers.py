from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.errors import Finding
from deployer.model.catalogue import load_catalogue
from deployer.model.deployment import Deployment, Host, RabbitCluster
from deployer.plan.examined import Examination, Service
from deployer.plan.router_facts import RouterFacts, RouterView
from deployer.plan.strangers import rogue_connections, routers_left, unknown_units
from tests.unit.plan.cloud import CTL1, CTL2, GLANCE, MSG1, NOVA, RTR1, deployment, host, project, service, unit, url
from tests.unit.plan.looked_at import connected, examined

CLOUD = deployment(project("glance", CTL1), project("nova", CTL1, CTL2), qdrouterd=(RTR1,))
ON_RABBIT = deployment(*CLOUD.projects)


def on(bus: str) -> dict[str, Examination]:
    """Both controllers, whose nova is on this bus, and whose glance is where it is to be."""
    ours = f"[DEFAULT]\ntransport_url = {url(CLOUD, 'glance')}\n"
    files = {NOVA: f"[DEFAULT]\ntransport_url = {bus}\n", GLANCE: ours}
    units = [unit("nova-conductor"), unit("glance-api")]
    return {one.name: examined(host(one.name, files, units), addresses=[one.address]) for one in (CTL1, CTL2)}


def rogue(*peers: tuple[str, str, str], cloud: Deployment = CLOUD, today: str = "") -> list[Finding]:
    hosts = on(today or url(ON_RABBIT, "nova"))
    return rogue_connections(cloud, {**hosts, MSG1.name: connected(cloud, *peers)}, {})


def test_a_peer_on_the_old_bus_that_is_no_host_of_the_inventory_is_refused_by_its_address() -> None:
    [found] = rogue(("10.0.0.99", "nova", "nova"), ("10.0.0.99", "nova", "nova"))
    assert (found.state, found.waiver) == ("failed", "10.0.0.99")
    assert "10.0.0.99 is connected to vhost nova as nova and is no host of the inventory" in found.detail


@pytest.mark.parametrize(
    "peer",
    ["10.0.0.21", "::ffff:10.0.0.22", "127.0.0.1", "::1", "CTL1", "10.0.0.11"],
    ids=["host", "mapped", "loopback", "loopback6", "name", "broker"],
)
def test_hosts_of_the_inventory_are_no_strangers_however_the_broker_tells_them(peer: str) -> None:
    assert rogue((peer, "nova", "nova")) == []


def test_every_address_of_a_host_is_its_own() -> None:
    hosts = on(url(ON_RABBIT, "nova"))
    hosts["ctl1"] = replace(hosts["ctl1"], addresses=("172.29.236.11", "fd00::11"))
    seen = connected(CLOUD, ("172.29.236.11", "nova", "nova"), ("fd00:0::11", "nova", "nova"))
    assert rogue_connections(CLOUD, {**hosts, "msg1": seen}, {}) == []


def on_router(*addresses: str, user: str = "nova@openstack", role: str = "normal") -> list[Finding]:
    """What is found at rtr1, which nova leaves, with these peers of that user there."""
    seen = [
        replace(service("nova-compute", number), user=user, host=peer, role=role)
        for number, peer in enumerate(addresses)
    ]
    amqp = "[oslo_messaging_amqp]\nsasl_default_realm = openstack\n"
    files = {NOVA: f"[DEFAULT]\ntransport_url = {url(CLOUD, 'nova')}\n{amqp}"}
    leaving = replace(ON_RABBIT, projects=(project("nova", CTL1),), hosts={**ON_RABBIT.hosts, RTR1.name: RTR1})
    hosts = {one.name: examined(host(one.name, files), addresses=[one.address]) for one in (CTL1, CTL2, RTR1)}
    assert routers_left(leaving, hosts) == [RTR1.name]
    view = RouterView("rtr1", "standalone", "1.19.0", ("rtr1",), {}, tuple(seen), ())
    return rogue_connections(leaving, hosts, {RTR1.name: RouterFacts("1.19.0", (), {}, view, "")})


def test_a_peer_on_a_router_that_is_left_is_refused_by_its_address() -> None:
    [found] = on_router("10.0.0.99:40000", "10.0.0.21:40001", "[::1]:40002")
    assert (found.state, found.waiver) == ("failed", "10.0.0.99")
    assert f"10.0.0.99 is connected to router {RTR1.name} as nova@openstack" in found.detail


def test_another_projects_peers_and_other_routers_are_no_strangers_of_it() -> None:
    assert on_router("10.0.0.99:40000", user="heat@openstack") == []
    assert on_router("10.0.0.99:40000", role="inter-router") == []


def test_a_host_out_of_reach_whose_services_are_on_the_bus_is_alive_and_cannot_be_waived() -> None:
    hosts = on(url(ON_RABBIT, "nova"))
    del hosts["ctl2"]
    [found] = rogue_connections(CLOUD, {**hosts, "msg1": connected(CLOUD, ("10.0.0.22", "nova", "nova"))}, {})
    assert (found.host, found.state, found.waiver) == ("ctl2", "failed", "")
    assert "is out of reach, and connected to vhost nova as nova" in found.detail


def test_strangers_in_the_vhost_of_a_project_that_stays_are_not_looked_for() -> None:
    assert rogue(("10.0.0.99", "nova", "nova"), cloud=ON_RABBIT) == []
    assert rogue(("10.0.0.99", "glance", "glance")) == []


def test_a_bus_of_somebody_else_is_not_looked_at() -> None:
    assert rogue(("10.0.0.99", "stack", "/"), today="rabbit://stack:x@10.9.9.9:5672//") == []


def test_the_same_vhost_on_another_cluster_is_another_bus() -> None:
    msg2 = Host("msg2", "10.0.0.12", 22, "deploy", ("notify",))
    clusters = (*CLOUD.clusters, RabbitCluster("notify", (msg2,)))
    cloud = replace(CLOUD, clusters=clusters, hosts={**CLOUD.hosts, "msg2": msg2})
    stranger = ("10.0.0.99", "nova", "nova")
    quiet, busy = connected(CLOUD), connected(CLOUD, stranger)
    hosts = on(url(ON_RABBIT, "nova"))
    assert rogue_connections(cloud, {**hosts, "msg1": quiet, "msg2": busy}, {}) == []
    assert len(rogue_connections(cloud, {**hosts, "msg1": busy, "msg2": quiet}, {})) == 1


def test_all_projects_that_leave_a_shared_vhost_are_named_at_once() -> None:
    hosts = on("rabbit://stack:x@10.0.0.11:5672//shared")
    files = dict.fromkeys((NOVA, GLANCE), "[DEFAULT]\ntransport_url = rabbit://stack:x@10.0.0.11:5672//shared\n")
    hosts["ctl1"] = examined(host("ctl1", files, [unit("nova-conductor"), unit("glance-api")]))
    [found] = rogue_connections(CLOUD, {**hosts, "msg1": connected(CLOUD, ("10.0.0.99", "stack", "/shared"))}, {})
    assert "glance, nova leaves" in found.detail


def units(*names: str, on_host: str = "ctl2", cloud: Deployment = CLOUD) -> list[Finding]:
    hosts = on(url(ON_RABBIT, "nova"))
    hosts[on_host] = replace(hosts[on_host], services=tuple(Service(f"{name}.service") for name in names))
    return unknown_units(cloud, hosts, load_catalogue())


def test_an_openstack_unit_that_the_catalogue_does_not_know_is_told() -> None:
    [found] = units("neutron-lbaasv2-agent", "ssh", "rabbitmq-server", "nova-conductor")
    assert (found.host, found.state) == ("ctl2", "told")
    assert found.detail.startswith("neutron-lbaasv2-agent.service runs")


def test_a_service_of_openstack_ansible_is_known_by_where_its_program_is() -> None:
    hosts = on(url(CLOUD, "nova"))
    service = Service("rally-thing.service", ("/openstack/venvs/rally-27.0.0/bin/python3",))
    hosts["ctl1"] = replace(hosts["ctl1"], services=(service,))
    assert [one.state for one in unknown_units(CLOUD, hosts, load_catalogue())] == ["told"]


def test_a_unit_of_a_project_that_moves_on_a_host_outside_of_its_group_is_refused() -> None:
    cloud = deployment(project("nova", CTL1), project("glance", CTL1, CTL2), qdrouterd=(RTR1,))
    [found] = units("nova-compute", "glance-api", cloud=cloud)
    assert (found.host, found.state, found.waiver) == ("ctl2", "failed", "ctl2:nova-compute.service")
    assert "Put the host into the group nova" in found.remedy


def test_the_same_unit_is_no_matter_while_its_project_stays() -> None:
    cloud = deployment(project("nova", CTL1), project("glance", CTL1, CTL2))
    assert units("nova-compute", cloud=cloud) == []
