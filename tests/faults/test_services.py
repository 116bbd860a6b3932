"""Services and servers that fail in the middle of a migration: relay stays whole, and comes through in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import Known
from tests.faults.site import BROKER, CONFIG, LIGHT, ROUTER, Site

pytestmark = pytest.mark.timeout(420)
_DROP_IN = "/run/systemd/system/relay-conductor.service.d"
_DIES = f"""\
[Service]
Restart={{restart}}
ExecStartPost=+/bin/sh -c "grep -q ^transport_url.*=.*amqp: {CONFIG} && \
systemd-run -q --on-active=5 --timer-property=AccuracySec=100ms systemctl kill -s KILL relay-conductor || true"
"""


@contextmanager
def dies_on_the_router(site: Site, host: str, restart: str) -> Iterator[None]:
    """A conductor that dies five seconds after each start on the router, and what systemd does then."""
    site.lab.run(host, f"mkdir -p {_DROP_IN}")
    site.lab.write(host, f"{_DROP_IN}/dies.conf", _DIES.format(restart=restart).encode())
    site.lab.run(host, "systemctl daemon-reload")
    try:
        yield
    finally:
        site.lab.run(host, f"rm -r {_DROP_IN}; systemctl daemon-reload")


@pytest.mark.parametrize("restart", ["no", "always"])
def test_service_that_dies_five_seconds_after_its_start(
    on_rabbit: Site, beginning: dict[str, str], restart: str
) -> None:
    with on_rabbit.edited("defaults", "settle: 1", "settle: 8"), dies_on_the_router(on_rabbit, LIGHT[-1], restart):
        ended = on_rabbit.run("migrate")
        assert (ended.code, LIGHT[-1] in ended.err) == (3, True), ended.err
        assert on_rabbit.fingerprint() == beginning
        assert on_rabbit.answers()
    on_rabbit.heals_and_returns(beginning)


@pytest.mark.parametrize("kind", ["unit.stop", "unit.start"])
def test_rabbitmq_down(on_rabbit: Site, known: Known, kind: str) -> None:
    point = known.phase(kind)
    try:
        with on_rabbit.paused(point, "migrate") as running:
            on_rabbit.lab.run(
                BROKER, "systemctl kill -s KILL rabbitmq-server; systemctl stop rabbitmq-server", timeout=90
            )
            on_rabbit.resume(point.host)
            ended = on_rabbit.end(running)
        assert ended.code != 0
    finally:
        on_rabbit.lab.run(BROKER, "systemctl start rabbitmq-server", timeout=120)
    on_rabbit.await_agents()
    on_rabbit.heals_and_returns(known.beginning)


@pytest.mark.parametrize("kind", ["unit.stop", "unit.start"])
def test_router_down(on_rabbit: Site, known: Known, kind: str) -> None:
    point = known.phase(kind)
    with on_rabbit.paused(point, "migrate") as running:
        on_rabbit.lab.run(ROUTER, "systemctl kill -s KILL qdrouterd")
        on_rabbit.resume(point.host)
        ended = on_rabbit.end(running)
    assert ended.code != 0
    assert on_rabbit.fingerprint() == known.beginning
    assert on_rabbit.answers()
    on_rabbit.heals_and_returns(known.beginning)
