from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.errors import (
    ConfigurationError,
    DrainTimeout,
    FileRefused,
    GateFailed,
    HostsFailed,
    HybridmsgError,
    LeftoverMessages,
    Locked,
    Mistake,
    Silence,
    Unreachable,
)
from deployer.journal.run import Run
from deployer.model.secrets import Secret
from deployer.plan.cells import CellMapping
from deployer.plan.checks import Check
from deployer.plan.observed import HostFacts
from deployer.plan.planner import Plan, make_plan
from deployer.plan.steps import Step
from deployer.report import console, documents, rollback
from deployer.rollout.outcome import Migration, Pause, Restored, Rollback, Status
from tests.unit.plan import cloud, mesh
from tests.unit.plan.cloud import CTL1, CTL2, FOREIGN, NOVA, RTR1, RTR2

SITE = cloud.deployment(cloud.project("nova", CTL1, CTL2))
BEFORE = f"[DEFAULT]\ntransport_url = {FOREIGN}\n[database]\nconnection = mysql://nova:canary-db@db/nova\n"
CANARIES = ("canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn")
"""As it stands, and in base64 wherever it begins in a file."""


def facts(broker: HostFacts | None = None, nova: str = BEFORE) -> dict[str, HostFacts]:
    conf = f"{nova}{cloud.API_DATABASE}"
    hosts = {name: cloud.host(name, {NOVA: conf}, [cloud.unit("nova-conductor")]) for name in ("ctl1", "ctl2")}
    hosts["ctl1"] = replace(hosts["ctl1"], cells=())
    return {"msg1": broker or cloud.bare(SITE), **hosts}


def done() -> Plan:
    before = facts(cloud.broker(SITE))
    return make_plan(SITE, cloud.after(before, make_plan(SITE, before).projects))


def hybrid() -> Plan:
    """The plan of moving nova to two new routers; one of its cells is on another bus and stays there."""
    site = replace(
        cloud.deployment(cloud.project("nova", CTL1, CTL2), qdrouterd=(RTR1, RTR2)),
        router_password=Secret("canary-router"),
    )
    lacking = cloud.unit("nova-conductor", libraries=cloud.libraries(pyngus=False))
    conf = f"{BEFORE}{cloud.API_DATABASE}"
    found = {name: cloud.host(name, {NOVA: conf}, [lacking]) for name in ("ctl1", "ctl2")}
    urls = {"cell1": FOREIGN, "cell2": "rabbit://x:canary-cell@10.7.7.7:5672/"}
    cells = tuple(CellMapping(name, name, Secret(url)) for name, url in urls.items())
    found["ctl1"] = replace(found["ctl1"], cells=cells)
    return make_plan(site, {"msg1": cloud.broker(site), "rtr1": mesh.bare("rtr1"), "rtr2": mesh.bare("rtr2"), **found})


PLAN = make_plan(SITE, facts())
HYBRID = hybrid()
RUN = Run("r1", "migrate", "ann@ops1", "2026-01-01T00:00:00+00:00", "/inv", "done", projects=["nova"])
PAUSE = Pause("nova", 21.34, 2.06, ("nova-conductor on ctl2",))
HOLDS = Check("nova", "rpc", "conductor@ctl1", ok=True, detail="pong", asked_from="ctl1", ms=12.4)
SILENT = Check("nova", "rpc", "conductor@ctl2", ok=False, detail="[errno 111] refused by [/etc]", asked_from="ctl1")


def through_json(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(document))
    assert found["schema"] == 1
    return found


def status(**more: Any) -> Status:
    return Status(SITE, {"msg1": facts()["msg1"]}, {}, **more)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No terminal, whatever runs the tests."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def test_a_plan_says_what_happens_where_and_who_must_answer_then() -> None:
    found = through_json(documents.plan_document(PLAN))
    assert found["changed"]
    assert [wave["scope"] for wave in found["waves"]] == ["backend:rabbitmq"] * 2 + ["project:nova"] * 5
    assert [wave["title"] for wave in found["waves"][2:]] == [
        "nova: begin",
        "nova: stop servers",
        "nova: write configuration",
        "nova: start servers",
        "nova: confirm",
    ]
    assert found["waves"][4]["hosts"] == {"ctl1": [f"write {NOVA}"], "ctl2": [f"write {NOVA}"]}
    assert [(one["host"], one["path"]) for one in found["files"]] == [("ctl1", NOVA), ("ctl2", NOVA)]
    assert [one["server"] for one in found["expected"]] == ["ctl1", "ctl2"]


