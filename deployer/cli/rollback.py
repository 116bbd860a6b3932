"""hybridmsg rollback."""

from __future__ import annotations

import click

from deployer.cli.options import Settings, leaving_a_bus, verb
from deployer.errors import HostError

PENDING = 2


@click.command()
@click.argument("run", default="")
@click.option("--project", "projects", multiple=True, metavar="NAME", help="Only this project goes back. Repeatable.")
@click.option("--dry-run", is_flag=True, help="Show what would go back, change nothing: exits 2, or 0 for nothing.")
@click.option(
    "--force",
    is_flag=True,
    help="Put back what the run set also where somebody set something else since; other edits in a file stay.",
)
@leaving_a_bus
@verb
def rollback(settings: Settings, *, run: str, projects: tuple[str, ...], dry_run: bool, **options: bool) -> int:
    """Undo RUN (a name, a beginning of one, `last`), by default the newest that stands; `history` lists them.

    Every file is byte for byte what it was, with mode and owner, and what ran before runs again. In a file that
    somebody changed since, what the run set goes back and their edits stay. Exits 6, having done nothing, where they
    changed that too. Each project goes back as a whole and is drained first, as in a migration. Brokers and routers are
    left running. Afterwards `reconcile` migrates nothing until `release`.
    """
    from deployer.report import rollback as report
    from deployer.rollout.choice import Asked
    from deployer.rollout.preview import preview
    from deployer.rollout.rollback import rollback as carry_out

    asked = Asked(run, projects, **options)
    reach = settings.deployment(), settings.store(), settings.progress()
    if dry_run:
        found = preview(*reach, asked)
        if settings.as_json:
            settings.emit(report.preview_document(found))
        else:
            report.show_preview(found)
        return PENDING if found.changed else 0
    done = carry_out(*reach, asked)
    if settings.as_json:
        settings.emit(report.rollback_document(done))
    else:
        report.show_rollback(done)
    return 0 if done.whole else HostError.exit_code
