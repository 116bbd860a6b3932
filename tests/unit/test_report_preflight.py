from __future__ import annotations

import json

import pytest

from deployer.errors import Finding, PreflightFailed
from deployer.report.documents import error_document
from deployer.report.preflight import preflight_document, show_preflight
from deployer.rollout.outcome import Preflight

FINDINGS = [
    Finding("ctl1", "clock", "ok", "0.0 s behind this machine's"),
    Finding("msg1", "version", "later", "RabbitMQ is installed by the run"),
    Finding("ctl2", "disk", "failed", "/etc has [7] MB free", "Packages need 200 MB"),
    Finding("ctl3", "disk", "failed", "/etc has [7] MB free", "Packages need 200 MB"),
    Finding("cmp1", "reachable", "waived", "connection refused", "It is left out", waiver="cmp1"),
]


def test_failures_come_first_and_once_for_all_hosts_that_share_them(capsys: pytest.CaptureFixture[str]) -> None:
    show_preflight(Preflight(FINDINGS))
    shown = capsys.readouterr().out
    assert shown.count("/etc has [7] MB free") == 1
    assert "ctl2, ctl3" in shown
    assert shown.index("FAILED") < shown.index("waived") < shown.index("later")
    assert "0.0 s behind" not in shown
    assert shown.endswith("5 findings: 2 failed, 1 waived, 1 later, 1 ok.\nA migration would be refused.\n")


def test_a_cloud_without_a_fault_is_told_in_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_preflight(Preflight(FINDINGS[:1]))
    assert capsys.readouterr().out == "1 findings: 1 ok.\nA migration can begin.\n"


def test_the_document_has_every_finding_and_the_name_that_waives_it() -> None:
    document = json.loads(json.dumps(preflight_document(Preflight(FINDINGS))))
    assert document["ok"] is False
    assert [one["state"] for one in document["findings"]] == ["ok", "later", "failed", "failed", "waived"]
    assert document["findings"][4]["waiver"] == "cmp1"


def test_a_refusal_names_each_finding_apart() -> None:
    refused = PreflightFailed([one for one in FINDINGS if one.state == "failed"])
    found = error_document(refused)["error"]
    assert (found["kind"], found["exit_code"]) == ("PreflightFailed", 3)
    assert found["parts"] == [f"{host}: disk: /etc has [7] MB free. Packages need 200 MB" for host in ("ctl2", "ctl3")]
