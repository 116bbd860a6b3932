"""Units that read several files: what wins is edited, for each of them, and holds for oslo.config itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

from deployer.errors import ConfigurationError, Mistake
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.secrets import Secret
from deployer.model.transports import Transports, resolve
from deployer.plan.listeners import Notifications, Speaker
from deployer.plan.observed import ConfigSource, HostFacts, UnitFact
from deployer.plan.projects import plan_projects
from deployer.plan.service_files import ServiceFiles, edit_service_files
from deployer.plan.wanted import AMQP
from tests.unit.plan import cloud
from tests.unit.plan.cloud import CEILOMETER, CTL1, FOREIGN, GLANCE, NOVA, RTR1, TEL1

NEUTRON, SERVER = "/etc/neutron/neutron.conf", "/etc/neutron/server.conf.d/bus.conf"
DIST = "/usr/share/nova/nova-dist.conf"
LATE = "/etc/nova/nova.conf.d/late.conf"
OSLO = "oslo_messaging_notifications"
RPC = "[DEFAULT]\ntransport_url = {}\n"
OTHER = "rabbit://stack:canary-old@10.8.8.8:5672/"

SITE = cloud.deployment(
    cloud.project("neutron", CTL1),
    cloud.project("nova", CTL1),
    cloud.project("zun", CTL1),
    cloud.project("cinder", CTL1),
)
HYBRID = replace(SITE, qdrouterd=(RTR1,), hosts={**SITE.hosts, "rtr1": RTR1})


def unit(name: str, *paths: str) -> UnitFact:
    return cloud.unit(name, config=ConfigSource(paths, "process"))


def of(name: str, site: Deployment = SITE) -> ProjectDeployment:
    return next(one for one in site.projects if one.name == name)


def edit(facts: HostFacts, name: str, site: Deployment = SITE) -> ServiceFiles:
    return edit_service_files(
        facts, of(name, site), resolve(site, of(name, site)), Notifications.of(site, all_of(facts))
    )


def all_of(facts: HostFacts) -> dict[str, HostFacts]:
    """The host for its own project, and hosts of the others' that are there only because they have to be."""
    missing = {path for one in (*SITE.projects,) for path in one.project.files} - facts.files.keys()
    files = {**facts.files, **{path: cloud.file(path, b"[DEFAULT]\n") for path in missing}}
    return {facts.host: replace(facts, files=files)}


def texts(done: ServiceFiles) -> dict[str, str]:
    return {one.path: one.after.reveal().decode() for one in done.edits}


def after(facts: HostFacts, done: ServiceFiles) -> HostFacts:
    return replace(facts, files={**facts.files, **{e.path: cloud.file(e.path, e.after.reveal()) for e in done.edits}})


def oslo(facts: HostFacts, name: str, directory: Path) -> cfg.ConfigOpts:
    """What oslo.config itself reads of a unit's files."""
    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt("transport_url"))
    conf.register_opts(
        [
            cfg.MultiStrOpt("driver", default=[], deprecated_name="notification_driver", deprecated_group="DEFAULT"),
            cfg.StrOpt("transport_url", deprecated_name="notification_transport_url", deprecated_group="DEFAULT"),
        ],
        group=OSLO,
    )
    conf.register_opts(
        [cfg.IntOpt("idle_timeout", deprecated_group="amqp1"), cfg.MultiStrOpt("pre_settled", default=[])], group=AMQP
    )
    conf.register_opt(cfg.MultiStrOpt("messaging_urls", default=[]), group="notification")
    source = facts.units[name].config
    assert source is not None
    words = []
    for number, path in enumerate(source.files):
        content = facts.files[path].content
        (directory / f"{number}.conf").write_bytes(content.reveal() if content else b"")
        words.append(f"--config-file={directory / f'{number}.conf'}")
    conf(words, project="x", default_config_files=[], default_config_dirs=[])
    return conf


def neutron(main: str, server: str) -> HostFacts:
    """Debian: both services read the same two files, each the other one last."""
    units = [unit("neutron-rpc-server", NEUTRON, SERVER), unit("neutron-api", SERVER, NEUTRON)]
    return cloud.host("ctl1", {NEUTRON: main, SERVER: server}, units)


