"""Bad input and unusable hosts: one clear error that names host, file and remedy, and nothing is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.lab import Lab
from tests.lab.cloud import fingerprints, hybridmsg_ends
from tests.lab.e2e.conftest import Migrated
from tests.lab.e2e.inventories import Inventory

KNOWN_HOSTS = "/root/.ssh/known_hosts"
GLANCE = "/etc/glance/glance-api.conf"


@pytest.fixture
def inventory(undisturbed: Migrated, request: pytest.FixtureRequest) -> Inventory:
    """A copy of the main inventory for this test."""
    return Inventory(undisturbed.lab, request.node.originalname)


@pytest.fixture(scope="module")
def bare(lab: Lab) -> Iterator[str]:
    """One more bare host, for tests that break it."""
    host = lab.add_bare("bare1")
    yield host.name
    lab.remove(host.name)


def fails(lab: Lab, inventory: Inventory, code: int, *words: str, verb: str = "migrate") -> str:
    """Run a verb that must end with `code` and whose error must hold every one of `words`; return the error."""
    found, document, _ = hybridmsg_ends(lab, verb, inventory=inventory.path)
    message = str(document["error"]["message"])
    assert found == code, message
    assert [word for word in words if word not in message] == [], message
    return message


def logins(lab: Lab, host: str) -> int:
    """Return how many logins sshd on a host has let in or turned down."""
    tried = "journalctl -q -u ssh --no-pager | grep -cE 'Accepted|Failed|Connection (closed|reset) by authenticating'"
    return int(lab.run(host, tried, check=False).stdout or 0)


def with_broker(inventory: Inventory, lab: Lab, host: str) -> Inventory:
    """Let `host` be the only broker and ceilometer the only project: the smallest deployment there is."""
    inventory.only("tel1")
    return inventory.change("hosts", **{host: {"hostname": lab.hosts[host].address, "groups": ["rabbitmq"]}})


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("hosts", {"ctl1__groups": ["controlers"]}, ("hosts.yaml:", "hosts.ctl1.groups", "controllers")),
        ("hosts", {"ctl1__hostnam": "10.77.0.21"}, ("hosts.yaml:", "hostnam", "hostname")),
        ("defaults", {"data__hybridmsg__notfy": "keep"}, ("defaults.yaml:", "notfy", "notify")),
        ("hosts", {"ctl2__hostname": "10.77.0.21"}, ("hosts.yaml:", "ctl1", "ctl2")),
    ],
    ids=["unknown group", "unknown host key", "unknown setting", "two hosts with one address"],
)
def test_a_mistake_in_the_inventory_is_named_by_file_and_path(
    undisturbed: Migrated, inventory: Inventory, file: str, values: dict[str, object], words: tuple[str, ...]
) -> None:
    fails(undisturbed.lab, inventory.change(file, **values), 1, *words)


def test_two_hosts_with_one_name_are_both_named_by_line(undisturbed: Migrated, inventory: Inventory) -> None:
    twice = "msg1: {hostname: 10.77.0.11, groups: [rabbitmq]}\nmsg1: {hostname: 10.77.0.12, groups: [rabbitmq]}\n"
    fails(undisturbed.lab, inventory.write("hosts", twice), 1, "hosts.yaml:2", "msg1", "lines 1 and 2")


def test_a_host_with_an_unknown_key_is_not_even_logged_in_to(undisturbed: Migrated, inventory: Inventory) -> None:
    lab = undisturbed.lab
    lab.run("ops1", f"sed '/ctl2/d;/10.77.0.22/d' {KNOWN_HOSTS} >/root/without-ctl2")
    inventory.change("defaults", connection_options__hybridmsg_ssh__extras__known_hosts="/root/without-ctl2")
    before = logins(lab, "ctl2")
    fails(lab, inventory, 4, "ctl2", "/root/without-ctl2", "SHA256:")
    assert logins(lab, "ctl2") == before


def test_a_host_with_a_changed_key_is_not_even_logged_in_to(undisturbed: Migrated, inventory: Inventory) -> None:
    lab = undisturbed.lab
    swapped = f"""awk '$1 ~ /ctl1|10.77.0.21/ && $2 == "ssh-ed25519" {{ print $1, key }}
                       $1 ~ /tel1|10.77.0.41/ && $2 == "ssh-ed25519" {{ key = $2 " " $3 }}
                       $1 !~ /ctl1|10.77.0.21/' {KNOWN_HOSTS} {KNOWN_HOSTS} | sort -u >/root/changed"""
    lab.run("ops1", swapped)
    inventory.change("defaults", connection_options__hybridmsg_ssh__extras__known_hosts="/root/changed")
    before = logins(lab, "ctl1")
    fails(lab, inventory, 4, "ctl1", "changed", "SHA256:")
    assert logins(lab, "ctl1") == before


