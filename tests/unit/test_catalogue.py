"""The catalogue says what services there are, and a slip of the pen in it is an error."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from deployer.model.catalogue import Listener, load_catalogue, parse_catalogue

NOVA = """\
nova:
  order: 1
  exchange: nova
  files: [/etc/nova/nova.conf]
  units:
    - {names: [nova-conductor], role: server, topics: [conductor], order: 1}
    - {names: [nova-api], role: client, order: 2}
"""


def test_projects_come_in_the_order_openstack_ansible_sets_them_up() -> None:
    assert list(load_catalogue()) == ["glance", "cinder", "nova", "heat", "ceilometer"]


def test_a_project_knows_its_name_and_exchange() -> None:
    assert {name: (project.name, project.exchange) for name, project in load_catalogue().items()} == {
        "glance": ("glance", "glance"),
        "cinder": ("cinder", "openstack"),
        "nova": ("nova", "nova"),
        "heat": ("heat", "heat"),
        "ceilometer": ("ceilometer", "ceilometer"),
    }


def test_every_rpc_server_is_there_with_its_topic() -> None:
    servers = {
        (name, unit.names[0], unit.topics, unit.server)
        for name, project in load_catalogue().items()
        for unit in project.units
        if unit.role == "server"
    }
    assert servers == {
        ("nova", "nova-conductor", ("conductor",), "host"),
        ("nova", "nova-scheduler", ("scheduler",), "host"),
        ("nova", "nova-compute", ("compute",), "host"),
        ("cinder", "cinder-scheduler", ("cinder-scheduler",), "host"),
        ("cinder", "cinder-volume", ("cinder-volume",), "backend"),
        ("cinder", "cinder-backup", ("cinder-backup",), "host"),
        ("heat", "heat-engine", ("engine",), "host"),
    }


def test_topics_between_the_servers_of_a_project_are_known_too() -> None:
    inner = {unit.names[0]: unit.inner for project in load_catalogue().values() for unit in project.units if unit.inner}
    assert inner == {"heat-engine": ("engine_worker", "heat-engine-listener")}


def test_only_nova_has_cells() -> None:
    assert [name for name, project in load_catalogue().items() if project.cells] == ["nova"]


def test_every_unit_has_its_rdo_name() -> None:
    for project in load_catalogue().values():
        for unit in project.units:
            assert any(name.startswith("openstack-") for name in unit.names), unit


def test_no_unit_belongs_to_two_entries() -> None:
    names = [name for project in load_catalogue().values() for unit in project.units for name in unit.names]
    assert len(names) == len(set(names))


def test_cinder_needs_read_deleted_in_the_context() -> None:
    assert load_catalogue()["cinder"].context == {"read_deleted": "no"}


def test_only_ceilometer_listens_to_the_others() -> None:
    listeners = {name: project.listener for name, project in load_catalogue().items() if project.listener}
    assert listeners == {"ceilometer": Listener(section="notification", key="messaging_urls")}


def test_a_caller_cannot_change_the_catalogue_of_the_next_one() -> None:
    load_catalogue().clear()
    assert load_catalogue()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("exchange:", "exchnage:"),
        ("role: client", "role: clinet"),
        ("topics: [conductor], ", ""),
        ("role: client", "role: client, topics: [a]"),
        ("role: client", "role: client, inner: [a]"),
        ("order: 2}", "order: 1}"),
        ("[nova-api]", "[]"),
    ],
    ids=[
        "unknown key",
        "unknown role",
        "server without topic",
        "client with topic",
        "client with inner topic",
        "client first",
        "no name",
    ],
)
def test_a_wrong_entry_is_refused(right: str, wrong: str) -> None:
    assert parse_catalogue(NOVA)
    with pytest.raises(ValidationError):
        parse_catalogue(NOVA.replace(right, wrong))
