"""What both roles of relay read: its configuration file, through oslo.config, and the buses that it names."""

from __future__ import annotations

import socket
from typing import Any

import oslo_messaging
from oslo_config import cfg

PROJECT = "relay"
EXCHANGE = "relay"
TOPIC = "conductor"
LOGS = "/var/log/relay"

_OPTIONS = (cfg.StrOpt("host", default=socket.gethostname(), help="The name by which this host's conductor is asked."),)
_RELAY = (
    cfg.FloatOpt("rate", default=4.0, min=0.01, help="What relay-api begins a second: calls, casts, notifications."),
    cfg.FloatOpt("slow", default=0.3, min=0.0, help="Seconds that a slow call takes in the conductor."),
    cfg.FloatOpt("timeout", default=10.0, min=0.1, help="Seconds that relay-api waits for an answer."),
    cfg.StrOpt("logs", default=LOGS, help="Where each role writes what it did, a line of JSON each."),
)


def load(program: str, words: list[str]) -> Any:
    """Read the files that the command line names and return oslo.config's global object, as services use it."""
    oslo_messaging.set_transport_defaults(EXCHANGE)
    conf = cfg.CONF
    conf.register_opts(_OPTIONS)
    conf.register_opts(_RELAY, group=PROJECT)
    conf(words, project=PROJECT, prog=program)
    return conf


def client(conf: Any, *, fanout: bool = False, timeout: float) -> Any:
    """Return a client of the conductors; oslo.messaging made a function of it in 14.1, and Debian 12 has 14.0."""
    transport = oslo_messaging.get_rpc_transport(conf)
    target = oslo_messaging.Target(topic=TOPIC, fanout=fanout or None)
    make = getattr(oslo_messaging, "get_rpc_client", oslo_messaging.RPCClient)
    return make(transport, target, timeout=timeout)
