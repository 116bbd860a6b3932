"""What this controller has seen of the services: read before a plan, renewed whenever hosts were looked at and held."""

from __future__ import annotations

from pathlib import Path

from deployer.journal.looks import read_looks, write_looks
from deployer.journal.store import RunStore
from deployer.plan.stale import Looks, look
from deployer.rollout.fleet import Fleet


def recall(store: RunStore) -> Looks:
    """Return the last look at each service."""
    return read_looks(_file(store))


def remember(fleet: Fleet, store: RunStore) -> None:
    """Keep what `fleet.facts` shows of the services: once before they are restarted, and once after.

    The look before is what proves, whatever the clocks say, which files a process that began since has read.
    """
    write_looks(_file(store), look(fleet.deployment, fleet.facts, recall(store)))


def _file(store: RunStore) -> Path:
    return store.root.parent / "looks.json"
