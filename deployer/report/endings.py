"""How each host of a run ended, for people: the last table of every verb that changes hosts, also when it failed."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from deployer.report.console import console

_STYLES = {"ok": "", "changed": "green", "skipped": "yellow"}


def show_endings(hosts: Mapping[str, str]) -> None:
    """Print each host's ending; nothing where no host was to be touched."""
    if not hosts:
        return
    table = Table(title="Hosts", title_justify="left")
    for column in ("host", "ended"):
        table.add_column(column)
    for host, ending in hosts.items():
        table.add_row(Text(host), Text(ending, _STYLES.get(ending, "bold red")))
    console().print(table)
