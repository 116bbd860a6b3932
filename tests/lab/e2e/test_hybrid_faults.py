"""Faults on the way to hybrid messaging and in it: refused before anything changes, or put back whole and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.lab import Lab
from tests.lab.cloud import fingerprints, hybridmsg, hybridmsg_ends, migrate_and_at
from tests.lab.e2e.conftest import ROUTERS, Migrated
from tests.lab.e2e.inventories import Inventory
from tests.lab.e2e.test_faults import deaf_engine

HEAT = "/etc/heat/heat.conf"
SASLDB = "/var/lib/qdrouterd/qdrouterd.sasldb"
PINNED = "Package: python3-pyngus\nPin: release *\nPin-Priority: -1\n"
BROKEN = "[Service]\nUser=root\nExecStart=\nExecStart=/usr/sbin/qdrouterd -c /root/broken.conf\n"
CAST = """
import os, sys
from oslo_config import cfg
import oslo_messaging
cfg.CONF(["--config-file=/etc/heat/heat.conf"], project="heat")
cfg.CONF.register_opts([cfg.MultiStrOpt("driver"), cfg.StrOpt("transport_url")], "oslo_messaging_notifications")
oslo_messaging.set_transport_defaults("heat")
transport = oslo_messaging.get_rpc_transport(cfg.CONF, url=cfg.CONF.oslo_messaging_notifications.transport_url)
client = oslo_messaging.RPCClient(transport, oslo_messaging.Target(topic="engine", server=sys.argv[1] or None))
client.cast({}, "hybridmsg_test")
os._exit(0)
"""


def refused(lab: Lab, inventory: Inventory, code: int, *words: str) -> None:
    """Migrate, which must end with `code` and these words and have touched no service."""
    before = fingerprints(lab, live=True)
    found, document, err = hybridmsg_ends(lab, "migrate", inventory=inventory.path)
    assert found == code, err
    assert [word for word in words if word not in document["error"]["message"]] == [], err
    assert fingerprints(lab, live=True) == before


def cast_on_rabbitmq(lab: Lab, server: str = "") -> None:
    """Send heat's engines a cast over RabbitMQ, as a client that was left behind does."""
    lab.run("ctl1", ["/usr/bin/python3", "-c", CAST, server], timeout=60)


def router_pids(lab: Lab) -> list[str]:
    """Return the process of each of the two routers: a restart changes it."""
    return [lab.run(router, "systemctl show -P MainPID qdrouterd").stdout.strip() for router in ROUTERS]


@contextmanager
def changed(lab: Lab, host: str, act: str, back: str) -> Iterator[None]:
    """Change something on a host for the time of a test."""
    lab.run(host, act, timeout=120)
    try:
        yield
    finally:
        lab.run(host, back, timeout=120)


# -- on the way there: one RabbitMQ carries everything ------------------------------------------------------------


def test_oslo_messaging_15_on_one_host_is_refused_before_anything_changes(
    undisturbed: Migrated, heat_to_routers: Inventory
) -> None:
    lab = undisturbed.lab
    info = "$(ls -d /usr/lib/python3/dist-packages/oslo.messaging-*/)PKG-INFO"
    newer = f"cp -a {info} /root/PKG-INFO && sed -i 's/^Version: .*/Version: 15.0.0/' {info}"
    with changed(lab, "ctl2", newer, f"mv /root/PKG-INFO {info}"):
        refused(lab, heat_to_routers, 3, "ctl2", "heat-engine", "oslo.messaging 15.0.0", "below 15")


