from __future__ import annotations

import dataclasses

import pytest

from deployer.errors import ConfigurationError
from deployer.model.deployment import Deployment
from deployer.plan.observed import HostFacts
from deployer.plan.projects import notify_urls, notifying_over_ours, plan_projects
from tests.unit.plan import cloud
from tests.unit.plan.cloud import CEILOMETER, CTL1, CTL2, FOREIGN, GLANCE, NOVA, TEL1

SITE = cloud.deployment(
    cloud.project("glance", CTL1, CTL2), cloud.project("nova", CTL1, CTL2), cloud.project("ceilometer", TEL1)
)
OWN_BUS = f"[DEFAULT]\ntransport_url = {FOREIGN}\n[oslo_messaging_notifications]\ndriver = messagingv2\n"


def before(site: Deployment = SITE, nova: str = "[DEFAULT]\n") -> dict[str, HostFacts]:
    """Two controllers and a telemetry host on which everything of the catalogue's simplest cloud runs."""
    running = [cloud.unit(name) for name in ("nova-api", "nova-scheduler", "nova-conductor", "glance-api")]
    stopped = [cloud.unit("nova-compute", "inactive"), cloud.unit("nova-novncproxy", "failed")]
    files = {NOVA: nova, GLANCE: "[DEFAULT]\n"}
    return {
        "msg1": cloud.broker(site),
        "ctl1": cloud.host("ctl1", files, [*running, *stopped]),
        "ctl2": cloud.host("ctl2", files, [cloud.unit("nova-api")]),
        "tel1": cloud.host("tel1", {CEILOMETER: "[DEFAULT]\n"}, [cloud.unit("ceilometer-agent-notification")]),
    }


def test_every_project_is_edited_on_each_of_its_hosts() -> None:
    plans = plan_projects(SITE, before())
    assert {plan.project.name: list(plan.edits) for plan in plans} == {
        "glance": ["ctl1", "ctl2"],
        "nova": ["ctl1", "ctl2"],
        "ceilometer": ["tel1"],
    }


def test_only_what_ran_is_restarted_servers_before_clients() -> None:
    nova = plan_projects(SITE, before())[1]
    assert nova.restarts == {"ctl1": ("nova-conductor", "nova-scheduler", "nova-api"), "ctl2": ("nova-api",)}


@pytest.mark.parametrize("nova", ["[DEFAULT]\n", OWN_BUS], ids=["no bus", "a bus of its own"])
def test_a_second_plan_over_the_edited_files_is_empty(nova: str) -> None:
    facts = before(nova=nova)
    done = cloud.after(facts, plan_projects(SITE, facts))
    again = plan_projects(SITE, done)
    assert [(plan.changed, plan.edits, plan.restarts) for plan in again] == [(False, {}, {})] * 3


def test_a_host_that_needs_no_edit_is_neither_written_nor_restarted() -> None:
    facts = before()
    done = cloud.after(facts, plan_projects(SITE, facts))
    nova = plan_projects(SITE, {**done, "ctl2": facts["ctl2"]})[1]
    assert list(nova.edits) == ["ctl2"]
    assert nova.restarts == {"ctl2": ("nova-api",)}


def test_hosts_with_servers_are_restarted_before_hosts_with_callers_only() -> None:
    facts = before()
    facts["ctl1"], facts["ctl2"] = (
        dataclasses.replace(facts["ctl2"], host="ctl1"),
        dataclasses.replace(facts["ctl1"], host="ctl2"),
    )
    waves = plan_projects(SITE, facts)[1].restart_waves(60)
    assert [list(wave.intents) for wave in waves] == [["ctl2"], ["ctl1"]]


def test_a_host_on_which_nothing_ran_is_written_and_gets_no_restart_wave() -> None:
    facts = before()
    facts["ctl2"] = dataclasses.replace(facts["ctl2"], units={})
    nova = plan_projects(SITE, facts)[1]
    assert list(nova.write_wave().intents) == ["ctl1", "ctl2"]
    assert [list(wave.intents) for wave in nova.restart_waves(60)] == [["ctl1"]]


def test_all_files_of_a_project_are_written_in_one_wave_of_its_own_scope() -> None:
    nova = plan_projects(SITE, before())[1]
    waves = [nova.write_wave(), *nova.restart_waves(60)]
    assert {wave.scope for wave in waves} == {"project:nova"}
    assert {host: [one.kind for one in intents] for host, intents in waves[0].intents.items()} == {
        "ctl1": ["file.write"],
        "ctl2": ["file.write"],
    }


def test_a_restart_has_the_time_that_the_inventory_gives_it() -> None:
    wave = plan_projects(SITE, before())[1].restart_waves(17)[0]
    assert [one.args for one in wave.intents["ctl1"]] == [
        {"unit": unit, "timeout": 17} for unit in ("nova-conductor", "nova-scheduler", "nova-api")
    ]


def test_the_listener_hears_what_stays_on_a_bus_of_its_own_and_what_comes_to_ours() -> None:
    urls = notify_urls(SITE, before(nova=OWN_BUS))
    assert [one.reveal() for one in urls["nova"]] == [FOREIGN]
    ceilometer = plan_projects(SITE, before(nova=OWN_BUS))[2].edits["tel1"].after.reveal().decode()
    for url in (FOREIGN, cloud.url(SITE, "glance")):
        assert f"messaging_urls = {url}\n" in ceilometer


def test_hosts_of_a_project_that_disagree_are_all_listened_to() -> None:
    facts = before(nova=OWN_BUS)
    facts["ctl2"] = cloud.host("ctl2", {NOVA: "[DEFAULT]\n", GLANCE: "[DEFAULT]\n"})
    found = [one.reveal() for one in notify_urls(SITE, facts)["nova"]]
    assert found == [FOREIGN, cloud.url(SITE, "nova")]


def test_a_project_on_a_bus_of_its_own_does_not_notify_over_ours() -> None:
    assert [one.name for one in notifying_over_ours(SITE, before(nova=OWN_BUS))] == ["glance", "ceilometer"]


def test_servers_are_expected_from_what_runs_whether_or_not_a_file_changes() -> None:
    facts = before()
    expected = {"conductor@ctl1", "scheduler@ctl1"}
    for seen in (facts, cloud.after(facts, plan_projects(SITE, facts))):
        assert {server.address for server in plan_projects(SITE, seen)[1].servers} == expected


def test_a_server_that_only_the_bus_shows_is_expected_also_when_the_project_leaves_its_vhost() -> None:
    there = "[DEFAULT]\ntransport_url = rabbit://nova:pw@10.0.0.11:5672/old-vhost\n"
    facts = before(nova=there)
    facts["msg1"] = cloud.broker(SITE, consumers=[{"vhost": "old-vhost", "queue": "compute.cmp7"}])
    servers = plan_projects(SITE, facts)[1].servers
    assert "compute@cmp7" in {server.address for server in servers}


def test_every_file_that_cannot_be_edited_is_named_at_once() -> None:
    facts = before()
    facts["ctl2"] = cloud.host("ctl2", {NOVA: None, GLANCE: b"\xff"})
    facts["tel1"] = cloud.host("tel1", {CEILOMETER: None})
    with pytest.raises(ConfigurationError) as caught:
        plan_projects(SITE, facts)
    assert [one.file for one in caught.value.mistakes] == [f"ctl2: {GLANCE}", f"ctl2: {NOVA}", f"tel1: {CEILOMETER}"]
