"""hybridmsg history."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, asking, verb


@click.command()
@asking
@verb
def history(settings: Settings, *, local: bool) -> int:
    """Show every run, newest first: what, when, by whom, how long, and how it ended. Changes nothing.

    The hosts are asked too: they know the runs of other machines. One that is out of reach is told and does not fail
    it.
    """
    from deployer.report import history as report
    from deployer.rollout.history import history as read

    found = read(None if local else settings.deployment(), settings.store(), settings.progress())
    if settings.as_json:
        settings.emit(report.history_document(found))
    else:
        report.show_history(found)
    return 0