def test_a_plan_numbers_its_steps_as_they_are_carried_out() -> None:
    found = through_json(documents.plan_document(done()))
    assert found["steps"] == []
    steps = through_json(documents.plan_document(PLAN))["steps"]
    assert [step["id"] for step in steps] == [f"{number:04d}" for number in range(1, len(steps) + 1)]
    writes = [step for step in steps if step["kind"] == "file.write" and step["scope"] == "project:nova"]
    assert [(step["host"], step["reason"]) for step in writes] == [(host, f"write {NOVA}") for host in ("ctl1", "ctl2")]


def test_a_plan_for_routers_says_what_becomes_of_them_of_cells_and_of_interpreters() -> None:
    found = through_json(documents.plan_document(HYBRID))
    scopes = list(dict.fromkeys(wave["scope"] for wave in found["waves"]))
    assert scopes == ["backend:qdrouterd", "staging", "project:nova"]
    assert "rtr2: + link to rtr1, cost 1" in found["routers"]["changes"]
    assert [line.partition(":")[0] for line in found["cells"]] == ["cell cell1", "cell cell2 stays on rabbit"]
    staged = next(wave for wave in found["waves"] if wave["scope"] == "staging")
    assert staged["hosts"]["ctl2"] == ["pyngus for /usr/bin/python3: the amqp driver needs it"]


def test_a_plan_of_nothing_has_neither_waves_nor_files_but_still_its_servers() -> None:
    found = through_json(documents.plan_document(done()))
    assert (found["changed"], found["waves"], found["files"]) == (False, [], [])
    assert len(found["expected"]) == 2


def test_a_migration_says_its_run_and_its_checks() -> None:
    found = through_json(documents.migration_document(Migration(PLAN, RUN, [PAUSE], [HOLDS])))
    assert (found["changed"], found["run"]) == (True, "r1")
    assert found["checks"] == [HOLDS.record()]


def test_a_migration_says_how_long_each_projects_callers_paused_and_what_was_killed() -> None:
    found = through_json(documents.migration_document(Migration(PLAN, RUN, [PAUSE], [HOLDS])))
    killed = ["nova-conductor on ctl2"]
    assert found["pauses"] == [{"project": "nova", "seconds": 21.34, "draining": 2.06, "killed": killed}]


def test_a_migration_that_found_nothing_to_do_has_no_run() -> None:
    found = through_json(documents.migration_document(Migration(done())))
    assert (found["changed"], found["run"], found["checks"]) == (False, None, [])


@pytest.mark.parametrize(("checks", "ok"), [([HOLDS], True), ([HOLDS, SILENT], False), ([], True)])
def test_a_verification_is_ok_when_everything_holds(checks: list[Check], *, ok: bool) -> None:
    found = through_json(documents.checks_document(checks))
    assert (found["ok"], len(found["checks"])) == (ok, len(checks))


def test_a_rollback_lists_every_file_and_unit() -> None:
    restored = [Restored("ctl1", NOVA, same=True, detail="as before"), Restored("ctl1", "nova-api", False, "active")]
    found = through_json(rollback.rollback_document(Rollback(RUN, restored, [HOLDS])))
    assert (found["run"], found["whole"]) == ("r1", False)
    assert found["restored"][1] == {"host": "ctl1", "what": "nova-api", "same": False, "detail": "active"}


def test_a_status_says_of_each_host_whether_and_why_it_cannot_be_reached() -> None:
    gone = Unreachable("ctl1", "connection refused", "Start sshd")
    found = through_json(documents.status_document(Status(SITE, {"msg1": facts()["msg1"]}, {"ctl1": gone}, last=RUN)))
    assert found["hosts"]["msg1"] == {"reachable": True, "error": None}
    assert found["hosts"]["ctl1"] == {"reachable": False, "error": "ctl1: connection refused. Start sshd"}
    assert found["pending"] is None
    assert (found["last_run"]["run"], found["last_run"]["projects"]) == ("r1", ["nova"])


@pytest.mark.parametrize(("plan", "pending"), [(PLAN, True), (done(), False), (None, None)])
def test_a_status_says_whether_changes_are_pending(plan: Plan | None, pending: bool | None) -> None:  # noqa: FBT001
    assert through_json(documents.status_document(status(plan=plan)))["pending"] is pending


