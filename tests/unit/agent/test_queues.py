"""RPC queues, with a stand-in rabbitmqctl that prints what the one of RabbitMQ 3.10.8 printed."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from deployer.agent import queues
from deployer.agent.errors import StepError
from deployer.agent.kinds import prepare
from deployer.agent.steps import parse
from tests.unit.agent.client import Client, step
from tests.unit.agent.conftest import Programs

QUEUE = {"consumers": 2, "queue": "conductor", "ready": 0, "unacked": 0}
ODD = "conductor.ctl1 $HOME `id` \\ \" ' grün"


def broker(programs: Programs, printed: str, code: int = 0) -> None:
    programs.add("rabbitmqctl", f"print({printed!r}, end=''); sys.exit({code})")


def request(expression: str) -> dict[str, Any]:
    """Return what the expression was given, as rabbit_json will read it."""
    encoded = re.search(r'base64:decode\(<<"([^"]*)">>\)', expression)
    assert encoded is not None
    decoded: dict[str, Any] = json.loads(base64.b64decode(encoded.group(1)))
    return decoded


def test_all_reads_come_of_one_call(agent: Client, programs: Programs) -> None:
    broker(programs, json.dumps({"reads": [[QUEUE]] * 3}) + "ok\n")
    answer = agent.ask("queues", vhost="nova", topics=["conductor"], reads=3, pause_ms=200)
    assert answer == {"reads": [[QUEUE]] * 3}
    ((quiet, verb, expression),) = programs.argvs("rabbitmqctl")
    assert (quiet, verb) == ("--quiet", "eval")
    assert request(expression) == {"vhost": "nova", "topics": ["conductor"], "reads": 3, "pause": 200}


def test_nothing_in_a_name_can_mean_anything_to_a_shell_or_to_erlang(programs: Programs) -> None:
    broker(programs, '{"reads":[[]]}ok\n')
    queues.queues({"vhost": ODD, "topics": [ODD], "reads": 1})
    (argv,) = programs.argvs("rabbitmqctl")
    assert not set("$`\\") & set("".join(argv))
    assert request(argv[-1])["topics"] == [ODD]


def test_a_broker_that_does_not_answer_is_an_error(programs: Programs) -> None:
    broker(programs, "Error: unable to perform an operation on node", 69)
    with pytest.raises(StepError, match="queues cannot be read"):
        queues.queues({"vhost": "nova", "topics": ["conductor"], "reads": 1})


def test_a_purge_tells_how_many_messages_of_each_queue_it_dropped(programs: Programs) -> None:
    broker(programs, '{"purged":{"conductor":3,"scheduler":0}}ok\n')
    names = ["conductor", "scheduler", "gone"]
    outcome = prepare(parse(step("rabbitmq.purge", vhost="nova", queues=names))).act()
    assert (outcome.changed, outcome.output) == (True, "3 messages dropped")
    assert outcome.after == {"purged": {"conductor": 3, "scheduler": 0}}
    (argv,) = programs.argvs("rabbitmqctl")
    assert request(argv[-1]) == {"vhost": "nova", "queues": names}
    assert not set("$`\\") & set("".join(argv))


def test_a_purge_of_empty_queues_changes_nothing(programs: Programs) -> None:
    broker(programs, '{"purged":{"conductor":0}}ok\n')
    assert not queues.purge({"vhost": "nova", "queues": ["conductor"]}).changed


def test_many_queues_fit_into_the_arguments_of_a_program(programs: Programs) -> None:
    broker(programs, '{"purged":{}}ok\n')
    names = [f"conductor_fanout_{number:032x}" for number in range(1200)]
    queues.purge({"vhost": "nova", "queues": names})
    expressions = [argv[-1] for argv in programs.argvs("rabbitmqctl")]
    assert [name for expression in expressions for name in request(expression)["queues"]] == names
    assert max(map(len, expressions)) < 128 * 1024
