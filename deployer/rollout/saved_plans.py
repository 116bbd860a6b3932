"""Saved plans as files, and what of one is carried out: the projects that are still what it was made from."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from deployer.errors import ConfigurationError, Mistake, PlanOutdated
from deployer.journal import durable
from deployer.journal.store import RunStore
from deployer.model.deployment import Deployment
from deployer.plan.planner import Plan
from deployer.plan.saved import SavedPlan

_SALT_BYTES = 16


@dataclass(frozen=True)
class Selection:
    """What is to be carried out: `plan` has no project that is not; `stale` says, by project, why one is left alone."""

    plan: Plan
    stale: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def only(self) -> set[str]:
        """Return the names of the projects that are carried out."""
        return {one.project.name for one in self.plan.projects}

    @property
    def lines(self) -> list[str]:
        """Return a line for people for each reason for which a project is left alone."""
        return [f"{name} is stale and left alone: {why}" for name, reasons in self.stale.items() for why in reasons]


def select(plan: Plan, saved: SavedPlan | None) -> Selection:
    """Return what of a plan made afresh is what was saved; all of it when nothing was.

    Raises PlanOutdated when brokers or routers are not: every project is built upon them.
    """
    if saved is None:
        return Selection(plan)
    outdated = saved.stale_backends(plan)
    if outdated:
        raise PlanOutdated(list(outdated))
    stale = saved.stale_projects(plan)
    return Selection(plan.of([one.project.name for one in plan.projects if one.project.name not in stale]), stale)


def save_plan(plan: Plan, path: Path, store: RunStore) -> None:
    """Write the plan into a file as a whole, open to its owner only; raises ConfigurationError, OSError."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise ConfigurationError([Mistake(str(path), "", "is no regular file, as which a plan is saved")])
    begun = store.begin("plan", plan.deployment.directory)
    saved = SavedPlan.of(plan, begun.when, begun.who, begun.inventory, secrets.token_hex(_SALT_BYTES))
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(saved.document(), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    durable.sync(path.parent)


def read_saved(path: Path, deployment: Deployment) -> SavedPlan:
    """Read a saved plan; raises ConfigurationError naming the file when it is none, or is of another inventory."""
    try:
        saved = SavedPlan.read(_json(path))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError([Mistake(str(path), "", f"cannot be carried out: {error}")]) from None
    inventory = str(deployment.directory.resolve())
    if saved.inventory != inventory:
        problem = f"was made from the inventory {saved.inventory}, not {inventory}"
        raise ConfigurationError([Mistake(str(path), "", problem)])
    return saved


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except ValueError:  # its own words may quote what is there
        raise ValueError("it is damaged: no JSON document") from None
