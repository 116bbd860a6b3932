"""The transports of each project, variable by variable, with where each value came from: nothing here asks a host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from deployer.model.deployment import Deployment, Policy, ProjectDeployment, Sourced
from deployer.model.masking import MASK
from deployer.model.osa_chain import bus_values
from deployer.model.osa_variables import BUSES, Bus, variable
from deployer.model.secrets import Secret
from deployer.model.transport_url import TransportURL
from deployer.model.transports import Transport, elsewhere, resolve, unheard
from deployer.report.console import console
from deployer.report.documents import SCHEMA

Row = tuple[str, Sourced[Any]]


def show_transports(deployment: Deployment) -> None:
    """Print a table for each project, and what hybridmsg leaves to others."""
    out = console()
    for project in deployment.projects:
        table = Table(title=project.name, title_justify="left")
        for column in ("variable", "value", "from"):
            table.add_column(column, overflow="fold")  # of a long URL the end is the vhost: nothing may be cut off
        for bus in BUSES:
            for name, found in _rows(deployment, project, bus):
                table.add_row(Text(name), Text(_text(found.value)), Text(found.source))
            table.add_row(Text(f"{bus} transport_url"), Text(_url(_transport(deployment, project, bus))), "")
        out.print(table)
    for line in _notes(deployment):
        out.print(line, markup=False)


def transports_document(deployment: Deployment) -> dict[str, Any]:
    """Return the same for JSON: by project and bus, each variable's `value` (passwords masked) and `from`."""
    return {
        "schema": SCHEMA,
        "projects": {
            project.name: {bus: _bus_document(deployment, project, bus) for bus in BUSES}
            for project in deployment.projects
        },
        "notes": list(_notes(deployment)),
    }


def _bus_document(deployment: Deployment, project: ProjectDeployment, bus: Bus) -> dict[str, Any]:
    transport = _transport(deployment, project, bus)
    rows = _rows(deployment, project, bus)
    return {
        "driver": transport.driver,
        "transport_url": _url(transport) or None,
        "variables": {name: {"value": _plain(found.value), "from": found.source} for name, found in rows},
    }


def _rows(deployment: Deployment, project: ProjectDeployment, bus: Bus) -> Iterator[Row]:
    """Yield each variable under the project's own name for it; a bus that there is not has its transport only."""
    values = bus_values(deployment, project, bus)
    for field, found in values.items():
        if field == "transport" or values.transport.value != "none":
            yield variable(bus, field, "" if field == "policies" else project.name), found


def _transport(deployment: Deployment, project: ProjectDeployment, bus: Bus) -> Transport:
    transports = resolve(deployment, project)
    return transports.rpc if bus == "rpc" else transports.notify


def _url(transport: Transport) -> str:
    return "" if transport.driver == "noop" else TransportURL.parse(transport.url().reveal()).masked()


def _plain(value: object) -> object:
    """Return a value for JSON."""
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.name if isinstance(value, Policy) else value


def _text(value: object) -> str:
    """Return a value as user_variables.yml would have it."""
    plain = _plain(value)
    if isinstance(plain, bool):
        return str(plain).lower()
    return ",".join(map(str, plain)) if isinstance(plain, list) else str(plain)


def _notes(deployment: Deployment) -> Iterator[str]:
    yield from elsewhere(deployment)
    yield from unheard(deployment)
    for project in deployment.projects:
        if not project.project.managed:
            yield f"{project.name}: its files are not edited; write them as shown above"
        for one in project.project.unmoved:
            place = f" ({one.file})" if one.file else ""
            yield f"{project.name}: {one.what}{place} is left alone: {one.why}"
