"""neutron as a test sees it: its own HTTP interface, an agent that listens on its RPC bus, and what its files name."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.lab import Lab
from tests.lab.cloud import wait_until

MAIN_FILE = "/etc/neutron/neutron.conf"
SITE_FILE = "/etc/neutron/server.conf.d/site.conf"
"""neutron-rpc-server reads it after neutron.conf, neutron-api before it: so their scripts in /etc/init.d."""
TWO_MINDED = "ctl2"
"""The host where both files have a transport URL, each another one (tests/lab/seed.py)."""

_ASK = """
import json, sys, urllib.request
def ask(method, path, body=None):
    request = urllib.request.Request("http://127.0.0.1:9696/v2.0/" + path, json.dumps(body).encode() if body else None,
                                     {"Content-Type": "application/json"}, method=method)
    answer = urllib.request.urlopen(request, timeout=60).read()
    return json.loads(answer) if answer else {}
"""
_NETWORK = _ASK + 'print(ask("POST", "networks", {"network": {"name": "hybridmsg"}})["network"]["id"])'
_PORT = (
    _ASK
    + """
port = ask("POST", "ports", {"port": {"network_id": sys.argv[1]}})["port"]["id"]
ask("DELETE", "ports/" + port)
print(port)
"""
)
# What an L2 agent hears when a port is deleted: a fanout cast of neutron/plugins/ml2/rpc.py, AgentNotifierApi.
_AGENT = """
import os, sys
from oslo_config import cfg
import oslo_messaging
class Agent:
    def port_delete(self, context, port_id, **more):
        print(port_id, flush=True)
cfg.CONF(["--config-file=/etc/neutron/neutron.conf"], project="neutron")
oslo_messaging.set_transport_defaults("neutron")
target = oslo_messaging.Target(topic="q-agent-notifier-port-delete", server="hybridmsg-test")
transport = oslo_messaging.get_rpc_transport(cfg.CONF)
server = oslo_messaging.get_rpc_server(transport, target, [Agent()], executor="threading")
server.start()
print(transport._driver._url.transport, flush=True)
sys.stdin.read()
os._exit(0)
"""


def create_network(lab: Lab, host: str) -> str:
    """Create a network through neutron-api on `host` and return its id; neutron tells it as a notification."""
    return lab.run(host, ["python3", "-c", _NETWORK]).stdout.strip()


def make_and_delete_port(lab: Lab, host: str, network: str) -> str:
    """Create a port through neutron-api on `host` and delete it, which neutron-api tells all agents; return its id."""
    return lab.run(host, ["python3", "-c", _PORT, network]).stdout.strip()


def tells_agents(lab: Lab, host: str, listener: str) -> str:
    """Return the driver of the bus over which an agent on `listener` hears what neutron-api on `host` tells agents.

    Ports are deleted until one was heard: an agent has not subscribed everywhere as soon as it starts to.
    """
    network = create_network(lab, host)
    deleted: set[str] = set()

    def one_is_heard() -> bool:
        deleted.add(make_and_delete_port(lab, host, network))
        return not deleted.isdisjoint(gone)

    with _agent(lab, listener) as (driver, gone):
        wait_until(one_is_heard, 60, f"an agent on {listener} hears of a port that neutron-api on {host} deleted")
    return driver


@contextmanager
def _agent(lab: Lab, host: str) -> Iterator[tuple[str, set[str]]]:
    """Run an agent on the bus of a host's neutron.conf; yield that bus's driver, and the ports it hears are gone."""
    argv = ["python3", "-W", "ignore", "-c", _AGENT]
    process = lab.popen(host, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    driver = process.stdout.readline().decode().strip()
    gone: set[str] = set()
    listening = threading.Thread(target=_collect, args=(process.stdout, gone))
    listening.start()
    try:
        yield driver, gone
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        listening.join()
        process.stdout.close()


def _collect(lines: IO[bytes], into: set[str]) -> None:
    for line in lines:
        into.add(line.decode().strip())


def transport_urls(lab: Lab, host: str, file: str) -> list[str]:
    """Return the values of transport_url in a file, all sections."""
    return lab.run(host, ["sed", "-n", "s/^transport_url *= *//p", file]).stdout.splitlines()
