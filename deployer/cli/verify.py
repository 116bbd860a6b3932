"""hybridmsg verify."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, verb, waiving
from deployer.errors import GateFailed


@click.command()
@waiving
@verb
def verify(settings: Settings, *, waive: tuple[str, ...]) -> int:
    """Prove over the wire that every RPC server answers and that notifications arrive.

    Each server is pinged from a service's own host in that service's own interpreter and configuration; a
    notification is published and read back on a topic of its own. Exits 3 when anything does not hold.
    """
    from deployer.report import console, documents
    from deployer.rollout.verify import verify as ask

    checks = ask(settings.deployment(waive), settings.store(), settings.progress())
    if settings.as_json:
        settings.emit(documents.checks_document(checks))
    else:
        console.show_checks(checks, "Verification")
    return 0 if all(check.ok for check in checks) else GateFailed.exit_code
