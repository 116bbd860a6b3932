"""Every error that hybridmsg raises, with the exit code that ends the program.

HybridmsgError                    1
├── ConfigurationError            1   inventory, secrets, catalogue: nothing was touched
│   └── FileRefused               1   a service's file that cannot be edited safely
├── HostError                     3   something failed on one host
│   ├── Unreachable               4   no session: network, host key, login, sudo, python3
│   │   └── HostKeyRejected       4   unknown or changed key: no authentication was attempted
│   ├── ConnectionLost            3   the session ended with an answer outstanding
│   ├── DeadlineExceeded          3   the host did not answer in time
│   ├── Locked                    5   another run holds the host
│   ├── StalePlan                 6   the host no longer is what the plan was made from
│   └── StepFailed                3   the agent could not carry a step out
├── HostsFailed                 3-6   several hosts failed: their exit code where they share one, else 3
├── DrainTimeout                  3   a project's bus did not become idle in time: its callers run again as before
├── LeftoverMessages              3   old RPC queues hold messages that would be executed hours late
├── GateFailed                    3   a service does not answer on the bus
├── UndoFailed                    3   a project could not be put back: it stands between old and new
├── PreflightFailed             3-4   something stands in a run's way; 4 when that is hosts out of reach only
├── PlanOutdated                  6   a saved plan's brokers or routers are not as it saw them: nothing was touched
├── UnfinishedRun                 1   an earlier run was cut off and must be healed, or rolled back, first
├── NothingToRollBack             1   no run is recorded
├── BuiltUpon                     1   a later run that stands changed what is to be rolled back
├── UnknownRun                    1   no run, or more than one, has the name that was given
├── RecordRefused                 1   a run's record on the controller that is damaged or another version's
└── Interrupted                 130   Ctrl-C or SIGTERM

Exit code 2 is not an error: `plan` found changes pending (click's own usage errors are mapped to 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


class HybridmsgError(Exception):
    """Base of the tree. `str()` names what is wrong, where, and the remedy; it never holds a secret.

    `hosts` is how each host ended (rollout/endings.py), where the error ends a run.
    """

    exit_code = 1
    hosts: Mapping[str, str] = {}


@dataclass(frozen=True)
class Mistake:
    """One mistake in a file: `file` as given, `line` 1-based or None, `path` like `hosts.ctl1.port`."""

    file: str
    path: str
    problem: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.path}: {self.problem}" if self.path else f"{where}: {self.problem}"


class ConfigurationError(HybridmsgError):
    """The operator's input is wrong; carries every mistake found, not only the first."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(str(mistake) for mistake in mistakes))


class FileRefused(ConfigurationError):
    """A service's configuration file that cannot be edited without risk (encoding, BOM, grammar)."""

    def __init__(self, file: str, problem: str, remedy: str, line: int | None = None, host: str = "") -> None:
        self.file, self.problem, self.remedy, self.line, self.host = file, problem, remedy, line, host
        where = f"{host}: {file}" if host else file
        super().__init__([Mistake(where, "", f"{problem}. {remedy}", line)])

    def on(self, host: str) -> FileRefused:
        """Return the same refusal with the host named."""
        return FileRefused(self.file, self.problem, self.remedy, self.line, host)


class HostError(HybridmsgError):
    """Something failed on one host: `host` is its inventory name."""

    exit_code = 3

    def __init__(self, host: str, problem: str, remedy: str = "") -> None:
        self.host, self.problem, self.remedy = host, problem, remedy
        super().__init__(f"{host}: {problem}" + (f". {remedy}" if remedy else ""))


class Unreachable(HostError, ConnectionError):
    """No working session could be opened: network, host key, login, sudo or python3."""

    exit_code = 4


class HostKeyRejected(Unreachable):
    """The host key is unknown or changed; no authentication was attempted."""


class ConnectionLost(HostError, ConnectionError):
    """The session ended while an answer was outstanding: what the host did is unknown until asked again."""


class DeadlineExceeded(HostError, TimeoutError):
    """The host did not answer within the deadline."""


class Locked(HostError):
    """Another run holds the host; `holder` has who, when (ISO 8601, UTC) and run."""

    exit_code = 5

    def __init__(self, host: str, holder: dict[str, str]) -> None:
        self.holder = holder
        who, when, run = (holder.get(key, "unknown") for key in ("who", "when", "run"))
        super().__init__(host, f"locked by {who} since {when} (run {run})", "Wait for that run to end")


class StalePlan(HostError):
    """The host no longer is what the plan was made from; nothing of the step was done."""

    exit_code = 6


class StepFailed(HostError):
    """The agent could not carry a step out; `step` is its id, `output` the end of what the program printed (masked)."""

    def __init__(self, host: str, step: str, problem: str, output: str = "", remedy: str = "") -> None:
        self.step, self.output = step, output
        tail = f"\n{output.rstrip()}" if output.strip() else ""
        super().__init__(host, f"step {step} failed: {problem}", remedy)
        self.args = (f"{self.args[0]}{tail}",)


class HostsFailed(HybridmsgError):
    """One or more hosts failed in the same wave; `errors` maps inventory name to error."""

    def __init__(self, errors: dict[str, HybridmsgError]) -> None:
        self.errors = errors
        codes = {error.exit_code for error in errors.values()}
        self.exit_code = codes.pop() if len(codes) == 1 else HostError.exit_code
        super().__init__("\n".join(str(error) for error in errors.values()))


@dataclass(frozen=True)
class Silence:
    """Something that had to answer and did not: `target` like `conductor@ctl1`, with the last error seen.

    `verb` says it of what is no RPC server: `router msg2` does not hold.
    """

    project: str
    target: str
    asked_from: str
    error: str
    verb: str = "does not answer"

    def __str__(self) -> str:
        return f"{self.project}: {self.target} {self.verb} (asked from {self.asked_from or 'nowhere'}): {self.error}"


