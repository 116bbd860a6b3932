"""How a project of a run stands on its hosts, by their journals."""

from __future__ import annotations

from deployer.model.deployment import ProjectDeployment
from deployer.rollout.undo import CELLS, FILES, Journals, chosen, scope_of

_BEGIN = frozenset({"commit.begin"})


def is_confirmed(project: ProjectDeployment, journals: Journals) -> bool:
    """Whether all hosts that were to put a project back by themselves were told to keep it: it was proven then.

    The controller may have died before it recorded that. A host without a journal had no part in the run.
    """
    begun = {host for host, entries in journals.items() if chosen(entries, project, _BEGIN)}
    kept = {
        host
        for host, entries in journals.items()
        for one in entries
        if (one["scope"], one["kind"], one["status"]) == (scope_of(project), "commit.confirm", "done")
    }
    return bool(begun) and begun <= kept


def is_split(project: ProjectDeployment, journals: Journals) -> bool:
    """Whether some of what a run wrote for a project stands and some went back already."""
    stands = any(chosen(entries, project, FILES | CELLS) for entries in journals.values())
    return stands and "undone" in _statuses(project, journals)


def is_going_back(project: ProjectDeployment, journals: Journals) -> bool:
    """Whether anything that a run wrote for a project went back, or was about to."""
    return not _statuses(project, journals).isdisjoint(("undoing", "undone", "undo failed"))


def _statuses(project: ProjectDeployment, journals: Journals) -> set[str]:
    """Return the last words on what a run wrote for a project."""
    own = [one for entries in journals.values() for one in entries if one["scope"] == scope_of(project)]
    return {str(one["status"]) for one in own if one["kind"] in FILES | CELLS}
