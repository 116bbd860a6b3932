"""A reconcile under systemd on the operator host, as `hybridmsg schedule install` puts it there."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lab import Lab
from tests.lab.cloud import SERVICE_HOSTS, fingerprints, wait_until
from tests.lab.e2e.conftest import Migrated
from tests.lab.e2e.inventories import MAIN

NAME = "hybridmsg-reconcile"
STATE = "/var/lib/hybridmsg-controller"
REPORTS = f"{STATE}/reports"
METRICS = "/var/lib/textfiles"
UNITS = "/etc/systemd/system"
AWKWARD = "/root/a b %h $HOME"
HEAT = "/etc/heat/heat.conf"


@pytest.fixture(scope="module")
def scheduled(migrated: Migrated) -> Iterator[Lab]:
    """The migrated cloud with a schedule on its operator host, after the first run that its timer started."""
    lab = migrated.lab
    lab.run("ops1", f"mkdir -p {METRICS} && chown nobody {METRICS} && rm -rf {REPORTS}")
    began = _now(lab)
    schedule(lab, "install", "-i", MAIN, "--every", "1min", "--metrics", METRICS)
    # The first run is the timer's own; those that follow are started one by one, so that nothing runs beside a test.
    follow = f"timeout 150 journalctl -u {NAME} --since {shlex.quote(began)} -f | grep -m1 -E 'Finished|Failed'"
    lab.run("ops1", follow, check=False, timeout=160)
    lab.run(
        "ops1", f"systemctl stop {NAME}.timer; while systemctl is-active -q {NAME}; do sleep 0.2; done", timeout=160
    )
    yield lab
    if lab.run("ops1", f"test -e {UNITS}/{NAME}.service", check=False).returncode == 0:
        schedule(lab, "remove")


def _now(lab: Lab) -> str:
    return lab.run("ops1", "date '+%F %T'").stdout.strip()


def schedule(lab: Lab, verb: str, *words: str) -> str:
    """Run `hybridmsg schedule VERB` on the operator host, which must succeed; return what it printed."""
    return lab.run("ops1", ["hybridmsg", "schedule", verb, *words], timeout=60).stdout


def run(lab: Lab, name: str = NAME, reports: str = REPORTS) -> dict[str, Any]:
    """Start the service, as the timer does, wait for its end, and return its report."""
    lab.run("ops1", ["systemctl", "start", f"{name}.service"], check=False, timeout=300)
    return last(lab, reports)


def last(lab: Lab, reports: str = REPORTS) -> dict[str, Any]:
    """Return the last report."""
    document: dict[str, Any] = json.loads(lab.read("ops1", f"{reports}/last.json"))
    return document


def told(lab: Lab, name: str = NAME) -> str:
    """Return what the service's last lines in journald say, for whoever looks at a failure."""
    return lab.run("ops1", ["journalctl", "-u", name, "-n", "30", "--no-pager", "-o", "cat"]).stdout


def metrics(lab: Lab) -> dict[str, float]:
    """Return the metrics as Prometheus' own reader has them: values by name, and by the label that tells them apart."""
    families = text_string_to_metric_families(lab.read("ops1", f"{METRICS}/{NAME}.prom").decode())
    found = [one for family in families for one in family.samples]
    return {" ".join([one.name, *(v for k, v in one.labels.items() if k != "inventory")]): one.value for one in found}


def shown(lab: Lab, *properties: str) -> list[str]:
    """Return systemd's properties of the service."""
    show = ["systemctl", "show", "--value", f"{NAME}.service"]
    return [lab.run("ops1", [*show, "-p", one]).stdout.strip() for one in properties]


def test_the_timer_ran_it_and_the_first_look_was_deep(scheduled: Lab) -> None:
    document = last(scheduled)
    assert (document["state"], document["deep"], document["drift"]) == ("in line", True, []), told(scheduled)
    assert document["last_success"] == document["last_deep"]["when"] == document["when"]


def test_a_quick_run_changes_nothing_on_any_host_and_is_told_in_journald(scheduled: Lab) -> None:
    before = fingerprints(scheduled, live=True)
    document = run(scheduled)
    assert (document["state"], document["deep"], document["run"]) == ("in line", False, None), told(scheduled)
    assert fingerprints(scheduled, live=True) == before
    assert "in line: 0 differences" in told(scheduled)


def test_reports_are_roots_alone_and_metrics_anybodys(scheduled: Lab) -> None:
    modes = scheduled.run("ops1", f"stat -c %a:%U {REPORTS} {REPORTS}/* {METRICS}/{NAME}.prom").stdout.split()
    assert set(modes[:-1]) == {"700:root", "600:root"}
    assert modes[-1] == "644:root"


def test_metrics_tell_what_the_report_does(scheduled: Lab) -> None:
    document, found = last(scheduled), metrics(scheduled)
    assert found["hybridmsg_reconcile_duration_seconds"] == document["seconds"]
    assert found["hybridmsg_state in line"] == 1
    assert found["hybridmsg_reconcile_last_deep_timestamp_seconds"] > 0
    assert sum(value for name, value in found.items() if name.startswith("hybridmsg_drift")) == 0


def test_there_are_never_two_at_once(scheduled: Lab) -> None:
    reports = int(scheduled.run("ops1", f"ls {REPORTS} | wc -l").stdout)
    scheduled.run("ops1", f"systemctl start --no-block {NAME}")
    wait_until(lambda: shown(scheduled, "MainPID") != ["0"], 10, "the service has a process")
    pid = shown(scheduled, "MainPID")
    scheduled.run("ops1", f"systemctl kill --kill-whom=main -s STOP {NAME}")
    scheduled.run("ops1", f"systemctl start --no-block {NAME}; systemctl start --no-block {NAME}")
    running = scheduled.run("ops1", ["pgrep", "-f", "hybridmsg reconcile"]).stdout.split()
    assert running == pid == shown(scheduled, "MainPID")
    scheduled.run("ops1", f"systemctl kill --kill-whom=main -s CONT {NAME}")
    wait_until(lambda: shown(scheduled, "ActiveState") != ["activating"], 60, "the service ends")
    assert int(scheduled.run("ops1", f"ls {REPORTS} | wc -l").stdout) == reports + 1


