"""The links between routers deliver each fanout exactly once, in a simulation of what qdrouterd does with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations

import pytest

from deployer.plan.topology import links

Costs = dict[tuple[int, int], int]
Hops = dict[int, dict[int, int]]
SIZES = range(1, 9)


def costs(routers: int) -> Costs:
    return {(link.target, link.source): link.cost for link in links(routers)}


def next_hops(root: int, routers: Iterable[int], among: Costs) -> dict[int, int]:
    """Dijkstra as in qpid_dispatch_internal/router/path.py: from `root`, the neighbour on the way to each router."""
    distance, hops, waiting = {root: 0}, {root: root}, set(routers)
    while near := waiting & set(distance):
        nearest = min(near, key=lambda router: (distance[router], router))
        waiting.remove(nearest)
        for link, cost in among.items():
            [other] = {nearest, *link} - {nearest} if nearest in link else [nearest]
            if other in waiting and distance[nearest] + cost < distance.get(other, 10**9):
                distance[other] = distance[nearest] + cost
                hops[other] = other if nearest == root else hops[nearest]
    return {router: hop for router, hop in hops.items() if router != root}


def tables(routers: Iterable[int], among: Costs) -> Hops:
    return {router: next_hops(router, routers, among) for router in routers}


def copies(sender: int, subscribers: Iterable[int], hops: Hops) -> Counter[int]:
    """How many copies come to each subscriber: src/router_core/forwarder.c, qdr_forward_multicast_CT.

    A router sends one copy over each link that is the next hop to a subscriber, but not over a link towards a router
    that the message has been at; it asks for nothing else.
    """
    wanted, found = set(subscribers), Counter[int]()
    travelling: list[tuple[int, tuple[int, ...]]] = [(sender, ())]
    while travelling:
        here, trace = travelling.pop()
        found[here] += here in wanted
        closed = {hops[here].get(router) for router in trace}
        onward = {hops[here][one] for one in wanted - {here} if one in hops[here]} - closed
        travelling += [(peer, (*trace, here)) for peer in onward]
    return found


def losses(routers: int) -> Iterator[tuple[str, list[int], Costs]]:
    """The whole mesh, and what is left of it without any one router, and without any one link."""
    everyone, whole = list(range(routers)), costs(routers)
    yield "nothing", everyone, whole
    for lost in everyone if routers > 1 else ():
        rest = [router for router in everyone if router != lost]
        yield f"router {lost}", rest, {link: cost for link, cost in whole.items() if lost not in link}
    for link in whole if routers > 2 else ():
        yield f"link {link}", everyone, {other: cost for other, cost in whole.items() if other != link}


def unclean(routers: list[int], among: Costs) -> list[str]:
    """The fanouts that do not come exactly once: from each router to all, and to any one or two."""
    hops = tables(routers, among)
    groups = [routers, *([one] for one in routers), *map(list, combinations(routers, 2))]
    return [
        f"{sender} to {group}: {dict(found)}"
        for sender in routers
        for group in groups
        if any((found := copies(sender, group, hops))[router] != 1 for router in group)
    ]


@pytest.mark.parametrize("routers", SIZES)
def test_fanout_arrives_exactly_once_whatever_one_thing_is_lost(routers: int) -> None:
    assert {lost: wrong for lost, rest, among in losses(routers) if (wrong := unclean(rest, among))} == {}


@pytest.mark.parametrize("routers", SIZES)
def test_the_links_of_shortest_paths_are_a_tree_whatever_one_thing_is_lost(routers: int) -> None:
    for lost, rest, among in losses(routers):
        used = {frozenset((one, hop)) for one in rest for hop in next_hops(one, rest, among).values()}
        assert len(used) == len(rest) - 1, lost


@pytest.mark.parametrize("routers", range(1, 8))
def test_one_more_router_changes_nothing_between_the_others(routers: int) -> None:
    assert {link: cost for link, cost in costs(routers + 1).items() if routers not in link} == costs(routers)


@pytest.mark.parametrize("routers", SIZES)
def test_a_pair_of_routers_has_one_link_one_way(routers: int) -> None:
    pairs = [(link.source, link.target) for link in links(routers)]

    assert all(source > target for source, target in pairs)
    assert len(pairs) == len(set(pairs))


def test_costs_are_those_that_were_measured() -> None:
    assert costs(3) == {(0, 1): 1, (0, 2): 1, (1, 2): 3}
    hub = {(0, router): 1 for router in range(1, 5)}
    assert costs(5) == {**hub, (1, 2): 3, (1, 3): 6, (1, 4): 6, (2, 3): 15, (2, 4): 30}


def test_an_equal_cost_mesh_of_three_doubles_every_fanout() -> None:
    flat = {(0, 1): 1, (0, 2): 1, (1, 2): 1}

    assert copies(0, [0, 1, 2], tables([0, 1, 2], flat)) == {0: 1, 1: 2, 2: 2}


def test_a_star_whose_spare_links_cost_the_same_doubles_once_the_hub_is_lost() -> None:
    spare = {link: 1 if 0 in link else 100 for link in costs(4)}

    assert unclean([0, 1, 2, 3], spare) == []
    assert unclean([1, 2, 3], {link: cost for link, cost in spare.items() if 0 not in link})


def test_without_spare_links_the_loss_of_the_hub_cuts_the_others_off() -> None:
    assert unclean([1, 2], {})