ERRORS: list[tuple[HybridmsgError, str, int, list[str]]] = [
    (
        ConfigurationError([Mistake("hosts.yaml", "ctl1", "bad", 3), Mistake("groups.yaml", "", "worse")]),
        "ConfigurationError",
        1,
        ["hosts.yaml:3: ctl1: bad", "groups.yaml: worse"],
    ),
    (
        HostsFailed({"a": Unreachable("a", "down"), "b": Locked("b", {"who": "ann", "when": "t", "run": "r"})}),
        "HostsFailed",
        3,
        ["a: down", "b: locked by ann since t (run r). Wait for that run to end"],
    ),
    (HostsFailed({"a": Unreachable("a", "down")}), "HostsFailed", 4, ["a: down"]),
    (DrainTimeout("nova", 60, ["queue conductor: 1 ready"]), "DrainTimeout", 3, []),
    (LeftoverMessages("nova", {"nova/conductor": 3}), "LeftoverMessages", 3, []),
    (GateFailed("nova", [Silence("nova", "conductor@ctl1", "ctl1", "no answer")]), "GateFailed", 3, []),
]


@pytest.mark.parametrize(("error", "kind", "code", "parts"), ERRORS, ids=[f"{one[1]} {one[2]}" for one in ERRORS])
def test_an_error_has_its_kind_its_exit_code_and_each_part(
    error: HybridmsgError, kind: str, code: int, parts: list[str]
) -> None:
    found = through_json(documents.error_document(error))["error"]
    assert found == {"kind": kind, "message": str(error), "exit_code": code, "parts": parts}


def test_equal_work_on_several_hosts_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_plan(PLAN, diff=True)
    shown = capsys.readouterr().out
    assert shown.count(f"write {NOVA}") == 1
    assert shown.count("--- /etc/nova/nova.conf") == 1
    assert shown.count("ctl1, ctl2") == 6, "once for each of five waves, once for the diff"
    assert "2 RPC servers must answer" in shown


