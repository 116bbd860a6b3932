"""Two RabbitMQ clusters: whatever is looked for is looked for on the cluster where it is to be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deployer.model.deployment import Deployment, Host, RabbitCluster, Sourced
from deployer.plan.cluster_member import CONF, UNIT
from tests.unit.plan import cloud as made_up
from tests.unit.plan.cloud import CEILOMETER, NOVA, RTR1, RTR2, TEL1
from tests.unit.rollout.conftest import Cloud
from tests.unit.rollout.fake_host import FakeHost, FakeUnit

MSG9 = Host("msg9", "10.0.0.19", 22, "deploy", ("rabbitmq_rpc",))
RPC_APART = {"oslomsg_rpc_host_group": Sourced("rabbitmq_rpc", "defaults.yaml:7")}
HEARD = [{"vhost": name, "queue": "notifications.info"} for name in ("nova", "glance", "ceilometer")]
UNITS = ("ceilometer-agent-notification",)


def with_second(of: Deployment) -> Deployment:
    clusters = (*of.clusters, RabbitCluster("rabbitmq_rpc", (MSG9,)))
    return replace(of, hosts={**of.hosts, "msg9": MSG9}, clusters=clusters, variables=RPC_APART)


@pytest.fixture
def two(cloud: Cloud) -> Cloud:
    """A cloud on one cluster, with a second one for RPC in its inventory since."""
    cloud.migrate()
    cloud.deployment = cloud.wire.world.deployment = with_second(cloud.deployment)
    seen = made_up.broker(cloud.deployment, "msg9")
    conf = seen.files[CONF].content
    assert conf is not None
    rabbitmq = json.loads(json.dumps(seen.rabbitmq))
    cloud.world.hosts["msg9"] = FakeHost("msg9", MSG9.address, {CONF: conf.reveal()}, {UNIT: FakeUnit()}, rabbitmq)
    cloud.settle()
    return cloud


def failing(cloud: Cloud) -> list[tuple[str, str]]:
    return [(check.kind, check.project) for check in cloud.verify() if not check.ok]


def test_rpc_goes_to_the_other_cluster_and_notifications_stay(two: Cloud) -> None:
    two.migrate()
    assert {bus.hosts for name in ("nova", "glance") for bus in two.buses(name) if bus} == {(MSG9.address,)}
    assert failing(two) == []


def test_a_second_migration_finds_nothing_to_do(two: Cloud) -> None:
    two.migrate()
    assert two.migrate().run is None


def test_who_still_serves_rpc_on_the_old_cluster_is_told(two: Cloud) -> None:
    old = dict(two.files["ctl2"])
    two.migrate()
    two.world.hosts["ctl2"].units["nova-scheduler"] = FakeUnit(read=old)
    assert ("old bus", "nova") in failing(two)


def test_a_rollback_brings_rpc_back_to_the_old_cluster(two: Cloud) -> None:
    two.migrate()
    assert two.rollback().whole
    assert two.moved() == set()
    assert two.splits() == []


def test_a_cloud_without_notifications_needs_no_broker_where_rpc_is_on_routers(cloud: Cloud) -> None:
    cloud.deploy(RTR1, RTR2)
    none = {"oslomsg_notify_transport": Sourced("none", "defaults.yaml:7")}
    projects = tuple(replace(one, notify="rabbitmq") for one in cloud.deployment.projects)
    hosts = {name: host for name, host in cloud.deployment.hosts.items() if name != "msg1"}
    cloud.deployment = replace(cloud.deployment, hosts=hosts, clusters=(), projects=projects, variables=none)
    cloud.wire.world.deployment = cloud.deployment
    cloud.migrate()
    assert {bus.driver for name in ("nova", "glance") for bus in cloud.buses(name) if bus} == {"amqp"}
    written = cloud.world.hosts["ctl1"].files[NOVA].decode()
    assert "[oslo_messaging_notifications]\ndriver = noop\n" in written
    assert failing(cloud) == []


@pytest.mark.parametrize(("broker", "holds"), [("msg1", True), ("msg9", False)])
def test_a_listener_is_looked_for_where_notifications_are(two: Cloud, broker: str, holds: bool) -> None:  # noqa: FBT001 - a table's column
    two.migrate()
    ceilometer = made_up.project("ceilometer", TEL1)
    two.deployment = two.wire.world.deployment = replace(
        two.deployment,
        hosts={**two.deployment.hosts, "tel1": TEL1},
        projects=(*two.deployment.projects, ceilometer),
        timeouts=replace(two.deployment.timeouts, gate=0.01),
    )
    files = {CEILOMETER: b"[DEFAULT]\n"}
    units = {unit: FakeUnit(read=dict(files)) for unit in UNITS}
    two.world.hosts["tel1"] = FakeHost("tel1", TEL1.address, files, units)
    seen = two.world.hosts[broker].rabbitmq
    assert seen is not None
    seen["consumers"] = HEARD
    assert {check.ok for check in two.verify() if check.kind == "listener"} == {holds}
