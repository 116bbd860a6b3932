"""hybridmsg rollback."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, leaving_a_bus, verb
from deployer.errors import HostError


@click.command()
@click.option("--force", is_flag=True, help="Put files back even where they were changed since: those edits are lost.")
@leaving_a_bus
@verb
def rollback(settings: Settings, *, force: bool, purge_leftovers: bool, remove_backends: bool) -> int:
    """Undo the last run: every file byte for byte, with mode and owner, and what ran before runs again.

    Each project is drained first, as in a migration. Brokers and routers are left running. Exits 6 when a file is no
    longer what the run left, and leaves that project alone.
    """
    from deployer.report import console, documents
    from deployer.rollout.rollback import rollback as undo

    done = undo(
        settings.deployment(),
        settings.store(),
        settings.progress(),
        force=force,
        purge_leftovers=purge_leftovers,
        remove_backends=remove_backends,
    )
    if settings.as_json:
        settings.emit(documents.rollback_document(done))
    else:
        console.show_rollback(done)
    return 0 if done.whole else HostError.exit_code
