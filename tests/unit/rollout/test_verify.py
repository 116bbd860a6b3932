from __future__ import annotations

from pathlib import Path

from deployer.errors import HostError
from tests.unit.rollout.conftest import CELL1, Cloud
from tests.unit.rollout.fake_host import FakeUnit


def test_a_migrated_cloud_passes(cloud: Cloud) -> None:
    cloud.migrate()
    checks = cloud.verify()
    assert {check.target for check in checks} == {"conductor@ctl1", "conductor@ctl2", "own topic"}
    assert all(check.ok for check in checks)


def test_a_host_whose_probe_cannot_run_makes_failing_checks_and_no_error(cloud: Cloud) -> None:
    cloud.migrate()
    for host in ("ctl1", "ctl2"):
        cloud.wire.fail(host, "probe_bus", HostError(host, "no such interpreter"))
    checks = cloud.verify()
    assert {check.target for check in checks} == {"conductor@ctl1", "conductor@ctl2", "own topic"}
    assert {(check.ok, "no such interpreter" in check.detail) for check in checks} == {(False, True)}


def test_a_unit_that_ran_before_the_last_run_is_missed(cloud: Cloud) -> None:
    cloud.migrate()
    cloud.world.hosts["ctl1"].units["nova-api"].active = "inactive"
    failing = [(check.kind, check.target, check.asked_from) for check in cloud.verify() if not check.ok]
    assert failing == [("unit", "nova-api", "ctl1")]


def test_a_server_that_died_since_the_last_run_is_still_expected(cloud: Cloud) -> None:
    cloud.migrate()
    cloud.world.hosts["ctl1"].units["nova-conductor"].active = "failed"
    cloud.world.silent.add("conductor@ctl1")
    assert ("rpc", "conductor@ctl1") in [(check.kind, check.target) for check in cloud.verify() if not check.ok]


def test_a_later_run_with_a_smaller_inventory_makes_nobody_forgotten(cloud: Cloud) -> None:
    cloud.migrate()
    cloud.store.end(cloud.store.begin("migrate", Path("smaller")), "done")
    cloud.world.hosts["ctl1"].units["nova-conductor"].active = "failed"
    cloud.world.silent.add("conductor@ctl1")
    failing = {(check.kind, check.target) for check in cloud.verify() if not check.ok}
    assert failing == {("rpc", "conductor@ctl1"), ("unit", "nova-conductor")}


def test_a_hybrid_cloud_passes_with_its_routers_own_view(hybrid: Cloud) -> None:
    checks = hybrid.verify()
    assert [check for check in checks if not check.ok] == []
    assert {check.kind for check in checks} == {"rpc", "notification", "router", "old bus", "fanout"}


def test_whoever_still_serves_rpc_on_rabbitmq_is_told(hybrid: Cloud) -> None:
    left = hybrid.world.hosts["ctl2"].units["nova-scheduler"] = FakeUnit(read=hybrid.files["ctl2"])
    failing = [(check.kind, check.project) for check in hybrid.verify() if not check.ok]
    assert ("old bus", "nova") in failing
    left.active = "inactive"
    assert all(check.ok for check in hybrid.verify())


def test_a_broker_that_does_not_run_proves_nobody_gone_from_the_old_bus(hybrid: Cloud) -> None:
    rabbitmq = hybrid.world.hosts["msg1"].rabbitmq
    assert rabbitmq is not None
    rabbitmq["running"] = False
    assert ("old bus", "nova") in [(check.kind, check.project) for check in hybrid.verify() if not check.ok]


def test_a_dead_router_is_told(hybrid: Cloud) -> None:
    hybrid.world.hosts["rtr2"].units["qdrouterd"].active = "failed"
    assert ("router", "rtr2") in [(check.kind, check.target) for check in hybrid.verify() if not check.ok]


def test_a_cloud_that_is_as_the_inventory_says_has_nothing_pending(hybrid: Cloud) -> None:
    found = hybrid.status()
    assert (found.problem, found.plan is not None and found.plan.changed) == (None, False)


def test_cells_that_are_on_another_bus_are_pending(hybrid: Cloud) -> None:
    hybrid.world.cells[CELL1] = hybrid.cells[CELL1]
    plan = hybrid.status().plan
    assert plan is not None
    assert plan.changed