def test_a_controller_whose_file_is_overridden_by_its_environment_is_named(undisturbed: Migrated) -> None:
    lab = undisturbed.lab
    drop_in = "/run/systemd/system/nova-conductor.service.d/override.conf"
    lines = "[Service]\\nEnvironment=OS_DEFAULT__TRANSPORT_URL=rabbit://u:secret-of-the-environment@h/\\n"
    put = f"mkdir -p $(dirname {drop_in}) && printf '{lines}' >{drop_in} && systemctl daemon-reload"
    inventory = Inventory(lab, "overridden")
    with changed(lab, "ctl2", put, f"rm {drop_in} && systemctl daemon-reload"):
        refused(lab, inventory, 3, "ctl2", "nova-conductor", "OS_DEFAULT__TRANSPORT_URL", "/etc/nova/nova.conf")
        assert "secret-of-the-environment" not in str(hybridmsg_ends(lab, "migrate", inventory=inventory.path))


def test_a_missing_pyngus_that_cannot_be_had_is_named_and_no_service_stops(
    undisturbed: Migrated, heat_to_routers: Inventory
) -> None:
    lab = undisturbed.lab
    lab.run("ctl2", "dpkg --purge python3-pyngus", check=False, timeout=120)
    pin = "/etc/apt/preferences.d/pinned"
    with changed(lab, "ctl2", f"printf '{PINNED}' >{pin}", f"rm {pin}"):
        refused(lab, heat_to_routers, 3, "ctl2", "python3-pyngus", "Add the repository")


def test_a_router_that_exits_on_its_configuration_is_named_and_no_service_is_touched(
    undisturbed: Migrated, heat_to_routers: Inventory
) -> None:
    lab = undisturbed.lab
    lab.run("msg2", "systemctl stop qdrouterd", check=False)
    directory = "/run/systemd/system/qdrouterd.service.d"
    lab.run("msg2", f"mkdir -p {directory}")
    lab.write("msg2", "/root/broken.conf", b"nonsense {\n}\n")
    lab.write("msg2", f"{directory}/broken.conf", BROKEN.encode())
    reload = "systemctl daemon-reload"
    with changed(lab, "msg2", reload, f"rm -r {directory} /root/broken.conf; {reload}"):
        refused(lab, heat_to_routers, 3, "msg2", "qdrouterd.service is failed", "nonsense")


def test_a_router_that_starts_and_lets_nobody_in_is_named_and_no_service_is_touched(
    undisturbed: Migrated, heat_to_routers: Inventory
) -> None:
    lab = undisturbed.lab
    plugin = "mv /usr/lib/$(uname -m)-linux-gnu/sasl2/libplain.so* /root/ && systemctl restart qdrouterd"
    back = "mv /root/libplain.so* /usr/lib/$(uname -m)-linux-gnu/sasl2/ && systemctl restart qdrouterd"
    with changed(lab, "msg2", plugin, back):
        refused(lab, heat_to_routers, 3, "msg2", "the router is not ready")


def test_a_wrong_password_is_put_right_without_a_restart_and_a_missing_user_database_too(
    undisturbed: Migrated, heat_to_routers: Inventory
) -> None:
    lab = undisturbed.lab
    hybridmsg(lab, "migrate", inventory=heat_to_routers.path)
    try:
        before = router_pids(lab)
        lab.run("msg1", f"printf wrong | saslpasswd2 -c -p -f {SASLDB} -u openstack heat")
        lab.run("msg2", f"rm {SASLDB}")
        code, document, _ = hybridmsg_ends(lab, "verify", inventory=heat_to_routers.path)
        failed = {check["target"] for check in document["checks"] if not check["ok"]}
        assert (code, failed >= set(ROUTERS)) == (3, True)
        hybridmsg(lab, "migrate", inventory=heat_to_routers.path)
        assert hybridmsg(lab, "verify", inventory=heat_to_routers.path)["ok"] is True
        assert router_pids(lab)[0] == before[0]
    finally:
        hybridmsg(lab, "rollback", inventory=heat_to_routers.path)


