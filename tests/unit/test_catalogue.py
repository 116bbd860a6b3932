"""The catalogue says what services there are, and a slip of the pen in it is an error."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from deployer.errors import ConfigurationError, Mistake
from deployer.model.catalogue import Listener, Project, load_catalogue
from deployer.model.inventory import load_deployment
from tests.unit.inventory.inventories import DEFAULTS, HOSTS

WATCHER = """\
order: 80
exchange: watcher
files: [/etc/watcher/watcher.conf]
units:
  - {names: [watcher-decision-engine], role: server, topics: [watcher.decision.control], order: 1}
  - {names: [watcher-api], role: client, order: 10}
"""
NOT_IN_RDO_NAMES = ("neutron", "octavia", "designate")  # RDO's units of these have no openstack- before their names


def own(tmp_path: Path, **texts: str) -> dict[str, Project]:
    """The catalogue over which an operator laid these files: project name -> text."""
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(dedent(text), encoding="utf-8")
    return load_catalogue(tmp_path)


def mistakes(tmp_path: Path, **texts: str) -> list[Mistake]:
    """What is said of the operator's files."""
    with pytest.raises(ConfigurationError) as refused:
        own(tmp_path, **texts)
    return list(refused.value.mistakes)


def test_projects_come_in_the_order_openstack_ansible_sets_them_up_and_ceilometer_and_aodh_last() -> None:
    assert list(load_catalogue()) == [
        *("keystone", "barbican", "glance", "cinder", "nova", "neutron", "heat", "designate", "swift", "cloudkitty"),
        *("ironic", "ironic_inspector", "magnum", "trove", "sahara", "senlin", "octavia", "tacker", "blazar"),
        *("masakari", "manila", "mistral", "murano", "zun", "ceilometer", "aodh"),
    ]


def test_a_project_has_the_exchange_that_its_code_sets_or_else_oslo_messagings_default() -> None:
    others = {name: project.exchange for name, project in load_catalogue().items() if project.exchange != name}
    default = ("barbican", "cinder", "ironic_inspector", "trove", "blazar", "manila", "mistral")
    assert others == dict.fromkeys(default, "openstack")


def test_every_rpc_server_is_there_with_its_topics() -> None:
    servers = {
        unit.names[0]: " ".join(unit.topics)
        for name, project in load_catalogue().items()
        for unit in project.units
        if unit.topics and name != "neutron"
    }
    assert servers == {
        "nova-conductor": "conductor",
        "nova-scheduler": "scheduler",
        "nova-compute": "compute",
        "cinder-scheduler": "cinder-scheduler",
        "cinder-volume": "cinder-volume",
        "cinder-backup": "cinder-backup",
        "heat-engine": "engine",
        "barbican-worker": "barbican.workers",
        "designate-central": "central",
        "designate-worker": "worker",
        "designate-producer": "producer",
        "cloudkitty-processor": "cloudkitty",
        "ironic-conductor": "ironic.conductor_manager",
        "ironic-inspector-conductor": "ironic_inspector.conductor",
        "ironic-inspector": "ironic_inspector.conductor",
        "trove-conductor": "trove-conductor",
        "trove-taskmanager": "taskmanager",
        "senlin-conductor": "senlin-conductor",
        "octavia-worker": "octavia_provisioning_v2",
        "tacker-conductor": "TACKER_CONDUCTOR",
        "blazar-manager": "blazar.manager",
        "masakari-engine": "ha_engine",
        "manila-scheduler": "manila-scheduler",
        "manila-share": "manila-share",
        "manila-data": "manila-data",
        "mistral-engine": "mistral_engine",
        "mistral-executor": "mistral_executor",
        "mistral-notifier": "mistral_notifier",
        "mistral-event-engine": "mistral_event_engine",
        "zun-compute": "zun-compute",
    }


def test_neutrons_server_and_all_its_agents_answer_rpc() -> None:
    servers = {unit.names[0]: unit.topics for unit in load_catalogue()["neutron"].units if unit.role == "server"}
    assert servers["neutron-rpc-server"] == servers["neutron-server"]
    assert servers["neutron-server"] == ("q-plugin", "q-reports-plugin", "q-server-resource-versions")
    assert (servers["neutron-dhcp-agent"], servers["neutron-l3-agent"]) == (("dhcp_agent",), ("l3_agent",))
    assert "q-agent-notifier-tunnel-update" in servers["neutron-openvswitch-agent"]
    kinds = ("openvswitch", "linuxbridge", "sriov-nic", "macvtap", "dhcp", "l3", "metering")
    assert {f"neutron-{kind}-agent" for kind in kinds} | {"neutron-bgp-dragent"} <= set(servers)


