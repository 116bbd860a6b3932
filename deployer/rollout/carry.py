"""Carry waves out: give intents their place in the run, keep the before-images, send the steps."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from deployer.journal.runs import Run, RunStore
from deployer.plan.cell_moves import before_image
from deployer.plan.steps import Step, Wave
from deployer.rollout.fleet import Fleet
from tasks.steps import apply_steps

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
    """Carries out the waves of one run; step ids count through all of its hosts, from `first`."""

    def __init__(self, fleet: Fleet, store: RunStore, run: Run, first: int = 1) -> None:
        self._fleet, self._store, self._run = fleet, store, run
        self._numbers = count(first)

    @property
    def run(self) -> str:
        """The name under which hosts journal the steps."""
        return self._run.run

    def carry(self, wave: Wave) -> list[Done]:
        """Carry one wave out, host after host when it is serial; raises HostsFailed at the first that fails."""
        steps = {
            host: [Step.of(intent, next(self._numbers), wave.scope) for intent in intents]
            for host, intents in wave.intents.items()
        }
        self._keep_before_images(steps)
        done: list[Done] = []
        groups = [[host] for host in steps] if wave.serial else [list(steps)]
        for group in filter(None, groups):
            own = {host: steps[host] for host in group}
            results = self._fleet.run(own, apply_steps, run=self._run.run, steps=own, deadline=self._deadline(own))
            for host, result in results.items():
                outcomes = result.outcomes  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
                done += [Done(host, step, outcome["after"]) for step, outcome in zip(own[host], outcomes, strict=True)]
        return done

    def _keep_before_images(self, steps: Mapping[str, list[Step]]) -> None:
        for host, step in ((host, step) for host, own in steps.items() for step in own):
            # Of a host that only loses something, nothing may have been read.
            facts = self._fleet.facts.get(host)
            if facts and step.kind == "file.write" and step.args["path"] in facts.files:
                self._store.keep(self._run, host, facts.files[step.args["path"]])
            if facts and step.kind == "nova.cells":
                self._store.keep_content(self._run, host, before_image(step, facts.cells or ()))

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
    return Carrier(fleet, store, replace(run, run=f"{run.run}-undo"), first=int(time.time() * 1000))
