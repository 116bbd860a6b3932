"""hybridmsg show-transports."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, verb


@click.command("show-transports")
@verb
def show_transports(settings: Settings) -> int:
    """Show which bus each project is to use, and where every part of that was said. No host is contacted.

    As with every verb, passwords that the secrets file lacks are generated into it.
    """
    from deployer.report import transports

    deployment = settings.deployment(notes=False)
    if settings.as_json:
        settings.emit(transports.transports_document(deployment))
    else:
        transports.show_transports(deployment)
    return 0
