"""What was done to the cloud: every run that this machine recorded or that hosts tell of, and each step of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.errors import ConfigurationError, HybridmsgError, Mistake, RecordRefused
from deployer.journal.acts import Act, acts
from deployer.journal.adopt import Told, hosts_of, lines_of, newest
from deployer.journal.run import UNDO, Run
from deployer.journal.store import RunStore, meant
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.rollout.fleet import Fleet
from deployer.rollout.hold import Hold, held
from deployer.rollout.record import ask_histories


@dataclass(frozen=True)
class History:
    """Every run, newest first. `refused`: records here that cannot be read; `errors`: hosts that do not tell.

    `damaged` has by run and host what is wrong with its journal there, `unrecorded` by run the hosts that journaled one
    of which there is no record (a script's); `holds` and `pending` are by host.
    """

    runs: list[Run]
    refused: list[RecordRefused]
    errors: dict[str, HybridmsgError] = field(default_factory=dict)
    damaged: dict[str, dict[str, str]] = field(default_factory=dict)
    unrecorded: dict[str, list[str]] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    pending: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """One run and, by host, what was done there; `undo` what the hosts stopped and started to take it back.

    `problems` says by host why its part is not known.
    """

    run: Run
    steps: dict[str, list[Act]]
    undo: dict[str, list[Act]]
    problems: dict[str, str]


def history(deployment: Deployment | None, store: RunStore, progress: Progress) -> History:
    """Return the runs recorded here or, with a deployment, its own and those that its hosts tell of, one exchange each.

    Hosts out of reach do not fail it. Changes nothing and takes no lock.
    """
    answers, errors = _ask(deployment, progress)
    told = Told.of(answers)
    runs, refused = newest(store, told)
    known = {run.run for run in runs}
    runs = runs if deployment is None else store.of(deployment).own(runs)
    journals = {*told.lines, *told.damaged}
    strange = sorted(name for name in journals if name.removesuffix(UNDO) not in known)
    return History(
        runs,
        refused,
        errors,
        told.damaged,
        {name: sorted({*told.lines.get(name, ()), *told.damaged.get(name, ())}) for name in strange},
        held({host: answer["hold"] for host, answer in answers.items()}),
        {host: dict(answer["pending"]) for host, answer in answers.items() if answer["pending"]},
    )


def show(
    deployment: Deployment | None, store: RunStore, progress: Progress, name: str, host: str | None = None
) -> Shown:
    """Return a run (by its name, a beginning of it, or `last`) with each step on each host, or on one.

    Asks the hosts as `history` does. Raises UnknownRun; RecordRefused; ConfigurationError for a host without a part.
    """
    answers, errors = _ask(deployment, progress)
    told = Told.of(answers)
    runs, refused = newest(store, told)
    runs = runs if deployment is None else store.of(deployment).own(runs)
    by_name: dict[str, Run | RecordRefused] = {Path(one.file).parent.name: one for one in refused}
    by_name.update({run.run: run for run in runs})
    run = by_name[meant(name, sorted(by_name, reverse=True), str(store.root))]
    if isinstance(run, RecordRefused):
        raise run
    return _shown(store, told, run, errors, host)


def _shown(store: RunStore, told: Told, run: Run, errors: Mapping[str, HybridmsgError], host: str | None) -> Shown:
    found = Shown(run, {}, {}, {})
    for journal, own in ((run.run, found.steps), (f"{run.run}{UNDO}", found.undo)):
        for name in sorted(hosts_of(store, told, journal)):
            problem = told.damaged.get(journal, {}).get(name)
            try:
                own[name] = acts(lines_of(store, told, journal, name))
            except RecordRefused as error:
                problem = problem or str(error)
            if problem:
                found.problems[name] = problem
    found.problems.update({name: str(error) for name, error in errors.items() if name in run.hosts})
    return found if host is None else _of_one(found, host)


def _of_one(found: Shown, host: str) -> Shown:
    if host not in {*found.run.hosts, *found.steps, *found.undo}:
        raise ConfigurationError([Mistake("--host", "", f"{host} had no part in run {found.run.run}")])
    return Shown(
        found.run,
        {name: own for name, own in found.steps.items() if name == host},
        {name: own for name, own in found.undo.items() if name == host},
        {name: problem for name, problem in found.problems.items() if name == host},
    )


def _ask(
    deployment: Deployment | None, progress: Progress
) -> tuple[Mapping[str, Mapping[str, Any]], dict[str, HybridmsgError]]:
    if deployment is None:
        return {}, {}
    with Fleet(deployment, progress) as fleet:
        return ask_histories(fleet)
