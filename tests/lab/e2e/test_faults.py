"""Faults on a live, migrated cloud: a project that fails is put back whole, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab import Lab
from tests.lab.cloud import fingerprints, hybridmsg, hybridmsg_ends
from tests.lab.e2e.conftest import Migrated, heat_alone
from tests.lab.e2e.inventories import Inventory

LOCKED = 5
DROP_IN = "/run/systemd/system/heat-engine.service.d/deaf.conf"
DEAF = "[Service]\nType=simple\nExecStart=\nExecStart=/bin/sleep infinity\n"


@pytest.fixture
def heat_moves(undisturbed: Migrated) -> Inventory:
    """An inventory that gives heat another vhost: its files change and its engines restart, on both controllers."""
    return moved(heat_alone(undisturbed.lab, "heat-moves"))


def moved(inventory: Inventory) -> Inventory:
    """Give heat another vhost, and its servers little time to answer there."""
    return inventory.change(
        "defaults", data__hybridmsg__projects={"heat": {"vhost": "heat2"}}, data__hybridmsg__timeouts={"gate": 15}
    )


@contextmanager
def deaf_engine(lab: Lab, host: str) -> Iterator[None]:
    """Let heat-engine's next start on `host` succeed and answer nothing; the running one goes on."""
    lab.run(host, "mkdir -p /run/systemd/system/heat-engine.service.d")
    lab.write(host, DROP_IN, DEAF.encode())
    lab.run(host, "systemctl daemon-reload")
    try:
        yield
    finally:
        lab.run(host, f"rm {DROP_IN}; systemctl daemon-reload; systemctl restart heat-engine", timeout=120)


def test_a_service_that_starts_and_never_answers_takes_its_whole_project_back(
    undisturbed: Migrated,
) -> None:
    lab = undisturbed.lab
    heat_moves = moved(Inventory(lab, "heat-moves-in-the-whole-cloud"))
    before = fingerprints(lab)
    with deaf_engine(lab, "ctl2"):
        code, document, err = hybridmsg_ends(lab, "migrate", inventory=heat_moves.path)
        assert (code, document["error"]["kind"]) == (3, "GateFailed")
        assert "engine@ctl2" in err
        assert fingerprints(lab) == before
    assert hybridmsg(lab, "verify")["ok"] is True


def test_a_server_on_a_host_outside_its_projects_group_is_refused_and_the_gate_finds_it_when_it_is_waived(
    undisturbed: Migrated, heat_moves: Inventory
) -> None:
    lab = undisturbed.lab
    before = fingerprints(lab)
    heat_moves.change("hosts", ctl1__groups=["heat"], ctl2__groups=["glance"])
    code, document, _ = hybridmsg_ends(lab, "migrate", inventory=heat_moves.path)
    assert (code, document["error"]["kind"]) == (3, "PreflightFailed")
    assert "ctl2: stranger: heat-engine.service" in document["error"]["message"]
    waived = ("--waive", "ctl2:heat-engine.service")
    code, document, err = hybridmsg_ends(lab, "migrate", *waived, inventory=heat_moves.path)
    assert (code, "heat: engine@ctl2 does not answer" in err) == (3, True)
    assert fingerprints(lab) == before


def test_a_host_that_another_run_holds_is_left_alone(undisturbed: Migrated, heat_moves: Inventory) -> None:
    lab = undisturbed.lab
    hold = "exec flock /var/lib/hybridmsg/lock sh -c 'echo held; exec sleep 300'"
    holder = lab.popen("ctl1", hold, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        code, document, _ = hybridmsg_ends(lab, "migrate", inventory=heat_moves.path)
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
    assert (code, document["error"]["parts"][0].split(":")[0]) == (5, "ctl1")
