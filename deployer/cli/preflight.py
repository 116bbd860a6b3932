"""hybridmsg preflight."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, verb, waiving
from deployer.errors import PreflightFailed


@click.command()
@waiving
@verb
def preflight(settings: Settings, *, waive: tuple[str, ...]) -> int:
    """Look at every host for all that a migration needs of it, in one exchange each. Changes nothing.

    Hosts that are down, clocks and disks, units and files, logins to every broker and router with the real passwords,
    the routers' mesh, who is on a bus and in no inventory, and all that `plan` would refuse. Exits 3 when anything
    fails, 4 when that is hosts out of reach only. `migrate` begins with the same.
    """
    from deployer.report.preflight import preflight_document, show_preflight
    from deployer.rollout.preflight import preflight as look

    found = look(settings.deployment(waive), settings.store(), settings.progress())
    if settings.as_json:
        settings.emit(preflight_document(found))
    else:
        show_preflight(found)
    return PreflightFailed(found.failed).exit_code if found.failed else 0
