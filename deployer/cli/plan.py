"""hybridmsg plan."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, verb, waiving

PENDING = 2


@click.command()
@waiving
@verb
def plan(settings: Settings, *, waive: tuple[str, ...]) -> int:
    """Show what migrate would do, with a diff of every file, passwords masked. Changes nothing on any host.

    Exits 0 when there is nothing to do and 2 when changes are pending.
    """
    return show(settings, waive)


def show(settings: Settings, waive: tuple[str, ...]) -> int:
    """Plan, print and return the exit code."""
    from deployer.report import console, documents
    from deployer.rollout.preflight import read_plan

    found = read_plan(settings.deployment(waive), settings.progress())
    if settings.as_json:
        settings.emit(documents.plan_document(found))
    else:
        console.show_plan(found, diff=True)
    return PENDING if found.changed else 0
