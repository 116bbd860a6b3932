"""What a rollback would do, by the hosts' journals and files: nothing is locked, and no host is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator

from deployer.journal.adopt import Seen
from deployer.journal.store import RunStore
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.masking import mask
from deployer.nornir_plugins.processor import Progress
from deployer.plan.expected import active_units
from deployer.rollout.choice import Asked, Choice, refuse_forgotten
from deployer.rollout.comparison import compare, writes
from deployer.rollout.endings import telling
from deployer.rollout.fleet import Fleet
from deployer.rollout.outcome import Preview
from deployer.rollout.record import ask_histories
from deployer.rollout.rollback import choose_there
from deployer.rollout.undo import CELLS, FILES, Entry, Journals, chosen, last_lines, read_journals


def preview(deployment: Deployment, store: RunStore, progress: Progress, asked: Asked) -> Preview:
    """Return what a rollback would do; raises as `rollback` does, but for what others changed, which is told."""
    with Fleet(deployment, progress) as fleet, telling(fleet.tally):
        histories, lost = ask_histories(fleet)
        choice = choose_there(fleet, Seen(store, histories), progress, asked, lost)
        journals = _journals(fleet, store, choice)
        refuse_forgotten(choice, journals)
        written = writes(choice.projects, journals)
        found = compare(fleet, store, choice.run, written, force=asked.force, whole=True)
        fleet.observe({host for project in choice.projects for host in project.hosts})
        problems = [f"{one.host}: {one.path}: {problem}" for one in found.files for problem in one.problems]
        return Preview(
            run=choice.run,
            projects=choice.names,
            files=[(one.host, one.path, one.diff()) for one in found.files],
            units=[line for project in choice.projects for line in _units(fleet, project, journals)],
            cells=[line for project in choice.projects for line in _cells(store, choice, project, journals)],
            told=found.told(),
            conflicts=[] if asked.force else problems,
        )


def _journals(fleet: Fleet, store: RunStore, choice: Choice) -> Journals:
    """Return the hosts' journals; of a host that lost its own, the copy here, which a rollback would put back."""
    run = choice.run
    own = read_journals(fleet, (name for name in run.units if name in fleet.deployment.hosts), run.run)
    return {host: entries or last_lines(store.copy(run.run, host).lines()) for host, entries in own.items()}


def _units(fleet: Fleet, project: ProjectDeployment, journals: Journals) -> Iterator[str]:
    """Yield what becomes of the project's units: what runs stops for its files to go back, what it stopped starts."""
    changed = any(chosen(entries, project, FILES | CELLS) for entries in journals.values())
    for host in project.hosts:
        running = {unit.name for unit in active_units(project, fleet.facts[host.name])}
        stopped = chosen(journals.get(host.name, ()), project, {"unit.stop"})
        ran = {_short(one) for one in stopped if one["before"].get("active") == "active"}
        for unit in sorted(running if changed else ()):
            yield f"{host.name}: {unit} stops, and starts again"
        for unit in sorted(ran - running):
            yield f"{host.name}: {unit} starts"


def _cells(store: RunStore, choice: Choice, project: ProjectDeployment, journals: Journals) -> Iterator[str]:
    """Yield each cell mapping that goes back, and to what, masked where that is known here."""
    for host, entries in journals.items():
        for one in chosen(entries, project, CELLS):
            kept = store.copy(choice.run.run, host).blob(str(one["before"].get("sha256")))
            urls = json.loads(kept) if kept else dict.fromkeys(one["before"]["cells"], "what it was")
            for uuid, url in urls.items():
                yield f"cell {uuid} goes back to {mask(url)}"


def _short(entry: Entry) -> str:
    return str(entry["target"]).removesuffix(".service")
