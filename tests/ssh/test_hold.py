"""A host's hold over real SSH, kept by the product's own agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nornir.core import Nornir

from deployer.errors import HostError
from deployer.rollout.hold import Hold
from tasks.hold import read_hold, set_hold
from tasks.steps import lock_host
from tests.ssh import sshd
from tests.ssh.conftest import Start

HOLD = Hold("run-1", "op@ops", "2026-03-01T10:00:00+00:00", ("nova", "glance"))


@pytest.fixture
def nornir(start: Start, tmp_path: Path) -> Iterator[Nornir]:
    host = start(f"SetEnv SHLVL=5 HYBRIDMSG_STATE={tmp_path}/state")
    with sshd.nornir_over({"ctl1": (host.port, host.extras())}) as found:
        yield found


def ask(nornir: Nornir, task: Any, **arguments: Any) -> Any:
    nornir.data.reset_failed_hosts()
    result = nornir.run(task, **arguments)["ctl1"][0]
    if result.exception:
        raise result.exception
    return result


def test_a_hold_is_read_as_it_was_put_and_lifted_once(nornir: Nornir) -> None:
    assert ask(nornir, read_hold).hold is None
    ask(nornir, lock_host, run="run-1")
    assert ask(nornir, set_hold, hold=HOLD.record()).hold is None
    assert Hold.of(ask(nornir, read_hold).hold) == HOLD
    assert Hold.of(ask(nornir, set_hold, hold=None).hold) == HOLD
    assert ask(nornir, read_hold).hold is None


def test_a_host_that_is_not_locked_cannot_be_held(nornir: Nornir) -> None:
    with pytest.raises(HostError, match="does not hold the lock"):
        ask(nornir, set_hold, hold=HOLD.record())


def test_a_damaged_hold_holds_and_is_named(nornir: Nornir, tmp_path: Path) -> None:
    ask(nornir, lock_host, run="run-1")
    ask(nornir, set_hold, hold=HOLD.record())
    (tmp_path / "state" / "hold.json").write_bytes(b"{")
    assert "hold.json is damaged" in str(Hold.of(ask(nornir, read_hold).hold))
