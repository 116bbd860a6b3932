from __future__ import annotations

import dataclasses

import pytest

from deployer.errors import ConfigurationError
from deployer.model.secrets import Secret
from deployer.plan.observed import HostFacts
from deployer.plan.planner import make_plan
from tests.unit.plan import cloud
from tests.unit.plan.cloud import API_DATABASE, CTL1, GLANCE, NOVA

SITE = cloud.deployment(cloud.project("glance", CTL1), cloud.project("nova", CTL1))


def before(broker: HostFacts | None = None) -> dict[str, HostFacts]:
    units = [cloud.unit("nova-conductor"), cloud.unit("glance-api")]
    services = cloud.host("ctl1", {NOVA: f"[DEFAULT]\n{API_DATABASE}", GLANCE: "[DEFAULT]\n"}, units)
    return {"msg1": broker or cloud.broker(SITE), "ctl1": dataclasses.replace(services, cells=())}


def test_a_cloud_as_its_inventory_says_has_an_empty_plan() -> None:
    facts = before()
    plan = make_plan(SITE, cloud.after(facts, make_plan(SITE, facts).projects))
    assert not plan.changed
    assert plan.waves() == []


def test_an_unchanged_project_stands_in_the_plan_with_the_servers_that_must_answer() -> None:
    facts = before()
    plan = make_plan(SITE, cloud.after(facts, make_plan(SITE, facts).projects))
    assert [(one.project.name, [server.address for server in one.servers]) for one in plan.projects] == [
        ("glance", []),
        ("nova", ["conductor@ctl1"]),
    ]


def test_brokers_come_first_then_project_after_project() -> None:
    plan = make_plan(SITE, before(cloud.bare(SITE)))
    scopes = [wave.scope for wave in plan.waves()]
    assert list(dict.fromkeys(scopes)) == ["backend:rabbitmq", "project:glance", "project:nova"]
    assert scopes == sorted(scopes, key=["backend:rabbitmq", "project:glance", "project:nova"].index)


def test_project_after_project_is_switched() -> None:
    titles = [wave.title for wave in make_plan(SITE, before()).waves()]
    assert titles == [
        "glance: begin",
        "glance: stop callers",
        "glance: write configuration",
        "glance: start callers",
        "glance: confirm",
        "nova: begin",
        "nova: stop servers",
        "nova: write configuration",
        "nova: start servers",
        "nova: confirm",
    ]


def test_what_a_bare_broker_will_need_after_its_installation_is_shown_too() -> None:
    titles = [wave.title for wave in make_plan(SITE, before(cloud.bare(SITE))).waves()]
    assert titles[:2] == ["rabbitmq: install and start", "rabbitmq: import definitions"]


def test_a_broker_alone_is_a_change() -> None:
    facts = before()
    done = cloud.after(facts, make_plan(SITE, facts).projects)
    plan = make_plan(SITE, {**done, "msg1": cloud.bare(SITE)})
    assert plan.changed
    assert not any(project.changed for project in plan.projects)


def test_a_plan_is_the_same_whenever_it_is_made_from_the_same_facts() -> None:
    assert make_plan(SITE, before()).projects == make_plan(SITE, before()).projects


def test_obstacles_of_brokers_and_services_are_named_together() -> None:
    others = cloud.deployment(dataclasses.replace(SITE.projects[1], password=Secret("another")))
    facts = before(cloud.broker(others))
    facts["ctl1"] = cloud.host("ctl1", {NOVA: None, GLANCE: "[DEFAULT]\n"})
    with pytest.raises(ConfigurationError) as caught:
        make_plan(SITE, facts)
    assert {one.path or one.file for one in caught.value.mistakes} == {"user nova", f"ctl1: {NOVA}"}


def test_neither_plan_nor_steps_show_a_password() -> None:
    plan = make_plan(SITE, before(cloud.bare(SITE)))
    shown = repr(plan) + str(plan) + repr(plan.waves())
    assert "canary" not in shown
    assert "Y2FuYXJ5" not in shown, "canary in base64"
