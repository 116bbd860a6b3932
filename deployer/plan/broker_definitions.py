"""The RabbitMQ definitions document that a deployment declares, with the passwords still in hand.

The shapes are those of `rabbitmqctl export_definitions` (https://www.rabbitmq.com/docs/definitions).
A password's hash is base64(salt + hash(salt + utf8 password)) with a salt of 4 bytes (https://www.rabbitmq.com/docs/passwords).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from deployer.model.deployment import Deployment, Policy, ProjectDeployment, RabbitCluster
from deployer.model.osa_chain import BusValues, bus_values
from deployer.model.osa_variables import BUSES
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
    """What a cluster must hold; `permissions` and `policies` are in the shape of the broker's own export."""

    cluster: str
    vhosts: tuple[str, ...]
    users: dict[str, Secret] = field(repr=False)
    permissions: tuple[dict[str, str], ...]
    policies: tuple[dict[str, Any], ...]


def definitions(deployment: Deployment, cluster: RabbitCluster, version: str | None) -> Definitions:
    """Return what the buses on one cluster need of its `version` ("3.10.8"; None while it is not installed).

    Projects may share a vhost and a user. Where RPC and notifications share a vhost, RPC's policies come first.
    """
    buses = [values for project in deployment.projects for values in _on(deployment, cluster, project)]
    logins = dict.fromkeys((values.userid.value, values.vhost.value) for values in buses)
    policies: dict[tuple[str, str], Policy] = {}
    for values in buses:
        for policy in values.policies.value:
            if _applies(policy, version, len(cluster.hosts)):
                policies.setdefault((values.vhost.value, policy.name), policy)
    return Definitions(
        cluster=cluster.name,
        vhosts=tuple(dict.fromkeys(vhost for _, vhost in logins)),
        users={values.userid.value: rabbit_password(values.password.value) for values in buses},
        permissions=tuple(_permissions(user, vhost) for user, vhost in logins),
        policies=tuple(_policy(policy, vhost) for (vhost, _), policy in policies.items()),
    )


def _on(deployment: Deployment, cluster: RabbitCluster, project: ProjectDeployment) -> Iterator[BusValues]:
    """Yield those of the project's buses that are on this cluster."""
    for bus in BUSES:
        values = bus_values(deployment, project, bus)
        if values.transport.value == "rabbit" and values.host_group.value == cluster.group:
            yield values


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


def _permissions(user: str, vhost: str) -> dict[str, str]:
    return {"user": user, "vhost": vhost, "configure": ALL, "write": ALL, "read": ALL}


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
