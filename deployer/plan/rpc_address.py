"""The addresses of oslo.messaging's RPC on the routers, and the queues of the same topics on RabbitMQ. Pure.

On a router: openstack.org/om/rpc/CAST[/VHOST]/EXCHANGE/TOPIC[/SERVER] (_drivers/amqp1_driver/addressing.py of 14.0.3,
RoutableAddresser with the defaults of opts.py). A vhost may hold slashes: `/nova` stands there with a double one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

PREFIX = "openstack.org/om/rpc/"


@dataclass(frozen=True)
class RpcAddress:
    """One RPC address; `scope` is the vhost, where there is one, with the exchange; `server` is "" but for unicast."""

    cast: str
    scope: str
    topic: str
    server: str = ""

    @classmethod
    def parse(cls, address: str) -> RpcAddress | None:
        """Read an address, None for one that is not RPC's (replies, notifications, management)."""
        cast, _, rest = address.removeprefix(PREFIX).partition("/")
        words = rest.rsplit("/", 2 if cast == "unicast" else 1)
        if not address.startswith(PREFIX) or len(words) != (3 if cast == "unicast" else 2):
            return None
        return cls(cast, *words)

    def is_in(self, vhost: str) -> bool:
        """Whether it is of this vhost, on whatever exchange ([DEFAULT] control_exchange may name another)."""
        return self.scope.rpartition("/")[0] == vhost

    def is_of(self, topics: Collection[str]) -> bool:
        """Whether it is of one of these topics, or of one below: cinder-volume.HOST@BACKEND."""
        return _is_of(self.topic, topics)


def is_rpc_queue(queue: str, topics: Collection[str]) -> bool:
    """Whether RabbitMQ's queue is of one of these topics: the topic's own, a server's, or a fanout's."""
    return _is_of(queue.partition("_fanout_")[0], topics)


def queue_servers(queue: str, topics: Collection[str]) -> set[tuple[str, str]]:
    """Return the (topic, server) that RabbitMQ's queue TOPIC.SERVER may stand for: topics have dots too (ironic's)."""
    return {(topic, queue.removeprefix(f"{topic}.")) for topic in topics if queue.startswith(f"{topic}.")}


def _is_of(name: str, topics: Collection[str]) -> bool:
    return name in topics or bool(queue_servers(name, topics))
