from __future__ import annotations

from typing import Any

import pytest

from deployer.model.catalogue import load_catalogue
from deployer.model.transports import resolve
from deployer.plan.clients import client_intents, client_obstacles
from deployer.plan.observed import HostFacts, UnitFact
from tests.unit.plan.cloud import CTL1, RTR1, deployment, host, libraries, project, unit

NOVA = project("nova", CTL1)
ON_RABBIT = resolve(deployment(NOVA), NOVA)
ON_ROUTERS = resolve(deployment(NOVA, qdrouterd=(RTR1,)), NOVA)
VENV = "/openstack/venvs/nova/bin/python"


def ctl1(*units: UnitFact) -> HostFacts:
    return host("ctl1", {}, units)


def api(**more: Any) -> UnitFact:
    return unit("nova-api", **{"libraries": libraries(), **more})


def told(*units: UnitFact) -> list[str]:
    return [str(one) for one in client_obstacles(NOVA, ON_ROUTERS, [ctl1(*units)])]


def test_a_complete_interpreter_needs_nothing_and_stands_in_nobodys_way() -> None:
    assert told(api()) == []
    assert client_intents(NOVA, [ctl1(api())], 900) == {}


@pytest.mark.parametrize("interpreter", ["/usr/bin/python3", "/usr/bin/python3.11", "/bin/python3"])
def test_a_system_interpreter_gets_what_it_lacks_from_packages(interpreter: str) -> None:
    facts = ctl1(api(interpreter=interpreter, libraries=libraries(pyngus=False, proton=False)))
    [intent] = client_intents(NOVA, [facts], 900)["ctl1"]
    names = ["python3-pyngus", "python3-qpid-proton"]
    assert (intent.kind, intent.args) == ("package.install", {"names": names, "manager": "apt", "timeout": 900})


@pytest.mark.parametrize("interpreter", [VENV, "/usr/local/bin/python3"])
def test_any_other_interpreter_gets_what_it_lacks_from_pypi(interpreter: str) -> None:
    facts = ctl1(api(interpreter=interpreter, libraries=libraries(pyngus=False)))
    [intent] = client_intents(NOVA, [facts], 900)["ctl1"]
    assert (intent.kind, intent.args) == (
        "python.install",
        {"interpreter": interpreter, "names": ["pyngus"], "timeout": 900},
    )


def test_an_interpreter_that_several_units_share_is_completed_once() -> None:
    lacking: dict[str, Any] = {"libraries": libraries(proton=False)}
    facts = ctl1(api(**lacking), unit("nova-conductor", **lacking), unit("nova-compute", interpreter=VENV, **lacking))
    found = client_intents(NOVA, [facts], 900)["ctl1"]
    assert [intent.kind for intent in found] == ["package.install", "python.install"]


def test_what_does_not_run_is_not_judged() -> None:
    dead = unit("nova-api", "failed", libraries=libraries("15.0.0", amqp=False, pyngus=False))
    assert told(dead) == []
    assert client_intents(NOVA, [ctl1(dead)], 900) == {}


@pytest.mark.parametrize("version", ["15.0.0", "17.1.0", "15.0.0.0rc1"])
def test_an_oslo_messaging_that_dropped_the_driver_is_refused_with_host_units_version_and_remedy(version: str) -> None:
    new = libraries(version, amqp=False)
    [found] = told(api(libraries=new), unit("nova-conductor", libraries=new))
    assert found.startswith(
        f"ctl1: nova-conductor, nova-api: its oslo.messaging {version} has no amqp driver any more. "
    )
    assert "below 15" in found
    assert "empty the group qdrouterd" in found


@pytest.mark.parametrize("version", ["14.0.3", "14.9.3", "9.5.0"])
def test_older_ones_are_not_refused_for_their_version(version: str) -> None:
    assert told(api(libraries=libraries(version))) == []


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        (libraries(amqp=False), "14.0.3 came without the amqp driver"),
        (libraries(None, amqp=False), "has no oslo.messaging"),
    ],
)
def test_an_interpreter_without_the_driver_is_refused(lacking: Any, words: str) -> None:
    [found] = told(api(libraries=lacking))
    assert words in found


def test_a_host_without_a_package_manager_is_refused_when_it_lacks_packages() -> None:
    facts = HostFacts("ctl1", "ctl1", None, units={"nova-api": api(libraries=libraries(pyngus=False))})
    [found] = client_obstacles(NOVA, ON_ROUTERS, [facts])
    assert "neither apt nor dnf" in str(found)
    assert "Install python3-pyngus" in str(found)


def test_a_unit_whose_interpreter_cannot_be_told_is_refused_by_name() -> None:
    [message] = told(unit("nova-api", interpreter=None, libraries=None))
    assert "ctl1: nova-api" in message
    assert "interpreter cannot be told" in message


@pytest.mark.parametrize("name", ["magnum-conductor", "ironic-neutron-agent", "barbican-keystone-listener"])
def test_a_unit_that_needs_rabbitmq_as_its_rpc_bus_is_refused_with_the_remedy(name: str) -> None:
    one = next(one for one in load_catalogue().values() if any(name in unit.names for unit in one.units))
    own = project(one.name, CTL1)
    running = [ctl1(unit(name))]
    [message] = map(str, client_obstacles(own, resolve(deployment(own, qdrouterd=(RTR1,)), own), running))
    assert f"ctl1: {name}" in message
    assert f"{one.name}_oslomsg_rpc_transport: rabbit" in message
    assert client_obstacles(own, resolve(deployment(own), own), running) == []


def test_an_api_with_several_threads_that_would_hang_over_routers_is_refused_with_the_remedy() -> None:
    [message] = told(api(threads=32))
    assert message.startswith("ctl1: nova-api: runs with 32 threads a process, and would hang over routers")
    assert "nova_oslomsg_rpc_transport: rabbit" in message
    assert told(api(threads=1)) == []
    assert client_obstacles(NOVA, ON_RABBIT, [ctl1(api(threads=32))]) == []


def test_on_rabbitmq_no_driver_is_missed() -> None:
    new = ctl1(api(libraries=libraries("15.0.0", amqp=False)))
    assert client_obstacles(NOVA, ON_RABBIT, [new]) == []


OVERRIDES = [
    "OS_DEFAULT__TRANSPORT_URL",
    "OS_OSLO_MESSAGING_NOTIFICATIONS__TRANSPORT_URL",
]


@pytest.mark.parametrize("transports", [ON_RABBIT, ON_ROUTERS], ids=["rabbit", "routers"])
@pytest.mark.parametrize("name", OVERRIDES)
def test_a_variable_that_defeats_the_file_is_refused_with_host_unit_and_remedy(name: str, transports: Any) -> None:
    [found] = client_obstacles(NOVA, transports, [ctl1(api(environment=("OS_DEFAULT__DEBUG", name)))])
    assert str(found).startswith(f"ctl1: nova-api: its environment sets {name}, and oslo.config puts that before ")
    assert "systemctl show -p Environment" in str(found)


def test_a_realm_in_the_environment_defeats_the_file_with_routers_only() -> None:
    facts = [ctl1(api(environment=("OS_OSLO_MESSAGING_AMQP__SASL_DEFAULT_REALM",)))]
    assert [len(client_obstacles(NOVA, one, facts)) for one in (ON_RABBIT, ON_ROUTERS)] == [0, 1]


def test_other_variables_are_the_operators_own() -> None:
    assert told(api(environment=("OS_DEFAULT__DEBUG", "OS_OSLO_MESSAGING_RABBIT__HEARTBEAT_RATE"))) == []
