"""hybridmsg plan."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, verb

PENDING = 2


@click.command()
@verb
def plan(settings: Settings) -> int:
    """Show what migrate would do, with a diff of every file, passwords masked. Changes nothing on any host.

    Exits 0 when there is nothing to do and 2 when changes are pending.
    """
    return show(settings)


def show(settings: Settings) -> int:
    """Plan, print and return the exit code."""
    from deployer.plan.planner import make_plan
    from deployer.report import console, documents
    from deployer.rollout.fleet import Fleet

    deployment = settings.deployment()
    with Fleet(deployment, settings.progress()) as fleet:
        fleet.observe()
        fleet.observe_cells()
        found = make_plan(deployment, fleet.facts)
    if settings.as_json:
        settings.emit(documents.plan_document(found))
    else:
        console.show_plan(found, diff=True)
    return PENDING if found.changed else 0