class GateFailed(HybridmsgError):
    """Services do not answer on the bus; carries each silence."""

    exit_code = 3

    def __init__(self, project: str, silent: list[Silence]) -> None:
        self.project, self.silent = project, silent
        super().__init__("\n".join(str(one) for one in silent))


class DrainTimeout(HybridmsgError):
    """Work in flight did not end in time; nothing was committed. `left` says what was still there, a line each."""

    exit_code = 3

    def __init__(self, project: str, seconds: float, left: list[str]) -> None:
        self.project, self.seconds, self.left = project, seconds, left
        what = "\n".join(f"  {line}" for line in left)
        remedy = "Wait until it is done, or give it longer: timeouts.drain in defaults.yaml"
        super().__init__(f"{project}: its bus is not idle after {seconds:g} s:\n{what}\n{remedy}")


class LeftoverMessages(HybridmsgError):
    """RPC queues that a project would come back to hold messages; `queues` maps vhost/queue to their number."""

    exit_code = 3

    def __init__(self, project: str, queues: dict[str, int]) -> None:
        self.project, self.queues = project, queues
        what = "\n".join(f"  {queue}: {number}" for queue, number in queues.items())
        problem = f"{project}: old RPC queues hold messages, which its servers would execute now, hours late:\n{what}"
        super().__init__(f"{problem}\nLook at them, then run again with --purge-leftovers, which deletes them")


HEAL = "`hybridmsg reconcile` heals it, `hybridmsg rollback` takes the whole run back"
"""What the operator can do about a run that was cut off."""


class UndoFailed(HybridmsgError):
    """A project failed and could not be put back either; carries both errors."""

    exit_code = 3

    def __init__(self, project: str, cause: BaseException, undo: BaseException) -> None:
        self.project, self.cause, self.undo = project, cause, undo
        problem = f"{project} failed and could not be put back: {undo or type(undo).__name__}"
        super().__init__(f"{cause}\n{problem}\nIt stands between old and new. Mend that, then: {HEAL}")

    @property
    def broken_off(self) -> bool:
        """Whether it was the operator who did not let it go back."""
        return isinstance(self.undo, (Interrupted, KeyboardInterrupt))


FindingState = Literal["ok", "told", "later", "waived", "failed"]


@dataclass(frozen=True)
class Finding:
    """What was found of one thing that a run needs: `check` names it, `host` is "" for what is of no single host.

    `later` is what hybridmsg makes before it needs it, `told` what is no obstacle and worth knowing. `waiver` is the
    name by which it may be waived, "" when it may not.
    """

    host: str
    check: str
    state: FindingState
    detail: str
    remedy: str = ""
    waiver: str = ""

    def __str__(self) -> str:
        where = f"{self.host}: {self.check}" if self.host else self.check
        return f"{where}: {self.detail}" + (f". {self.remedy}" if self.remedy else "")


REACHABLE = "reachable"
"""The check of a host that does not answer: its exit code is that of Unreachable."""


class PreflightFailed(HybridmsgError):
    """Something stands in the way of a run, and nothing was touched; carries every finding that failed."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        # Whatever else is found of a host out of reach comes of that: who is on the bus from there, and left behind.
        lost = {finding.host for finding in findings if finding.check == REACHABLE}
        reached = any(finding.host not in lost for finding in findings)
        self.exit_code = HostError.exit_code if reached else Unreachable.exit_code
        super().__init__("\n".join(map(str, findings)))


class PlanOutdated(HybridmsgError):
    """What a saved plan is to do to brokers or routers is not what they need now; `reasons` has a line for each act."""

    exit_code = 6

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        what = "\n".join(f"  {reason}" for reason in reasons)
        super().__init__(
            f"brokers or routers changed since the plan was made:\n{what}\nNothing was touched. Plan again"
        )


class UnfinishedRun(HybridmsgError):
    """An earlier run was cut off in the middle: what it left is neither old nor new."""

    def __init__(self, run: str) -> None:
        self.run = run
        super().__init__(f"run {run} was cut off before its end: {HEAL}")


class NothingToRollBack(HybridmsgError):
    """No run that changed anything is recorded in the state directory."""


class BuiltUpon(HybridmsgError):
    """A run cannot be rolled back: a `later` one that stands changed some of its projects too."""

    def __init__(self, run: str, later: str, projects: list[str]) -> None:
        self.run, self.later, self.projects = run, later, projects
        what = f"run {run}: {', '.join(projects)} was changed again by the later run {later}, which stands"
        super().__init__(f"{what}. Roll that one back first, or name other projects with --project")


class UnknownRun(HybridmsgError):
    """No single run is meant by `name`; `candidates` are those it could be."""

    def __init__(self, name: str, candidates: list[str], where: str) -> None:
        self.name, self.candidates = name, candidates
        problem = f"several runs begin with {name}: {', '.join(candidates)}" if candidates else f"no run {name}"
        super().__init__(f"{problem} is recorded in {where}" if not candidates else problem)


class RecordRefused(HybridmsgError):
    """A file of the controller's record that is damaged or of another version; `file` names it."""

    def __init__(self, file: str, problem: str, remedy: str) -> None:
        self.file, self.problem, self.remedy = file, problem, remedy
        super().__init__(f"{file} {problem}. {remedy}")


class Interrupted(HybridmsgError):
    """The operator asked to stop; `where` says what was finished."""

    exit_code = 130

    def __init__(self, where: str = "") -> None:
        self.where = where
        super().__init__(f"interrupted. {where}".strip())