def test_a_plan_for_routers_shows_their_changes_and_the_cells(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_plan(HYBRID, diff=False)
    shown = capsys.readouterr().out
    assert "routers: rtr1: + router, port 31459" in shown
    assert "cell cell1: rabbit://stack:***@10.9.9.9:5672/ becomes amqp://nova:***@10.0.0.31:31459" in shown
    assert "cell cell2 stays on rabbit://x:***@10.7.7.7:5672/" in shown


def test_pauses_say_how_long_they_were_and_what_was_lost(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_pauses([PAUSE, Pause("glance", 1.04, 0)])
    lost = "had to be killed, with what they were executing: nova-conductor on ctl2"
    assert capsys.readouterr().out.splitlines() == [
        f"nova: its callers paused for 21.3 s, 2.1 s of it draining; {lost}",
        "glance: its callers paused for 1.0 s, 0.0 s of it draining",
    ]


def test_a_section_in_a_diff_is_not_taken_for_a_style(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_plan(PLAN, diff=True)
    shown = capsys.readouterr().out
    assert "+[oslo_messaging_notifications]" in shown
    assert " [database]" in shown


def test_without_the_diff_the_plan_is_the_waves_only(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_plan(PLAN, diff=False)
    assert "transport_url" not in capsys.readouterr().out


def test_a_plan_of_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_plan(done(), diff=True)
    assert capsys.readouterr().out == "Nothing to do: every host is as the inventory says.\n"


def test_what_a_program_said_is_shown_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_checks([HOLDS, SILENT], "Verification")
    shown = capsys.readouterr().out
    assert "[errno 111] refused by [/etc]" in shown
    assert "1 of 2 checks hold." in shown
    assert "NO" in shown
    assert " 12 " in shown


def test_a_rollback_counts_what_is_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    restored = [
        Restored("ctl1", NOVA, same=True, detail="as before"),
        Restored("ctl1", "nova-api", same=False, detail="active was [/x]"),
    ]
    rollback.show_rollback(Rollback(RUN, restored, [HOLDS]))
    shown = capsys.readouterr().out
    assert "active was [/x]" in shown
    assert "1 of 2 files and units are as before the run" in shown
    assert "conductor@ctl1" in shown


PROBLEM = FileRefused(NOVA, "a section header does not end with ]: [/oops", "Mend [DEFAULT] or [database]", 3, "ctl1")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (status(plan=PLAN), "Changes are pending"),
        (status(plan=done()), "In line with the inventory."),
        (status(problem=PROBLEM), f"Cannot be planned: {PROBLEM}"),
        (status(), "cannot be known while a host is unreachable"),
        (status(last=RUN), "Last run: r1 (migrate by ann@ops1), done"),
        (status(), "Last run: none is recorded here."),
    ],
)
def test_a_status_says_in_words_where_the_cloud_stands(
    found: Status, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found.errors.update({name: Unreachable(name, "down [/x]") for name in ("ctl1", "ctl2")})
    console.show_status(found)
    shown = capsys.readouterr().out
    assert words in shown
    assert "down [/x]" in shown


SHOWN: list[Callable[[], None]] = [
    lambda: console.show_plan(PLAN, diff=True),
    lambda: console.show_plan(HYBRID, diff=True),
    lambda: console.show_checks([HOLDS, SILENT], "Verification"),
    lambda: rollback.show_rollback(Rollback(RUN, [Restored("ctl1", NOVA, same=False, detail="x")], [SILENT])),
    lambda: console.show_status(Status(SITE, facts(), {}, plan=PLAN, last=RUN)),
]


@pytest.mark.parametrize("show", SHOWN, ids=["plan", "hybrid", "checks", "rollback", "status"])
def test_a_pipe_gets_no_escape_codes_and_no_line_is_cut(
    show: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    show()
    shown = capsys.readouterr().out
    assert shown
    assert "\x1b" not in shown
    assert "…" not in shown


@pytest.mark.parametrize("show", SHOWN, ids=["plan", "hybrid", "checks", "rollback", "status"])
def test_no_color_means_no_escape_codes_on_a_terminal_either(
    show: Callable[[], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    show()
    assert "\x1b[" in capsys.readouterr().out, "a terminal gets colours"
    monkeypatch.setenv("NO_COLOR", "1")
    show()
    assert "\x1b" not in capsys.readouterr().out


def forms() -> dict[str, str]:
    """Every way in which a plan comes to light."""
    waves = [*PLAN.waves(), *HYBRID.waves()]
    steps = [
        Step.of(intent, 1, wave.scope) for wave in waves for intents in wave.intents.values() for intent in intents
    ]
    edits = [edit for project in PLAN.projects for own in project.edits.values() for edit in own]
    return {
        "document": json.dumps(documents.plan_document(PLAN)),
        "document for routers": json.dumps(documents.plan_document(HYBRID)),
        "migration": json.dumps(documents.migration_document(Migration(PLAN, RUN, [PAUSE], [HOLDS]))),
        "plan": repr(PLAN) + str(PLAN),
        "plan for routers": repr(HYBRID) + str(HYBRID),
        "waves": repr(waves),
        "steps": repr(steps) + str(steps),
        "edits": repr(edits),
        "facts": repr(facts(cloud.broker(SITE))),
        "deployment": repr(SITE),
        "status": repr(Status(SITE, facts(), {}, plan=PLAN)),
    }


@pytest.mark.parametrize("form", forms())
def test_no_form_of_a_plan_shows_a_password(form: str) -> None:
    shown = forms()[form]
    assert not [canary for canary in CANARIES if canary in shown]


def test_the_terminal_shows_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_plan(PLAN, diff=True)
    console.show_plan(HYBRID, diff=True)
    console.show_status(Status(SITE, facts(), {}, plan=PLAN))
    shown = capsys.readouterr().out
    assert "***" in shown
    assert not [canary for canary in CANARIES if canary in shown]


@pytest.mark.parametrize("broken", ["[DEFAULT\npassword = canary\n", "[DEFAULT]\ncanary\n", "transport_url = canary\n"])
def test_an_error_about_a_file_shows_nothing_that_stands_in_it(broken: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_plan(SITE, facts(nova=broken))
    assert "canary" not in str(caught.value)
    assert "canary" not in json.dumps(documents.error_document(caught.value))


def test_the_wire_carries_what_the_repr_hides() -> None:
    intent = PLAN.projects[0].edits["ctl1"][0].intent()
    assert Step.of(intent, 7, "project:nova").wire()["args"]["content_b64"]
    assert Step.of(intent, 7, "project:nova").id == "0007"


def test_a_stand_in_for_a_router_is_told_in_every_report(capsys: pytest.CaptureFixture[str]) -> None:
    told = replace(HYBRID, routers=replace(HYBRID.routers, versions={"rtr1": "0.1 (stand-in)"}))
    console.show_plan(told, diff=False)
    rollback.show_rollback(Rollback(RUN, projects=["nova"], routers={"rtr1": "0.1 (stand-in)"}))
    assert capsys.readouterr().out.count("rtr1: its router is 0.1 (stand-in)") == 2
    assert through_json(documents.plan_document(told))["routers"]["versions"] == {"rtr1": "0.1 (stand-in)"}


def test_warnings_and_what_is_left_alone_are_told_in_every_form_also_when_nothing_is_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    swift = replace(SITE, projects=(*SITE.projects, cloud.project("swift", CTL1)))
    told = replace(done(), deployment=swift, warnings=("each notification is sent twice",))
    console.show_plan(told, diff=False)
    shown = capsys.readouterr().out
    assert "warning: each notification is sent twice\n" in shown
    assert "left alone: swift: known, and not edited by hybridmsg\n" in shown
    document = through_json(documents.plan_document(told))
    assert document["warnings"] == ["each notification is sent twice"]
    assert document["left_alone"][0].startswith("swift: ")
