"""The reports for programs: plain dicts for JSON. `schema` rises when a key changes its meaning or goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any

from deployer.errors import ConfigurationError, HostsFailed, HybridmsgError, PreflightFailed
from deployer.plan.checks import Check
from deployer.plan.planner import Plan
from deployer.plan.warnings import left_alone
from deployer.rollout.outcome import Migration, Status

SCHEMA = 1


def plan_document(plan: Plan, stale: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Return the plan: its waves in order, the masked diff of each file, and the servers that must answer after it.

    `stale` says why, by project, what a saved plan held is left alone.
    """
    return {
        "schema": SCHEMA,
        "changed": plan.changed,
        "waves": [
            {
                "title": wave.title,
                "scope": wave.scope,
                "hosts": {host: [one.reason for one in intents] for host, intents in wave.intents.items()},
            }
            for wave in plan.waves()
        ],
        "steps": _steps(plan),
        "stale": {project: list(reasons) for project, reasons in (stale or {}).items()},
        "definitions": list(plan.brokers.definitions),
        "routers": {"changes": list(plan.routers.changes), "versions": dict(plan.routers.versions)},
        "cells": [line for project in plan.projects for line in project.lines],
        "restarts": list(plan.restarts),
        "warnings": list(plan.warnings),
        "left_alone": list(left_alone(plan.deployment)),
        "files": [
            {"host": host, "path": edit.path, "diff": edit.diff()}
            for project in plan.projects
            for host, own in project.edits.items()
            for edit in own
        ],
        "expected": [server.record() for project in plan.projects for server in project.servers],
    }


def migration_document(done: Migration) -> dict[str, Any]:
    """Return what a migration did; `run` is null when there was nothing to do."""
    return {
        "schema": SCHEMA,
        "changed": done.run is not None,
        "run": done.run.run if done.run else None,
        "hosts": dict(done.hosts),
        "plan": plan_document(done.plan, done.stale),
        "pauses": [asdict(pause) for pause in done.pauses],
        "checks": [check.record() for check in done.checks],
    }


def checks_document(checks: Sequence[Check]) -> dict[str, Any]:
    """Return a verification."""
    return {"schema": SCHEMA, "ok": all(check.ok for check in checks), "checks": [check.record() for check in checks]}


def status_document(found: Status) -> dict[str, Any]:
    """Return where the cloud stands; `pending` is null while it cannot be known."""
    told = ("run", "command", "state", "who", "when", "ended", "error", "projects")
    return {
        "schema": SCHEMA,
        "hosts": {
            name: {"reachable": name in found.facts, "error": str(found.errors[name]) if name in found.errors else None}
            for name in found.deployment.hosts
        },
        "routers": found.routers,
        "pending": found.plan.changed if found.plan else None,
        "problem": str(found.problem) if found.problem else None,
        "last_run": {key: getattr(found.last, key) for key in told} if found.last else None,
    }


def error_document(error: HybridmsgError) -> dict[str, Any]:
    """Return an error: its kind, its message and the exit code; each mistake or host apart where there are several.

    `hosts` is how each host ended, empty where none was to be touched.
    """
    parts: list[str] = []
    if isinstance(error, ConfigurationError):
        parts = [str(mistake) for mistake in error.mistakes]
    if isinstance(error, HostsFailed):
        parts = [str(one) for one in error.errors.values()]
    if isinstance(error, PreflightFailed):
        parts = [str(one) for one in error.findings]
    found = {"kind": type(error).__name__, "message": str(error), "exit_code": error.exit_code, "parts": parts}
    return {"schema": SCHEMA, "error": found, "hosts": dict(error.hosts)}


def _steps(plan: Plan) -> list[dict[str, str]]:
    """Return every step in its order, with the id that it has when nothing else comes between."""
    numbers = count(1)
    return [
        {"id": step.id, "host": host, "scope": step.scope, "kind": step.kind, "reason": step.reason}
        for wave in plan.waves()
        for host, own in wave.steps(numbers).items()
        for step in own
    ]
