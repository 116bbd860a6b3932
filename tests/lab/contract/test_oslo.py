"""The real oslo.messaging, with its amqp driver, over the router."""

from __future__ import annotations

import json

import pytest

from tests.lab.contract.client import Actor
from tests.lab.contract.routers import REALM, Router, Routers

_PROGRAM = """
import json, os, sys, threading
import oslo_messaging
from oslo_config import cfg

url, realm = sys.argv[1:]
heard = []
done = threading.Event()

class Endpoint:
    def __init__(self, name): self.name = name
    def echo(self, ctxt, text): return f"{self.name}: {text}"
    def fail(self, ctxt): raise ValueError("told so")
    def note(self, ctxt, text):
        heard.append([self.name, text])
        if len(heard) == 3: done.set()

conf = cfg.CONF
conf([])
transport = oslo_messaging.get_rpc_transport(conf, url=url)
conf.set_override("sasl_default_realm", realm, group="oslo_messaging_amqp")
conf.set_override("pre_settled", ["rpc-reply"], group="oslo_messaging_amqp")
servers = []
for name in ("c1", "c2"):
    target = oslo_messaging.Target(exchange="nova", topic="compute", server=name)
    servers.append(oslo_messaging.get_rpc_server(transport, target, [Endpoint(name)], executor="threading"))
    servers[-1].start()
client = oslo_messaging.get_rpc_client(transport, oslo_messaging.Target(exchange="nova", topic="compute"), timeout=15)
answers = {"call": client.prepare(server="c2").call({}, "echo", text="hello")}
try:
    client.prepare(server="c1").call({}, "fail")
except Exception as error:
    answers["error"] = [type(error).__name__, str(error).split(chr(10))[0]]
client.prepare(server="c1").cast({}, "note", text="cast")
client.prepare(fanout=True).cast({}, "note", text="fanout")
done.wait(15)
threading.Event().wait(0.5)
answers["heard"] = sorted(heard)
print(json.dumps(answers))
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(scope="module")
def oslo(ready: Routers) -> Routers:
    """The host with Debian's oslo.messaging and the driver's libraries."""
    ready.install("python3-oslo.messaging", "python3-pyngus")
    return ready


def test_call_error_cast_and_fanout_of_oslo_messaging_arrive(oslo: Routers, single: Router, actor: Actor) -> None:
    url = f"amqp://nova:nova-pw@127.0.0.1:{single.port}//nova"
    done = oslo.lab.run(oslo.host, ["python3", "-c", _PROGRAM, url, REALM], timeout=60)
    assert json.loads(done.stdout) == {
        "call": "c2: hello",
        "error": ["ValueError", "told so"],
        "heard": [["c1", "cast"], ["c1", "fanout"], ["c2", "fanout"]],
    }
