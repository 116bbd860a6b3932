"""What pending.json would say, by the runs' own journals: for a guard that cannot read it."""

from __future__ import annotations

from pathlib import Path

from deployer.agent import history
from deployer.agent.deeds import deeds
from deployer.agent.errors import RefusedError
from deployer.agent.journal import Journal
from deployer.agent.journal_lines import DONE
from deployer.agent.pending import Pending
from deployer.agent.types import Json

_BEGIN, _CONFIRM = "commit.begin", "commit.confirm"


def unconfirmed(state: Path) -> Pending:
    """Return the scopes of the newest run that began any, but those that are confirmed or back; all are due at once.

    No run begins one while another's is pending. Raises RefusedError when no journal tells, or a newer one is damaged.
    """
    for name in sorted(history.names(state), reverse=True):
        entries = Journal(state, name).entries()
        if any(entry["kind"] == _BEGIN for entry in entries):
            return Pending(name, "", dict.fromkeys(_scopes(entries), 0.0))
    raise RefusedError("no run's journal on this host tells what is not confirmed", "Run reconcile, or rollback")


def _scopes(entries: list[Json]) -> list[str]:
    confirmed = {entry["scope"] for entry in entries if (entry["kind"], entry["status"]) == (_CONFIRM, DONE)}
    begun = [deed.scope for deed in deeds(entries) if deed.kind == _BEGIN and not deed.undone]
    return [scope for scope in begun if scope not in confirmed]