def test_one_unreachable_host_stops_the_run_before_anything_is_touched(
    undisturbed: Migrated, inventory: Inventory
) -> None:
    inventory.change("hosts", ctl9={"hostname": "10.77.0.99", "groups": ["controllers"]})
    inventory.change("defaults", data__hybridmsg__projects={"heat": {"vhost": "elsewhere"}})
    undisturbed.lab.run("ops1", f"ssh-keyscan 10.77.0.21 2>/dev/null | sed s/0.21/0.99/ >>{KNOWN_HOSTS}")
    fails(undisturbed.lab, inventory, 4, "ctl9", "10.77.0.99")


def test_sudo_that_asks_for_a_password_is_named_with_its_remedy(undisturbed: Migrated, inventory: Inventory) -> None:
    inventory.change("hosts", tel1__username="asks")
    fails(undisturbed.lab, inventory, 4, "tel1", "sudo", "NOPASSWD")


def test_a_host_without_python3_is_named_with_its_remedy(
    undisturbed: Migrated, inventory: Inventory, bare: str
) -> None:
    lab = undisturbed.lab
    with_broker(inventory, lab, bare)
    lab.run(bare, "mkdir /root/away && mv /usr/bin/python3* /root/away/")
    try:
        fails(lab, inventory, 4, bare, "python3")
    finally:
        lab.run(bare, "mv /root/away/* /usr/bin/ && rmdir /root/away")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[DEFAULT]\nregion = K\xf6ln\n", ("UTF-8",)), (b"\xef\xbb\xbf[DEFAULT]\n", ("byte order mark",))],
    ids=["latin-1", "byte order mark"],
)
def test_a_file_that_cannot_be_edited_safely_is_refused_by_name(
    undisturbed: Migrated, inventory: Inventory, content: bytes, words: tuple[str, ...]
) -> None:
    lab = undisturbed.lab
    good = lab.read("ctl2", GLANCE)
    lab.write("ctl2", GLANCE, content, mode=0o640)
    try:
        fails(lab, inventory, 3, "ctl2", GLANCE, *words)
        assert lab.read("ctl2", GLANCE) == content
    finally:
        lab.write("ctl2", GLANCE, good, mode=0o640)


def test_an_unreachable_package_repository_is_named_and_no_service_is_touched(
    undisturbed: Migrated, inventory: Inventory, bare: str
) -> None:
    lab = undisturbed.lab
    with_broker(inventory, lab, bare)
    before = fingerprints(lab, live=True)
    lab.run(bare, "sed -i.good 's/:8080/:8081/' /etc/apt/sources.list.d/lab.list")
    try:
        fails(lab, inventory, 3, bare, "10.77.0.1:8081")
    finally:
        lab.run(bare, "mv /etc/apt/sources.list.d/lab.list.good /etc/apt/sources.list.d/lab.list")
    assert fingerprints(lab, live=True) == before


def test_an_existing_broker_is_adopted_and_what_is_not_ours_stays(
    undisturbed: Migrated, inventory: Inventory, bare: str
) -> None:
    lab = undisturbed.lab
    lab.run(bare, "apt-get -q update && apt-get -qy install rabbitmq-server </dev/null", timeout=180)
    foreign = """rabbitmqctl -q add_vhost theirs && rabbitmqctl -q add_user theirs theirs-password
        rabbitmqctl -q set_permissions -p theirs theirs '.*' '.*' '.*'
        rabbitmqctl -q set_policy -p theirs kept '.*' '{"max-length": 7}'"""
    lab.run(bare, foreign, timeout=120)
    exported = "rabbitmqctl -q export_definitions - --format json"
    before = _theirs(lab.run(bare, exported).stdout)
    cookie = lab.read(bare, "/var/lib/rabbitmq/.erlang.cookie")
    with_broker(inventory, lab, bare).change("defaults", data__hybridmsg__notify="rabbitmq")
    ran = lab.run("ops1", ["hybridmsg", "migrate", "-i", inventory.path], timeout=300)
    try:
        assert "add vhost ceilometer" in ran.stdout
        assert _theirs(lab.run(bare, exported).stdout) == before
        assert lab.read(bare, "/var/lib/rabbitmq/.erlang.cookie") == cookie
    finally:
        lab.run("ops1", ["hybridmsg", "rollback", "-i", inventory.path], timeout=300)


def _theirs(definitions: str) -> list[str]:

    document = json.loads(definitions)
    kinds = ("vhosts", "users", "permissions", "policies")
    return [json.dumps(one, sort_keys=True) for kind in kinds for one in document[kind] if "theirs" in json.dumps(one)]
