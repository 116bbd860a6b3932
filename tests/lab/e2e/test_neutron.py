"""neutron's two services read the same files in opposite order: what each really reads comes to the planned bus."""

from __future__ import annotations

from tests.lab import Lab
from tests.lab.cloud import add_routers, fingerprints, heard, hybridmsg_ends
from tests.lab.e2e.conftest import ROUTERS, Migrated
from tests.lab.e2e.inventories import Inventory
from tests.lab.e2e.neutron import (
    MAIN_FILE,
    SITE_FILE,
    TWO_MINDED,
    create_network,
    tells_agents,
    transport_urls,
)

OTHER = "ctl1"
UWSGI_FILE = "/etc/neutron/neutron-api-uwsgi.ini"


def is_on(lab: Lab, driver: str) -> None:
    """Fail unless both services of that host name the planned bus where each of them reads it."""
    planned = transport_urls(lab, OTHER, MAIN_FILE)[0]
    assert planned.startswith(f"{driver}://neutron:")
    # neutron.conf wins for neutron-api, the site's file for neutron-rpc-server.
    assert transport_urls(lab, TWO_MINDED, MAIN_FILE)[0] == planned
    assert transport_urls(lab, TWO_MINDED, SITE_FILE) == [planned]


def test_the_site_file_that_wins_for_rpc_server_and_neutron_conf_that_wins_for_api_name_the_planned_bus(
    migrated: Migrated,
) -> None:
    is_on(migrated.lab, "rabbit")


def test_rpc_server_answers_on_the_host_whose_site_file_wins_over_neutron_conf(migrated: Migrated) -> None:
    rpc = [check for check in migrated.document["checks"] if check["kind"] == "rpc" and check["ok"]]
    over = {check["target"]: check["detail"].rpartition(" ")[2] for check in rpc}
    assert over[f"q-plugin@{TWO_MINDED}"] == "rabbit"


def test_a_site_file_that_defeats_nothing_stays_as_it_is(migrated: Migrated) -> None:
    assert migrated.lab.read(OTHER, SITE_FILE) == b"# Settings of this site.\n"


def test_what_neutron_api_tells_agents_arrives_over_rabbitmq(migrated: Migrated) -> None:
    assert tells_agents(migrated.lab, TWO_MINDED, OTHER) == "rabbit"


def test_ceilometer_reads_the_notification_of_a_real_network(migrated: Migrated) -> None:
    assert heard(migrated.lab, create_network(migrated.lab, TWO_MINDED))


def test_a_neutron_api_with_several_threads_is_refused_on_the_way_to_routers_and_nothing_is_touched(
    undisturbed: Migrated,
) -> None:
    lab = undisturbed.lab
    before = fingerprints(lab, live=True)
    inventory = Inventory(lab, "threads")
    add_routers(lab, *ROUTERS, inventory=inventory.path)
    lab.run(TWO_MINDED, f"sed -i 's/^threads = 1$/threads = 32/' {UWSGI_FILE}")
    try:
        code, document, _ = hybridmsg_ends(lab, "migrate", inventory=inventory.path)
    finally:
        lab.run(TWO_MINDED, f"sed -i 's/^threads = 32$/threads = 1/' {UWSGI_FILE}")
    message = document["error"]["message"]
    assert (code, document["error"]["kind"]) == (3, "PreflightFailed")
    assert [word for word in (TWO_MINDED, "neutron-api", "32 threads", "threads = 1") if word not in message] == []
    assert OTHER not in message
    assert fingerprints(lab, live=True) == before


def test_both_files_name_the_routers_in_a_hybrid_cloud(hybrid: Migrated) -> None:
    is_on(hybrid.lab, "amqp")


def test_what_neutron_api_tells_agents_arrives_over_the_routers(hybrid: Migrated) -> None:
    assert tells_agents(hybrid.lab, TWO_MINDED, OTHER) == "amqp"


def test_ceilometer_reads_a_networks_notification_from_rabbitmq_in_a_hybrid_cloud(hybrid: Migrated) -> None:
    assert heard(hybrid.lab, create_network(hybrid.lab, TWO_MINDED))


def test_each_files_own_url_is_back_after_the_rollback(rolled_back: tuple[Migrated, dict[str, object]]) -> None:
    lab = rolled_back[0].lab
    assert transport_urls(lab, TWO_MINDED, MAIN_FILE) == ["rabbit://guest:guest@localhost:5672/"]
    assert transport_urls(lab, TWO_MINDED, SITE_FILE) == ["rabbit://guest:guest@localhost:5672/site"]
