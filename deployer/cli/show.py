"""hybridmsg show."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, asking, verb


@click.command()
@click.argument("run")
@click.option("--host", metavar="HOST", help="Only what was done on this host.")
@asking
@verb
def show(settings: Settings, *, run: str, host: str | None, local: bool) -> int:
    """Show one RUN, and each step on each host: when, how long, for which project, and what became of it.

    RUN is a name out of `history`, a beginning of one that no other has, or `last`. Changes nothing.
    """
    from deployer.report import history as report
    from deployer.rollout.history import show as read

    deployment = None if local else settings.deployment()
    found = read(deployment, settings.store(), settings.progress(), run, host)
    if settings.as_json:
        settings.emit(report.run_document(found))
    else:
        report.show_run(found)
    return 0
