"""hybridmsg release."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, verb


@click.command()
@verb
def release(settings: Settings) -> int:
    """Lift the hold that a rollback left on its hosts: from then on `reconcile` migrates again.

    Changes nothing else. Where nothing is held it says so, and exits 0 as well.
    """
    from deployer.report import rollback as report
    from deployer.rollout.hold import release as lift

    lifted = lift(settings.deployment(), settings.store(), settings.progress())
    if settings.as_json:
        settings.emit(report.release_document(lifted))
    else:
        report.show_release(lifted)
    return 0
