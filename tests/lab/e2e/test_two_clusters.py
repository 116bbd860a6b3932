"""One RabbitMQ cluster for RPC and another for notifications, and a project that sends none: standard as any other."""

from __future__ import annotations

import json

from tests.lab import Lab
from tests.lab.cloud import create_image, heard, hybridmsg, hybridmsg_ends
from tests.lab.e2e.conftest import Migrated
from tests.lab.e2e.neutron import TWO_MINDED, create_network, tells_agents
from tests.lab.e2e.test_migration import SERVERS

RPC, NOTIFY = ("msg1", "msg2"), ("msg3",)
HEAT = "/etc/heat/heat.conf"


def queues(lab: Lab, broker: str) -> set[str]:
    """Return the names of all queues of a broker's cluster, whatever their vhost."""
    script = """
        for vhost in $(rabbitmqctl -q list_vhosts --no-table-headers name); do
            rabbitmqctl -q list_queues -p $vhost --no-table-headers name
        done
    """
    return set(lab.run(broker, script, timeout=120).stdout.split())


def test_every_check_of_the_migration_to_two_clusters_holds(two_clusters: Migrated) -> None:
    assert [check for check in two_clusters.document["checks"] if not check["ok"]] == []


def test_each_group_is_a_cluster_of_its_own(two_clusters: Migrated) -> None:
    for cluster in (RPC, NOTIFY):
        status = two_clusters.lab.run(cluster[0], "rabbitmqctl -q --formatter json cluster_status").stdout
        assert sorted(json.loads(status)["running_nodes"]) == [f"rabbit@{host}" for host in cluster]


def test_rpc_answers_over_the_first_cluster(two_clusters: Migrated) -> None:
    over = {
        check["target"]: check["detail"].rpartition(" ")[2]
        for check in two_clusters.document["checks"]
        if check["kind"] == "rpc"
    }
    assert over == {target: "rabbit" for target in SERVERS if target.startswith(("q-", "engine"))}
    assert {target.replace("@", ".") for target in over} <= queues(two_clusters.lab, RPC[0])


def test_a_real_notification_reaches_ceilometer_over_the_second_cluster(two_clusters: Migrated) -> None:
    lab = two_clusters.lab
    assert heard(lab, create_image(lab, "ctl1"))
    assert heard(lab, create_network(lab, TWO_MINDED))


def test_what_neutron_api_tells_agents_arrives_over_the_first_cluster(two_clusters: Migrated) -> None:
    assert tells_agents(two_clusters.lab, TWO_MINDED, "ctl1") == "rabbit"


def test_no_rpc_queue_is_on_the_second_cluster_and_no_notification_queue_on_the_first(two_clusters: Migrated) -> None:
    notify = queues(two_clusters.lab, NOTIFY[0])
    assert "notifications.info" in notify
    assert {name for name in notify if not name.startswith("notifications.")} == set()
    assert {name for name in queues(two_clusters.lab, RPC[0]) if name.startswith("notifications.")} == set()


def test_a_cluster_has_the_vhosts_of_the_projects_on_it_and_no_others(two_clusters: Migrated) -> None:
    listed = "rabbitmqctl -q list_vhosts --no-table-headers name"
    vhosts = {broker: set(two_clusters.lab.run(broker, listed).stdout.split()) for broker in (RPC[0], NOTIFY[0])}
    assert vhosts[RPC[0]] >= {"neutron", "heat"}
    assert vhosts[NOTIFY[0]] >= {"neutron", "glance"}
    assert "heat" not in vhosts[NOTIFY[0]]


def test_heat_runs_and_answers_with_the_driver_noop_and_no_notify_url(two_clusters: Migrated) -> None:
    lab = two_clusters.lab
    for host in ("ctl1", "ctl2"):
        section = lab.run(host, f"sed -n '/^.oslo_messaging_notifications.$/,/^\\[/p' {HEAT} | grep -E '^[a-z]'").stdout
        assert section.splitlines() == ["driver = noop"]
        assert lab.run(host, "systemctl is-active heat-engine").stdout == "active\n"
    answered = {check["target"] for check in two_clusters.document["checks"] if check["kind"] == "rpc" and check["ok"]}
    assert {"engine@ctl1", "engine@ctl2"} <= answered


def test_a_second_migrate_to_two_clusters_finds_nothing_to_do(two_clusters: Migrated) -> None:
    assert hybridmsg(two_clusters.lab, "migrate", inventory=two_clusters.inventory)["changed"] is False


def test_every_service_host_is_let_in_by_both_clusters(two_clusters: Migrated) -> None:
    code, document, err = hybridmsg_ends(two_clusters.lab, "preflight", inventory=two_clusters.inventory)
    assert code == 0, err
    logins = {(one["host"], one["detail"].split()[1]) for one in document["findings"] if one["check"] == "login"}
    assert logins >= {(host, broker) for host in ("ctl1", "ctl2") for broker in (*RPC, *NOTIFY)}


def test_show_transports_tells_both_groups_and_the_line_that_says_so(two_clusters: Migrated) -> None:
    shown = two_clusters.lab.run("ops1", ["hybridmsg", "show-transports", "-i", two_clusters.inventory]).stdout
    assert "rabbitmq_notify" in shown
    assert "defaults.yaml:" in shown