def test_for_two_services_that_read_the_same_files_in_opposite_order_both_files_are_edited(tmp_path: Path) -> None:
    facts = neutron(RPC.format(FOREIGN), RPC.format(OTHER))
    done = edit(facts, "neutron")
    assert set(texts(done)) == {NEUTRON, SERVER}
    for name in ("neutron-rpc-server", "neutron-api"):
        assert oslo(after(facts, done), name, tmp_path).transport_url == cloud.url(SITE, "neutron")
    assert edit(after(facts, done), "neutron").edits == ()


def test_a_file_that_wins_for_one_service_alone_is_edited_where_the_value_stands_and_nowhere_else() -> None:
    facts = neutron(f"[DEFAULT]\ndebug = true\n[{OSLO}]\ndriver = noop\ntransport_url = {FOREIGN}\n", RPC.format(OTHER))
    found = texts(edit(facts, "neutron"))
    url = cloud.url(SITE, "neutron")
    assert found[SERVER] == RPC.format(url)
    assert found[NEUTRON] == f"[DEFAULT]\ndebug = true\n[{OSLO}]\ndriver = noop\ntransport_url = {url}\n"


def test_a_value_in_a_later_file_is_edited_there_and_the_one_that_it_hides_stays() -> None:
    facts = cloud.host("ctl1", {NOVA: RPC.format(FOREIGN), LATE: RPC.format(OTHER)}, [unit("nova-api", NOVA, LATE)])
    found = texts(edit(facts, "nova"))
    assert found[LATE] == RPC.format(cloud.url(SITE, "nova"))
    assert FOREIGN in found[NOVA]


def test_a_deprecated_name_in_a_later_file_is_hidden_by_the_options_own_name_there(tmp_path: Path) -> None:
    old = f"[DEFAULT]\nnotification_transport_url = {FOREIGN}\n"
    url = cloud.url(SITE, "nova")
    main = f"{RPC.format(url)}[{OSLO}]\ndriver = messagingv2\ntransport_url = {url}\n"
    site = replace(SITE, projects=tuple(replace(one, notify="rabbitmq") for one in SITE.projects))
    facts = cloud.host("ctl1", {NOVA: main, LATE: old}, [unit("nova-api", NOVA, LATE)])
    done = edit(facts, "nova", site)
    assert texts(done) == {LATE: f"{old}\n[{OSLO}]\ntransport_url = {url}\n"}
    assert oslo(after(facts, done), "nova-api", tmp_path)[OSLO].transport_url == url


def test_an_option_is_written_under_its_own_name_where_a_deprecated_one_says_the_same() -> None:
    # oslo.messaging knows the deprecated names no longer (notify/notifier.py of 18.3).
    url = cloud.url(SITE, "nova")
    main = f"[DEFAULT]\ntransport_url = {url}\nnotification_transport_url = {url}\n[{OSLO}]\ndriver = noop\n"
    facts = cloud.host("ctl1", {NOVA: main}, [unit("nova-api", NOVA)])
    assert texts(edit(facts, "nova")) == {NOVA: f"{main}transport_url = {url}\n"}


def test_a_bus_that_is_written_down_keeps_its_dollars_and_what_its_names_stand_for(tmp_path: Path) -> None:
    main = (
        "[DEFAULT]\nlogin = stack\ntransport_url = rabbit://$login:canary$$old@10.9.9.9:5672/\n"
        f"[{OSLO}]\ndriver = messagingv2\n"
    )
    facts = cloud.host("ctl1", {NOVA: main}, [unit("nova-api", NOVA)])
    done = edit(facts, "nova")
    written = "rabbit://stack:canary$$old@10.9.9.9:5672/"
    assert f"transport_url = {written}\n" in texts(done)[NOVA]
    assert oslo(after(facts, done), "nova-api", tmp_path)[OSLO].transport_url == written.replace("$$", "$")


def test_what_a_package_ships_below_usr_is_overridden_in_the_main_file(tmp_path: Path) -> None:
    shipped = f"{RPC.format(FOREIGN)}[{AMQP}]\nidle_timeout = 0\n"
    facts = cloud.host("ctl1", {DIST: shipped, NOVA: "[DEFAULT]\n"}, [unit("nova-api", DIST, NOVA)])
    done = edit(facts, "nova", HYBRID)
    assert set(texts(done)) == {NOVA}
    conf = oslo(after(facts, done), "nova-api", tmp_path)
    assert (conf.transport_url, conf[AMQP].idle_timeout) == (cloud.url(HYBRID, "nova"), 5)


