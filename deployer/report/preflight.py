"""A preflight for people, equal lines of several hosts as one, and as a document for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from rich.table import Table
from rich.text import Text

from deployer.errors import Finding, FindingState
from deployer.report.console import console
from deployer.report.documents import SCHEMA
from deployer.rollout.outcome import Preflight

_STYLES: dict[FindingState, str] = {
    "failed": "bold red",
    "waived": "yellow",
    "later": "cyan",
    "told": "",
    "ok": "green",
}


def show_preflight(found: Preflight) -> None:
    """Print what is not simply in order, failures first, and how many of each there are."""
    out = console()
    table = Table(title="Preflight", title_justify="left")
    for column in ("host", "check", "state", "found", "remedy"):
        table.add_column(column)
    for one, hosts in _grouped(found.findings):
        state = Text(one.state.upper() if one.state == "failed" else one.state, _STYLES[one.state])
        table.add_row(Text(", ".join(hosts)), Text(one.check), state, Text(one.detail), Text(one.remedy))
    if table.row_count:
        out.print(table)
    counted = Counter(finding.state for finding in found.findings)
    told = ", ".join(f"{counted[state]} {state}" for state in _STYLES if counted[state])
    out.print(f"{len(found.findings)} findings: {told}.", markup=False)
    out.print("A migration would be refused." if found.failed else "A migration can begin.")


def preflight_document(found: Preflight) -> dict[str, Any]:
    """Return every finding; `waiver` is the name by which one may be waived, "" for one that may not."""
    return {"schema": SCHEMA, "ok": not found.failed, "findings": [asdict(finding) for finding in found.findings]}


def _grouped(findings: Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
    """Return what is not ok, once for all hosts of which the same was found, in the order of the states."""
    order = list(_STYLES)
    groups: dict[Finding, list[str]] = {}
    for one in sorted(findings, key=lambda one: order.index(one.state)):
        if one.state != "ok":
            groups.setdefault(replace(one, host="", waiver=""), []).append(one.host)
    return list(groups.items())
