"""hybridmsg plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployer.cli.options import Settings, verb, waiving
from deployer.errors import StalePlan

if TYPE_CHECKING:
    from deployer.model.deployment import Deployment
    from deployer.plan.saved import SavedPlan

PENDING = 2


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the plan into this file (masked diffs, hashes, no secret), for `migrate FILE`.",
)
@waiving
@verb
def plan(settings: Settings, *, output: Path | None, waive: tuple[str, ...]) -> int:
    """Show what migrate would do, with a diff of every file, passwords masked. Changes nothing on any host.

    Exits 0 when there is nothing to do and 2 when changes are pending.
    """
    return show(settings, settings.deployment(waive), output=output)


def show(
    settings: Settings, deployment: Deployment, *, output: Path | None = None, saved: SavedPlan | None = None
) -> int:
    """Plan, print and return the exit code; of a `saved` plan what of it would be carried out."""
    from deployer.report import console, documents
    from deployer.rollout.preflight import read_plan
    from deployer.rollout.saved_plans import save_plan, select

    store = settings.store()
    found = read_plan(deployment, store, settings.progress())
    if output is not None:
        save_plan(found, output, store)
    chosen = select(found, saved)
    if settings.as_json:
        settings.emit(documents.plan_document(chosen.plan, chosen.stale))
    else:
        console.show_plan(chosen.plan, diff=True, stale=chosen.lines)
    if chosen.stale:
        return StalePlan.exit_code
    return PENDING if chosen.plan.changed else 0
