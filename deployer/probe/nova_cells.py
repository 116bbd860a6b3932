"""Runs in nova's own interpreter: reads the cell mappings of its API database and moves them to other transport URLs.

One JSON request line on stdin, one answer line on stdout behind MARK:

    {"config_files": [path], "config_dirs": [path], "moves": {uuid: {"old": transport URL, "new": transport URL}}}

    {"cells": [{"uuid", "name", "transport_url_b64"}] as they are in the end, "stale": [uuid of a cell whose URL is not
     `old`: nothing was written then], "error": null or text without credentials}

The rows themselves: what nova-manage and nova's objects show of a template is filled in with nova.conf's URL already.
For nova 25 to 29, Python 3.8 and later.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from importlib import import_module
from typing import Any

MARK = "hybridmsg-probe "
_CREDENTIALS = re.compile(r"[^\s:]+:\S*@")  # of a malformed URL too


def main() -> None:
    """Answer the request on stdin; whatever goes wrong is an answer too."""
    request = json.loads(sys.stdin.buffer.readline())
    answer: dict[str, Any] = {"cells": [], "stale": [], "error": None}
    try:
        engine = _engine(request)
        with engine.begin() as connection:
            answer["stale"] = _move(connection, request["moves"])
            answer["cells"] = _cells(connection)
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the finding
        answer["error"] = _describe(error)
    sys.stdout.write(f"\n{MARK}{json.dumps(answer)}\n")


def _engine(request: dict[str, Any]) -> Any:
    """Return SQLAlchemy's engine for the API database, as nova's own files and defaults have it."""
    api, conf = import_module("nova.db.api.api"), import_module("nova.conf").CONF
    options = [(name, path) for name in ("file", "dir") for path in request[f"config_{name}s"]]
    conf(
        [f"--config-{name}={path}" for name, path in options],
        project="nova",
        default_config_files=[],
        default_config_dirs=[],
    )
    # Else an unreachable database is asked for 100 s before it is an error.
    conf.set_override("max_retries", 0, group="api_database")
    # nova.db.api.api.configure() wants its profiler set up as well.
    api.context_manager.configure(**dict(conf.api_database.items()))
    return api.context_manager.writer.get_engine()


def _table() -> Any:
    return import_module("nova.db.api.models").CellMapping.__table__


def _move(connection: Any, moves: dict[str, dict[str, str]]) -> list[str]:
    """Write the new URLs unless one of the old ones is not there any more; return the uuids of those."""
    table = _table()
    rows = connection.execute(table.select().where(table.c.uuid.in_(list(moves))).with_for_update()).fetchall()
    now = {row.uuid: row.transport_url for row in rows}
    stale = [uuid for uuid, move in moves.items() if now.get(uuid) != move["old"]]
    for uuid, move in moves.items() if not stale else ():
        connection.execute(table.update().where(table.c.uuid == uuid).values(transport_url=move["new"]))
    return stale


def _cells(connection: Any) -> list[dict[str, Any]]:
    table = _table()
    rows = connection.execute(table.select().order_by(table.c.id)).fetchall()
    return [
        {
            "uuid": row.uuid,
            "name": row.name,
            "transport_url_b64": base64.b64encode((row.transport_url or "").encode()).decode(),
        }
        for row in rows
    ]


def _describe(error: Exception) -> str:
    """Return the error's first line: SQLAlchemy has the statement with its parameters, URLs, on the later ones."""
    lines = str(error).splitlines() or [""]
    return _CREDENTIALS.sub("***@", f"{type(error).__name__}: {lines[0]}")


if __name__ == "__main__":
    main()