def refused(facts: HostFacts, name: str, site: Deployment = SITE) -> list[Mistake]:
    with pytest.raises(ConfigurationError) as caught:
        edit(facts, name, site)
    return caught.value.mistakes


def test_a_packages_file_that_is_read_last_is_refused_with_host_unit_file_line_and_remedy() -> None:
    facts = cloud.host("ctl1", {NOVA: "[DEFAULT]\n", DIST: RPC.format(FOREIGN)}, [unit("nova-api", NOVA, DIST)])
    [mistake] = refused(facts, "nova")
    assert str(mistake).startswith(f"ctl1: {DIST}:2: nova-api: [DEFAULT] transport_url is in force here")
    assert "Let the unit read a file after this one" in mistake.problem
    assert "canary" not in str(mistake)


def test_a_link_to_a_packages_file_is_as_good_as_the_file() -> None:
    facts = cloud.host("ctl1", {NOVA: "[DEFAULT]\n", LATE: RPC.format(FOREIGN)}, [unit("nova-api", NOVA, LATE)])
    files = {**facts.files, LATE: replace(facts.files[LATE], real=DIST)}
    assert [one.line for one in refused(replace(facts, files=files), "nova")] == [2]


def test_a_value_that_a_package_adds_to_others_is_refused() -> None:
    facts = cloud.host(
        "ctl1", {DIST: f"[{AMQP}]\npre_settled = rpc-cast\n", NOVA: "[DEFAULT]\n"}, [unit("nova-api", DIST, NOVA)]
    )
    [mistake] = refused(facts, "nova", HYBRID)
    assert str(mistake).startswith(f"ctl1: {DIST}:2: nova-api: [{AMQP}] pre_settled")


def test_a_unit_that_reads_none_of_the_projects_files_is_refused_once_with_all_that_it_would_need() -> None:
    facts = cloud.host("ctl1", {NOVA: "[DEFAULT]\n", "/opt/x.conf": "[DEFAULT]\n"}, [unit("nova-api", "/opt/x.conf")])
    [mistake] = refused(facts, "nova")
    assert str(mistake).startswith("ctl1: /opt/x.conf: nova-api: reads none of nova's own files")
    assert f"[{OSLO}] transport_url, [DEFAULT] transport_url" in mistake.problem


def test_a_unit_with_a_file_of_its_own_is_edited_there_when_that_says_where_its_bus_is() -> None:
    url = cloud.url(SITE, "nova")
    own = f"{RPC.format(OTHER)}[{OSLO}]\ndriver = noop\ntransport_url = {OTHER}\n"
    facts = cloud.host("ctl1", {NOVA: "[DEFAULT]\n", "/opt/x.conf": own}, [unit("nova-api", "/opt/x.conf")])
    assert texts(edit(facts, "nova")) == {"/opt/x.conf": own.replace(OTHER, url)}


def test_units_that_would_need_different_values_in_one_file_are_refused() -> None:
    # Both keep their bus for notifications, which is nothing but RPC's own, and only neutron.conf could say so.
    notifies = f"[{OSLO}]\ndriver = messagingv2\n"
    facts = neutron(RPC.format(FOREIGN) + notifies, RPC.format(OTHER))
    [mistake] = refused(facts, "neutron")
    assert mistake.file == f"ctl1: {NEUTRON}"
    assert "Give each a file of its own" in mistake.problem


def test_every_file_of_a_directory_counts_in_its_order(tmp_path: Path) -> None:
    paths = [f"/etc/zun/{name}.conf" for name in ("10-bus", "zun", "zz-local")]
    files = dict(zip(paths, (RPC.format(OTHER), "[DEFAULT]\ndebug = true\n", "[DEFAULT]\n"), strict=True))
    facts = cloud.host("ctl1", files, [unit("zun-compute", *paths)])
    done = edit(facts, "zun")
    assert texts(done) == {"/etc/zun/10-bus.conf": RPC.format(cloud.url(SITE, "zun"))}
    assert oslo(after(facts, done), "zun-compute", tmp_path).transport_url == cloud.url(SITE, "zun")


