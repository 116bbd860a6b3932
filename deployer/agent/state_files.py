"""The JSON documents beside the runs: `hold.json`, what holds the host, and `pending.json`, what is not confirmed."""

from __future__ import annotations

import json
import os
from pathlib import Path

from deployer.agent import files
from deployer.agent.errors import RefusedError
from deployer.agent.types import Json

HOLD, PENDING = "hold.json", "pending.json"
PRIVATE = 0o600


def read(path: Path) -> Json | None:
    """Return the document, None when there is none; raises RefusedError when it is damaged."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RefusedError(f"{path} is damaged: it is no JSON object")
    return document


def write(path: Path, document: Json | None) -> None:
    """Put the document there, durably and in one; None: remove it."""
    if document is None:
        files.remove(str(path))
        return
    files.make_directory(path.parent, 0o700)
    content = json.dumps(document).encode()
    files.replace(str(path), files.Wanted(content, PRIVATE, os.geteuid(), os.getegid()))


def told(path: Path) -> Json | None:
    """Return the document as it is told to the controller; a damaged one is `{"damaged": problem}`: it does count."""
    try:
        return read(path)
    except RefusedError as error:
        return {"damaged": error.problem}
