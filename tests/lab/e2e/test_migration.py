"""What a migration promises, on real hosts: RabbitMQ, nova, neutron, cinder, heat, glance, ceilometer."""

from __future__ import annotations

import json

import pytest

from tests.lab import Lab
from tests.lab.cloud import (
    CONSUMER,
    INVENTORY,
    SERVICE_HOSTS,
    create_image,
    fingerprints,
    heard,
    hybridmsg,
    hybridmsg_ends,
)
from tests.lab.e2e.conftest import BROKERS, Migrated
from tests.lab.e2e.inventories import PASSWORDS, Inventory

_NEUTRON = ("q-plugin", "q-reports-plugin", "q-server-resource-versions")
SERVERS = {
    f"{topic}@{host}"
    for topic in ("conductor", "scheduler", "cinder-scheduler", "engine", *_NEUTRON)
    for host in ("ctl1", "ctl2")
}


def changed_since(lab: Lab, host: str, moment: str) -> list[str]:
    """Return what changed below /etc, /usr and /var on a host, but for logs, the journal and services' own state."""
    spared = " ".join(f"-path {path} -prune -o" for path in ("/var/log", "/var/lib/systemd", "/var/tmp"))
    return lab.run(host, f"find /etc /usr /var {spared} -newerct '{moment}' -print").stdout.split()


def test_plan_changes_nothing_on_any_host(pristine: Lab) -> None:
    hosts = (*BROKERS, *SERVICE_HOSTS)
    moments = {host: pristine.run(host, "date +'%F %T.%N'").stdout.strip() for host in hosts}
    code, _, err = hybridmsg_ends(pristine, "plan")
    assert code == 2, err
    assert [path for host, moment in moments.items() for path in changed_since(pristine, host, moment)] == []


def test_every_check_of_the_migration_holds(migrated: Migrated) -> None:
    assert [check for check in migrated.document["checks"] if not check["ok"]] == []


def test_every_rpc_server_of_the_active_units_was_asked(migrated: Migrated) -> None:
    asked = {check["target"] for check in migrated.document["checks"] if check["kind"] == "rpc"}
    assert asked == SERVERS


def test_a_remote_refusal_proves_the_round_trip_where_rpc_ping_is_not_enabled(migrated: Migrated) -> None:
    rpc = [check for check in migrated.document["checks"] if check["kind"] == "rpc"]
    answers = {host: {check["detail"] for check in rpc if check["target"].endswith(host)} for host in ("ctl1", "ctl2")}
    assert answers["ctl1"] == {"pong over rabbit"}
    assert answers["ctl2"] <= {"NoSuchMethod over rabbit", "UnsupportedVersion over rabbit"}


def test_services_that_did_not_stop_when_asked_are_told_as_lost_work(migrated: Migrated) -> None:
    # Without a bus nova's services do not hear SIGTERM, and systemd kills them.
    killed = {unit for pause in migrated.document["pauses"] if pause["project"] == "nova" for unit in pause["killed"]}
    assert killed == {f"{unit} on {host}" for unit in ("nova-conductor", "nova-scheduler") for host in ("ctl1", "ctl2")}


def test_a_second_migrate_keeps_every_inode_ctime_and_main_pid(migrated: Migrated) -> None:
    before = fingerprints(migrated.lab, live=True)
    again = hybridmsg(migrated.lab, "migrate")
    assert not again["changed"]
    assert fingerprints(migrated.lab, live=True) == before


def test_plan_has_nothing_to_do_afterwards(migrated: Migrated) -> None:
    assert hybridmsg(migrated.lab, "plan")["changed"] is False


def test_the_brokers_are_one_cluster(migrated: Migrated) -> None:
    script = "rabbitmqctl -q --formatter json cluster_status"
    status = json.loads(migrated.lab.run("msg3", script).stdout)
    assert sorted(status["running_nodes"]) == [f"rabbit@{host}" for host in BROKERS]


def test_ceilometer_reads_the_notification_of_a_real_image(migrated: Migrated) -> None:
    assert heard(migrated.lab, create_image(migrated.lab, "ctl2"))


def test_verify_leaves_no_queue_of_its_own_behind(migrated: Migrated) -> None:
    hybridmsg(migrated.lab, "verify")
    vhosts = migrated.lab.run("msg1", "rabbitmqctl -q list_vhosts --no-table-headers name").stdout.split()
    queues = "; ".join(f"rabbitmqctl -q list_queues -p {vhost} --no-table-headers name" for vhost in vhosts)
    assert "hybridmsg-probe" not in migrated.lab.run("msg1", queues, timeout=120).stdout