def test_a_file_that_is_read_under_two_names_is_edited_once() -> None:
    real = "/etc/neutron/plugins/ml2/ml2_conf.ini"
    facts = cloud.host(
        "ctl1",
        {NEUTRON: "[DEFAULT]\n", real: RPC.format(OTHER), "/etc/neutron/plugin.ini": RPC.format(OTHER)},
        [unit("neutron-rpc-server", NEUTRON, "/etc/neutron/plugin.ini"), unit("neutron-api", NEUTRON, real)],
    )
    files = {
        path: replace(fact, real=real if "ml2" in path or "plugin" in path else path)
        for path, fact in facts.files.items()
    }
    done = edit(replace(facts, files=files), "neutron")
    assert sorted(texts(done)) == [NEUTRON, real]


def test_a_multi_valued_option_is_freed_of_what_other_files_add(tmp_path: Path) -> None:
    added = f"[{AMQP}]\npre_settled = rpc-cast\npre_settled = rpc-reply\n"
    facts = cloud.host("ctl1", {NOVA: "[DEFAULT]\n", LATE: added}, [unit("nova-api", NOVA, LATE)])
    done = edit(facts, "nova", HYBRID)
    assert oslo(after(facts, done), "nova-api", tmp_path)[AMQP].pre_settled == ["rpc-reply"]
    assert "pre_settled" not in texts(done)[NOVA]


def test_a_listener_reads_each_bus_once_whatever_file_lists_it(tmp_path: Path) -> None:
    late = "/etc/ceilometer/ceilometer.conf.d/urls.conf"
    urls = "[notification]\nmessaging_urls = {}\n"
    one = cloud.project("ceilometer", TEL1)
    site = cloud.deployment(one)
    facts = cloud.host(
        "tel1",
        {CEILOMETER: urls.format(FOREIGN), late: urls.format(FOREIGN) + urls.format("rabbit://old:x@10.0.0.11:5672/x")},
        [unit("ceilometer-agent-notification", CEILOMETER, late)],
    )
    ours = Speaker("nova", frozenset(), (Secret("rabbit://nova:x@10.0.0.11:5672/nova"),))
    notifications = Notifications((ours,), frozenset({"10.0.0.11"}))
    done = edit_service_files(facts, one, resolve(site, one), notifications)
    found = oslo(after(facts, done), "ceilometer-agent-notification", tmp_path).notification.messaging_urls
    assert found == [FOREIGN, "rabbit://nova:x@10.0.0.11:5672/nova"]


def noop(site: Deployment, name: str) -> Transports:
    own = resolve(site, of(name, site))
    return replace(own, notify=replace(own.notify, driver="noop", hosts=()))


@pytest.mark.parametrize("site", [SITE, HYBRID], ids=["rabbit", "routers"])
def test_who_sends_no_notifications_has_the_driver_noop_alone_and_no_url_of_its_own(
    site: Deployment, tmp_path: Path
) -> None:
    main = f"[DEFAULT]\nnotification_driver = messaging\nnotification_transport_url = {FOREIGN}\n"
    late = f"[{OSLO}]\ndriver = messagingv2\ndriver = log\ntransport_url = {OTHER}\n"
    facts = cloud.host("ctl1", {NOVA: main, LATE: late}, [unit("nova-api", NOVA, LATE)])
    done = edit_service_files(facts, of("nova", site), noop(site, "nova"), Notifications())
    conf = oslo(after(facts, done), "nova-api", tmp_path)
    assert (conf[OSLO].driver, conf[OSLO].transport_url) == (["noop"], None)
    assert "notification_" not in texts(done)[NOVA]
    again = edit_service_files(after(facts, done), of("nova", site), noop(site, "nova"), Notifications())
    assert again.edits == ()


def test_a_packages_notify_bus_is_hidden_by_an_empty_one_where_nothing_is_sent(tmp_path: Path) -> None:
    facts = cloud.host(
        "ctl1", {DIST: f"[{OSLO}]\ntransport_url = {OTHER}\n", NOVA: "[DEFAULT]\n"}, [unit("nova-api", DIST, NOVA)]
    )
    done = edit_service_files(facts, of("nova"), noop(SITE, "nova"), Notifications())
    assert oslo(after(facts, done), "nova-api", tmp_path)[OSLO].transport_url == ""


# Several projects that read one file.

COMMON = "/etc/openstack/common.conf"
CINDER = "/etc/cinder/cinder.conf"


