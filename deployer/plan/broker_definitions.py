"""The RabbitMQ definitions document that a deployment declares, with the passwords still in hand.

The shapes are those of `rabbitmqctl export_definitions` (https://www.rabbitmq.com/docs/definitions).
A password's hash is base64(salt + hash(salt + utf8 password)) with a salt of 4 bytes (https://www.rabbitmq.com/docs/passwords).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

from deployer.model.deployment import Deployment, Policy, ProjectDeployment
from deployer.model.secrets import Secret
from deployer.model.transports import rabbit_password

SALT_BYTES = 4
ALL = ".*"
_SHA256 = "rabbit_password_hashing_sha256"
_ALGORITHMS = {
    _SHA256: "sha256",
    "rabbit_password_hashing_sha512": "sha512",
    "rabbit_password_hashing_md5": "md5",
}
_QUORUM_ONLY = 4


@dataclass(frozen=True)
class Definitions:
    """What a broker must hold; `permissions` and `policies` are in the shape of the broker's own export."""

    vhosts: tuple[str, ...]
    users: dict[str, Secret] = field(repr=False)
    permissions: tuple[dict[str, str], ...]
    policies: tuple[dict[str, Any], ...]


def definitions(deployment: Deployment, version: str | None) -> Definitions:
    """Return what the projects need of a broker of `version` ("3.10.8"; None while it is not installed)."""
    projects = deployment.projects
    vhosts = tuple(dict.fromkeys(project.vhost for project in projects))
    nodes = len(deployment.rabbitmq)
    policies = [policy for policy in deployment.broker.policies if _applies(policy, version, nodes)]
    return Definitions(
        vhosts=vhosts,
        users={project.user: rabbit_password(project.password) for project in projects},
        permissions=tuple(_permissions(project) for project in projects),
        policies=tuple(_policy(policy, vhost) for vhost in vhosts for policy in policies),
    )


def user_entry(name: str, password: Secret) -> dict[str, Any]:
    """Return a user as the broker imports it: a hash with a fresh salt, no tags."""
    salt = secrets.token_bytes(SALT_BYTES)
    digest = hashlib.sha256(salt + password.reveal().encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": _SHA256,
        "tags": [],
    }


def password_matches(user: dict[str, Any], password: Secret) -> bool:
    """Whether the exported user's hash is one of this password; False for a user without any."""
    algorithm = _ALGORITHMS.get(str(user.get("hashing_algorithm") or "rabbit_password_hashing_md5"))
    try:
        raw = base64.b64decode(user.get("password_hash") or "", validate=True)
    except binascii.Error:
        return False
    if algorithm is None or len(raw) <= SALT_BYTES:
        return False
    salt, stored = raw[:SALT_BYTES], raw[SALT_BYTES:]
    # The broker chose the algorithm, md5 included: what it stored can only be checked the same way.
    digest = hashlib.new(algorithm, salt + password.reveal().encode(), usedforsecurity=False).digest()
    return secrets.compare_digest(digest, stored)


def _permissions(project: ProjectDeployment) -> dict[str, str]:
    return {"user": project.user, "vhost": project.vhost, "configure": ALL, "write": ALL, "read": ALL}


def _policy(policy: Policy, vhost: str) -> dict[str, Any]:
    return {
        "vhost": vhost,
        "name": policy.name,
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "definition": dict(policy.definition),
        "priority": policy.priority,
    }


def _applies(policy: Policy, version: str | None, nodes: int) -> bool:
    """Classic mirroring went with RabbitMQ 4.0 (its release notes), and one node has nowhere to mirror to."""
    if not any(key.startswith("ha-") for key in policy.definition):
        return True
    return nodes > 1 and (version is None or int(version.split(".")[0]) < _QUORUM_ONLY)
