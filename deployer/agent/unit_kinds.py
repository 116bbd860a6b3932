"""The step kinds that change systemd's units, and their undo: each unit is as it was before."""

from __future__ import annotations

from deployer.agent import units
from deployer.agent.deeds import Deed, Undo
from deployer.agent.journal import Journal
from deployer.agent.types import Json, Prepare, Prepared, Step, StepOutcome

UNIT_TIMEOUT = 120.0  # seconds, when the step names none
RUNNING = ("active", "activating", "reloading")
STOPPED = ("inactive", "failed")


def _prepare(step: Step) -> Prepared:
    unit, verb = units.full_name(step.args["unit"]), step.kind.rpartition(".")[2]
    before = units.state(unit)

    def act() -> StepOutcome:
        if not _needed(verb, before):
            return StepOutcome(changed=False, after=before)
        return _control(verb, unit, before, step.args.get("timeout") or UNIT_TIMEOUT)

    return Prepared(unit, act, before)


def _needed(verb: str, before: Json) -> bool:
    if verb == "enable":
        return bool(before["enabled"] != "enabled")
    if verb == "disable":
        return bool(before["enabled"] == "enabled")
    if verb == "stop":
        return before["active"] not in STOPPED
    return verb == "restart" or bool(before["active"] != "active")


def _control(verb: str, unit: str, now: Json, timeout: float) -> StepOutcome:
    if now["reload_needed"]:
        units.reload()
    output = units.control(verb, unit, timeout)
    after = units.state(unit)
    if verb == "stop":
        after["killed"] = units.was_killed(unit)
    return StepOutcome(changed=True, output=output, after=after)


def _active_state(deed: Deed, _journal: Journal, _force: bool) -> StepOutcome:  # noqa: FBT001 - the form of every Undo
    """Back to running or stopped; one that was restarted is restarted, to read the files that are back."""
    if deed.superseded:
        return StepOutcome(changed=False, output=f"{deed.target} is restarted once for all")
    was_running, now = deed.before["active"] in RUNNING, units.state(deed.target)
    if was_running and (deed.kind == "unit.restart" or now["active"] not in RUNNING):
        verb = "restart" if deed.kind == "unit.restart" else "start"
    elif not was_running and now["active"] not in STOPPED:
        verb = "stop"
    else:
        return StepOutcome(changed=False, after=now)
    return _control(verb, deed.target, now, UNIT_TIMEOUT)


def _enabled_state(deed: Deed, _journal: Journal, _force: bool) -> StepOutcome:  # noqa: FBT001 - the form of every Undo
    verb = {"enabled": "enable", "disabled": "disable"}.get(deed.before["enabled"])
    now = units.state(deed.target)
    if verb is None or now["enabled"] == deed.before["enabled"]:
        return StepOutcome(changed=False, after=now)
    return _control(verb, deed.target, now, UNIT_TIMEOUT)


UNDO: dict[str, Undo] = {
    "unit.start": _active_state,
    "unit.stop": _active_state,
    "unit.restart": _active_state,
    "unit.enable": _enabled_state,
    "unit.disable": _enabled_state,
}
KINDS: dict[str, Prepare] = dict.fromkeys(UNDO, _prepare)
