"""nova's cell mappings as a test sees them: rows of the API database, read and written by nova-manage and SQL."""

from __future__ import annotations

from tests.lab import Lab

MAPPINGS = "SELECT name, transport_url, database_connection FROM nova_api.cell_mappings ORDER BY id"
TEMPLATE = "{scheme}://{username}:{password}@{hostname}:{port}/{path}?{query}"


def mappings(lab: Lab) -> dict[str, tuple[str, str]]:
    """Return transport URL and database connection of each cell by name, as they stand in the database."""
    rows = lab.run("db1", ["mysql", "-N", "--raw", "-e", MAPPINGS]).stdout.splitlines()
    return {name: (url, database) for name, url, database in (row.split("\t") for row in rows)}


def make_literal(lab: Lab) -> None:
    """Give cell1 the URL that nova's file has, in full."""
    script = "sed -n 's/^transport_url *= *//p' /etc/nova/nova.conf | head -1"
    _write(lab, lab.run("ctl1", script).stdout.strip())


def make_template(lab: Lab) -> None:
    """Give cell1 its template back."""
    _write(lab, TEMPLATE)


def _write(lab: Lab, url: str) -> None:
    quoted = url.replace("\\", "\\\\").replace("'", "''")
    statement = f"UPDATE nova_api.cell_mappings SET transport_url = '{quoted}' WHERE name = 'cell1'"  # noqa: S608 - the lab's own text
    lab.run("db1", ["mysql", "-e", statement])