def planned(common: str) -> list[Mistake]:
    """What is wrong with a plan for cinder-api and glance-api, which both read this file after their own."""
    site = cloud.deployment(cloud.project("cinder", CTL1), cloud.project("glance", CTL1))
    units = [unit("cinder-api", CINDER, COMMON), unit("glance-api", GLANCE, COMMON)]
    files = {CINDER: "[DEFAULT]\n", GLANCE: "[DEFAULT]\n", COMMON: common}
    facts = {"msg1": cloud.broker(site), "ctl1": cloud.host("ctl1", files, units)}
    try:
        plan_projects(site, facts)
    except ConfigurationError as error:
        return error.mistakes
    return []


def test_a_file_that_two_projects_take_their_bus_from_is_refused_by_name() -> None:
    [mistake] = planned(RPC.format(FOREIGN))
    assert mistake.file == f"ctl1: {COMMON}"
    assert "cinder and glance take their messaging options from this file" in mistake.problem


def test_a_file_that_two_projects_read_is_in_nobodys_way_where_it_says_nothing_of_their_buses() -> None:
    assert planned("[DEFAULT]\ndebug = true\n") == []


def test_a_file_that_is_right_for_one_project_is_not_edited_for_another() -> None:
    mistakes = planned(RPC.format(cloud.url(cloud.deployment(cloud.project("cinder", CTL1)), "cinder")))
    assert {(one.file, one.path, one.line) for one in mistakes} == {(f"ctl1: {COMMON}", "cinder-api", 2)}


# Whatever stands where: after the edit oslo.config reads what is wanted, or it is refused.

PATHS = (NOVA, LATE, "/etc/nova/other.conf", DIST)
URLS = ("", FOREIGN, OTHER, "rabbit://$user:x@10.8.8.8/", cloud.url(SITE, "nova"))
LINES = [
    *(
        f"[DEFAULT]\nuser = u\n{key} = {url}\n"
        for key in ("transport_url", "notification_transport_url")
        for url in URLS
    ),
    *(f"[{OSLO}]\ntransport_url = {url}\n[DEFAULT]\nuser = v\n" for url in URLS),
    *(f"[{OSLO}]\ndriver = {driver}\n" for driver in ("messagingv2", "noop", "")),
    *(f"[{AMQP}]\npre_settled = {value}\n" for value in ("rpc-reply", "rpc-cast")),
    f"[{AMQP}]\nidle_timeout = 0\n",
    "[amqp1]\nidle_timeout = 7\n",
]
contents = st.lists(st.sampled_from(LINES), max_size=4).map("".join)
orders = st.lists(st.permutations(PATHS).map(tuple), min_size=1, max_size=3)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    written=st.tuples(contents, contents, contents, contents),
    read=orders,
    site=st.sampled_from([SITE, HYBRID]),
    silent=st.booleans(),
)
def test_after_an_edit_oslo_config_reads_the_planned_bus_in_every_unit_and_nothing_is_left_to_do(
    tmp_path: Path, written: tuple[str, ...], read: list[tuple[str, ...]], site: Deployment, *, silent: bool
) -> None:
    files: Mapping[str, str] = dict(zip(PATHS, written, strict=True))
    names = ("nova-api", "nova-conductor", "nova-scheduler")
    facts = cloud.host("ctl1", files, [unit(name, *paths) for name, paths in zip(names, read, strict=False)])
    transports = noop(site, "nova") if silent else resolve(site, of("nova", site))
    try:
        done = edit_service_files(facts, of("nova", site), transports, Notifications())
    except ConfigurationError:
        # One unit alone can always be served where what a package ships comes first and adds nothing.
        assert len(read) > 1 or read[0][0] != DIST or "pre_settled" in written[3] or "driver" in written[3]
        return
    now = after(facts, done)
    for name in facts.units:
        conf = oslo(now, name, tmp_path)
        assert conf.transport_url == cloud.url(site, "nova")
        assert not silent or (set(conf[OSLO].driver) == {"noop"} and not conf[OSLO].transport_url)
        assert site is SITE or (set(conf[AMQP].pre_settled), conf[AMQP].idle_timeout) == ({"rpc-reply"}, 5)
    assert edit_service_files(now, of("nova", site), transports, Notifications()).edits == ()
    assert DIST not in texts(done)
