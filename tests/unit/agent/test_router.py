"""The router's questions and steps: real logins at a door of bytes, the program's place taken by one that answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployer.agent import probe, router, router_users
from deployer.agent.errors import StepError
from deployer.agent.types import Json
from tests.unit.agent.client import Client
from tests.unit.agent.conftest import Programs
from tests.unit.amqp_door import USERS, Door

# Answers from a list, the last one again and again, and keeps what it was asked.
PROGRAM = """
import json, pathlib, sys
request = sys.stdin.buffer.read().decode()
answers, asked = pathlib.Path({answers!r}), pathlib.Path({asked!r})
left = json.loads(answers.read_text())
answers.write_text(json.dumps(left[1:] or left))
with asked.open("a") as log: log.write(request)
print("hybridmsg-probe", json.dumps({{"problem": "", **left[0]}}))
"""
SYSTEMCTL = """
print("Id=" + argv[-1] + "\\nLoadState=loaded\\nActiveState=" + open({path!r}).read())
"""
SETTLED: Json = {"nodes": ["msg1", "msg2"], "connectors": [{"name": "to-msg1", "status": "SUCCESS", "text": ""}]}


class Program:
    """What the program will answer, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self._answers, self._asked = folder / "answers", folder / "asked"
        self.source = PROGRAM.format(answers=str(self._answers), asked=str(self._asked)).encode()

    def answers(self, *answers: Json) -> None:
        self._answers.write_text(json.dumps(answers))

    @property
    def asked(self) -> list[Json]:
        return [json.loads(line) for line in self._asked.read_text().splitlines()] if self._asked.exists() else []


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    made = Program(tmp_path)
    monkeypatch.setattr(probe, "program", lambda _name: made.source)
    return made


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.close()


