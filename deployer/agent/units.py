"""systemd's units: as they are (one `systemctl show` for all), and started, stopped, restarted, enabled."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployer.agent import config_files, interpreters, processes, starts
from deployer.agent.config_files import Program
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.run import run
from deployer.agent.starts import Start
from deployer.agent.types import Json

SHOW_TIMEOUT = 60.0
LONGEST_STOP = 600.0  # seconds; the controller's deadline allows for as much (rollout/carry.py)
STOP_GRACE = 10.0  # seconds for systemd to kill what did not end in the unit's own time, and to say so
_PROPERTIES = (
    "Id,Names,LoadState,ActiveState,UnitFileState,MainPID,NeedDaemonReload,Result,ExecStart,Environment,"
    "EnvironmentFiles,TimeoutStopUSec,User,WorkingDirectory,InvocationID,NRestarts"
)
_TIME = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|h|d|w|month|y)")
_SECONDS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "min": 60,
    "h": 3600,
    "d": 86400,
    "w": 604800,
    "month": 2629800,
    "y": 31557600,
}
_SUFFIX = re.compile(r"\.(service|socket|target|timer|path|mount|slice|scope)$")
_STARTED_PROGRAM = re.compile(r"path=(/\S+)")
_no_block: list[str] = []
# oslo.config's environment source: OS_GROUP__OPTION comes before every file.
_OVERRIDE = re.compile(r"(?<![A-Za-z0-9_])(OS_[A-Z0-9_]+?__[A-Z0-9_]+)=")


def show(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return systemd's properties of each unit by the name asked for; raises RefusedError without it."""
    if not names:
        return {}
    full = {name: full_name(name) for name in names}
    argv = ["systemctl", "show", "--no-pager", "-p", _PROPERTIES, "--", *full.values()]
    answer = run(argv, SHOW_TIMEOUT)
    if not answer.ok:  # its stdout may have a unit's environment, values and all
        raise RefusedError(f"systemctl show failed: {answer.stderr[-500:]}", "Only hosts run by systemd are managed")
    blocks = [_properties(block) for block in answer.stdout.split("\n\n") if block.strip()]
    known = {name: block for block in blocks for name in [block["Id"], *block.get("Names", "").split()]}
    return {name: known.get(unit, {"LoadState": "not-found"}) for name, unit in full.items()}


def full_name(name: str) -> str:
    """Return the unit's name with its suffix: systemctl takes `nova-api` for `nova-api.service`."""
    return name if _SUFFIX.search(name) else f"{name}.service"


def _properties(block: str) -> dict[str, str]:
    """Return one unit's properties; the lines of one that is repeated (EnvironmentFiles) are joined."""
    found: dict[str, str] = {}
    for line in block.splitlines():
        name, _, value = line.partition("=")
        found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def facts(asked: Sequence[str] | Mapping[str, Json]) -> dict[str, Json]:
    """Return the protocol's entry of each unit; a mapping has `{"project", "program"}` of whose files are wanted."""
    wanted = asked if isinstance(asked, Mapping) else {}
    return {name: _facts(properties, wanted.get(name)) for name, properties in show(list(asked)).items()}


def _facts(properties: dict[str, str], asked: Json | None) -> Json:
    main = int(properties.get("MainPID") or 0)
    pid = processes.service(main)
    argv = processes.argv(pid)
    project = (asked or {}).get("project", "")
    start = starts.of_unit(pid, properties, project)
    exists = bool(pid) or properties.get("LoadState") == "loaded"
    program = _STARTED_PROGRAM.search(properties.get("ExecStart", ""))
    return {
        "load": properties.get("LoadState", "not-found"),
        "active": properties.get("ActiveState", "inactive"),
        "enabled": properties.get("UnitFileState", ""),
        "started": processes.started(main),
        "invocation": properties.get("InvocationID", ""),
        "restarts": int(properties.get("NRestarts") or 0),
        "user": processes.owner(pid),
        "interpreter": interpreters.of_process(pid, argv, program.group(1) if program else "", start.virtualenv)
        if pid
        else None,
        "argv": argv,
        "environment": _overrides(pid, properties, start),
        "threads": start.threads,
        "config": _config(start, project, (asked or {}).get("program", "")) if project and exists else None,
    }


