"""Bring an unfinished run to a whole end: what it did not prove goes back on all hosts, what it proved stays."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from deployer.errors import HostsFailed, RecordRefused
from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.model.deployment import ProjectDeployment
from deployer.nornir_plugins.processor import Progress
from deployer.rollout import record
from deployer.rollout.carry import undo_carrier
from deployer.rollout.choice import refuse_other_inventory
from deployer.rollout.comparison import compare, writes
from deployer.rollout.drain import Drain
from deployer.rollout.fleet import Fleet, ask_each
from deployer.rollout.returns import Returns, state_after
from deployer.rollout.standing import is_confirmed, is_split
from deployer.rollout.undo import Entry, Journals, last_lines, read_journals


@dataclass(frozen=True)
class Healed:
    """What became of an unfinished run: `projects` went back; `rolled_back` when that finished a rollback.

    `split` are those of the projects that stood between old and new, by their hosts' journals.
    """

    run: Run
    projects: list[str] = field(default_factory=list)
    rolled_back: bool = False
    split: list[str] = field(default_factory=list)


def heal(fleet: Fleet, store: RunStore, progress: Progress, run: Run) -> Healed:
    """Finish the rollback of a run that was `rolling back`, else put back what the run did not prove on all hosts.

    The caller holds the locks of all hosts. A host that is out of reach does not keep the others from going back where
    it does so by itself. Raises HostsFailed, with the run recorded as it stands then, and can be done again.
    """
    hosts = [name for name in run.units if name in fleet.deployment.hosts]
    restored, lost = ask_each(hosts, lambda names: record.restore_lost(fleet, store, run, names))
    for host in restored:
        progress.event(host, f"its journal of run {run.run} was lost or damaged, and is put back from the copy here")
    there = [host for host in hosts if host not in lost]
    journals, more = ask_each(there, lambda names: read_journals(fleet, names, run.run))
    lost |= more
    projects = _to_put_back(fleet, run, journals, _copies(store, run, lost))
    refuse_other_inventory(run, [project.name for project in projects], fleet.deployment)
    split = [project.name for project in projects if is_split(project, journals)]
    for name in split:
        progress.event("", f"{name} stands between old and new: some of its hosts went back and others did not")
    rolling_back = run.state == "rolling back"
    carrier, drain = undo_carrier(fleet, store, run), Drain(fleet, progress, purge=False)
    returns = Returns(fleet, store, run, journals, carrier, drain, progress, lost=lost)
    # What goes back for good may stay where it is as a whole; what was never proven may not.
    returns.split = frozenset(split if rolling_back else (project.name for project in projects))
    _put_back(returns, projects)
    return Healed(run, returns.done, rolling_back, split)


def _copies(store: RunStore, run: Run, lost: Iterable[str]) -> dict[str, list[Entry]]:
    """Return what is known here of the journals of hosts that do not tell; of one whose copy is damaged nothing is."""
    found: dict[str, list[Entry]] = {}
    for host in lost:
        found[host] = []
        with suppress(RecordRefused):
            found[host] = last_lines(store.copy(run.run, host).lines())
    return found


def _to_put_back(fleet: Fleet, run: Run, journals: Journals, copies: Journals) -> list[ProjectDeployment]:
    """Return the projects that are to go back, in the order in which they do; `copies` are of hosts that are silent."""
    projects = [project for project in reversed(fleet.deployment.projects) if project.name in run.projects]
    if run.state == "rolling back":
        return [project for project in projects if project.name in run.held]
    known = {**journals, **copies}
    unknown = {host for host, entries in copies.items() if not entries}
    asked = [project for project in projects if unknown.isdisjoint(host.name for host in project.hosts)]
    proven = {project.name for project in asked if is_confirmed(project, known)}
    run.confirmed = list(dict.fromkeys([*run.confirmed, *(name for name in run.projects if name in proven)]))
    return [one for one in projects if one.name not in run.confirmed or is_split(one, journals)]


def _put_back(returns: Returns, projects: list[ProjectDeployment]) -> None:
    run, before = returns.run, returns.run.state
    rolling_back = before == "rolling back"
    try:
        comparison = compare(returns.fleet, returns.store, run, writes(projects, returns.journals))
        comparison.must_hold()
        returns.merged = comparison.merged()
        # Whether old queues hold anything is told where a broker tells.
        with suppress(HostsFailed):
            returns.observe_brokers()
        returns.carry_out(projects)
    except BaseException as error:
        returns.end("rolling back" if rolling_back else "split", error, hold=rolling_back)
        raise
    if rolling_back:
        returns.end(state_after(run, before), hold=True)
    else:
        back = ", ".join(returns.done) or "no project"
        returns.end("failed", f"it was cut off; {back} went back when that was found")
