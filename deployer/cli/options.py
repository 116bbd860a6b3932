"""What every verb shares: its options, how it prints, and how an error ends it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.errors import HybridmsgError

if TYPE_CHECKING:
    from deployer.journal.store import RunStore
    from deployer.model.deployment import Deployment
    from deployer.nornir_plugins.processor import Progress


@dataclass(frozen=True)
class Settings:
    """The options of one call."""

    inventory: Path
    state_dir: Path | None
    as_json: bool
    quiet: bool

    def deployment(self, waive: tuple[str, ...] = (), *, notes: bool = True) -> Deployment:
        """Read and validate the inventory; raises ConfigurationError with every mistake.

        With `notes` what is unusual about its transports is told.
        """
        from deployer.model.inventory import load_deployment
        from deployer.model.transports import elsewhere, unheard

        found = load_deployment(self.inventory)
        for key in found.generated_secrets:
            self.progress().event("", f"generated {key} in the secrets file of {self.inventory}")
        for line in (*elsewhere(found), *unheard(found)) if notes else ():
            self.progress().event("", line)
        return replace(found, waive=(*found.waive, *waive))

    def store(self) -> RunStore:
        """Return the record of runs."""
        from deployer.journal.store import RunStore, default_state_dir

        return RunStore(self.state_dir or default_state_dir())

    def progress(self) -> Progress:
        """Return where progress is told: stderr."""
        from deployer.nornir_plugins.processor import Progress

        return Progress(quiet=self.quiet)

    def emit(self, document: dict[str, Any]) -> None:
        """Print one JSON document, the only thing on stdout."""
        click.echo(json.dumps(document, indent=1))


def verb(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the shared options, as one `settings` argument, and JSON errors when JSON is asked for."""

    @click.option(
        "-i",
        "--inventory",
        required=True,
        envvar="HYBRIDMSG_INVENTORY",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Directory of hosts.yaml, groups.yaml and defaults.yaml.",
    )
    @click.option(
        "--state-dir",
        envvar="HYBRIDMSG_STATE_DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where runs are recorded. Default: /var/lib/hybridmsg-controller for root, else XDG's state directory.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout instead of tables.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
    @functools.wraps(function)
    def wrapped(inventory: Path, state_dir: Path | None, as_json: bool, quiet: bool, **options: Any) -> int:  # noqa: FBT001  # click passes options by keyword
        settings = Settings(inventory, state_dir, as_json, quiet)
        try:
            return function(settings, **options)
        except HybridmsgError as error:
            if as_json:
                from deployer.report.documents import error_document

                settings.emit(error_document(error))
            elif error.hosts:
                from deployer.report.endings import show_endings

                show_endings(error.hosts)
            raise

    return wrapped


def waiving(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command what the operator lets pass, by name: `waive`."""
    return click.option(
        "--waive",
        metavar="NAME",
        multiple=True,
        help="Let pass what a preflight refuses: a service host that is down (it is left out), a stranger's address, "
        "HOST:PATH of a file that another tool writes. Repeatable; hybridmsg.waive in defaults.yaml says the same.",
    )(function)


def asking(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command whether to do without the hosts: `local`."""
    return click.option("--local", is_flag=True, help="Do not ask the hosts: only what is recorded on this machine.")(
        function
    )


def leaving_a_bus(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command what whoever goes back to RabbitMQ decides: `purge_leftovers` and `remove_backends`."""
    purge = click.option(
        "--purge-leftovers",
        is_flag=True,
        help="Going back to RabbitMQ: delete messages that old RPC queues hold. Without it: list them and do nothing.",
    )
    remove = click.option(
        "--remove-backends",
        is_flag=True,
        help="Remove the routers afterwards; refused while a service is attached. In a rollback also what the run made "
        "on brokers, never what was there before or somebody is connected to.",
    )
    return purge(remove(function))