def _overrides(pid: int, properties: dict[str, str], start: Start) -> list[str]:
    """Return the names of the variables that override a service's files.

    From systemd too: a process that rewrote its title wrote over its environment in /proc.
    """
    told = [*processes.text(f"/proc/{pid}/environ").split("\0"), properties.get("Environment", "")]
    told += [*starts.environment_lines(properties), *(f"{name}=" for name in start.environ)]
    return sorted({name for entry in told for name in _OVERRIDE.findall(entry)})


def _config(start: Start, project: str, name: str) -> Json:
    """Return `{"files", "from", "problem"}`: what the unit's program reads, by its words or by oslo.config's search."""
    program = Program(project, name, start.home, start.directory, start.server, start.environ)
    chosen = config_files.chosen(start.words) and not start.problem
    files = config_files.reading_order(start.words if chosen else (), program)
    special = [path for path in files if Path(path).exists() and not Path(path).is_file()]
    odd = [f"{path} is not a regular file" for path in special if path != os.devnull]
    return {
        "files": [path for path in files if path not in special],
        "from": start.origin if chosen else starts.SEARCH,
        "problem": start.problem or "; ".join(odd),
    }


def state(unit: str) -> Json:
    """Return `{"load", "active", "enabled", "reload_needed"}` of one unit."""
    properties = show([unit])[unit]
    stale = properties.get("NeedDaemonReload") == "yes" or properties.get("LoadState") == "not-found"
    return {
        "load": properties.get("LoadState", "not-found"),
        "active": properties.get("ActiveState", "inactive"),
        "enabled": properties.get("UnitFileState", ""),
        "reload_needed": stale,
    }


def was_killed(unit: str) -> bool:
    """Whether the unit, stopped just now, did not end in its time and got SIGKILL: its work was cut off."""
    return show([unit])[unit].get("Result") == "timeout"


def never_wait() -> None:
    """Let `control` only order a start from now on: in the boot, units wait for who starts them here."""
    _no_block[:] = ["--no-block"]


def control(verb: str, unit: str, timeout: float) -> str:
    """Run `systemctl VERB UNIT`, return its output; raises StepError with the end of the unit's journal.

    A stop has `timeout` seconds, and longer where the unit's own time to end is longer, LONGEST_STOP at most.
    """
    if verb == "stop":
        # systemd goes on with a stop that nobody waits for: the unit would end behind the back of who gave it up.
        timeout = max(timeout, min(_stop_time(unit), LONGEST_STOP))
    if verb in ("start", "restart"):
        # Undo after apply may restart a unit more often than StartLimitBurst allows.
        run(["systemctl", "reset-failed", "--", unit], SHOW_TIMEOUT)
    waits = _no_block if verb in ("start", "restart") else []
    done = run(["systemctl", verb, *waits, "--", unit], timeout)
    if done.ok:
        return done.output
    log = run(["journalctl", "-q", "--no-pager", "-o", "cat", "-n", "20", "-u", unit], SHOW_TIMEOUT).stdout
    how = f"not within {timeout:g} s" if done.timed_out else f"exit code {done.returncode}"
    raise StepError(f"systemctl {verb} {unit} failed ({how})", f"See journalctl -u {unit}", f"{done.output}\n{log}")


def _stop_time(unit: str) -> float:
    """Return how long systemd may take to stop the unit, by its TimeoutStopSec (`1min 30s`); 0 for infinity."""
    spans = _TIME.findall(show([unit])[unit].get("TimeoutStopUSec", ""))
    return STOP_GRACE + sum(float(number) * _SECONDS[of] for number, of in spans) if spans else 0.0


def reload() -> None:
    """Let systemd read its unit files again; raises StepError."""
    run(["systemctl", "daemon-reload"], SHOW_TIMEOUT).check("systemctl daemon-reload failed")
