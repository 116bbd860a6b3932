"""The program `hybridmsg`: its verbs, and what ends it."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType

import click

from deployer import __version__
from deployer.cli.history import history
from deployer.cli.migrate import migrate
from deployer.cli.plan import plan
from deployer.cli.preflight import preflight
from deployer.cli.reconcile import reconcile
from deployer.cli.release import release
from deployer.cli.rollback import rollback
from deployer.cli.schedule import schedule
from deployer.cli.show import show
from deployer.cli.show_transports import show_transports
from deployer.cli.status import status
from deployer.cli.verify import verify
from deployer.errors import ConfigurationError, HostError, HybridmsgError, Interrupted

EPILOG = """\b
Exit codes:
  0    done, or nothing to do
  1    wrong usage or configuration; nothing was touched
  2    plan, rollback --dry-run: changes are pending; reconcile --check: drift
  3    some hosts failed, or something does not answer
  4    a host is unreachable
  5    another run holds a host
  6    a host changed since it was read; nothing was done there
  7    reconcile: held since a rollback; nothing was changed
  130  interrupted

\b
Shell completion: eval "$(_HYBRIDMSG_COMPLETE=bash_source hybridmsg)"   (or zsh_source, fish_source)
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="hybridmsg")
def cli() -> None:
    """Bring an OpenStack cloud to the messaging its inventory describes, prove it over the wire, and go back.

    Start with `preflight` and `plan`: they read the hosts and change nothing.
    """


for command in (
    preflight,
    plan,
    migrate,
    verify,
    status,
    show_transports,
    history,
    show,
    rollback,
    release,
    reconcile,
    schedule,
):
    cli.add_command(command)


def main() -> None:
    """Run the program on the command line's words and exit."""
    for library in ("nornir", "paramiko"):
        # Without a handler Python prints their errors, tracebacks included; ours name the host and the remedy.
        logging.getLogger(library).addHandler(logging.NullHandler())
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(asked_to_stop) != signal.SIG_IGN:  # nohup's wish is kept
            signal.signal(asked_to_stop, _stop)
    sys.exit(run(sys.argv[1:]))


def _stop(number: int, _frame: FrameType | None) -> None:
    click.echo(
        f"hybridmsg: {signal.Signals(number).name}: stopping after the step in hand; again breaks it off", err=True
    )
    raise KeyboardInterrupt


def run(words: list[str]) -> int:
    """Run one command and return its exit code; every error ends as one message on stderr."""
    try:
        return int(cli.main(words, prog_name="hybridmsg", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return ConfigurationError.exit_code
    except HybridmsgError as error:
        click.echo(f"hybridmsg: {error}", err=True)
        return error.exit_code
    except OSError as error:
        click.echo(f"hybridmsg: {error}", err=True)
        return HostError.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("hybridmsg: interrupted", err=True)
        return Interrupted.exit_code