def test_an_engine_that_never_answers_on_one_controller_takes_heat_back_to_rabbitmq(
    undisturbed: Migrated, heat_to_routers: Inventory
) -> None:
    lab = undisturbed.lab
    before = fingerprints(lab)
    with deaf_engine(lab, "ctl2"):
        code, document, err = hybridmsg_ends(lab, "migrate", inventory=heat_to_routers.path)
        assert (code, document["error"]["kind"]) == (3, "GateFailed")
        assert "engine@ctl2" in err
        assert fingerprints(lab) == before
    assert hybridmsg(lab, "verify")["ok"] is True


def test_a_bus_that_does_not_become_idle_in_time_leaves_everything_as_it_was(
    undisturbed: Migrated, heat_to_routers: Inventory
) -> None:
    lab = undisturbed.lab
    before = fingerprints(lab, live=True)
    freeze = "systemctl kill -s {} heat-engine"
    with changed(lab, "ctl2", freeze.format("STOP"), freeze.format("CONT")):
        cast_on_rabbitmq(lab, "ctl2")
        code, document, err = hybridmsg_ends(lab, "migrate", inventory=heat_to_routers.path)
    assert (code, document["error"]["kind"]) == (3, "DrainTimeout"), err
    assert "engine.ctl2" in document["error"]["message"]
    assert fingerprints(lab, live=True) == before


def test_a_router_dead_before_the_switch_is_started(undisturbed: Migrated, heat_to_routers: Inventory) -> None:
    lab = undisturbed.lab
    lab.run("msg2", "systemctl kill -s KILL qdrouterd", check=False)
    hybridmsg(lab, "migrate", inventory=heat_to_routers.path)
    try:
        assert lab.run("msg2", "systemctl is-active qdrouterd").stdout.strip() == "active"
    finally:
        hybridmsg(lab, "rollback", inventory=heat_to_routers.path)


def test_a_router_that_dies_during_the_switch_leaves_heat_whole_on_one_bus_and_that_is_told(
    undisturbed: Migrated, heat_to_routers: Inventory
) -> None:
    lab = undisturbed.lab
    kill: Callable[[], object] = lambda: lab.run("msg2", "systemctl kill -s KILL qdrouterd")  # noqa: E731 - act's one line
    code, told = migrate_and_at(lab, heat_to_routers.path, "ctl1: start heat-engine", kill)
    lab.run("msg2", "systemctl start qdrouterd")
    first_url = f"sed -n 's/^transport_url = //p' {HEAT} | head -1"
    schemes = {lab.run(host, first_url).stdout.partition(":")[0] for host in ("ctl1", "ctl2")}
    if "amqp" in schemes:
        hybridmsg(lab, "rollback", inventory=heat_to_routers.path)
    # Debian's pyngus may end its event loop over a message that the dead router broke off: then heat goes back.
    named = {"amqp": "router msg2 does not hold", "rabbit": "heat: engine@"}
    assert (code, len(schemes)) == (3, 1)
    assert named[schemes.pop()] in "".join(told)
    assert hybridmsg(lab, "verify")["ok"] is True


def test_messages_left_in_old_rpc_queues_are_listed_and_purged_only_on_request(
    undisturbed: Migrated, heat_to_routers: Inventory
) -> None:
    lab = undisturbed.lab
    before = fingerprints(lab)
    hybridmsg(lab, "migrate", inventory=heat_to_routers.path)
    cast_on_rabbitmq(lab)
    hybrid = fingerprints(lab, live=True)
    code, document, _ = hybridmsg_ends(lab, "rollback", inventory=heat_to_routers.path)
    assert (code, document["error"]["kind"]) == (3, "LeftoverMessages")
    assert "heat/engine: 1" in document["error"]["message"]
    assert fingerprints(lab, live=True) == hybrid
    assert hybridmsg(lab, "rollback", "--purge-leftovers", inventory=heat_to_routers.path)["whole"] is True
    assert fingerprints(lab) == before


