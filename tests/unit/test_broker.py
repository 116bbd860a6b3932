from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from deployer.model.catalogue import Project
from deployer.model.deployment import BrokerSettings, Deployment, Host, Policy, ProjectDeployment, RabbitCluster
from deployer.model.secrets import Secret
from deployer.plan.broker import compare
from deployer.plan.broker_definitions import Definitions, definitions

PASSWORD = "pä#ss?w:rd"
MIRROR = Policy("HA", "^(?!amq)", {"ha-mode": "all"}, "queues", 0)
TTL = Policy("ttl", "^notifications", {"message-ttl": 60000}, "queues", 1)


def deployment(*projects: str, nodes: int = 3, policies: tuple[Policy, ...] = (TTL,)) -> Deployment:
    hosts = tuple(Host(f"msg{n}", f"10.0.0.{n}", 22, "root", ("rabbitmq",)) for n in range(1, nodes + 1))
    # No part of the plan of a broker reads the catalogue.
    catalogue = cast("Project", None)
    deployed = tuple(ProjectDeployment(name, catalogue, (), f"/{name}", name, Secret(PASSWORD)) for name in projects)
    by_name = {host.name: host for host in hosts}
    return Deployment(
        Path(), by_name, (RabbitCluster("rabbitmq", hosts),), (), deployed, BrokerSettings(policies=policies)
    )


def wanted(of: Deployment, version: str | None) -> Definitions:
    """What the one cluster needs."""
    return definitions(of, of.clusters[0], version)


def exported(**more: list[dict[str, Any]]) -> dict[str, Any]:
    """What RabbitMQ 3.10.8 exports after the definitions for nova were imported, with an operator's own things."""
    base: dict[str, list[dict[str, Any]]] = {
        "vhosts": [{"name": "/nova", "limits": [], "metadata": {}}, {"name": "/"}, {"name": "operators"}],
        "users": [user("nova"), {"name": "guest", "password_hash": "x", "tags": ["administrator"]}],
        "permissions": [{"user": "nova", "vhost": "/nova", "configure": ".*", "write": ".*", "read": ".*"}],
        "policies": [
            {
                "vhost": "/nova",
                "name": "ttl",
                "pattern": "^notifications",
                "apply-to": "queues",
                "definition": {"message-ttl": 60000},
                "priority": 1,
            },
            {
                "vhost": "/nova",
                "name": "theirs",
                "pattern": ".*",
                "definition": {"expires": 1},
                "priority": 9,
            },
        ],
    }
    return {**base, **more}


def user(name: str, password: str = PASSWORD, algorithm: str = "sha256", **more: Any) -> dict[str, Any]:
    salt = b"\x00\xff\x10\x80"
    digest = hashlib.new(algorithm, salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": f"rabbit_password_hashing_{algorithm}",
        "tags": [],
        **more,
    }


WANTED = wanted(deployment("nova"), "3.10.8")


def test_a_broker_that_has_everything_lacks_nothing() -> None:
    changes = compare(WANTED, exported())

    assert not changes
    assert changes.describe() == []
    assert changes.conflicts == ()


def test_a_bare_broker_gets_all_of_it() -> None:
    document = compare(wanted(deployment("nova", "cinder"), None), {}).document()

    assert document["vhosts"] == [{"name": "/nova"}, {"name": "/cinder"}]
    assert [(entry["name"], entry["tags"]) for entry in document["users"]] == [("nova", []), ("cinder", [])]
    assert document["permissions"][1] == {
        "user": "cinder",
        "vhost": "/cinder",
        "configure": ".*",
        "write": ".*",
        "read": ".*",
    }
    assert [(policy["vhost"], policy["name"]) for policy in document["policies"]] == [
        ("/nova", "ttl"),
        ("/cinder", "ttl"),
    ]


def test_only_what_is_missing_is_imported() -> None:
    document = compare(wanted(deployment("nova", "cinder"), "3.10.8"), exported()).document()

    assert document["vhosts"] == [{"name": "/cinder"}]
    assert [entry["name"] for entry in document["users"]] == ["cinder"]
    assert [item["user"] for item in document["permissions"]] == ["cinder"]
    assert [item["vhost"] for item in document["policies"]] == ["/cinder"]


