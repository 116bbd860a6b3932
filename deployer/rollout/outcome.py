"""What the verbs return: data only, for the reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from deployer.errors import Finding, HybridmsgError, PreflightFailed
from deployer.journal.run import Run
from deployer.model.deployment import Deployment
from deployer.plan.checks import Check
from deployer.plan.observed import HostFacts
from deployer.plan.planner import Plan
from deployer.plan.routers import running_versions
from deployer.rollout.endings import Ending


@dataclass(frozen=True)
class Pause:
    """One project's switch: how long its callers were stopped, and how much of that its bus took to become idle (s).

    `killed` names units that did not stop when asked: what they were executing is lost.
    """

    project: str
    seconds: float
    draining: float
    killed: tuple[str, ...] = ()

    def __str__(self) -> str:
        lost = f"; had to be killed, with what they were executing: {', '.join(self.killed)}" if self.killed else ""
        draining = f", {self.draining:.1f} s of it draining"
        return f"{self.project}: its callers paused for {self.seconds:.1f} s{draining}{lost}"


@dataclass(frozen=True)
class Preflight:
    """What was found before a run, `plan` without the hosts that are waived; None while it cannot be made."""

    findings: list[Finding]
    plan: Plan | None = None

    @property
    def failed(self) -> list[Finding]:
        """Return the findings that stand in a run's way."""
        return [finding for finding in self.findings if finding.state == "failed"]

    def must_hold(self) -> Plan:
        """Return the plan; raises PreflightFailed with all that stands in its way."""
        if self.failed or self.plan is None:
            raise PreflightFailed(self.failed)
        return self.plan


@dataclass
class Migration:
    """What a migration did: `run` is None when there was nothing to do; `checks` is the verification after it.

    `hosts` is how each host of the inventory ended, `stale` why, by project, what a saved plan held was left alone.
    """

    plan: Plan
    run: Run | None = None
    pauses: list[Pause] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    hosts: dict[str, Ending] = field(default_factory=dict)
    stale: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Restored:
    """One file or unit of a host after a rollback; `same` when it is what it was before the run."""

    host: str
    what: str
    same: bool
    detail: str


@dataclass
class Rollback:
    """What a rollback did; `checks` holds an answer over the wire for every server that answered before the run.

    `projects` went back, none where they were back already. `told` are edits of others that stay and what else is worth
    knowing, a masked line each. `killed` names units that did not stop when asked: what they were executing is lost.
    `routers` is, by host, what each router that tells says it is; `hosts` how each host ended.
    """

    run: Run
    restored: list[Restored] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    routers: dict[str, str] = field(default_factory=dict)
    projects: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    hosts: dict[str, Ending] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether all is as before."""
        return all(one.same for one in self.restored) and all(check.ok for check in self.checks)


@dataclass
class Preview:
    """What a rollback would do: host, path and masked diff of each file that goes back; a line for each unit that stops
    or starts, and for each cell mapping; edits of others that stay (`told`), and what it would be refused for.
    """

    run: Run
    projects: list[str]
    files: list[tuple[str, str, str]]
    units: list[str]
    cells: list[str]
    told: list[str]
    conflicts: list[str]

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.projects)


@dataclass
class Status:
    """Where the cloud stands; `last` is the newest recorded run.

    `plan` is None while a host could not be asked (`errors` says why) or planning has a `problem`.
    """

    deployment: Deployment
    facts: dict[str, HostFacts]
    errors: dict[str, HybridmsgError]
    plan: Plan | None = None
    problem: HybridmsgError | None = None
    last: Run | None = None

    @property
    def routers(self) -> dict[str, str]:
        """Return, by host, what each router that runs says it is."""
        return running_versions(self.deployment, self.facts)