@pytest.mark.parametrize(
    ("server", "units"),
    [
        ("backend", ["cinder-volume", "manila-share"]),
        ("drawn", ["magnum-conductor", "murano-api", "murano-engine", "sahara-engine", "senlin-engine"]),
        ("option", ["barbican-worker", "blazar-manager", "ironic-conductor", "mistral-engine", "trove-conductor"]),
    ],
)
def test_a_server_whose_name_is_not_its_hosts_is_not_taken_for_one_that_is(server: str, units: list[str]) -> None:
    found = {unit.names[0] for project in load_catalogue().values() for unit in project.units if unit.server == server}
    assert set(units) <= found


def test_topics_between_the_servers_of_a_project_are_known_too() -> None:
    inner = {unit.names[0]: unit.inner for project in load_catalogue().values() for unit in project.units}
    assert inner["heat-engine"] == ("engine_worker", "heat-engine-listener")
    assert {"q-l3-plugin", "trunk"} <= set(inner["neutron-server"])


def test_only_nova_has_cells() -> None:
    assert [name for name, project in load_catalogue().items() if project.cells] == ["nova"]


def test_every_unit_has_its_rdo_name_where_rdo_has_another() -> None:
    for name, project in load_catalogue().items():
        for unit in project.units if name not in NOT_IN_RDO_NAMES else ():
            assert any(alias.startswith("openstack-") for alias in unit.names), unit


def test_both_names_of_the_sriov_agent_are_one_unit() -> None:
    units = [unit.names for unit in load_catalogue()["neutron"].units]
    assert ("neutron-sriov-nic-agent", "neutron-sriov-agent") in units


def test_a_web_server_is_keystones_unit_only_where_keystone_has_none_of_its_own() -> None:
    [unit] = load_catalogue()["keystone"].units
    assert unit.names[-2:] == ("apache2", "httpd")
    assert {"keystone", "keystone-wsgi-public"} <= set(unit.names[:-2])


def test_no_unit_belongs_to_two_entries() -> None:
    names = [name for project in load_catalogue().values() for unit in project.units for name in unit.names]
    assert len(names) == len(set(names))


def test_projects_that_refuse_a_context_without_read_deleted_are_sent_it() -> None:
    contexts = {name: project.context for name, project in load_catalogue().items() if project.context}
    assert contexts == {name: {"read_deleted": "no"} for name in ("cinder", "manila")}


def test_projects_that_cannot_wait_for_a_cast_to_nobody_are_known() -> None:
    waiting = {name for name, project in load_catalogue().items() if project.casts_to_absent}
    assert waiting == {"cinder", "manila", "neutron"}


def test_only_ceilometer_names_the_buses_that_it_hears() -> None:
    listeners = {name: project.listener for name, project in load_catalogue().items() if project.listener}
    assert listeners == {
        "ceilometer": Listener(section="notification", key="messaging_urls"),
        "designate": Listener(own=True, topics=()),
        "aodh": Listener(own=True, topics=("alarming",)),
    }


def test_options_that_only_look_like_oslo_messagings_are_known() -> None:
    assert {name: project.not_oslo for name, project in load_catalogue().items() if project.not_oslo} == {
        "masakari": ("notification_driver",),
        "senlin": ("notification_topics",),
    }


def test_what_is_left_alone_is_named_with_the_reason() -> None:
    unmoved = {name: project.unmoved for name, project in load_catalogue().items() if project.unmoved}
    assert set(unmoved) == {"ironic", "murano", "swift", "trove"}
    assert all(part.what and part.why for parts in unmoved.values() for part in parts)


def test_only_swift_is_told_of_and_not_edited() -> None:
    assert [name for name, project in load_catalogue().items() if not project.managed] == ["swift"]


def test_the_project_has_rpc_when_any_unit_answers() -> None:
    without = [name for name, project in load_catalogue().items() if not project.rpc]
    assert without == ["keystone", "glance", "swift", "ceilometer", "aodh"]


def test_a_caller_cannot_change_the_catalogue_of_the_next_one() -> None:
    load_catalogue().clear()
    assert load_catalogue()


def test_without_files_of_the_operators_the_catalogue_is_the_shipped_one(tmp_path: Path) -> None:
    assert load_catalogue(tmp_path / "projects") == load_catalogue()


def test_an_operators_file_adds_a_project_in_its_order(tmp_path: Path) -> None:
    catalogue = own(tmp_path, watcher=WATCHER)
    assert list(catalogue)[-3:] == ["watcher", "ceilometer", "aodh"]
    assert catalogue["watcher"].units[0].topics == ("watcher.decision.control",)