def test_emptying_the_group_takes_heat_back_and_removes_the_routers_on_request(
    undisturbed: Migrated, heat_to_routers: Inventory
) -> None:
    lab = undisturbed.lab
    hybridmsg(lab, "migrate", inventory=heat_to_routers.path)
    heat_to_routers.change("hosts", **{f"{router}__groups": ["rabbitmq"] for router in ROUTERS})
    try:
        done = hybridmsg(lab, "migrate", "--remove-backends", inventory=heat_to_routers.path)
        assert [check for check in done["checks"] if not check["ok"]] == []
        for router in ROUTERS:
            assert lab.run(router, "pgrep -x qdrouterd", check=False).returncode == 1
            assert lab.run(router, f"ls {SASLDB} /etc/qpid-dispatch/hybridmsg.password", check=False).stdout == ""
    finally:
        for _ in ("back to the routers' files", "back to RabbitMQ's"):
            hybridmsg_ends(lab, "rollback", inventory=heat_to_routers.path)


# -- in it -----------------------------------------------------------------------------------------------------------


def test_a_service_with_another_realm_is_found_by_verify(undisturbed_hybrid: Migrated) -> None:
    lab = undisturbed_hybrid.lab
    impatient = Inventory(lab, "impatient-hybrid").change("defaults", data__hybridmsg__timeouts={"gate": 20})
    realm = "sed -i 's/^sasl_default_realm = {}/sasl_default_realm = {}/' " + HEAT
    restart = " && systemctl restart heat-engine"
    there, back = realm.format("openstack", "elsewhere") + restart, realm.format("elsewhere", "openstack") + restart
    with changed(lab, "ctl2", there, back):
        code, document, _ = hybridmsg_ends(lab, "verify", inventory=impatient.path)
    assert code == 3
    assert "engine@ctl2" in {check["target"] for check in document["checks"] if not check["ok"]}


def test_routers_that_are_in_use_are_not_removed(undisturbed_hybrid: Migrated) -> None:
    lab = undisturbed_hybrid.lab
    inventory = Inventory(lab, "routers-in-use").change("groups", controllers={"groups": ["heat"]})
    inventory.change("hosts", tel1=None, **{f"{router}__groups": ["rabbitmq"] for router in ROUTERS})
    try:
        code, document, err = hybridmsg_ends(lab, "migrate", "--remove-backends", inventory=inventory.path)
        assert code == 3, err
        assert "nova-conductor" in document["error"]["message"]
        assert [lab.run(router, "systemctl is-active qdrouterd").stdout for router in ROUTERS] == ["active\n"] * 2
    finally:
        hybridmsg_ends(lab, "rollback", inventory=inventory.path)


def test_a_third_router_joins_and_leaves_without_a_restart_and_equal_costs_are_caught(
    undisturbed_hybrid: Migrated,
) -> None:
    lab = undisturbed_hybrid.lab
    pids = router_pids(lab)
    three = Inventory(lab, "three-routers").change("hosts", msg3__groups=["rabbitmq", "qdrouterd"])
    three.change("groups", controllers={"groups": []}).change("hosts", ctl1=None, ctl2=None, tel1=None)
    hybridmsg(lab, "migrate", inventory=three.path)
    assert router_pids(lab) == pids
    equal = "sed -i 's/cost: 3$/cost: 1/' /etc/qpid-dispatch/qdrouterd.conf && systemctl restart qdrouterd"
    lab.run("msg3", equal)
    code, document, _ = hybridmsg_ends(lab, "verify", inventory=three.path)
    wrong = [check for check in document["checks"] if check["kind"] == "fanout" and not check["ok"]]
    assert (code, bool(wrong)) == (3, True)
    assert "2 times" in str(wrong[0]["detail"])
    hybridmsg(lab, "migrate", inventory=three.path)
    assert hybridmsg(lab, "verify", inventory=three.path)["ok"] is True
    hybridmsg(lab, "migrate", "--remove-backends")
    assert lab.run("msg3", "pgrep -x qdrouterd", check=False).returncode == 1
    assert router_pids(lab) == pids
