"""What a broker lacks of the declared definitions. What is not ours is never looked at, let alone touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deployer.errors import Mistake
from deployer.model.secrets import Secret
from deployer.plan.broker_definitions import ALL, Definitions, password_matches, user_entry

_RIGHTS = ("configure", "write", "read")
# RabbitMQ's own defaults for what an exported policy may leave out.
_POLICY_DEFAULTS: dict[str, Any] = {"apply-to": "all", "priority": 0}


@dataclass(frozen=True)
class BrokerChanges:
    """What to import into a broker; a user named in `conflicts` is never re-passworded."""

    vhosts: tuple[str, ...]
    users: tuple[tuple[str, Secret], ...]
    permissions: tuple[dict[str, str], ...]
    policies: tuple[dict[str, Any], ...]
    widened: tuple[dict[str, str], ...]
    changed_policies: tuple[dict[str, Any], ...]
    conflicts: tuple[Mistake, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to import."""
        return any((self.vhosts, self.users, self.permissions, self.policies, self.widened, self.changed_policies))

    def document(self) -> dict[str, Any]:
        """Return the definitions to import: only what is missing or differs, passwords under fresh salts."""
        return {
            "vhosts": [{"name": name} for name in self.vhosts],
            "users": [user_entry(name, password) for name, password in self.users],
            "permissions": [*self.permissions, *self.widened],
            "policies": [*self.policies, *self.changed_policies],
        }

    def describe(self) -> list[str]:
        """Return one line a change for people, without secrets."""
        return [
            *(f"add vhost {name}" for name in self.vhosts),
            *(f"add user {name}" for name, _ in self.users),
            *(f"let user {item['user']} use vhost {item['vhost']}" for item in self.permissions),
            *(f"widen the permissions of user {item['user']} on vhost {item['vhost']}" for item in self.widened),
            *(f"add policy {item['name']} to vhost {item['vhost']}" for item in self.policies),
            *(f"change policy {item['name']} of vhost {item['vhost']}" for item in self.changed_policies),
        ]


def compare(wanted: Definitions, exported: dict[str, Any]) -> BrokerChanges:
    """Return what the exported definitions (`{}` for a bare broker) lack of the wanted ones."""
    vhosts = {item["name"] for item in exported.get("vhosts", [])}
    users = {item["name"]: item for item in exported.get("users", [])}
    granted = {(item["user"], item["vhost"]): item for item in exported.get("permissions", [])}
    policies = {(item["vhost"], item["name"]): item for item in exported.get("policies", [])}
    known = [(item, policies.get((item["vhost"], item["name"]))) for item in wanted.policies]
    rights = [(item, granted.get((item["user"], item["vhost"]))) for item in wanted.permissions]
    return BrokerChanges(
        vhosts=tuple(name for name in wanted.vhosts if name not in vhosts),
        users=tuple((name, password) for name, password in wanted.users.items() if name not in users),
        permissions=tuple(item for item, existing in rights if existing is None),
        policies=tuple(item for item, existing in known if existing is None),
        widened=tuple(item for item, existing in rights if existing is not None and _narrower(existing)),
        changed_policies=tuple(item for item, existing in known if existing is not None and _differs(item, existing)),
        conflicts=tuple(
            _conflict(wanted.cluster, name)
            for name, password in wanted.users.items()
            if name in users and not password_matches(users[name], password)
        ),
    )


def _narrower(existing: dict[str, str]) -> bool:
    return any(existing[right] != ALL for right in _RIGHTS)


def _differs(wanted: dict[str, Any], existing: dict[str, Any]) -> bool:
    return {**_POLICY_DEFAULTS, **wanted} != {**_POLICY_DEFAULTS, **existing}


def _conflict(cluster: str, user: str) -> Mistake:
    return Mistake(
        f"RabbitMQ cluster {cluster}",
        f"user {user}",
        "exists with another password, which services may be using; it is left alone. "
        "Put its present password into the secrets file, or name another user for the project",
    )