def test_a_project_of_the_operators_is_deployed_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects" / "watcher.yaml").write_text(WATCHER + "user: decider\n", encoding="utf-8")
    (tmp_path / "hosts.yaml").write_text(dedent(HOSTS).replace("[nova]", "[nova, watcher]"), encoding="utf-8")
    (tmp_path / "defaults.yaml").write_text(dedent(DEFAULTS), encoding="utf-8")
    deployed = {project.name: project for project in load_deployment(tmp_path).projects}
    assert list(deployed) == ["nova", "watcher"]
    assert (deployed["watcher"].user, deployed["watcher"].vhost) == ("decider", "watcher")


def test_an_operators_file_replaces_the_keys_it_gives_and_no_other(tmp_path: Path) -> None:
    shipped = load_catalogue()["nova"]
    nova = own(tmp_path, nova="files: [/srv/nova/nova.conf]\n")["nova"]
    assert nova.files == ("/srv/nova/nova.conf",)
    assert nova.model_copy(update={"files": shipped.files}) == shipped


def test_an_operators_file_is_not_remembered_for_the_next_inventory(tmp_path: Path) -> None:
    own(tmp_path, nova="files: [/srv/nova/nova.conf]\n")
    assert load_catalogue()["nova"].files == ("/etc/nova/nova.conf",)


@pytest.mark.parametrize(
    ("right", "wrong", "path", "line", "problem"),
    [
        ("exchange:", "exchnage:", "exchnage", 2, 'unknown key. Did you mean "exchange"?'),
        ("exchange: watcher\n", "", "exchange", None, "is missing"),
        ("[/etc/watcher/watcher.conf]", "/etc/watcher/watcher.conf", "files", 3, "should be a list, not text"),
        ("[/etc/watcher/watcher.conf]", "[watcher.conf]", "files[0]", 3, "must be an absolute path"),
        ("role: client", "role: clinet", "units[1].role", 6, "should be 'server', 'client', 'notifier' or 'listener'"),
        ("names:", "nmaes:", "units[0].nmaes", 5, 'unknown key. Did you mean "names"?'),
        ("topics: [watcher.decision.control], ", "", "units[0]", 5, "watcher-decision-engine: a server has topics"),
        ("role: client", "role: client, topics: [a]", "units[1]", 6, "watcher-api: only a server has topics"),
        ("role: client", "role: client, inner: [a]", "units[1]", 6, "watcher-api: only a server has topics"),
        ("role: server", "role: server, server: drawn", "units[0]", 5, "all its topics are inner"),
        ("order: 10}", "order: 1}", "", None, "watcher: every server must be ordered before every client"),
        ("[watcher-api]", "[]", "units[1].names", 6, "must not be empty"),
        ("order: 80", "order: 80\norder: 81", "order", 2, "is named twice, on lines 1 and 2"),
        ("order: 80", "order: 80\nname: aetos", "name", 2, "is the file's own name"),
        ("order: 80", "order: 80: 81", "", 1, "YAML syntax error"),
    ],
)
def test_a_mistake_of_the_operators_is_named_with_file_and_line(
    tmp_path: Path, right: str, wrong: str, path: str, line: int | None, problem: str
) -> None:
    found = mistakes(tmp_path, watcher=WATCHER.replace(right, wrong, 1))
    assert all(mistake.file == str(tmp_path / "watcher.yaml") for mistake in found)
    assert [mistake for mistake in found if (mistake.path, mistake.line) == (path, line) and problem in mistake.problem]


def test_a_unit_that_is_wrong_is_told_and_not_that_the_list_is_empty_without_it(tmp_path: Path) -> None:
    found = mistakes(tmp_path, nova="units: [{names: [nova-api], role: clinet, order: 10}]\n")
    assert [mistake.path for mistake in found] == ["units[0].role"]


def test_the_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    found = mistakes(tmp_path, nova="ordre: 1\n", watcher="order: 1\n")
    assert {Path(mistake.file).name for mistake in found} == {"nova.yaml", "watcher.yaml"}


def test_a_file_of_a_misspelt_project_is_told_which_one_it_may_mean(tmp_path: Path) -> None:
    [mistake] = mistakes(tmp_path, nvoa="order: 5\n")
    assert 'Did you mean "nova.yaml"?' in mistake.problem


@pytest.mark.parametrize("name", ["rabbitmq.yaml", "qdrouterd.yaml", "Nova.yaml", "nova.yml", "no va.yaml"])
def test_a_file_whose_name_is_no_projects_is_refused_rather_than_ignored(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("order: 1\n", encoding="utf-8")
    [mistake] = mistakes(tmp_path)
    assert mistake.problem.startswith("is no project's name")
    assert mistake.file == str(tmp_path / name)


def test_other_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("ours", encoding="utf-8")
    (tmp_path / "nova.yaml~").write_text("order: [", encoding="utf-8")
    assert load_catalogue(tmp_path) == load_catalogue()