@pytest.fixture
def unit(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Say what the router's unit is; it is active at first."""
    state = tmp_path / "unit"
    state.write_text("active")
    programs.add("systemctl", SYSTEMCTL.format(path=str(state)))
    programs.add("journalctl", "print('the last words of ' + argv[-1])")
    programs.add("apt-get")
    programs.add("dpkg-query", "print('qdrouterd\\tii \\t1.19.0-1')")
    monkeypatch.setattr(router, "RETRY_PAUSE", 0.01)
    monkeypatch.setattr(router_users, "SASLDB", str(tmp_path / "sasldb"))
    return state.write_text


def args(port: int, **more: object) -> Json:
    whole = {"host": "127.0.0.1", "port": port, "tls_ca": None, "realm": "openstack", "user": "hybridmsg"}
    return {**whole, "password": USERS["hybridmsg@openstack"], "logins": {}, "timeout": 5, **more}


def asking(port: int, **more: object) -> Json:
    return args(port, package="qdrouterd", ask="view", **more)


def waiting(port: int, **more: object) -> Json:
    return args(port, unit="qdrouterd", nodes=["msg1", "msg2"], **more)


@pytest.mark.usefixtures("unit")
def test_a_router_is_told_as_the_contract_has_it(door: Door, program: Program, tmp_path: Path) -> None:
    program.answers({"view": {"id": "msg1"}})
    answer = router.observe(asking(door.port, logins={"nova": USERS["nova@openstack"], "glance": "x"}))

    assert answer == {
        "version": "1.19.0-1",
        "users": [],
        "logins": {"nova": None, "glance": f"glance@openstack is refused: {tmp_path / 'sasldb'} is missing"},
        "view": {"id": "msg1"},
        "problem": "",
    }


@pytest.mark.usefixtures("unit")
def test_the_program_gets_the_full_login_on_stdin(door: Door, program: Program) -> None:
    program.answers({"view": {}})
    router.observe(asking(door.port))

    [asked] = program.asked
    assert (asked["action"], asked["routers"]) == ("view", [["127.0.0.1", door.port]])
    assert (asked["user"], asked["password"]) == ("hybridmsg@openstack", USERS["hybridmsg@openstack"])
    assert not asked["verify_name"]


@pytest.mark.usefixtures("unit")
def test_a_view_that_nobody_asks_for_starts_no_program(door: Door, program: Program) -> None:
    answer = router.observe({**asking(door.port), "ask": None})

    assert (answer["view"], answer["problem"], program.asked) == (None, "", [])


@pytest.mark.usefixtures("unit")
def test_an_administrator_who_is_refused_is_the_reason_for_no_view(door: Door, program: Program) -> None:
    answer = router.observe(asking(door.port, password="other"))

    assert answer["view"] is None
    assert "hybridmsg@openstack is refused" in answer["problem"]
    assert program.asked == []


@pytest.mark.usefixtures("unit")
def test_a_router_that_is_down_is_an_answer(door: Door) -> None:
    door.close()
    answer = router.observe(asking(door.port, logins={"nova": "x"}))

    assert answer["logins"] == {"nova": f"127.0.0.1:{door.port} is not listening"}
    assert answer["problem"] == f"127.0.0.1:{door.port} is not listening"


@pytest.mark.usefixtures("unit")
def test_a_host_without_proton_is_told_the_package(door: Door, program: Program) -> None:
    program.answers({"problem": "ModuleNotFoundError: No module named 'proton'"})

    assert "install python3-qpid-proton" in router.observe(asking(door.port))["problem"]


@pytest.mark.usefixtures("unit")
def test_a_program_that_dies_is_an_answer_with_its_last_words(door: Door, program: Program) -> None:
    program.source = b"import sys; sys.exit('segmentation fault')"

    assert "segmentation fault" in router.observe(asking(door.port))["problem"]


def test_live_changes_are_told_line_by_line(door: Door, program: Program) -> None:
    program.answers({"changed": ["deleted address a", "created address b"]})
    delete, create = [{"type": "address", "name": "a"}], [{"type": "address", "name": "b", "attributes": {}}]
    outcome = router.update(args(door.port, delete=delete, create=create))

    assert (outcome.changed, outcome.output) == (True, "deleted address a\ncreated address b")
    assert (program.asked[0]["delete"], program.asked[0]["create"]) == (delete, create)


def test_a_change_that_changes_nothing_says_so(door: Door, program: Program) -> None:
    program.answers({"changed": []})

    assert not router.update(args(door.port, delete=[{"type": "address", "name": "a"}], create=[])).changed


def test_a_refused_change_tells_what_was_done_before_it(door: Door, program: Program) -> None:
    program.answers({"changed": ["deleted address a"], "problem": "create address b: Unknown attribute (400)"})

    with pytest.raises(StepError, match="refused a change: create address b: Unknown attribute") as caught:
        router.update(args(door.port, delete=[], create=[]))
    assert caught.value.more["output"] == "deleted address a"


@pytest.mark.usefixtures("unit")
def test_a_settled_router_is_ready(door: Door, program: Program) -> None:
    program.answers(SETTLED)

    assert not router.await_ready(waiting(door.port, logins={"nova": USERS["nova@openstack"]})).changed


@pytest.mark.usefixtures("unit")
def test_a_mesh_that_settles_later_is_awaited(door: Door, program: Program) -> None:
    program.answers({"nodes": ["msg1"], "connectors": []}, {"problem": "Timeout"}, SETTLED)

    router.await_ready(waiting(door.port))
    assert [asked["action"] for asked in program.asked] == ["mesh"] * 3


@pytest.mark.usefixtures("unit")
def test_what_a_mesh_lacks_is_named(door: Door, program: Program) -> None:
    closed = {"name": "to-msg2", "status": "FAILED", "text": "Connection refused"}
    program.answers({"nodes": ["msg1"], "connectors": [*SETTLED["connectors"], closed]})

    with pytest.raises(StepError) as caught:
        router.await_ready(waiting(door.port, timeout=0.1))
    problem = caught.value.problem
    assert "router msg2 is not in the mesh" in problem
    assert "connector to-msg2 is not open (Connection refused)" in problem
    assert "to-msg1" not in problem


@pytest.mark.usefixtures("unit")
def test_each_user_that_is_refused_is_named(door: Door) -> None:
    with pytest.raises(StepError) as caught:
        router.await_ready(waiting(door.port, logins={"nova": "other", "glance": "x"}, timeout=0.1))
    assert "nova@openstack is refused" in caught.value.problem
    assert "glance@openstack is refused" in caught.value.problem


@pytest.mark.usefixtures("unit")
def test_a_closed_port_is_named_once_with_the_units_last_words(door: Door) -> None:
    door.close()

    with pytest.raises(StepError) as caught:
        router.await_ready(waiting(door.port, logins={"nova": "x", "glance": "x"}, timeout=0.1))
    assert caught.value.problem == f"the router is not ready: 127.0.0.1:{door.port} is not listening"
    assert "the last words of qdrouterd.service" in caught.value.more["output"]


@pytest.mark.parametrize("state", ["failed", "inactive"])
def test_a_router_that_ended_is_not_waited_for(door: Door, unit: Callable[[str], object], state: str) -> None:
    unit(state)

    with pytest.raises(StepError, match=f"qdrouterd.service is {state}") as caught:
        router.await_ready(waiting(door.port, timeout=3600))
    assert "the last words of qdrouterd.service" in caught.value.more["output"]


def fanned(door: Door, program: Program, *pairs: list[int], problem: str = "") -> Json:
    told = [{"from": "msg1", "to": "msg2", "copies": copies} for copies in pairs]
    program.answers({"sent": 5, "pairs": told, "problem": problem})
    routers = [["127.0.0.1", door.port], ["localhost", door.port]]
    return router.fanout(args(0, routers=routers, rounds=5))


def test_one_copy_everywhere_is_exactly_once(door: Door, program: Program) -> None:
    answer = fanned(door, program, [1, 1], [1, 1])

    assert (answer["exactly_once"], answer["sent"], len(answer["pairs"])) == (True, 5, 2)
    assert program.asked[0]["rounds"] == 5


@pytest.mark.parametrize("copies", [[1, 2], [2, 2], [0, 1], [0, 0]])
def test_any_other_count_is_not_exactly_once(door: Door, program: Program, copies: list[int]) -> None:
    assert not fanned(door, program, [1, 1], copies)["exactly_once"]


def test_a_check_that_had_a_problem_is_not_exactly_once(door: Door, program: Program) -> None:
    assert not fanned(door, program, [1, 1], problem="no message came from msg1 to msg2")["exactly_once"]


def test_a_router_of_the_mesh_that_is_down_is_named_and_nothing_is_sent(door: Door, program: Program) -> None:
    closed = Door()
    closed.close()
    answer = router.fanout(args(0, routers=[["127.0.0.1", door.port], ["127.0.0.1", closed.port]], rounds=5))

    assert (answer["exactly_once"], answer["pairs"], program.asked) == (False, [], [])
    assert answer["problem"] == f"127.0.0.1:{closed.port} is not listening"


def test_the_agent_answers_both_questions(agent: Client, door: Door) -> None:
    door.close()
    assert agent.ask("router", **asking(door.port))["view"] is None
    assert not agent.ask("routers", **args(0, routers=[["127.0.0.1", door.port]], rounds=5))["exactly_once"]


def test_a_router_step_is_journaled_without_its_secrets(agent: Client, door: Door, state: Path) -> None:
    door.close()
    agent.lock()
    wrong = {"id": "0001", "scope": "backend:qdrouterd", "kind": "router.update", "preimage": None, "reason": "because"}
    answer = agent.ask("apply", run="r1", steps=[{**wrong, "args": args(door.port, delete=[], create=[])}])

    assert "is not listening" in answer["error"]["problem"]
    journal = (state / "runs" / "r1" / "journal.jsonl").read_text()
    assert "router.update" in journal
    assert USERS["hybridmsg@openstack"] not in journal
