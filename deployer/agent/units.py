"""systemd's units: as they are (one `systemctl show` for all), and started, stopped, restarted, enabled."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from deployer.agent.errors import RefusedError, StepError
from deployer.agent.images import user_name
from deployer.agent.run import environment, run
from deployer.agent.types import Json

SHOW_TIMEOUT = 60.0
LONGEST_STOP = 600.0  # seconds; the controller's deadline allows for as much (rollout/carry.py)
STOP_GRACE = 10.0  # seconds for systemd to kill what did not end in the unit's own time, and to say so
_PROPERTIES = (
    "Id,Names,LoadState,ActiveState,UnitFileState,MainPID,NeedDaemonReload,Result,ExecStart,Environment,"
    "EnvironmentFiles,TimeoutStopUSec"
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
# oslo.config's environment source: OS_GROUP__OPTION comes before every file.
_OVERRIDE = re.compile(r"(?<![A-Za-z0-9_])(OS_[A-Z0-9_]+?__[A-Z0-9_]+)=")
_ENVIRONMENT_FILE = re.compile(r"(/.*) \(ignore_errors=(?:yes|no)\)")
_TITLE = re.compile(r"\S+: master process \[(.+)\]")  # cotyledon puts its sys.argv there: ceilometer, octavia


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


def facts(names: Sequence[str]) -> dict[str, Json]:
    """Return the protocol's entry of each unit."""
    return {name: _facts(properties) for name, properties in show(names).items()}


def _facts(properties: dict[str, str]) -> Json:
    pid = int(properties.get("MainPID") or 0)
    argv = _argv(pid)
    return {
        "load": properties.get("LoadState", "not-found"),
        "active": properties.get("ActiveState", "inactive"),
        "enabled": properties.get("UnitFileState", ""),
        "started": _started(pid),
        "user": _owner(pid),
        "interpreter": _interpreter(pid, argv, properties) if pid else None,
        "argv": argv,
        "environment": _environment(pid, properties),
    }


def _argv(pid: int) -> list[str]:
    """Return the process's command line, read out of its title if need be; empty when it is gone."""
    text = _text(f"/proc/{pid}/cmdline").rstrip("\0")
    title = _TITLE.fullmatch(text)
    return title.group(1).split() if title else text.split("\0") if text else []


def _environment(pid: int, properties: dict[str, str]) -> list[str]:
    """Return the names of the variables that override a service's files.

    From systemd too: a process that rewrote its title wrote over its environment in /proc.
    """
    files = _ENVIRONMENT_FILE.findall(properties.get("EnvironmentFiles", ""))
    lines = [line for path in files for line in _text(path).splitlines() if not line.lstrip().startswith(("#", ";"))]
    entries = [*_text(f"/proc/{pid}/environ").split("\0"), properties.get("Environment", ""), *lines]
    return sorted({name for entry in entries for name in _OVERRIDE.findall(entry)})


def _text(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def _started(pid: int) -> float | None:
    """Return when the process began (seconds since the epoch, to a clock tick): field 22 of proc_pid_stat(5)."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if not fields:
        return None
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot


def _owner(pid: int) -> str:
    """Return the process's effective user; the owner of /proc/PID may be root for one that gave root up."""
    status = _text(f"/proc/{pid}/status")
    uids = next((line.split() for line in status.splitlines() if line.startswith("Uid:")), [])
    return user_name(int(uids[2])) if len(uids) > 2 else ""


def _interpreter(pid: int, argv: list[str], properties: dict[str, str]) -> str | None:
    """Return a service's Python: its argv[0] (a venv's own python), its program's #! line, or its binary.

    The last two serve processes that rewrote their title; the binary comes last: it looks through a venv.
    """
    if argv and _is_python(argv[0]):
        found = argv[0] if argv[0].startswith("/") else shutil.which(argv[0], path=environment()["PATH"])
        if found:
            return found
    started = _STARTED_PROGRAM.search(properties.get("ExecStart", ""))
    programs = [*argv[:1], *(started.groups() if started else ())]
    candidates = [*(shebang(path) for path in programs if path.startswith("/")), _binary(pid)]
    return next((path for path in candidates if path and _is_python(path)), None)


def _is_python(path: str) -> bool:
    return path.rpartition("/")[2].startswith("python")


def _binary(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return None


def shebang(path: str) -> str | None:
    """Return the interpreter in a program's #! line (`env NAME` resolved on PATH), None without one."""
    try:
        with open(path, "rb") as file:
            line = file.readline(512)
    except OSError:
        return None
    words = line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []
    if len(words) > 1 and words[0].endswith("/env"):
        return shutil.which(words[-1], path=environment()["PATH"])
    return words[0] if words else None


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
    done = run(["systemctl", verb, "--", unit], timeout)
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
