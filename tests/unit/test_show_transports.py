"""`hybridmsg show-transports`: each variable with its value and where it came from, no password, no host asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployer.cli.main import run

HOSTS = """\
msg1: {hostname: 10.0.0.1, groups: [rabbitmq]}
rtr1: {hostname: 10.0.0.2, groups: [qdrouterd]}
ctl1: {hostname: 10.0.0.3, groups: [nova, glance, heat]}
"""
DEFAULTS = """\
username: deploy
connection_options: {hybridmsg_ssh: {extras: {key_file: k}}}
data:
  hybridmsg:
    qdrouterd: {port: 5671}
  nova_oslomsg_rpc_vhost: /nova
  heat_oslomsg_notify_transport: none
  glance_oslomsg_notify_servers: mq.example
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    (tmp_path / "hosts.yaml").write_text(HOSTS)
    (tmp_path / "defaults.yaml").write_text(DEFAULTS)
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text("nova_oslomsg_rpc_password: canary-password\n")
    secrets.chmod(0o600)
    return tmp_path


def test_every_value_has_where_it_came_from(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show-transports", "-i", str(inventory), "--json"]) == 0
    said = capsys.readouterr().out
    nova = json.loads(said)["projects"]["nova"]
    found = {name: (one["value"], one["from"]) for name, one in nova["rpc"]["variables"].items()}
    assert found["nova_oslomsg_rpc_transport"] == ("amqp", "group qdrouterd")
    assert found["nova_oslomsg_rpc_servers"] == (["10.0.0.2"], "group qdrouterd")
    assert found["nova_oslomsg_rpc_port"] == (5671, "defaults.yaml:5")
    assert found["nova_oslomsg_rpc_vhost"] == ("/nova", "defaults.yaml:6")
    assert found["nova_oslomsg_rpc_use_ssl"] == (False, "default")
    assert found["nova_oslomsg_rpc_password"] == ("***", str(inventory / "secrets.yaml"))
    assert nova["rpc"]["transport_url"] == "amqp://nova:***@10.0.0.2:5671//nova?ssl=0"
    assert "canary" not in said


def test_the_table_for_people_has_the_same_and_no_password(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show-transports", "-i", str(inventory)]) == 0
    said = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]
    assert ["nova_oslomsg_rpc_vhost", "/nova", "defaults.yaml:6"] in lines
    assert ["rpc transport_url", "amqp://nova:***@10.0.0.2:5671//nova?ssl=0", ""] in lines
    assert "canary" not in said


def test_no_end_of_a_long_url_is_cut_off(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    defaults = DEFAULTS.replace("mq.example", ",".join(f"broker-{number}.messaging.example" for number in range(5)))
    (inventory / "defaults.yaml").write_text(defaults)
    assert run(["show-transports", "-i", str(inventory)]) == 0
    said = capsys.readouterr().out
    values = [line.split("│")[2].strip() for line in said.splitlines() if line.startswith("│")]
    assert "broker-4.messaging.example:5672/glance?ssl=0" in "".join(values)
    assert "…" not in said


def test_a_bus_that_there_is_not_has_its_transport_alone(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["show-transports", "-i", str(inventory), "--json"])
    notify = json.loads(capsys.readouterr().out)["projects"]["heat"]["notify"]
    assert (notify["driver"], notify["transport_url"]) == ("noop", None)
    assert notify["variables"] == {"heat_oslomsg_notify_transport": {"value": "none", "from": "defaults.yaml:7"}}


def test_servers_that_are_not_deployed_are_told(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["show-transports", "-i", str(inventory), "--json"])
    said = capsys.readouterr()
    (note,) = [line for line in json.loads(said.out)["notes"] if line.startswith("glance")]
    assert "mq.example (port 5672), not deployed here" in note
    assert note not in said.err, "once is enough"


def test_a_listener_that_will_hear_nothing_of_a_project_is_told(
    inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (inventory / "hosts.yaml").open("a") as hosts:
        hosts.write("tel1: {hostname: 10.0.0.4, groups: [ceilometer]}\n")
    run(["show-transports", "-i", str(inventory), "--json"])
    said = capsys.readouterr()
    (note,) = [line for line in json.loads(said.out)["notes"] if line.startswith("ceilometer")]
    assert note.startswith("ceilometer: hears nothing of heat: ")
    assert note not in said.err, "once is enough"
