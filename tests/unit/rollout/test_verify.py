from __future__ import annotations

from deployer.errors import HostError
from tests.unit.rollout.conftest import Cloud


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
