"""Carry waves out: give intents their place in the run, keep the before-images, send the steps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from deployer.journal.runs import Run, RunStore
from deployer.plan.steps import Step, Wave
from deployer.rollout.fleet import Fleet
from tasks.steps import apply_steps

GRACE = 30.0
"""Seconds that a host has to tell of a step that ran into its own deadline."""


class Carrier:
    """Carries out the waves of one run; step ids count through all of its hosts."""

    def __init__(self, fleet: Fleet, store: RunStore, run: Run) -> None:
        self._fleet, self._store, self._run = fleet, store, run
        self._numbers = count(1)

    def carry(self, wave: Wave) -> None:
        """Carry one wave out, host after host when it is serial; raises HostsFailed at the first that fails."""
        steps = {
            host: [Step.of(intent, next(self._numbers), wave.scope) for intent in intents]
            for host, intents in wave.intents.items()
        }
        self._keep_before_images(steps)
        for group in ([host] for host in steps) if wave.serial else [list(steps)]:
            own = {host: steps[host] for host in group}
            self._fleet.run(own, apply_steps, run=self._run.run, steps=own, deadline=self._deadline(own))

    def _keep_before_images(self, steps: Mapping[str, list[Step]]) -> None:
        for host, own in steps.items():
            for step in own:
                if step.kind == "file.write" and step.args["path"] in self._fleet.facts[host].files:
                    self._store.keep(self._run, host, self._fleet.facts[host].files[step.args["path"]])

    def _deadline(self, steps: Mapping[str, list[Step]]) -> float:
        """Return what the slowest host may take: the agent's own deadlines, which end first, and some grace."""
        timeouts = self._fleet.deployment.timeouts
        slow = ("package.install", "rabbitmq.join", "rabbitmq.import")
        return GRACE + max(
            sum(
                timeouts.install if step.kind in slow else float(step.args.get("timeout", timeouts.step))
                for step in own
            )
            for own in steps.values()
        )
