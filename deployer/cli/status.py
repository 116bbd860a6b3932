"""hybridmsg status."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, verb
from deployer.errors import HostsFailed


@click.command()
@verb
def status(settings: Settings) -> int:
    """Show which hosts can be reached, what runs there, what is pending, and what the last run did. Changes nothing."""
    from deployer.report import console, documents
    from deployer.rollout.status import status as read

    found = read(settings.deployment(), settings.store(), settings.progress())
    if settings.as_json:
        settings.emit(documents.status_document(found))
    else:
        console.show_status(found)
    return HostsFailed(found.errors).exit_code if found.errors else 0