def test_verify_misses_a_server_that_died_since(undisturbed: Migrated) -> None:
    lab = undisturbed.lab
    impatient = Inventory(lab, "impatient").change("defaults", data__hybridmsg__timeouts={"gate": 20})
    lab.run("ctl2", "systemctl stop heat-engine", timeout=120)
    try:
        code, document, _ = hybridmsg_ends(lab, "verify", inventory=impatient.path)
    finally:
        lab.run("ctl2", "systemctl start heat-engine", timeout=120)
    assert code == 3
    assert [check["target"] for check in document["checks"] if not check["ok"]] == ["engine@ctl2", "heat-engine"]


def test_no_password_is_printed_with_the_diffs_of_a_plan(pristine: Lab) -> None:
    done = pristine.run("ops1", ["hybridmsg", "plan", "-i", INVENTORY], check=False, timeout=300)
    assert "+transport_url = rabbit://glance:***@" in done.stdout
    assert [name for name, password in PASSWORDS.items() if password in done.stdout + done.stderr] == []


@pytest.mark.parametrize("verb", ["plan", "status", "verify"])
def test_no_password_is_printed(migrated: Migrated, verb: str) -> None:
    done = migrated.lab.run("ops1", ["hybridmsg", verb, "-i", INVENTORY], check=False, timeout=300)
    assert [name for name, password in PASSWORDS.items() if password in done.stdout + done.stderr] == []


def test_passwords_on_the_service_hosts_stand_in_service_files_and_the_root_only_journal(migrated: Migrated) -> None:
    needle = PASSWORDS["glance"]
    for host in SERVICE_HOSTS:
        # Whatever holds it is newer than the host, which got its name just before it booted first.
        script = f"find / -xdev -type f -cnewer /etc/hostname -exec grep -lsF -e '{needle}' {{}} +"
        found = set(migrated.lab.run(host, script, check=False, timeout=300).stdout.split())
        allowed = {"/etc/glance/glance-api.conf", "/etc/ceilometer/ceilometer.conf"}
        assert {path for path in found if not path.startswith("/var/lib/hybridmsg/")} <= allowed


def test_the_journal_is_open_to_root_only(migrated: Migrated) -> None:
    wide = "find /var/lib/hybridmsg -perm /077 -o ! -user root"
    assert {host: migrated.lab.run(host, wide).stdout for host in SERVICE_HOSTS} == dict.fromkeys(SERVICE_HOSTS, "")


def test_the_controller_keeps_a_copy_of_every_before_image(migrated: Migrated) -> None:
    run = migrated.document["run"]
    kept = "/var/lib/hybridmsg-controller/runs"
    for host in SERVICE_HOSTS:
        each = "for blob in *; do echo $blob; sha256sum <$blob | cut -d' ' -f1; done"
        script = f"cd {kept}/{run}/hosts/{host}/blobs && {each}"
        names = migrated.lab.run("ops1", script).stdout.split()
        assert names[::2] == names[1::2]
        recorded = {line.split()[0] for line in migrated.before[host] if len(line.split()) == 2 and "/" in line}
        assert set(names) >= recorded


def test_status_says_what_the_last_run_did(migrated: Migrated) -> None:
    status = hybridmsg(migrated.lab, "status")
    assert status["pending"] is False
    # Other tests make runs of their own, later ones.
    assert status["last_run"]["run"] >= migrated.document["run"]
    assert status["last_run"]["command"] == "migrate"


def test_rollback_brings_back_bytes_modes_owners_and_unit_states(
    rolled_back: tuple[Migrated, dict[str, object]],
) -> None:
    migrated, document = rolled_back
    assert document["whole"] is True
    assert fingerprints(migrated.lab) == migrated.before


def test_a_rollback_has_nothing_left_to_undo(rolled_back: tuple[Migrated, dict[str, object]]) -> None:
    code, document, _ = hybridmsg_ends(rolled_back[0].lab, "rollback")
    assert (code, document["error"]["kind"]) == (1, "NothingToRollBack")


def test_ceilometer_runs_where_it_ran(rolled_back: tuple[Migrated, dict[str, object]]) -> None:
    state = rolled_back[0].lab.run(CONSUMER, "systemctl is-active ceilometer-agent-notification")
    assert state.stdout.strip() == "active"
