"""hybridmsg schedule."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from deployer.cli.options import Settings, verb
from deployer.cli.spans import Span
from deployer.errors import HostError, HybridmsgError

DEFAULT_NAME = "hybridmsg-reconcile"


def _checked(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    from deployer.schedule.units import unit_name

    try:
        return unit_name(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def named(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the name of the schedule that it is about: `name`."""
    return click.option(
        "--name",
        default=DEFAULT_NAME,
        show_default=True,
        callback=_checked,
        help="Of the systemd units: several inventories have a schedule each, and a --state-dir each.",
    )(function)


@click.group()
def schedule() -> None:
    """Let systemd run `reconcile` time after time on this machine, never two at once."""


@schedule.command()
@click.option("--every", type=Span(), default="30min", show_default=True, metavar="SPAN", help="How often: 30min, 2h.")
@click.option(
    "--deep-every",
    type=Span(),
    default="6h",
    show_default=True,
    metavar="SPAN",
    help="How often brokers, cell mappings and every RPC server are looked at too.",
)
@click.option(
    "--metrics",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of node_exporter's textfile collector: NAME.prom is written there after each run.",
)
@click.option("--dry-run", is_flag=True, help="Print the units and write nothing.")
@named
@verb
def install(settings: Settings, *, dry_run: bool, metrics: Path | None, **options: Any) -> int:
    """Write a systemd service and its timer for this inventory, and start the timer. Needs root.

    The first run is a minute later. Each leaves a report in STATE/reports, and what it says in journald. Installed
    again, it is as told then.
    """
    from deployer.journal.store import default_state_dir
    from deployer.schedule.install import UNITS
    from deployer.schedule.install import install as put
    from deployer.schedule.units import Schedule

    state_dir = (settings.state_dir or default_state_dir()).absolute()
    inventory = settings.inventory.absolute()
    where = str(metrics.absolute()) if metrics else ""
    wanted = Schedule(program=_program(), inventory=str(inventory), state_dir=str(state_dir), metrics=where, **options)
    if not dry_run:
        _needs_root("install")
        settings.deployment()  # a timer would fail on its mistakes unseen; and it makes no passwords that are missing
        put(wanted)
    if settings.as_json:
        settings.emit({"schema": 1, "installed": not dry_run, "units": wanted.units()})
    elif dry_run:
        for name, text in wanted.units().items():
            click.echo(f"# {UNITS}/{name}\n{text}")
    else:
        click.echo(f"{wanted.name}.timer is started. How it stands: hybridmsg schedule status --name {wanted.name}")
    return 0


@schedule.command()
@named
def remove(name: str) -> int:
    """Stop the timer and remove units and metrics. A run in hand goes on to its end; reports stay. Needs root."""
    from deployer.schedule.install import installed
    from deployer.schedule.install import remove as take_away

    _needs_root("remove")
    found = installed(name)
    if found is None:
        click.echo(f"There is no schedule {name} on this machine.")
        return 0
    take_away(found)
    click.echo(f"{name} is removed. Its reports stay in {found.reports}")
    return 0


@schedule.command()
@named
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def status(name: str, *, as_json: bool) -> int:
    """Show the last run, its result, and when the next one is. Exits 3 when the last failed or none is to come."""
    import json

    from deployer.report.schedule import schedule_document, show_schedule
    from deployer.schedule.install import installed, standing

    own = installed(name)
    found = standing(own) if own else None
    if as_json:
        click.echo(json.dumps(schedule_document(found), indent=1))
    else:
        show_schedule(name, found)
    return 0 if found and found.well else HostError.exit_code


def _program() -> str:
    found = shutil.which(sys.argv[0])
    if not found or Path(found).name != "hybridmsg":
        raise HybridmsgError(
            "systemd runs an installed hybridmsg: call it by its name or path, from where it is to stay"
        )
    return str(Path(found).absolute())


def _needs_root(verb_name: str) -> None:
    if os.geteuid():
        raise HybridmsgError(f"schedule {verb_name} changes systemd's units: run it as root")