def test_an_imported_hash_is_the_salted_sha256_of_the_password() -> None:
    entry = compare(WANTED, {}).document()["users"][0]
    raw = base64.b64decode(entry["password_hash"])

    assert entry["hashing_algorithm"] == "rabbit_password_hashing_sha256"
    assert raw[4:] == hashlib.sha256(raw[:4] + PASSWORD.encode()).digest()


def test_every_document_has_a_salt_of_its_own() -> None:
    changes = compare(WANTED, {})

    assert changes.document()["users"] != changes.document()["users"]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5"])
def test_a_user_with_our_password_is_fine_whatever_the_algorithm(algorithm: str) -> None:
    assert not compare(WANTED, exported(users=[user("nova", algorithm=algorithm)]))


def test_a_hash_without_an_algorithm_is_an_old_md5() -> None:
    old = user("nova", algorithm="md5")
    del old["hashing_algorithm"]

    assert compare(WANTED, exported(users=[old])).conflicts == ()


@pytest.mark.parametrize(
    "existing",
    [
        user("nova", "another"),
        {"name": "nova", "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256"},
        {"name": "nova", "password_hash": None},
        user("nova", hashing_algorithm="rabbit_password_hashing_argon2"),
        {
            "name": "nova",
            "password_hash": "no base64!",
            "hashing_algorithm": "rabbit_password_hashing_sha256",
        },
    ],
    ids=["another password", "no password", "null", "unknown algorithm", "garbage"],
)
def test_a_user_with_another_password_is_a_conflict_and_is_not_imported(existing: dict[str, Any]) -> None:
    changes = compare(WANTED, exported(users=[existing]))

    assert changes.document()["users"] == []
    [conflict] = changes.conflicts
    assert "user nova" in str(conflict)
    assert "secrets file" in str(conflict)


def test_tags_that_an_operator_gave_our_user_stay() -> None:
    assert not compare(WANTED, exported(users=[user("nova", tags=["monitoring"])]))


def test_narrower_permissions_are_widened_and_said_so() -> None:
    narrow = {"user": "nova", "vhost": "/nova", "configure": "^nova", "write": ".*", "read": ".*"}
    changes = compare(WANTED, exported(permissions=[narrow]))

    assert changes.document()["permissions"][0]["configure"] == ".*"
    assert changes.describe() == ["widen the permissions of user nova on vhost /nova"]


def test_a_policy_of_ours_that_differs_is_changed_and_others_are_left_alone() -> None:
    policies = exported()["policies"]
    policies[0]["definition"] = {"message-ttl": 1}
    changes = compare(WANTED, exported(policies=policies))

    assert [policy["name"] for policy in changes.document()["policies"]] == ["ttl"]
    assert changes.describe() == ["change policy ttl of vhost /nova"]


@pytest.mark.parametrize(
    ("version", "nodes", "kept"),
    [("3.10.8", 3, True), (None, 3, True), ("4.0.1", 3, False), ("3.10.8", 1, False), ("13.0", 3, False)],
)
def test_mirroring_is_left_out_where_it_cannot_be(version: str | None, nodes: int, kept: bool) -> None:  # noqa: FBT001 - a table's column
    needed = wanted(deployment("nova", nodes=nodes, policies=(MIRROR, TTL)), version)

    assert [policy["name"] for policy in needed.policies] == (["HA", "ttl"] if kept else ["ttl"])


def test_no_text_shows_a_password() -> None:
    changes = compare(WANTED, {})
    conflicts = compare(WANTED, exported(users=[user("nova", "another")])).conflicts

    assert PASSWORD not in f"{WANTED!r} {changes!r} {changes.describe()} {conflicts}"


def test_projects_that_share_vhost_and_user_need_them_once() -> None:
    of = deployment("nova", "cinder")
    of = replace(of, projects=tuple(replace(one, vhost="/shared", user="stack") for one in of.projects))
    needed = wanted(of, "3.10.8")

    assert (needed.vhosts, list(needed.users), len(needed.permissions)) == (("/shared",), ["stack"], 1)
    assert [(one["vhost"], one["name"]) for one in needed.policies] == [("/shared", "ttl")]
    assert compare(needed, {}).conflicts == ()
