"""neutron as a test sees it: its own HTTP interface, an agent that listens on its RPC bus, and what its files name."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab import Lab

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
import os, select, sys
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
print("listening", transport._driver._url.transport, flush=True)
select.select([sys.stdin], [], [], 60)
os._exit(0)
"""


def create_network(lab: Lab, host: str) -> str:
    """Create a network through neutron-api on `host` and return its id; neutron tells it as a notification."""
    return lab.run(host, ["python3", "-c", _NETWORK]).stdout.strip()


def make_and_delete_port(lab: Lab, host: str, network: str) -> str:
    """Create a port through neutron-api on `host` and delete it, which neutron-api tells all agents; return its id."""
    return lab.run(host, ["python3", "-c", _PORT, network]).stdout.strip()


@contextmanager
def agent(lab: Lab, host: str) -> Iterator[tuple[str, Iterator[str]]]:
    """Run an agent on the bus of a host's neutron.conf; yield that bus's driver, and each port it hears is gone."""
    argv = ["python3", "-W", "ignore", "-c", _AGENT]
    process = lab.popen(host, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().split()[-1], (line.decode().strip() for line in process.stdout)
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()


def transport_urls(lab: Lab, host: str, file: str) -> list[str]:
    """Return the values of transport_url in a file, all sections."""
    return lab.run(host, ["sed", "-n", "s/^transport_url *= *//p", file]).stdout.splitlines()
