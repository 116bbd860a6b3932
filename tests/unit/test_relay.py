"""relay, the lab's small service, is honest: what is asked is carried out and written down, by real oslo.messaging."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.layers import RELAY

# Both roles in one process of their own: oslo.config's object is global, and the fake driver has no other reach.
BOTH = """
import sys, threading
from relay import api, conductor, settings
conf = settings.load("relay", sys.argv[1:])
ended = threading.Event()
server = threading.Thread(target=conductor.serve, args=(conf, ended))
server.start()
caller = api.Api(conf)
for _ in range(6):  # every kind, and a call whose answer comes after what was sent before it
    caller.next()
ended.set()
server.join(20)
"""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, object]]]:
    place = tmp_path_factory.mktemp("relay")
    file = place / "relay.conf"
    file.write_text(f"[DEFAULT]\ntransport_url = fake://\n[relay]\nslow = 0.01\nlogs = {place}\n", encoding="utf-8")
    argv = [sys.executable, "-c", BOTH, "--config-file", str(file)]
    env = {"PYTHONPATH": str(RELAY.parent), "PATH": "/usr/bin:/bin"}
    subprocess.run(argv, env=env, check=True, capture_output=True, timeout=60)
    return {role: _lines(place / f"{role}.log") for role in ("api", "conductor")}


def _lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_the_api_asks_in_every_way_there_is(logs: dict[str, list[dict[str, object]]]) -> None:
    assert [(line["kind"], line["ok"]) for line in logs["api"]] == [
        (kind, True) for kind in ("call", "cast", "notify", "slow", "fanout", "call")
    ]


def test_the_conductor_tells_each_thing_that_it_did_by_the_callers_id(logs: dict[str, list[dict[str, object]]]) -> None:
    asked = {line["id"] for line in logs["api"] if line["kind"] != "notify"}
    assert {line["id"] for line in logs["conductor"]} == asked
