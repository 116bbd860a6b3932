"""How a scheduled reconcile stands, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from deployer.report.console import console
from deployer.report.documents import SCHEMA
from deployer.schedule.install import Standing


def schedule_document(found: Standing | None) -> dict[str, Any]:
    """Return how a schedule stands; `installed` alone when there is none."""
    if found is None:
        return {"schema": SCHEMA, "installed": False}
    return {
        "schema": SCHEMA,
        "installed": True,
        "ok": found.well,
        "schedule": asdict(found.schedule),
        "timer": dict(found.timer),
        "service": dict(found.service),
        "next": found.next,
        "last": found.last,
    }


def show_schedule(name: str, found: Standing | None) -> None:
    """Print what runs how often, the last run with its result, and the next."""
    out = console()
    if found is None:
        out.print(f"There is no schedule {name} on this machine.", markup=False)
        return
    own = found.schedule
    out.print(f"{name}: reconcile of {own.inventory}, every {own.every} s, deep every {own.deep_every} s", markup=False)
    out.print(f"next:  {found.next or 'not known'}" if found.waits else "next:  never: the timer is not active")
    if found.last:
        kinds = Counter(one["kind"] for one in found.last["drift"])
        drift = ", ".join(f"{number} {kind}" for kind, number in kinds.items()) or "no drift"
        told = f"{found.last['when']}: {found.last['state']}, {drift}, {found.last['seconds']:.1f} s"
        out.print(f"last:  {told}", markup=False)
        out.print(f"in line last: {found.last['last_success'] or 'never'}", markup=False)
    else:
        out.print("last:  never ran")
    if found.service.get("Result") != "success":
        status = found.service.get("ExecMainStatus", "")
        out.print(
            f"the service failed: {found.service.get('Result')}, exit {status}: journalctl -u {name}", markup=False
        )
