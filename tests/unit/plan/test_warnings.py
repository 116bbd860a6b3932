"""What a plan tells beside its changes, and the sources of options that nobody can look into."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployer.errors import ConfigurationError
from deployer.model.deployment import Sourced
from deployer.plan.observed import ConfigSource, HostFacts, UnitFact
from deployer.plan.planner import make_plan
from deployer.plan.projects import plan_projects
from deployer.plan.warnings import warnings
from tests.unit.plan import cloud
from tests.unit.plan.cloud import CTL1, GLANCE

OSLO = "oslo_messaging_notifications"
SITE = cloud.deployment(cloud.project("glance", CTL1))
LATE = "/etc/glance/glance-api.conf.d/late.conf"


def facts(main: str, late: str = "", *, problem: str = "", active: str = "active", **more: Any) -> dict[str, HostFacts]:
    source = ConfigSource((GLANCE, LATE), "default search" if problem else "process", problem)
    one = replace(cloud.unit("glance-api", active), config=source, **more)
    return {"msg1": cloud.broker(SITE), "ctl1": cloud.host("ctl1", {GLANCE: main, LATE: late}, [one])}


def told(main: str, late: str = "") -> tuple[str, ...]:
    return warnings(SITE, facts(main, late))


BOTH = f"[DEFAULT]\nnotification_driver = messaging\n[{OSLO}]\ndriver = messagingv2\n"


def test_two_drivers_that_add_up_are_told_with_both_places() -> None:
    [line] = told(BOTH)
    assert line.startswith("ctl1: each notification is sent twice: ")
    assert f"{GLANCE}:2 [DEFAULT] notification_driver and {GLANCE}:4 [{OSLO}] driver add up" in line


def test_drivers_add_up_over_files_too() -> None:
    [line] = told(f"[{OSLO}]\ndriver = messaging\n", f"[{OSLO}]\ndriver = messagingv2\n")
    assert f"{GLANCE}:2 [{OSLO}] driver and {LATE}:2 [{OSLO}] driver add up" in line


@pytest.mark.parametrize(
    "text",
    [
        f"[DEFAULT]\nnotification_driver = messagingv2\n[{OSLO}]\ndriver = messagingv2\n",
        f"[DEFAULT]\nnotification_driver = log\n[{OSLO}]\ndriver = messagingv2\n",
        "[DEFAULT]\n",
    ],
    ids=["the same twice is loaded once", "a log is no bus", "none"],
)
def test_nothing_is_told_of_what_is_sent_once(text: str) -> None:
    assert told(text) == ()


def test_a_driver_noop_beside_a_planned_bus_is_told_and_none_beside_none() -> None:
    text = f"[{OSLO}]\ndriver = noop\n"
    [line] = told(text)
    assert line == f"ctl1: glance sends no notifications: its driver is noop ({GLANCE}:2), which stays"
    assert told(text, f"[{OSLO}]\ndriver = messagingv2\n") == ()
    none = replace(SITE, variables={"oslomsg_notify_transport": Sourced("none", "defaults.yaml:7")})
    assert warnings(none, facts(text)) == ()


def test_leaving_brokers_of_the_inventory_that_nobody_asks_is_told() -> None:
    ours = f"[DEFAULT]\ntransport_url = {cloud.url(SITE, 'glance')}\n"
    elsewhere = {"oslomsg_rpc_servers": Sourced(("mq1.example",), "defaults.yaml:7")}
    [line] = warnings(replace(SITE, clusters=(), variables=elsewhere), facts(ours))
    assert line.startswith("glance: leaves RabbitMQ on msg1, in no group that a bus is on: ")
    assert warnings(replace(SITE, variables=elsewhere), facts(ours)) == ()
    assert told(f"[DEFAULT]\ntransport_url = {cloud.FOREIGN}\n") == ()


def test_an_option_of_masakaris_own_is_no_driver() -> None:
    site = cloud.deployment(cloud.project("masakari", CTL1))
    path = site.projects[0].project.files[0]
    text = f"[DEFAULT]\nnotification_driver = messaging\n[{OSLO}]\ndriver = messagingv2\n"
    assert warnings(site, {"ctl1": cloud.host("ctl1", {path: text})}) == ()


def test_a_start_that_was_not_understood_is_told_while_the_unit_runs() -> None:
    [line] = warnings(SITE, facts("[DEFAULT]\n", problem="its wrapper is no script"))
    assert line == f"ctl1: glance-api: its wrapper is no script; it is taken to read {GLANCE}, {LATE}, as by default"
    assert warnings(SITE, facts("[DEFAULT]\n", problem="its wrapper is no script", active="inactive")) == ()


def test_a_running_unit_that_nobody_understands_is_refused_when_its_files_would_change_and_only_then() -> None:
    odd = facts("[DEFAULT]\n", problem="its wrapper is no script")
    with pytest.raises(
        ConfigurationError, match=f"ctl1: glance-api: its wrapper is no script; .* read {GLANCE}, which"
    ):
        make_plan(SITE, odd)
    assert make_plan(SITE, facts("[DEFAULT]\n", problem="its wrapper is no script", active="inactive")).changed
    settled = cloud.after(facts("[DEFAULT]\n"), plan_projects(SITE, facts("[DEFAULT]\n")))["ctl1"].files[GLANCE].content
    assert settled is not None
    assert not make_plan(SITE, facts(settled.reveal().decode(), problem="its wrapper is no script")).projects[0].changed


def test_a_plan_carries_its_warnings_and_is_no_longer_for_them() -> None:
    plan = make_plan(SITE, facts(BOTH))
    assert len(plan.warnings) == 1
    done = make_plan(SITE, cloud.after(facts(BOTH), plan.projects))
    assert (done.changed, len(done.warnings)) == (False, 1)


def refused(found: dict[str, HostFacts]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make_plan(SITE, found)
    [mistake] = caught.value.mistakes
    return str(mistake)


def test_further_sources_of_options_are_refused_with_host_file_line_and_unit() -> None:
    message = refused(facts("[DEFAULT]\n", "[DEFAULT]\nconfig_source = central\n"))
    assert message.startswith(f"ctl1: {LATE}:2: glance-api: [DEFAULT] config_source names further sources")
    assert "Take it out" in message


def test_an_empty_list_of_further_sources_is_none() -> None:
    assert make_plan(SITE, facts("[DEFAULT]\nconfig_source =\n")).changed


@pytest.mark.parametrize(
    ("more", "how"),
    [
        ({"environment": ("OS_DEFAULT__CONFIG_SOURCE",)}, "OS_DEFAULT__CONFIG_SOURCE"),
        ({"argv": ("glance-api", "--config-source", "central")}, "--config-source"),
    ],
)
def test_so_are_those_of_the_environment_and_of_the_command_line(more: dict[str, Any], how: str) -> None:
    assert refused(facts("[DEFAULT]\n", **more)).startswith(f"ctl1: glance-api: {how} names further sources")


@pytest.mark.parametrize(
    "option",
    ["transport_url = rabbit://u:p@$my_ip/", "host = $my_ip", "notification_transport_url = $my_ip"],
)
def test_what_a_plan_needs_and_nobody_can_fill_in_is_refused_with_host_file_line_and_unit(option: str) -> None:
    assert refused(facts(f"[DEFAULT]\n{option}\n")).startswith(f"ctl1: {GLANCE}:2: glance-api: [DEFAULT] ")


def test_a_unit_that_is_down_is_edited_too() -> None:
    down: UnitFact = replace(cloud.unit("glance-api", "inactive"), config=ConfigSource((GLANCE, LATE), "unit file"))
    late = "[DEFAULT]\ntransport_url = rabbit://x\n"
    found = {"msg1": cloud.broker(SITE), "ctl1": cloud.host("ctl1", {GLANCE: "[DEFAULT]\n", LATE: late}, [down])}
    assert {edit.path for edit in make_plan(SITE, found).projects[0].edits["ctl1"]} == {GLANCE, LATE}
