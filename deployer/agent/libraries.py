"""What the interpreters of services have of the libraries that oslo.messaging's amqp driver needs."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from deployer.agent.errors import RefusedError
from deployer.agent.probe import probe
from deployer.agent.types import Json

PROGRAM = "libraries.py"
TIMEOUT = 30.0  # seconds; it takes a tenth
_NONE: Json = {"oslo.messaging": None, "amqp": False, "pyngus": False, "proton": False}


def of_units(units: Iterable[Json]) -> dict[str, Json]:
    """Return `{"oslo.messaging", "amqp", "pyngus", "proton"}` of each interpreter of the units' facts, all at once."""
    # As the unit's own user: what a service's user may write must not be run as root.
    users = {unit["interpreter"]: unit["user"] for unit in units if unit["interpreter"]}
    if not users:
        return {}
    with ThreadPoolExecutor(max_workers=len(users)) as pool:
        asked = {interpreter: pool.submit(_ask, interpreter, user) for interpreter, user in users.items()}
    return {interpreter: answer.result() for interpreter, answer in asked.items()}


def _ask(interpreter: str, user: str) -> Json:
    """Return what it has; an interpreter that cannot answer has none of it, as far as a service is concerned."""
    try:
        return probe(interpreter, user, {}, TIMEOUT, PROGRAM)
    except RefusedError:
        return _NONE
