"""What a reconcile leaves to be watched: a JSON report of each, and metrics for node_exporter's textfile collector."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from deployer.journal import durable
from deployer.plan.drift import DEEP, KINDS
from deployer.schedule.public import replace

STATES = ("in line", "drift", "repaired", "held", "failed")
KEPT = 100
_LAST = "last.json"
_WRITTEN = "[0-9]*Z.json"


def keep(report: Mapping[str, Any], directory: Path | None, metrics: Path | None) -> None:
    """Write a report and metrics where they are wanted: the options --report DIR and --metrics FILE of a reconcile."""
    told = write_report(directory, report) if directory else follow(report, None)
    if metrics:
        write_metrics(metrics, render(told))


def render(report: Mapping[str, Any]) -> str:
    """Return a report (as `follow` completes it) in Prometheus' text format; times are 0 for what never was."""
    registry = CollectorRegistry()
    here = str(report.get("inventory", ""))

    def gauge(name: str, text: str, values: Mapping[str, float], label: str = "") -> None:
        one = Gauge(f"hybridmsg_{name}", text, ["inventory", label] if label else ["inventory"], registry=registry)
        for key, value in values.items():
            one.labels(here, *([key] if label else ())).set(value)

    def moment(name: str, text: str, when: str | None) -> None:
        gauge(f"reconcile_last_{name}timestamp_seconds", text, {"": _seconds(when)})

    moment("run_", "When the last reconcile began.", report["when"])
    moment("success_", "When the last reconcile began that left the cloud in line.", report["last_success"])
    moment("deep_", "When the last deep reconcile began that came to an end.", report["last_deep"]["when"])
    gauge("reconcile_duration_seconds", "How long the last reconcile took.", {"": report["seconds"]})
    gauge("drift", "Differences found by the last look for them, repaired or not.", _counted(report), "kind")
    gauge("held", "Whether a rollback's hold keeps reconcile from changing anything.", {"": report["state"] == "held"})
    states = {state: float(report["state"] == state) for state in STATES}
    gauge("state", "How the last reconcile ended: 1 for the one state that is true.", states, "state")
    return generate_latest(registry).decode()


def follow(report: Mapping[str, Any], previous: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the report with what it has from earlier ones: `last_success`, and `last_deep` {"when", "drift"}.

    Both are of this run where it was one: a quick run neither sees nor denies what only a deep look finds.
    """
    before = previous or {}
    found = Counter(one["kind"] for one in report["drift"])
    deep = {"when": report["when"], "drift": {kind: found[kind] for kind in KINDS if kind in DEEP}}
    looked = report["deep"] and report["state"] != "failed"
    return {
        **report,
        "last_success": report["when"] if report["ok"] else before.get("last_success"),
        "last_deep": deep if looked else before.get("last_deep", {"when": None, "drift": {}}),
    }


def write_report(directory: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a report as WHEN.json and last.json (0600), the newest KEPT of them; return it as kept."""
    told = follow(report, last_report(directory))
    text = json.dumps(told, indent=1).encode()
    for name in (f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}.json", _LAST):
        durable.write(directory / name, text)
    for old in sorted(directory.glob(_WRITTEN))[:-KEPT]:
        old.unlink(missing_ok=True)
    return told


def last_report(directory: Path) -> dict[str, Any] | None:
    """Return the last report kept there, None when there is none that can be read as one."""
    try:
        found = json.loads((directory / _LAST).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_metrics(path: Path, text: str) -> None:
    """Replace the metrics' file as a whole; whoever exports it may read it (0644)."""
    replace(path, text)


def deep_is_due(directory: Path, every: float, now: datetime) -> bool:
    """Whether the last deep reconcile that is reported there began `every` seconds before `now` or longer ago."""
    last = (last_report(directory) or {}).get("last_deep", {}).get("when")
    return now.timestamp() - _seconds(last) >= every


def _counted(report: Mapping[str, Any]) -> dict[str, float]:
    found = Counter(one["kind"] for one in report["drift"])
    deep = report["last_deep"]["drift"]
    return {kind: found[kind] or deep.get(kind, 0) for kind in KINDS}


def _seconds(when: str | None) -> float:
    return datetime.fromisoformat(when).timestamp() if when else 0.0
