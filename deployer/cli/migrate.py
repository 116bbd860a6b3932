"""hybridmsg migrate."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, verb


@click.command()
@click.option("--dry-run", is_flag=True, help="The same as `plan`.")
@verb
def migrate(settings: Settings, *, dry_run: bool) -> int:
    """Bring every host to what the inventory says: brokers first, then project after project.

    After each restart the rollout waits for an answer over the wire. A project that does not answer goes back to what
    it was, on all its hosts, and the run stops there. A second migrate finds nothing to do. Ctrl-C finishes the step in
    hand, puts the project in hand back and stops.
    """
    from deployer.cli.plan import plan
    from deployer.report import console, documents
    from deployer.rollout.migrate import migrate as carry_out

    if dry_run:
        return int(click.get_current_context().forward(plan) or 0)
    shown = (lambda _: None) if settings.as_json else console.show_plan
    done = carry_out(settings.deployment(), settings.store(), settings.progress(), shown)
    if settings.as_json:
        settings.emit(documents.migration_document(done))
    elif done.run is not None:
        console.show_checks(done.checks, f"Migrated: run {done.run.run}")
        click.echo("Undo it with: hybridmsg rollback")
    return 0