def test_a_run_by_hand_at_the_same_time_is_not_disturbed(scheduled: Lab) -> None:
    holder = scheduled.popen("ops1", ["hybridmsg", "reconcile", "-i", MAIN, "-q"])
    wait_until(lambda: all(_locked(scheduled, host) for host in SERVICE_HOSTS), 30, "the run by hand has its locks")
    os.killpg(holder.pid, signal.SIGSTOP)
    document = run(scheduled)
    os.killpg(holder.pid, signal.SIGCONT)
    assert (document["state"], document["error"]["exit_code"]) == ("failed", 5), told(scheduled)
    assert holder.wait(timeout=120) == 0


def _locked(lab: Lab, host: str) -> bool:
    # Who tries the lock has it for a moment: that must not be when the run comes to take it.
    look = 'grep -q ":$(stat -c %i /var/lib/hybridmsg/lock) " /proc/locks'
    return lab.run(host, look, check=False).returncode == 0


def test_what_it_found_last_and_when_it_runs_next_is_told(scheduled: Lab) -> None:
    run(scheduled)
    scheduled.run("ops1", f"systemctl start {NAME}.timer")
    try:
        document = json.loads(schedule(scheduled, "status", "--json"))
        assert (document["ok"], document["last"]["state"]) == (True, "in line")
        assert document["next"] is not None
        assert "in line, no drift" in schedule(scheduled, "status")
    finally:
        scheduled.run("ops1", f"systemctl stop {NAME}.timer")
    stopped = scheduled.run("ops1", ["hybridmsg", "schedule", "status"], check=False)
    assert (stopped.returncode, "never: the timer is not active" in stopped.stdout) == (3, True)


def test_systemd_finds_the_service_hardened(scheduled: Lab) -> None:
    done = scheduled.run("ops1", f"systemd-analyze security --no-pager --threshold=25 {NAME}.service", check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_paths_of_any_characters_reach_the_service_whole(scheduled: Lab) -> None:
    scheduled.run("ops1", ["cp", "-a", MAIN, AWKWARD])
    state = f"{AWKWARD} state"
    # A state directory that never looked at the services would find those stale whose files earlier tests touched.
    scheduled.run("ops1", ["cp", "-a", STATE, state])
    schedule(scheduled, "install", "-i", AWKWARD, "--state-dir", state, "--every", "1d", "--name", "awkward")
    try:
        document = run(scheduled, "awkward", f"{state}/reports")
        assert (document["inventory"], document["state"]) == (AWKWARD, "in line"), told(scheduled, "awkward")
    finally:
        schedule(scheduled, "remove", "--name", "awkward")
        scheduled.run("ops1", ["rm", "-rf", AWKWARD, state])


def test_removed_it_leaves_nothing_of_it_but_reports(scheduled: Lab) -> None:
    before = last(scheduled)
    schedule(scheduled, "remove")
    left = scheduled.run("ops1", f"ls {UNITS} {METRICS} {UNITS}/timers.target.wants | grep {NAME}", check=False).stdout
    assert left == ""
    assert scheduled.run("ops1", f"systemctl list-units --all --plain --no-legend '{NAME}*'").stdout == ""
    assert scheduled.run("ops1", ["hybridmsg", "schedule", "status"], check=False).returncode == 3
    assert last(scheduled) == before


@contextmanager
def installed(lab: Lab, inventory: str) -> Iterator[None]:
    """A schedule for this inventory, whose timer goes off too late to be met."""
    lab.run("ops1", ["mkdir", "-p", METRICS])
    schedule(lab, "install", "-i", inventory, "--every", "1d", "--metrics", METRICS)
    lab.run("ops1", f"systemctl stop {NAME}.timer")
    try:
        yield
    finally:
        schedule(lab, "remove")


def test_a_rollbacks_hold_is_no_failure_of_the_service(rolled_back: tuple[Migrated, dict[str, Any]]) -> None:
    lab = rolled_back[0].lab
    with installed(lab, MAIN):
        before = fingerprints(lab, live=True)
        assert run(lab)["state"] == "held", told(lab)
        assert shown(lab, "Result", "ExecMainStatus") == ["success", "7"]
        assert metrics(lab)["hybridmsg_held"] == 1
        assert fingerprints(lab, live=True) == before


def test_what_drifted_is_repaired_by_the_service_and_told(two_clusters: Migrated) -> None:
    # At the end of the cloud's life: the run that repairs is one more that a rollback would find.
    lab = two_clusters.lab
    with installed(lab, two_clusters.inventory):
        before = fingerprints(lab)
        lab.run(
            "ctl1",
            ["sed", "-i", "0,/^transport_url/s#^transport_url.*#transport_url = rabbit://nobody@nowhere/#", HEAT],
        )
        document = run(lab)
        assert document["state"] == "repaired", told(lab)
        assert {(one["kind"], one["host"], one["project"]) for one in document["drift"]} == {("option", "ctl1", "heat")}
        assert fingerprints(lab) == before
        assert metrics(lab)["hybridmsg_drift option"] >= 1
        assert metrics(lab)["hybridmsg_state repaired"] == 1
        assert run(lab)["state"] == "in line"
