"""What a run makes on a broker and what is removed again, with the stand-in rabbitmqctl."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from deployer.agent import kinds
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.types import Prepared, Step
from tests.unit.agent.broker import ALONE, FRESH, NO_QUEUES, Broker
from tests.unit.agent.client import step
from tests.unit.agent.conftest import Run

GRANT = {"configure": ".*", "write": ".*", "read": ".*"}
DOCUMENT = {
    "vhosts": [{"name": "nova"}, {"name": "glance"}],
    "users": [{"name": "nova", "password_hash": "SECRET"}],
    "permissions": [{"user": "nova", "vhost": "nova", **GRANT}],
    "policies": [{"vhost": "nova", "name": "ha", "pattern": "^x", "definition": {}}],
}
MADE = {"vhosts": ["glance"], "users": ["nova"], "permissions": [["nova", "nova"]], "policies": [["nova", "ha"]]}


def an_import(document: dict[str, Any]) -> dict[str, Any]:
    encoded = base64.b64encode(json.dumps(document).encode()).decode()
    return step("rabbitmq.import", definitions_b64=encoded)


def prepared(raw: dict[str, Any]) -> Prepared:
    return kinds.prepare(Step(raw["id"], raw["scope"], raw["kind"], raw["args"]))


def test_what_was_there_before_is_told_from_what_the_run_made(broker: Broker) -> None:
    broker.holds(ALONE, {**FRESH, "vhosts": [{"name": "/"}, {"name": "nova"}]}, NO_QUEUES)
    found = prepared(an_import(DOCUMENT))

    assert found.before == {"vhosts": ["nova"], "users": [], "permissions": [], "policies": []}
    assert found.after == {"made": MADE}
    assert found.act().after == found.after


def test_what_is_to_be_made_is_journaled_before_it_is(broker: Broker, run: Run) -> None:
    broker.says("import_definitions", code=70)
    with pytest.raises(StepError):
        run.apply(an_import(DOCUMENT))

    doing, failed = run.journal.entries()
    assert (doing["status"], doing["after"]["made"]["users"]) == ("doing", ["nova"])
    assert (failed["status"], failed["after"]) == ("failed", doing["after"])


def test_definitions_travel_on_stdin_alone(broker: Broker) -> None:
    prepared(an_import(DOCUMENT)).act()

    call = broker.calls[-1]
    assert json.loads(call["stdin"]) == DOCUMENT
    assert call["argv"] == ["--quiet", "import_definitions"]
    assert "SECRET" not in json.dumps(call["env"])


def test_refused_definitions_are_not_shown(broker: Broker) -> None:
    broker.says("import_definitions", err="{bad_entry, SECRET}", code=70)

    with pytest.raises(StepError) as caught:
        prepared(an_import(DOCUMENT)).act()
    assert "SECRET" not in f"{caught.value} {caught.value.frame()}"


def test_no_password_hash_reaches_the_journal(broker: Broker, run: Run) -> None:
    run.apply(an_import(DOCUMENT))

    assert broker.acts == ["import_definitions"]
    assert "SECRET" not in json.dumps(run.journal.entries())


def removed(broker: Broker, **answer: Any) -> Prepared:
    broker.says("eval", json.dumps({"removed": {}, "vhosts": [], "users": [], **answer}) + "ok\n")
    return prepared(step("rabbitmq.remove", made=MADE))


def test_a_removal_asks_for_exactly_what_the_run_made(broker: Broker) -> None:
    outcome = removed(broker, removed={"vhosts": ["glance"], "users": []}).act()

    expression = broker.calls[-1]["argv"][-1]
    request = expression.partition('base64:decode(<<"')[2].partition('">>')[0]
    assert json.loads(base64.b64decode(request)) == MADE
    assert (outcome.changed, outcome.after) == (True, {"removed": {"vhosts": ["glance"], "users": []}})


def test_a_removal_of_what_is_gone_already_changes_nothing(broker: Broker) -> None:
    assert not removed(broker, removed={kind: [] for kind in MADE}).act().changed


def test_a_vhost_that_somebody_is_connected_to_is_not_removed(broker: Broker) -> None:
    with pytest.raises(RefusedError, match="somebody is connected: vhost glance, user nova"):
        removed(broker, vhosts=["glance"], users=["nova"]).act()


def test_no_word_of_a_removal_means_anything_to_the_shell_of_debians_rabbitmqctl(broker: Broker) -> None:
    removed(broker).act()

    assert not set("$`\\") & set("".join(word for call in broker.calls for word in call["argv"]))
