"""What starts the guard: a unit at each boot, ahead of the services, and a timer while something is pending.

Both run the agent's own zip, kept beside its journal, so that they need nobody.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from deployer.agent import files, images, state_files, units
from deployer.agent.errors import RefusedError
from deployer.agent.run import Completed, run

ZIP = "agent.zip"
GUARD = "hybridmsg-guard.service"
TIMER, TIMED = "hybridmsg-confirm.timer", "hybridmsg-confirm.service"
LOG_NAME = "hybridmsg-guard"
"""What the guard says stands in systemd's journal under this name (`journalctl -t`), whoever started it."""
UNITS = Path("/etc/systemd/system")
ASK_TIMEOUT = 60.0  # seconds

# network-online.target is not wanted, only waited for where others want it: no host boots slower for this unit's sake.
_UNIT = """\
[Unit]
Description=Put back what hybridmsg changed on this host and nobody confirmed
ConditionPathExists={pending}
RequiresMountsFor={state}
After=local-fs.target network-online.target
Before={before}

[Service]
Type=oneshot
ExecStart={command} boot
SyslogIdentifier={name}
TimeoutStartSec=300

[Install]
WantedBy=multi-user.target
"""


def install(state: Path, services: Iterable[str]) -> None:
    """Have the guard run at each boot before these services, and those of earlier runs; StepError, RefusedError.

    `services` are names with or without their suffix. The program is tried once, with the host's own Python.
    """
    _put(state / ZIP, own_zip(), 0o600)
    run([*_command(state), "check"], ASK_TIMEOUT).check("the guard does not run on this host")
    unit = UNITS / GUARD
    before = sorted({*_ordered(unit), *map(units.full_name, services)})
    text = _UNIT.format(
        pending=state / state_files.PENDING,
        state=state,
        before=" ".join(before),
        command=" ".join(_command(state)),
        name=LOG_NAME,
    )
    if _put(unit, text.encode(), 0o644) or units.state(GUARD)["reload_needed"]:
        units.reload()
    if units.state(GUARD)["enabled"] != "enabled":
        run(["systemctl", "enable", "--", GUARD], ASK_TIMEOUT).check(f"{GUARD} cannot be enabled")


def arm(state: Path, seconds: float) -> None:
    """Run the guard `seconds` from now, and not earlier; raises StepError.

    Only for who holds the host's lock: a guard that an earlier timer started waits for that, and is done without.
    """
    run(["systemctl", "stop", "--", TIMER, TIMED], ASK_TIMEOUT)
    run(["systemctl", "reset-failed", "--", TIMER, TIMED], ASK_TIMEOUT)
    schedule(state, seconds).check("the timer that puts this host back cannot be started")


def schedule(state: Path, seconds: float) -> Completed:
    """Run the guard `seconds` from now, unless a timer for it stands already."""
    timer = [f"--on-active={math.ceil(seconds)}s", "--timer-property=AccuracySec=1s"]
    service = [f"--unit={TIMED}", f"--property=SyslogIdentifier={LOG_NAME}"]
    return run(["systemd-run", *timer, *service, "--", *_command(state)], ASK_TIMEOUT)


def disarm() -> None:
    """Stop the timer, and let no guard that failed be complained of any more.

    A timer that runs all the same finds nothing pending; a guard that it started already is left.
    """
    run(["systemctl", "stop", "--", TIMER], ASK_TIMEOUT)
    run(["systemctl", "reset-failed", "--", TIMER, TIMED, GUARD], ASK_TIMEOUT)


def own_zip() -> bytes:
    """Return the zip that this agent was started from; raises RefusedError when it was not."""
    archive = getattr(__spec__.loader, "archive", None)
    if archive is None:
        raise RefusedError("this agent does not run from its zip")
    return Path(archive).read_bytes()


def _command(state: Path) -> list[str]:
    if not sys.executable or any(character.isspace() for character in f"{sys.executable}{state}"):
        raise RefusedError(f"a unit cannot start {sys.executable!r} with {state}")
    return [sys.executable, "-I", str(state / ZIP), "guard"]


def _ordered(unit: Path) -> list[str]:
    """Return the units that the guard is ordered before by now."""
    lines = images.read(str(unit)).content.decode(errors="replace").splitlines()
    return [name for line in lines if line.startswith("Before=") for name in line[len("Before=") :].split()]


def _put(path: Path, content: bytes, mode: int) -> bool:
    """Write the file unless it is so already, and return whether it was not; raises StepError, RefusedError."""
    wanted = files.Wanted(content, mode, os.geteuid(), os.getegid())
    if wanted.is_now(images.read(str(path))):
        return False
    files.replace(str(path), wanted)
    return True
