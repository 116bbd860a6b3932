"""RabbitMQ's part of the agent, with a stand-in rabbitmqctl that prints what the one of RabbitMQ 3.10.8 printed."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from deployer.agent import rabbitmq
from deployer.agent.errors import RefusedError, StaleError, StepError
from tests.unit.agent.broker import ALONE, EVAL, EXPORT, FRESH, NO_QUEUES, STATUS, Broker


def test_a_cluster_is_told_as_the_contract_has_it(broker: Broker) -> None:
    broker.holds(STATUS, EXPORT, EVAL.replace('"consumers":0', '"consumers":2'))
    facts = rabbitmq.observe([])

    nodes = ["rabbit@bare1", "rabbit@bare2", "rabbit@bare3"]
    assert facts.pop("definitions") == EXPORT
    assert facts == {
        "installed": True,
        "version": "3.10.8",
        "running": True,
        "node": "rabbit@bare1",
        "members": nodes,
        "running_members": nodes,
        "cookie_sha256": None,
        "cookie_b64": None,
        "empty": False,
        "consumers": [{"vhost": "/nova", "queue": "conductor.ctl1"}],
        "connections": [
            {
                "vhost": "/nova",
                "user": "nova",
                "peer_host": "10.77.0.21",
                "peer_port": 41200,
                "name": "10.77.0.21:41200 -> 10.77.0.11:5672",
            }
        ],
        "resolves": {},
    }


def test_a_queue_that_nobody_reads_is_no_consumer(broker: Broker) -> None:
    broker.holds(STATUS, EXPORT, EVAL)

    assert rabbitmq.observe([])["consumers"] == []


def test_three_calls_tell_everything(broker: Broker) -> None:
    rabbitmq.observe([])

    assert len(broker.calls) == 3


def test_a_host_without_rabbitmq_is_bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("deployer.agent.run._SYSTEM_PATH", ())
    facts = rabbitmq.observe([])

    assert (facts["installed"], facts["running"], facts["version"], facts["empty"]) == (
        False,
        False,
        None,
        True,
    )


def test_a_fresh_broker_is_empty(broker: Broker) -> None:
    assert rabbitmq.observe([])["empty"]


@pytest.mark.parametrize(
    "kind",
    ["vhosts", "users", "queues", "exchanges", "bindings", "policies", "parameters", "global_parameters"],
)
def test_anything_that_somebody_made_is_not_empty(broker: Broker, kind: str) -> None:
    broker.holds(ALONE, {**FRESH, kind: [*FRESH[kind], {"name": "theirs"}]}, NO_QUEUES)

    assert not rabbitmq.observe([])["empty"]


def test_a_transient_queue_that_no_export_shows_is_not_empty(broker: Broker) -> None:
    broker.holds(ALONE, FRESH, EVAL)

    assert not rabbitmq.observe([])["empty"]


def test_a_member_of_a_cluster_is_not_empty(broker: Broker) -> None:
    broker.holds(STATUS, FRESH, NO_QUEUES)

    assert not rabbitmq.observe([])["empty"]


def test_a_broker_that_is_down_is_not_taken_for_empty(broker: Broker) -> None:
    for command in ("cluster_status", "export_definitions", "eval"):
        broker.says(command, err="Error: unable to perform an operation on node", code=69)
    facts = rabbitmq.observe([])

    assert (facts["installed"], facts["running"], facts["empty"]) == (True, False, False)
    assert (facts["version"], facts["definitions"]) == ("3.10.8", None)


@pytest.mark.parametrize("command", ["export_definitions", "eval"])
def test_half_an_answer_of_a_running_broker_is_an_error(broker: Broker, command: str) -> None:
    broker.says(command, err="timeout", code=70)

    with pytest.raises(StepError):
        rabbitmq.observe([])


def test_an_export_of_unknown_form_is_an_error_and_never_an_empty_broker(broker: Broker) -> None:
    broker.says("export_definitions", json.dumps({"message": json.dumps(FRESH)}))

    with pytest.raises(StepError):
        rabbitmq.observe([])


def test_the_cookie_is_told_as_its_bytes(broker: Broker) -> None:
    Path(rabbitmq.COOKIE).write_bytes(b"COOKIE\n")
    facts = rabbitmq.observe([])

    assert base64.b64decode(facts["cookie_b64"]) == b"COOKIE\n"
    assert facts["cookie_sha256"] == hashlib.sha256(b"COOKIE\n").hexdigest()


def test_peers_that_resolve_are_told_from_those_that_do_not(broker: Broker) -> None:
    assert rabbitmq.observe(["localhost", "bad..name"])["resolves"] == {"localhost": True, "bad..name": False}


def test_a_member_already_is_left_alone(broker: Broker) -> None:
    broker.holds(STATUS, EXPORT, EVAL)
    outcome = rabbitmq.join({"seed": "rabbit@bare2"})

    assert not outcome.changed
    assert broker.acts == []


def test_an_empty_broker_joins_in_order(broker: Broker) -> None:
    outcome = rabbitmq.join({"seed": "rabbit@bare2"})

    assert outcome.changed
    assert broker.acts == ["stop_app", "join_cluster", "start_app", "await_startup"]
    assert ["--quiet", "join_cluster", "rabbit@bare2"] in [call["argv"] for call in broker.calls]


def test_a_broker_that_got_something_meanwhile_is_not_joined(broker: Broker) -> None:
    broker.holds(ALONE, FRESH, EVAL)

    with pytest.raises(StaleError):
        rabbitmq.join({"seed": "rabbit@bare2"})
    assert broker.acts == []


def test_a_broker_that_is_down_is_not_joined(broker: Broker) -> None:
    broker.says("cluster_status", code=69)

    with pytest.raises(StaleError):
        rabbitmq.join({"seed": "rabbit@bare2"})
    assert broker.acts == []


def test_a_refused_join_leaves_the_broker_running(broker: Broker) -> None:
    broker.says("join_cluster", err="Error: incompatible versions", code=69)

    with pytest.raises(StepError) as caught:
        rabbitmq.join({"seed": "rabbit@bare2"})
    assert broker.acts == ["stop_app", "join_cluster", "start_app"]
    assert "incompatible versions" in caught.value.more["output"]


@pytest.mark.parametrize("seed", ["rabbit@bare2; reboot", "rabbit@$(id)", "bare2", ""])
def test_a_seed_that_is_no_node_name_reaches_no_shell(broker: Broker, seed: str) -> None:
    with pytest.raises(RefusedError):
        rabbitmq.join({"seed": seed})
    assert broker.calls == []


def test_no_argument_means_anything_to_the_shell_of_debians_rabbitmqctl(broker: Broker) -> None:
    rabbitmq.join({"seed": "rabbit@bare2"})

    assert not set("$`\\") & set("".join(word for call in broker.calls for word in call["argv"]))


def test_a_broker_that_comes_up_later_is_awaited(broker: Broker, tmp_path: Path) -> None:
    once = f"import pathlib; once = pathlib.Path({str(tmp_path / 'once')!r})"
    broker._programs.add("rabbitmqctl", f"{once}\ncode = 0 if once.exists() else 69\nonce.touch()\nsys.exit(code)")

    assert not rabbitmq.await_startup({"timeout": 30}).changed
    assert len(broker.calls) == 2


def test_a_broker_that_stays_down_is_an_error_with_its_last_words(broker: Broker) -> None:
    broker.says("await_startup", err="Error: rabbit_is_not_running", code=69)

    with pytest.raises(StepError) as caught:
        rabbitmq.await_startup({"timeout": 1})
    assert "rabbit_is_not_running" in caught.value.more["output"]
