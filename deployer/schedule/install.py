"""A scheduled reconcile on this machine: its systemd units put there, taken away, and how it stands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from deployer.errors import HostError
from deployer.journal import durable
from deployer.schedule.metrics import last_report
from deployer.schedule.public import replace
from deployer.schedule.units import Schedule, written_in

UNITS = Path("/etc/systemd/system")
_HERE = "this machine"
_TIMEOUT = 60.0
_PROPERTIES = "ActiveState,UnitFileState,Result,ExecMainStatus,ExecMainStartTimestamp"


@dataclass(frozen=True)
class Standing:
    """How a schedule stands: `last` its newest report, `next` when it runs again (ISO 8601, UTC; None: not known).

    `timer` and `service` are systemd's properties of each.
    """

    schedule: Schedule
    timer: Mapping[str, str]
    service: Mapping[str, str]
    next: str | None
    last: Mapping[str, Any] | None

    @property
    def waits(self) -> bool:
        """Whether the timer goes on, now and after a reboot."""
        return self.timer.get("ActiveState") == "active" and self.timer.get("UnitFileState") == "enabled"

    @property
    def well(self) -> bool:
        """Whether the timer goes on and the last run did not fail."""
        return self.waits and self.service.get("Result") == "success"


def install(schedule: Schedule, directory: Path = UNITS) -> None:
    """Write the units and start the timer, anew where it is there; raises HostError, OSError."""
    if (directory / f"{schedule.name}.service").exists() and not installed(schedule.name, directory):
        raise HostError(_HERE, f"{schedule.name}.service is not hybridmsg's", "Choose another --name")
    durable.make_directories(schedule.reports)  # the service sees a file system in which only what is there is writable
    for name, text in schedule.units().items():
        replace(directory / name, text)
    _systemctl("daemon-reload")
    _systemctl("enable", f"{schedule.name}.timer")
    _systemctl("restart", f"{schedule.name}.timer")


def installed(name: str, directory: Path = UNITS) -> Schedule | None:
    """Return the schedule of that name on this machine, None when there is none of ours."""
    service = directory / f"{name}.service"
    return written_in(service.read_text(encoding="utf-8")) if service.exists() else None


def remove(schedule: Schedule, directory: Path = UNITS) -> None:
    """Stop the timer and remove units and metrics; a run in hand goes on to its end, reports stay. Raises HostError."""
    _systemctl("disable", "--now", f"{schedule.name}.timer")
    for name in schedule.units():
        (directory / name).unlink(missing_ok=True)
    if schedule.metrics_file:
        schedule.metrics_file.unlink(missing_ok=True)
    _systemctl("daemon-reload")
    _systemctl("reset-failed", f"{schedule.name}.*", needed=False)


def standing(schedule: Schedule) -> Standing:
    """Return how a schedule stands; raises HostError, and OSError where its reports may not be read."""
    timer, service = f"{schedule.name}.timer", f"{schedule.name}.service"
    return Standing(schedule, _show(timer), _show(service), _next(timer), last_report(schedule.reports))


def _show(unit: str) -> dict[str, str]:
    lines = _systemctl("show", "-p", _PROPERTIES, unit).splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _next(timer: str) -> str | None:
    answer = _systemctl("list-timers", "--all", "--output=json", timer, needed=False)
    try:
        [found] = json.loads(answer)
    except ValueError:  # an older systemd has no JSON here
        return None
    microseconds = found.get("next")
    if not microseconds:
        return None
    return datetime.fromtimestamp(microseconds / 1e6, timezone.utc).isoformat(timespec="seconds")


def _systemctl(*words: str, needed: bool = True) -> str:
    argv: Sequence[str] = ["systemctl", "--no-pager", *words]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except FileNotFoundError:
        raise HostError(
            _HERE, "it has no systemctl", "A schedule is systemd's: run reconcile from cron instead"
        ) from None
    except subprocess.TimeoutExpired:
        raise HostError(_HERE, f"systemctl {words[0]} did not end within {_TIMEOUT:g} s") from None
    if needed and done.returncode:
        raise HostError(_HERE, f"systemctl {' '.join(words)} failed: {done.stderr.strip()}")
    return done.stdout
