"""Carry waves out: give intents their place in the run, keep the before-images, send the steps."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from deployer.errors import HybridmsgError
from deployer.journal.run import UNDO, Run
from deployer.journal.store import RunStore
from deployer.plan.cell_moves import before_image
from deployer.plan.steps import Step, Wave
from deployer.rollout.fleet import Fleet
from tasks.steps import Merged, apply_steps, undo_steps

GRACE = 30.0
"""Seconds that a host has to tell of a step that ran into its own deadline."""

LONGEST_STOP = 600.0
"""Seconds that a stop may take where a unit's TimeoutStopSec says so: the agent waits as long, and only it knows."""


@dataclass(frozen=True)
class Done:
    """One step that a host carried out; `after` is what the agent found then (no content, no secret)."""

    host: str
    step: Step
    after: Mapping[str, Any] = field(repr=False)


class Carrier:
    """Carries out the waves of one run; step ids count through all of its hosts, from `first`.

    Hosts journal them under the run's name, or the one given. What they journal is copied to the store.
    """

    def __init__(self, fleet: Fleet, store: RunStore, run: Run, first: int = 1, journal: str = "") -> None:
        self._fleet, self._store, self._run = fleet, store, run
        self._journal = journal or run.run
        self._numbers = count(first)
        self._known: dict[str, int] = {}

    @property
    def run(self) -> str:
        """The name under which hosts journal the steps."""
        return self._journal

    def carry(self, wave: Wave) -> list[Done]:
        """Carry one wave out, host after host when it is serial; raises HostsFailed at the first that fails."""
        steps = wave.steps(self._numbers)
        self._keep_contents(steps)
        done: list[Done] = []
        groups = [[host] for host in steps] if wave.serial else [list(steps)]
        for group in filter(None, groups):
            own = {host: steps[host] for host in group}
            told = self._record(self._journal, own)
            with self._store.copying(self._journal, own) as keep:
                results = self._fleet.run(
                    own, apply_steps, run=self._journal, steps=own, deadline=self._deadline(own), record=told, keep=keep
                )
            self._known.update(dict.fromkeys(own, self._run.revision))
            self._fleet.tally.done(wave.scope, {host: result.changed for host, result in results.items()})
            for host, result in results.items():
                outcomes = result.outcomes  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
                done += [Done(host, step, outcome["after"]) for step, outcome in zip(own[host], outcomes, strict=True)]
        return done

    def take_back(
        self,
        run: str,
        steps: Mapping[str, list[str]],
        *,
        force: bool,
        deadline: float,
        merged: Mapping[str, Merged] | None = None,
    ) -> dict[str, HybridmsgError]:
        """Undo steps that hosts journaled under this name, on all of them at once; return the errors of some.

        `merged` has, by host, what some files get instead of their before-image.
        """
        told = self._record(run, steps)
        with self._store.copying(run, steps) as keep:
            options: dict[str, Any] = {"force": force, "deadline": deadline, "merged": merged}
            errors = self._fleet.attempt(steps, undo_steps, run=run, steps=steps, record=told, keep=keep, **options)[1]
        self._known.update({host: self._run.revision for host in steps if host not in errors})
        return errors

    def _record(self, journal: str, hosts: Iterable[str]) -> dict[str, Any] | None:
        """Return the run's document for hosts of which any does not have it as it is; what undoes a run has none."""
        news = any(self._known.get(host) != self._run.revision for host in hosts)
        return self._run.document() if news and journal == self._run.run else None

    def _keep_contents(self, steps: Mapping[str, list[Step]]) -> None:
        """Keep what is there before, and what is written, as the host does: it may be asked for when that is lost."""
        for host, step in ((host, step) for host, own in steps.items() for step in own):
            copy = self._store.copy(self._journal, host)
            # Of a host that only loses something, nothing may have been read.
            facts = self._fleet.facts.get(host)
            if facts and step.kind == "nova.cells":
                copy.keep(before_image(step, facts.cells or ()))
            if step.kind == "file.write":
                fact = facts.files.get(step.args["path"]) if facts else None
                if fact is not None and fact.content is not None:
                    copy.keep(fact.content.reveal())
                copy.keep(base64.b64decode(step.args["content_b64"]))

    def _deadline(self, steps: Mapping[str, list[Step]]) -> float:
        """Return what the slowest host may take: the agent's own deadlines, which end first, and some grace."""
        timeouts = self._fleet.deployment.timeouts
        slow = ("package.install", "rabbitmq.join", "rabbitmq.import")
        stops = any(step.kind == "unit.stop" for own in steps.values() for step in own)
        # Neighbours stop at once: what the slowest takes longer is had once.
        return (
            GRACE
            + stops * LONGEST_STOP
            + max(
                sum(
                    timeouts.install if step.kind in slow else float(step.args.get("timeout", timeouts.step))
                    for step in own
                )
                for own in steps.values()
            )
        )


def killed_units(done: Iterable[Done]) -> list[str]:
    """Return the units that had to be killed, like `heat-engine on ctl1`: what they were executing is lost."""
    return [f"{one.step.args['unit']} on {one.host}" for one in done if one.after.get("killed")]


def undo_carrier(fleet: Fleet, store: RunStore, run: Run) -> Carrier:
    """Return what carries out the steps that the undo of a run needs; hosts journal them as a run of its own.

    An undo may be cut off and run again: its steps' numbers begin with the clock, so that no two are the same.
    """
    return Carrier(fleet, store, run, first=int(time.time() * 1000), journal=f"{run.run}{UNDO}")
