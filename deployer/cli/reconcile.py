"""hybridmsg reconcile."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import click

from deployer.cli.options import Settings, verb
from deployer.cli.spans import Span


@click.command()
@click.option("--check", is_flag=True, help="Only report: take no lock and change nothing, here and on hosts.")
@click.option("--deep", is_flag=True, help="Also look at brokers' definitions, nova's cells, and whether RPC answers.")
@click.option(
    "--deep-every",
    type=Span(),
    metavar="SPAN",
    help="Look deep when the last deep look that --report knows of is that long ago, like 6h.",
)
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the report as JSON in this directory, one file a run and last.json.",
)
@click.option(
    "--metrics",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write metrics to this file, for node_exporter's textfile collector.",
)
@verb
def reconcile(
    settings: Settings,
    *,
    check: bool,
    deep: bool,
    deep_every: int | None,
    report: Path | None,
    metrics: Path | None,
) -> int:
    """Bring the cloud back to what the inventory says, where it drifted; made to be run by a timer.

    An interrupted run is finished or undone first. What a rollback went back to is held: that is reported, and left as
    it is until `release`. Where nothing drifted nothing is changed, and no service restarted.

    Exits 0 when all is in line or was repaired, 3 when something still does not answer or could not be repaired, 7
    while held; with --check 0 in line, 2 for drift, a server that does not answer among it, 7 while held.
    """
    from deployer.report.drift import reconcile_document, show_reconciled
    from deployer.rollout.reconcile import Mode
    from deployer.rollout.reconcile import reconcile as carry_out
    from deployer.schedule.metrics import deep_is_due, keep

    if deep_every is not None and report is None:
        raise click.UsageError("--deep-every needs --report: only reports tell when the last deep look was")
    if deep_every is not None and report is not None:
        deep = deep or deep_is_due(report, deep_every, datetime.now(timezone.utc))
    mode = Mode(check=check, deep=deep)
    inventory = str(settings.inventory.resolve())
    done = carry_out(settings.deployment, settings.store(), settings.progress(), inventory, mode)
    document = reconcile_document(done)
    if settings.as_json:
        settings.emit(document)
    else:
        show_reconciled(done)
    if done.error is not None:
        click.echo(f"hybridmsg: {done.error}", err=True)
    keep(document, report, metrics)
    return done.exit_code
