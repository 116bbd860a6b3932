"""A host's network is cut in each phase of a migration: nothing waits for ever, and what comes of it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.controller import Point
from tests.faults.site import Site

pytestmark = pytest.mark.timeout(600)

_CHAIN = "add table inet cut; add chain inet cut {hook} {{ type filter hook {hook} priority 0; policy {policy}; }}"
_LOOPBACK = 'add rule inet cut {hook} iif "lo" accept'
CUTS = {
    # Each packet that comes is answered with a reset: both ends know at once.
    "rst": [
        _CHAIN.format(hook="input", policy="accept"),
        _LOOPBACK.format(hook="input"),
        "add rule inet cut input meta l4proto tcp reject with tcp reset",
    ],
    # Nothing comes and nothing goes, and nobody is told.
    "black hole": [
        _CHAIN.format(hook="input", policy="drop"),
        _LOOPBACK.format(hook="input"),
        _CHAIN.format(hook="output", policy="drop"),
        'add rule inet cut output oif "lo" accept',
    ],
    # What is sent to the host comes, and its answers do not.
    "half open": [_CHAIN.format(hook="output", policy="drop"), 'add rule inet cut output oif "lo" accept'],
}


@contextmanager
def cut(site: Site, host: str, how: str) -> Iterator[None]:
    """A host whose network is cut, and whole again at the end of the block."""
    for line in CUTS[how]:
        site.lab.run(host, ["nft", line])
    try:
        yield
    finally:
        site.lab.run(host, ["nft", "delete table inet cut"], check=False)


@pytest.mark.parametrize("how", CUTS)
def test_network_cut(on_rabbit: Site, phase: Point, how: str, beginning: dict[str, str]) -> None:
    with on_rabbit.paused(phase, "migrate") as running, cut(on_rabbit, phase.host, how):
        on_rabbit.resume(phase.host)
        ended = on_rabbit.end(running, seconds=400)
        assert ended.code != 0
        assert ended.document["hosts"][phase.host] in ("unreachable", "unknown", "failed")
    on_rabbit.await_agents()
    on_rabbit.heals_and_returns(beginning)
