"""What hybrid messaging promises on real hosts: RPC over routers, notifications on RabbitMQ, and the way back."""

from __future__ import annotations

import pytest

from tests.lab import Lab
from tests.lab.cloud import FILES, SERVICE_HOSTS, create_image, fingerprints, heard, hybridmsg, hybridmsg_ends
from tests.lab.e2e import cells
from tests.lab.e2e.conftest import ROUTERS, Migrated
from tests.lab.e2e.inventories import PASSWORDS, Inventory
from tests.lab.e2e.test_migration import SERVERS

Hybrid = Migrated


def of_kind(document: dict[str, object], kind: str) -> list[dict[str, object]]:
    """Return a document's checks of one kind."""
    checks = document["checks"]
    assert isinstance(checks, list)
    return [check for check in checks if check["kind"] == kind]


def effective(lab: Lab, host: str, file: str) -> list[str]:
    """Return every transport URL that stands in a file, deprecated and listeners' options included."""
    pattern = r"^(transport_url|notification_transport_url|messaging_urls) *="
    return lab.run(host, ["sed", "-nE", f"/{pattern}/p", file]).stdout.splitlines()


def test_every_check_of_the_hybrid_migration_holds(hybrid: Hybrid) -> None:
    assert [check for check in hybrid.document["checks"] if not check["ok"]] == []


def test_every_server_answers_over_amqp(hybrid: Hybrid) -> None:
    rpc = of_kind(hybrid.document, "rpc")
    assert {check["target"] for check in rpc} == SERVERS
    assert {str(check["detail"]).rpartition(" ")[2] for check in rpc} == {"amqp"}


def test_the_routers_show_every_server_and_rabbitmq_none(hybrid: Hybrid) -> None:
    seen = of_kind(hybrid.document, "router")
    assert {check["target"] for check in seen} == {*SERVERS, *ROUTERS}
    old = of_kind(hybrid.document, "old bus")
    assert {(check["project"], check["ok"]) for check in old} >= {
        (name, True) for name in ("nova", "neutron", "cinder", "heat")
    }


def test_fanout_arrives_exactly_once_across_the_mesh(hybrid: Hybrid) -> None:
    assert [check["ok"] for check in of_kind(hybrid.document, "fanout")] == [True]


def test_the_pause_of_each_project_is_told(hybrid: Hybrid) -> None:
    pauses = {pause["project"]: pause["seconds"] for pause in hybrid.document["pauses"]}
    assert set(pauses) == {"glance", "cinder", "nova", "neutron", "heat", "ceilometer"}
    assert all(seconds > 0 for seconds in pauses.values())


def test_ceilometer_reads_a_real_notification_from_rabbitmq(hybrid: Hybrid) -> None:
    assert heard(hybrid.lab, create_image(hybrid.lab, "ctl1"))


def test_no_notify_url_is_amqp(hybrid: Hybrid) -> None:
    lines = [line for host, files in FILES.items() for file in files for line in effective(hybrid.lab, host, file)]
    amqp = [line for line in lines if "= amqp://" in line]
    # One [DEFAULT] transport_url a file; every other URL there is RabbitMQ's.
    assert len(amqp) == sum(len(files) for files in FILES.values())
    assert {line.partition("=")[0].strip() for line in amqp} == {"transport_url"}
    assert {line.partition("= ")[2].partition(":")[0] for line in lines} == {"amqp", "rabbit"}


def test_a_literal_cell_mapping_moves_with_nova_and_nothing_else_of_it(hybrid: Hybrid) -> None:
    found = cells.mappings(hybrid.lab)
    assert found["cell0"][0] == "none:///"
    assert found["cell1"][0].startswith("amqp://nova:")
    assert found["cell1"][1] == cells.TEMPLATE


def test_no_cell_url_was_ever_in_a_process_list_or_a_log(hybrid: Hybrid) -> None:
    needle = PASSWORDS["nova"].partition(" ")[0]
    for host in ("ctl1", "ctl2"):
        logs = hybrid.lab.run(host, f"journalctl -q --no-pager | grep -cF '{needle}'", check=False)
        assert logs.stdout.strip() == "0"


def test_a_second_migrate_finds_nothing_to_do(hybrid: Hybrid) -> None:
    before = fingerprints(hybrid.lab, live=True)
    assert hybridmsg(hybrid.lab, "migrate")["changed"] is False
    assert fingerprints(hybrid.lab, live=True) == before


@pytest.mark.parametrize("verb", ["plan", "status", "verify"])
def test_no_password_is_printed_of_a_hybrid_cloud(hybrid: Hybrid, verb: str) -> None:
    code, document, err = hybridmsg_ends(hybrid.lab, verb)
    assert code == 0, err
    assert [name for name, password in PASSWORDS.items() if password in f"{document}{err}"] == []


def test_the_routers_files_are_open_to_nobody_who_need_not_read_them(hybrid: Hybrid) -> None:
    secret = "/var/lib/qdrouterd/qdrouterd.sasldb /etc/qpid-dispatch/hybridmsg.password"
    for router in ROUTERS:
        modes = hybrid.lab.run(router, f"stat -c '%a %U' {secret}").stdout.splitlines()
        assert modes == ["600 qdrouterd"] * 2


def test_rollback_brings_every_byte_back_and_every_unit_to_what_it_was(
    standard_again: tuple[Hybrid, dict[str, object]],
) -> None:
    hybrid, document = standard_again
    assert document["whole"] is True
    assert fingerprints(hybrid.lab) == hybrid.before


def test_rollback_brings_the_literal_cell_mapping_back(standard_again: tuple[Hybrid, dict[str, object]]) -> None:
    assert cells.mappings(standard_again[0].lab)["cell1"][0].startswith("rabbit://nova:")


def test_every_server_answers_over_rabbitmq_again(standard_again: tuple[Hybrid, dict[str, object]]) -> None:
    hybrid, document = standard_again
    standard = Inventory(hybrid.lab, "standard-again")
    standard.change("hosts", **{f"{router}__groups": ["rabbitmq"] for router in ROUTERS})
    checks = hybridmsg(hybrid.lab, "verify", inventory=standard.path)
    assert {check["target"] for check in of_kind(checks, "rpc") if str(check["detail"]).endswith("rabbit")} == SERVERS
    assert {check["target"] for check in of_kind(document, "rpc") if check["ok"]} == SERVERS


def test_rollback_leaves_the_routers_running(standard_again: tuple[Hybrid, dict[str, object]]) -> None:
    lab = standard_again[0].lab
    assert [lab.run(router, "systemctl is-active qdrouterd").stdout.strip() for router in ROUTERS] == ["active"] * 2


def test_service_hosts_keep_what_they_were_given_for_the_routers(
    standard_again: tuple[Hybrid, dict[str, object]],
) -> None:
    for host in SERVICE_HOSTS:
        assert (
            standard_again[0].lab.run(host, "dpkg-query -W -f '${Status}' python3-pyngus").stdout.endswith("installed")
        )
