"""A router leaves its host with all that it brought: unit, package, configuration, password and users."""

from __future__ import annotations

from deployer.plan.router_config import FILES, USERS
from deployer.plan.router_removal import removal
from tests.unit.plan.mesh import bare, finished, site


def test_all_that_came_with_the_router_goes_and_its_users_last() -> None:
    cloud = site(1)
    found = removal(cloud, finished(cloud)["r0"])

    assert [intent.kind for intent in found[:3]] == ["unit.stop", "unit.disable", "package.remove"]
    assert found[2].args["names"] == ["qdrouterd"]
    assert [intent.args["path"] for intent in found[3:]] == [*FILES, USERS]


def test_a_unit_that_is_gone_already_is_not_stopped() -> None:
    assert next(intent.kind for intent in removal(site(1), bare("r0"))) == "package.remove"
