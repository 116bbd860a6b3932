"""Whether a bus is idle, from what its broker or routers tell: pure.

oslo.messaging's RPC servers acknowledge before they dispatch, on both drivers: an idle bus means that nothing is on the
way to a server, not that all work is done. That ends with the servers' own graceful stop.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from deployer.plan.router_facts import Connection, Link, RouterView
from deployer.plan.rpc_address import RpcAddress

Read = Sequence[Mapping[str, Any]]
"""One reading of RPC queues: {"queue", "ready", "unacked", "consumers"} each."""

# oslo.messaging, impl_rabbit.py: declare_fanout_consumer. Only with use_queue_manager is the name one that comes again.
_DRAWN = re.compile(r".+_fanout_[0-9a-f]{32}")


def rabbit_left(reads: Iterable[Read]) -> list[str]:
    """Return what any of the readings found in flight towards a server, a line each; all must find nothing.

    A queue without a consumer is not waited for: nobody will ever empty it (see `leftovers`).
    """
    busy = {
        entry["queue"]: f"queue {entry['queue']}: {entry['ready']} ready, {entry['unacked']} unacknowledged"
        for read in reads
        for entry in read
        if entry["consumers"] and (entry["ready"] or entry["unacked"])
    }
    return sorted(busy.values())


def leftovers(read: Read) -> dict[str, int]:
    """Return the messages that wait in queues which nobody consumes, by queue.

    A fanout queue whose name a dead process drew is none of them: no other process will ever read it, and it expires.
    """
    waiting = [entry for entry in read if not entry["consumers"] and not _DRAWN.fullmatch(entry["queue"])]
    found = {entry["queue"]: entry["ready"] + entry["unacked"] for entry in waiting}
    return {queue: messages for queue, messages in sorted(found.items()) if messages}


def router_left(views: Iterable[RouterView], users: Collection[str], topics: Collection[str]) -> list[str]:
    """Return the callers of a project still attached, and what is in flight towards its servers, a line each.

    `views` are those of all routers: a server calls others too, on connections of its own, and these may lead
    to another router. `users` are the project's, as routers know them: nova@openstack.
    """
    views = list(views)
    own = {one.container: one for view in views for one in view.connections if one.openstack and one.user in users}
    links = [link for view in views for link in view.links if link.container in own and _serves(link, topics)]
    servers = {_process(own[link.container]) for link in links}
    callers = {f"{_who(one)}: still attached" for one in own.values() if _process(one) not in servers}
    busy = [
        f"{_who(own[link.container])}, {link.address}: {link.undelivered} undelivered, {link.unsettled} unsettled"
        for link in links
        if link.undelivered or link.unsettled
    ]
    return sorted(callers) + sorted(busy)


def _process(connection: Connection) -> tuple[str, int | None]:
    """Return what tells a process from others; a connection that does not say stands for itself."""
    return (connection.node, connection.pid) if connection.pid is not None else (connection.container, None)


def _serves(link: Link, topics: Collection[str]) -> bool:
    address = RpcAddress.parse(link.address)
    return link.dir == "out" and address is not None and address.is_of(topics)


def _who(connection: Connection) -> str:
    if connection.pid is None:
        return f"{connection.container} on {connection.host}"
    return f"{connection.process} (pid {connection.pid}) on {connection.node}"
