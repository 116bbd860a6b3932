from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest

from deployer.errors import ConfigurationError
from deployer.model.deployment import Deployment, Timeouts
from deployer.model.secrets import Secret
from deployer.plan.cells import CellMapping
from deployer.plan.listeners import notify_urls, notifying_over_ours
from deployer.plan.observed import HostFacts
from deployer.plan.projects import ProjectPlan, plan_projects
from deployer.plan.steps import Wave
from tests.unit.plan import cloud
from tests.unit.plan.cloud import API_DATABASE, CEILOMETER, CTL1, CTL2, FOREIGN, GLANCE, MSG1, NOVA, RTR1, TEL1

SITE = cloud.deployment(
    cloud.project("glance", CTL1, CTL2), cloud.project("nova", CTL1, CTL2), cloud.project("ceilometer", TEL1)
)
OWN_BUS = f"[DEFAULT]\ntransport_url = {FOREIGN}\n[oslo_messaging_notifications]\ndriver = messagingv2\n"


def before(site: Deployment = SITE, nova: str = "[DEFAULT]\n") -> dict[str, HostFacts]:
    """Two controllers and a telemetry host on which everything of the catalogue's simplest cloud runs."""
    running = [cloud.unit(name) for name in ("nova-api", "nova-scheduler", "nova-conductor", "glance-api")]
    stopped = [cloud.unit("nova-compute", "inactive"), cloud.unit("nova-novncproxy", "failed")]
    files = {NOVA: f"{nova}{API_DATABASE}", GLANCE: "[DEFAULT]\n"}
    return {
        "msg1": cloud.broker(site),
        "ctl1": dataclasses.replace(cloud.host("ctl1", files, [*running, *stopped]), cells=()),
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


def moves(plan: ProjectPlan) -> bool:
    """Whether RPC goes to another URL than the one that any of the files names."""
    return any(edit.rpc_moves for own in plan.edits.values() for edit in own)


def units(waves: Iterable[Wave]) -> list[dict[str, list[str]]]:
    """What a switch does, wave by wave: by host each unit, or the step's kind where there is none."""
    return [
        {host: [one.args.get("unit", one.kind) for one in intents] for host, intents in wave.intents.items()}
        for wave in waves
    ]


def test_callers_stop_first_servers_start_first_and_only_what_ran() -> None:
    nova = plan_projects(SITE, before())[1]
    callers = {"ctl1": ["nova-api"], "ctl2": ["nova-api"]}
    servers = {"ctl1": ["nova-conductor", "nova-scheduler"]}
    written = {"ctl1": ["file.write"], "ctl2": ["file.write"]}
    assert [wave.title for wave in nova.switch_waves()] == [
        "nova: begin",
        "nova: stop callers",
        "nova: stop servers",
        "nova: write configuration",
        "nova: start servers",
        "nova: start callers",
        "nova: confirm",
    ]
    assert units(nova.switch_waves()[1:-1]) == [callers, servers, written, servers, callers]
    kinds = {one.kind for wave in (nova.stop_callers_wave(), nova.stop_servers_wave()) for one in wave.intents["ctl1"]}
    assert kinds == {"unit.stop"}


def test_every_host_that_is_touched_can_put_itself_back_before_anything_stops_and_is_told_at_the_end() -> None:
    nova = plan_projects(SITE, before())[1]
    begin, *_, confirm = nova.switch_waves()
    assert units([begin, confirm]) == [
        {"ctl1": ["commit.begin"], "ctl2": ["commit.begin"]},
        {"ctl1": ["commit.confirm"], "ctl2": ["commit.confirm"]},
    ]
    assert begin.intents["ctl1"][0].args == {
        "seconds": SITE.timeouts.confirm,
        "units": ["nova-api", "nova-conductor", "nova-scheduler"],
    }


def test_notifiers_and_listeners_stop_with_the_callers() -> None:
    glance, _, ceilometer = plan_projects(SITE, before())
    assert (glance.callers_of("ctl1"), glance.servers_of("ctl1")) == (("glance-api",), ())
    assert ceilometer.callers_of("tel1") == ("ceilometer-agent-notification",)


@pytest.mark.parametrize("nova", ["[DEFAULT]\n", OWN_BUS], ids=["no bus", "a bus of its own"])
def test_a_second_plan_over_the_edited_files_is_empty(nova: str) -> None:
    facts = before(nova=nova)
    done = cloud.after(facts, plan_projects(SITE, facts))
    again = plan_projects(SITE, done)
    assert [(plan.changed, plan.switch_waves()) for plan in again] == [(False, [])] * 3


def test_where_rpc_moves_a_host_that_needs_no_edit_stops_and_starts_too() -> None:
    facts = before()
    done = cloud.after(facts, plan_projects(SITE, facts))
    nova = plan_projects(SITE, {**done, "ctl2": facts["ctl2"]})[1]
    assert list(nova.edits) == ["ctl2"]
    assert list(nova.units) == ["ctl1", "ctl2"]


def notifying_elsewhere(name: str) -> dict[str, HostFacts]:
    """The cloud as planned, but for the notify URL in nova's file on one host."""
    facts = before()
    done = cloud.after(facts, plan_projects(SITE, facts))
    content = done[name].files[NOVA].content
    assert content is not None
    stale = content.reveal().replace(
        b"driver = messagingv2\ntransport_url = rabbit://nova:canary-nova",
        b"driver = messagingv2\ntransport_url = rabbit://nova:old",
    )
    files = {**done[name].files, NOVA: cloud.file(NOVA, stale)}
    return {**done, name: dataclasses.replace(done[name], files=files)}


def test_where_rpc_stays_and_only_callers_stop_hosts_without_an_edit_run_on() -> None:
    nova = plan_projects(SITE, notifying_elsewhere("ctl2"))[1]
    assert (list(nova.edits), list(nova.units), moves(nova)) == (["ctl2"], ["ctl2"], False)


def test_where_a_server_stops_callers_on_all_hosts_do_or_its_bus_would_never_become_idle() -> None:
    nova = plan_projects(SITE, notifying_elsewhere("ctl1"))[1]
    assert (list(nova.edits), list(nova.units), moves(nova)) == (["ctl1"], ["ctl1", "ctl2"], False)


def test_a_host_on_which_nothing_ran_is_written_and_nothing_of_it_starts() -> None:
    facts = before()
    facts["ctl2"] = dataclasses.replace(facts["ctl2"], units={})
    nova = plan_projects(SITE, facts)[1]
    assert list(nova.write_wave().intents) == ["ctl1", "ctl2"]
    assert list(nova.start_callers_wave().intents) == ["ctl1"]


def test_all_steps_of_a_project_bear_its_scope() -> None:
    assert {wave.scope for wave in plan_projects(SITE, before())[1].switch_waves()} == {"project:nova"}


def test_a_stop_and_a_start_have_the_time_that_the_inventory_gives_a_step() -> None:
    site = dataclasses.replace(SITE, timeouts=Timeouts(step=17))
    nova = plan_projects(site, before(site))[1]
    waves = (nova.stop_callers_wave(), nova.stop_servers_wave(), nova.start_servers_wave(), nova.start_callers_wave())
    assert {one.args["timeout"] for wave in waves for own in wave.intents.values() for one in own} == {17}


HYBRID = dataclasses.replace(SITE, qdrouterd=(MSG1, RTR1), hosts={**SITE.hosts, "rtr1": RTR1})


def on_rabbit(site: Deployment = SITE) -> dict[str, HostFacts]:
    """The cloud on RabbitMQ, as the product leaves it, and two hosts that shall be routers."""
    facts = {**before(site), "rtr1": cloud.host("rtr1", {})}
    return cloud.after(facts, plan_projects(SITE, facts))


def test_rpc_moves_to_the_routers_and_back() -> None:
    facts = on_rabbit()
    there = plan_projects(HYBRID, facts)
    assert [moves(plan) for plan in there] == [True] * 3
    hybrid = cloud.after(facts, there)
    assert [plan.changed for plan in plan_projects(HYBRID, hybrid)] == [False] * 3
    back = plan_projects(SITE, hybrid)
    assert [(moves(plan), plan.rpc.driver) for plan in back] == [(True, "rabbit")] * 3


def test_what_interpreters_lack_is_planned_with_routers_only() -> None:
    facts = on_rabbit()
    unit = cloud.unit("nova-api", libraries=cloud.libraries(pyngus=False))
    facts["ctl2"] = dataclasses.replace(facts["ctl2"], units={"nova-api": unit})
    assert [list(plan_projects(site, facts)[1].clients) for site in (SITE, HYBRID)] == [[], ["ctl2"]]


def test_installing_a_library_stops_nothing() -> None:
    facts = cloud.after(on_rabbit(), plan_projects(HYBRID, on_rabbit()))
    unit = cloud.unit("nova-api", libraries=cloud.libraries(pyngus=False))
    facts["ctl2"] = dataclasses.replace(facts["ctl2"], units={"nova-api": unit})
    plan = plan_projects(HYBRID, facts)[1]
    assert (plan.changed, plan.switch_waves()) == (True, [])


def test_an_interpreter_without_the_driver_stands_in_the_way_before_anything_is_planned() -> None:
    facts = on_rabbit()
    unit = cloud.unit("nova-api", libraries=cloud.libraries("15.0.0", amqp=False))
    facts["ctl2"] = dataclasses.replace(facts["ctl2"], units={"nova-api": unit})
    with pytest.raises(ConfigurationError) as caught:
        plan_projects(HYBRID, facts)
    assert [one.file for one in caught.value.mistakes] == ["ctl2: nova-api"]


CELL = CellMapping("11111111-0000-0000-0000-000000000000", "cell1", Secret(cloud.url(SITE, "nova")))


def test_cells_move_between_the_stop_of_the_last_server_and_the_start_of_the_first() -> None:
    facts = before()
    facts = cloud.after(facts, plan_projects(SITE, facts))
    facts |= {"ctl1": dataclasses.replace(facts["ctl1"], cells=(CELL,)), "rtr1": cloud.host("rtr1", {})}
    titles = [wave.title for wave in plan_projects(HYBRID, facts)[1].switch_waves()]
    assert titles[2:6] == [
        "nova: stop servers",
        "nova: write configuration",
        "nova: move cell mappings",
        "nova: start servers",
    ]


def test_cells_left_behind_by_an_interrupted_run_take_the_whole_project_through_a_switch() -> None:
    facts = before()
    facts |= {"ctl1": dataclasses.replace(facts["ctl1"], cells=(CELL,)), "rtr1": cloud.host("rtr1", {})}
    facts = cloud.after(facts, plan_projects(HYBRID, facts))
    nova = plan_projects(HYBRID, facts)[1]
    assert (nova.changed, list(nova.edits), list(nova.cells), list(nova.units)) == (
        True,
        [],
        ["ctl1"],
        ["ctl1", "ctl2"],
    )
    assert nova.lines


def silent_on_cells(*, api_database: bool, runs: bool = True, cells: bool = False) -> dict[str, HostFacts]:
    """The cloud before any change, where nova's mappings were not read."""
    text = f"[DEFAULT]\n{API_DATABASE}" if api_database else "[DEFAULT]\n"
    units = [cloud.unit("nova-conductor")] if runs else []
    hosts = {name: cloud.host(name, {NOVA: text, GLANCE: "[DEFAULT]\n"}, units) for name in ("ctl1", "ctl2")}
    hosts["ctl1"] = dataclasses.replace(hosts["ctl1"], cells=() if cells else None)
    return {**before(), **hosts}


@pytest.mark.parametrize("api_database", [False, True], ids=["nobody knows the database", "nobody read it"])
def test_nova_does_not_move_while_nobody_could_read_its_cell_mappings(*, api_database: bool) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_projects(SITE, silent_on_cells(api_database=api_database))
    [mistake] = caught.value.mistakes
    assert mistake.file == "nova"
    assert "[api_database] connection" in mistake.problem


def test_nova_moves_once_its_mappings_were_read_or_where_nothing_of_it_runs() -> None:
    read = silent_on_cells(api_database=True, cells=True)
    idle = silent_on_cells(api_database=False, runs=False)
    assert [moves(plan_projects(SITE, facts)[1]) for facts in (read, idle)] == [True, True]


def test_nova_that_stays_on_its_bus_needs_no_one_to_read_its_mappings() -> None:
    facts = cloud.after(before(), plan_projects(SITE, before()))
    facts["ctl1"] = dataclasses.replace(facts["ctl1"], cells=None)
    assert not plan_projects(SITE, facts)[1].changed


def test_a_file_that_cannot_be_read_is_named_and_not_the_mappings_too() -> None:
    facts = {**silent_on_cells(api_database=False), "ctl2": cloud.host("ctl2", {NOVA: None, GLANCE: "[DEFAULT]\n"})}
    with pytest.raises(ConfigurationError) as caught:
        plan_projects(SITE, facts)
    assert [one.file for one in caught.value.mistakes] == [f"ctl2: {NOVA}"]


def test_the_listener_hears_what_stays_on_a_bus_of_its_own_and_what_comes_to_ours() -> None:
    urls = notify_urls(SITE, before(nova=OWN_BUS))
    assert [one.reveal() for one in urls["nova"]] == [FOREIGN]
    ceilometer = plan_projects(SITE, before(nova=OWN_BUS))[2].edits["tel1"][0].after.reveal().decode()
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


CONSUMER = {"vhost": "nova", "queue": "compute.cmp7"}


def test_who_is_seen_on_rabbitmq_is_expected_while_rpc_is_there_and_not_once_it_left() -> None:
    facts = on_rabbit()
    facts["msg1"] = cloud.broker(SITE, consumers=[CONSUMER])
    hybrid = cloud.after(facts, plan_projects(HYBRID, facts))
    for site, seen, there in (
        (SITE, facts, True),
        (HYBRID, facts, True),
        (HYBRID, hybrid, False),
        (SITE, hybrid, False),
    ):
        assert ("compute@cmp7" in {one.address for one in plan_projects(site, seen)[1].servers}) == there


def test_who_is_seen_on_the_routers_is_expected_while_rpc_is_there_and_not_before() -> None:
    facts = on_rabbit()
    compute = cloud.service("nova-compute", 7, node="cmp7")
    seen = cloud.view([compute], [cloud.subscription(compute, "unicast/nova/nova/compute/cmp7")])
    facts["rtr1"] = cloud.router("rtr1", seen)
    hybrid = cloud.after(facts, plan_projects(HYBRID, facts))
    for site, now, there in ((HYBRID, facts, False), (HYBRID, hybrid, True), (SITE, hybrid, True)):
        assert ("compute@cmp7" in {one.address for one in plan_projects(site, now)[1].servers}) == there


def test_the_name_of_a_cluster_of_volume_services_is_no_server() -> None:
    site = cloud.deployment(cloud.project("cinder", CTL1))
    conf = f"[DEFAULT]\ncluster = east\ntransport_url = {cloud.url(site, 'cinder')}\n"
    consumers = [{"vhost": "cinder", "queue": f"cinder-volume.{name}@lvm"} for name in ("east", "ctl1")]
    facts = {
        "msg1": cloud.broker(site, consumers=consumers),
        "ctl1": cloud.host("ctl1", {"/etc/cinder/cinder.conf": conf}, [cloud.unit("cinder-volume")]),
    }
    assert [one.address for one in plan_projects(site, facts)[0].servers] == ["cinder-volume@ctl1@lvm"]


def test_every_file_that_cannot_be_edited_is_named_at_once() -> None:
    facts = before()
    facts["ctl2"] = cloud.host("ctl2", {NOVA: None, GLANCE: b"\xff"})
    facts["tel1"] = cloud.host("tel1", {CEILOMETER: None})
    with pytest.raises(ConfigurationError) as caught:
        plan_projects(SITE, facts)
    assert [one.file for one in caught.value.mistakes] == [f"ctl2: {GLANCE}", f"ctl2: {NOVA}", f"tel1: {CEILOMETER}"]
