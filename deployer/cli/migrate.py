"""hybridmsg migrate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployer.cli.options import Settings, leaving_a_bus, verb, waiving
from deployer.errors import StalePlan

if TYPE_CHECKING:
    from deployer.plan.planner import Plan


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Change nothing: the same as `plan`.")
@click.option("--diff", is_flag=True, help="Show the diff of every file before anything changes, passwords masked.")
@leaving_a_bus
@waiving
@verb
def migrate(
    settings: Settings, *, file: Path | None, dry_run: bool, diff: bool, waive: tuple[str, ...], **leaving: bool
) -> int:
    """Bring every host to what the inventory says: brokers and routers first, then project after project.

    What `preflight` looks at is looked at first: where anything fails, nothing is touched.
    Hosts in the group qdrouterd take RPC to AMQP 1.0; with none in it RPC is on RabbitMQ. Each project is switched as a
    whole: its callers stop, its bus becomes idle, all its servers move at once and must answer over the wire, and its
    callers start again. A project that does not answer goes back to what it was, on all its hosts, and the run stops
    there. A second migrate finds nothing to do. Ctrl-C finishes the step in hand, puts the project in hand back and
    stops; a second one stops at once.

    With FILE, made by `plan -o FILE`, just that is carried out: a project that is no longer what the plan was made from
    is named and left alone, and the exit code is 6 then.
    """
    from deployer.cli.plan import show
    from deployer.report import console, documents
    from deployer.report.endings import show_endings
    from deployer.rollout.migrate import Options
    from deployer.rollout.migrate import migrate as carry_out
    from deployer.rollout.saved_plans import read_saved

    deployment = settings.deployment(waive)
    saved = None if file is None else read_saved(file, deployment)
    if dry_run:
        return show(settings, deployment, saved=saved)

    def planned(found: Plan) -> None:
        if not settings.as_json:
            console.show_plan(found, diff=diff)

    done = carry_out(deployment, settings.store(), settings.progress(), planned, Options(saved, **leaving))
    if settings.as_json:
        settings.emit(documents.migration_document(done))
    elif done.run is not None:
        console.show_checks(done.checks, f"Migrated: run {done.run.run}")
        console.show_pauses(done.pauses)
        show_endings(done.hosts)
        click.echo(f"Undo it with: hybridmsg rollback -i {settings.inventory}")
    return StalePlan.exit_code if done.stale else 0
