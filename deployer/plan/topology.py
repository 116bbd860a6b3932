"""Which routers are linked, and at what cost, so that every fanout arrives exactly once.

qdrouterd 1.14 to 1.19 sends a fanout once over each link that is the next hop to a subscriber, and every router that
gets it does the same again (qpid-dispatch, src/router_core/forwarder.c: qdr_forward_multicast_CT). A router with two
shortest ways to it therefore gets two copies: a full mesh of three at equal costs doubles every fanout. Exactly one
copy arrives where the links that the shortest paths use form a tree, in the steady state and after any loss.
"""

from __future__ import annotations

from dataclasses import dataclass

BACKBONE = 3
"""Routers that all others link to, from five routers on: the loss of any one of them leaves a tree."""
STEP = 5
"""Growth of the costs from router to router: a detour over earlier ones stays cheaper than a direct later link."""


@dataclass(frozen=True)
class Link:
    """Router `source` connects to router `target`, both by their place in the inventory; one way only."""

    source: int
    target: int
    cost: int


def links(routers: int) -> tuple[Link, ...]:
    """Return the links of that many routers; router 0 is the hub, which every shortest path goes over.

    A router that comes after the others changes nothing between them.
    """
    return tuple(
        Link(source, target, _cost(target, source))
        for target in range(min(routers, BACKBONE))
        for source in range(target + 1, routers)
    )


def _cost(first: int, second: int) -> int:
    """Return the cost between two places, `first` before `second`."""
    if first == 0:
        return 1
    following = second == first + 1
    return (3 if following else 6) * int(STEP ** (first - 1))
