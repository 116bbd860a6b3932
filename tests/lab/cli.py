"""The command line: up, down, status, install, reset, shell, run."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from types import FrameType
from typing import NoReturn

from tests.lab import preflight, repository
from tests.lab.api import Lab
from tests.lab.errors import LabError
from tests.lab.layout import DEFAULT_NAME, Sizes, check_sizes
from tests.lab.services import Health


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors are one message on stderr and exit code 1."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return int(options.command(Lab(options.name), options))
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("lab: interrupted; the next `up` heals what is half done, `down` removes it\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab", description=__doc__)
    parser.add_argument("--name", default=DEFAULT_NAME, help="which lab (default: %(default)s)")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    up = verbs.add_parser("up", help="boot the lab, or heal one that is up")
    up.set_defaults(command=_up)
    up.add_argument("--messaging", type=int, metavar="N", help="hosts msg1..msgN (default 3)")
    up.add_argument("--controllers", type=int, metavar="N", help="hosts ctl1..ctlN (default 2)")
    up.add_argument("--bare", type=int, metavar="N", help="hosts bare1..bareN (default 0)")
    up.add_argument(
        "--light", type=int, metavar="N", help="hosts light1..lightN, each with the services of relay (default 2)"
    )
    up.add_argument("--no-cloud", action="store_true", help="no controllers, database and telemetry")
    up.add_argument("--bare-only", action="store_true", help="nothing but the bare hosts")
    verbs.add_parser("down", help="remove the lab; the image cache stays").set_defaults(command=_down)
    status = verbs.add_parser("status", help="how each host is")
    status.set_defaults(command=_status)
    status.add_argument("--json", action="store_true", help="for programs")
    install = verbs.add_parser("install", help="rebuild hybridmsg and install it on the operator's host")
    install.set_defaults(command=_install)
    reset = verbs.add_parser("reset", help="give hosts back as their image has them")
    reset.set_defaults(command=_reset)
    reset.add_argument("hosts", nargs="+", metavar="HOST")
    shell = verbs.add_parser("shell", help="a root shell on a host")
    shell.set_defaults(command=_shell)
    shell.add_argument("host", metavar="HOST")
    run = verbs.add_parser("run", help="run a command on a host")
    run.set_defaults(command=_run)
    run.add_argument("host", metavar="HOST")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    return parser


def _up(lab: Lab, options: argparse.Namespace) -> int:
    numbers = ("messaging", "controllers", "bare", "light")
    given = {key: value for key in numbers if (value := getattr(options, key)) is not None}
    if options.bare_only:
        given = {"messaging": 0, "controllers": 0, "light": 0, "bare": given.get("bare", 1)}
    cloud = not (options.bare_only or options.no_cloud)
    sizes = check_sizes(Sizes(**given, cloud=cloud, operator=not options.bare_only)) if given or not cloud else None
    lab.up(sizes)
    return 0


def _down(lab: Lab, options: argparse.Namespace) -> int:
    del options
    lab.down()
    return 0


def _status(lab: Lab, options: argparse.Namespace) -> int:
    preflight.check()
    lines = lab.status()
    if options.json:
        sys.stdout.write(json.dumps([asdict(line) for line in lines], indent=2) + "\n")
    elif lines:
        sys.stdout.write(_table(lines))
        sys.stdout.write(f"router in the package repository: {repository.router(lab.layout)}\n")
    else:
        sys.stdout.write(f"lab {lab.layout.name} is down; bring it up: python3 -m tests.lab up\n")
    return 0 if lines and all(line.ssh and not line.failed for line in lines) else 3


def _table(lines: list[Health]) -> str:
    rows = [("HOST", "ADDRESS", "ROLE", "SSH", "SYSTEMD", "UNITS FAILED")]
    for line in lines:
        image = line.image if line.image_current else f"{line.image} (older)"
        ssh = "answers" if line.ssh else "silent"
        rows.append((line.name, line.address, image, ssh, line.state, " ".join(line.failed) or "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(line.rstrip() + "\n" for line in aligned)


def _install(lab: Lab, options: argparse.Namespace) -> int:
    del options
    preflight.check()
    lab.install()
    return 0


def _reset(lab: Lab, options: argparse.Namespace) -> int:
    preflight.check()
    lab.reset(*options.hosts)
    return 0


def _shell(lab: Lab, options: argparse.Namespace) -> NoReturn:
    preflight.check()
    argv, env = lab.machine(options.host).entering(["/bin/bash", "-i"])
    os.execve("/bin/sh", argv, env | {"TERM": os.environ.get("TERM", "dumb")})  # noqa: S606 - a shell is asked for


def _run(lab: Lab, options: argparse.Namespace) -> int:
    preflight.check()
    command = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not command:
        raise LabError("run: give a command after the host")
    argv, env = lab.machine(options.host).entering(command)
    os.execve("/bin/sh", argv, env)  # noqa: S606 - its output and exit code are the command's own


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
