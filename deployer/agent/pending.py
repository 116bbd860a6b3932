"""What this host puts back by itself unless it is confirmed: `STATE/pending.json`.

`{"run", "boot", "scopes": {scope: deadline}, "problem": {scope: text}}`. A deadline is in seconds since the boot of
that id, for a clock that is set must not move it; after another boot it is over. A problem stands where the host began
to put the scope back by itself, and says why it is not back.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from deployer.agent import state_files
from deployer.agent.errors import RefusedError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Pending:
    """The scopes of one run that wait for their confirmation on this host."""

    run: str
    boot: str
    scopes: dict[str, float] = field(default_factory=dict)
    problem: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, run: str) -> Pending:
        """Return a run's, with nothing pending yet."""
        return cls(run, boot_id())

    def begun(self, scope: str, deadline: float) -> Pending:
        """Return it with one more scope; `deadline` in seconds since this boot."""
        older = self.scopes if self.boot == boot_id() else dict.fromkeys(self.scopes, 0.0)
        return replace(self, boot=boot_id(), scopes={**older, scope: deadline})

    def without(self, scope: str) -> Pending:
        """Return it without a scope that is confirmed, or back."""
        rest = {name: deadline for name, deadline in self.scopes.items() if name != scope}
        return replace(self, scopes=rest, problem={name: self.problem[name] for name in rest if name in self.problem})

    def noted(self, scope: str, problem: str) -> Pending:
        """Return it with what keeps a scope from being back."""
        return replace(self, problem={**self.problem, scope: problem})

    def due(self) -> list[str]:
        """Return the scopes that wait no longer, the one that began last first."""
        over = self.boot != boot_id()
        return [scope for scope, deadline in reversed(self.scopes.items()) if over or deadline <= uptime()]


def read(state: Path) -> Pending | None:
    """Return what is pending, None when nothing is; raises RefusedError when the file is damaged."""
    path = state / state_files.PENDING
    document = state_files.read(path)
    if document is None:
        return None
    try:
        scopes = {str(scope): float(deadline) for scope, deadline in document["scopes"].items()}
        return Pending(str(document["run"]), str(document["boot"]), scopes, dict(document["problem"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"{path} is damaged", "Roll the newest run back: that removes it") from error


def save(state: Path, pending: Pending) -> None:
    """Make it durable; the file goes with the last scope. Raises StepError."""
    state_files.write(state / state_files.PENDING, asdict(pending) if pending.scopes else None)


def remove(state: Path) -> None:
    """Forget all that is pending, also what is damaged."""
    state_files.write(state / state_files.PENDING, None)


def boot_id() -> str:
    """Return the id of the host's boot."""
    return _BOOT_ID.read_text().strip()


def uptime() -> float:
    """Return the seconds since the boot, those in which the host slept among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
