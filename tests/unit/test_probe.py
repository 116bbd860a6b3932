"""The probe as a subprocess; RPC servers live in its process, on kombu's memory transport."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deployer.probe import probe

MEMORY = "kombu+memory:////"
# A service with version 3.0 as nova's conductor has, one with rpc_ping_enabled, one that raises a builtin exception.
SERVERS = """
_configure({"exchange": "nova", "config_files": [], "config_dirs": []})
import oslo_messaging as om
from oslo_config import cfg
class Endpoint:
    def __init__(self, version):
        self.target = om.Target(version=version)
class Broken(Endpoint):
    def oslo_rpc_server_ping(self, context):
        raise KeyError("read_deleted")
def serve(server, endpoint, ping=False):
    cfg.CONF.set_override("rpc_ping_enabled", ping)
    transport = om.get_rpc_transport(cfg.CONF, url="kombu+memory:////")
    om.get_rpc_server(transport, om.Target(topic="conductor", server=server), [endpoint], "threading").start()
serve("pinging", Endpoint("1.0"), ping=True)
serve("plain", Endpoint("1.0"))
serve("versioned", Endpoint("3.0"))
serve("broken", Broken("1.0"))
"""


def ask(servers: str = "", **request: Any) -> dict[str, Any]:
    """Run the probe with the request and return its answer."""
    whole = {
        "config_files": [],
        "config_dirs": [],
        "exchange": "nova",
        "context": {},
        "url": None,
        "targets": [],
        "timeout": 10,
        "notify": None,
        **request,
    }
    source = Path(probe.__file__).read_text().replace('if __name__ == "__main__":', f"{servers}\nif True:")
    done = subprocess.run(
        [sys.executable, "-I", "-c", source],
        input=json.dumps(whole).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith(probe.MARK)]
    assert len(lines) == 1, done.stderr.decode()
    answer: dict[str, Any] = json.loads(lines[0][len(probe.MARK) :])
    return answer


@pytest.fixture(scope="module")
def pinged() -> dict[str, dict[str, Any]]:
    """What became of each server: some that answer in their own ways, and one that is not there."""
    names = ("pinging", "plain", "versioned", "broken", "nobody")
    answer = ask(SERVERS, url=MEMORY, targets=[{"topic": "conductor", "server": name} for name in names])
    return {target["server"]: target for target in answer["targets"]}


@pytest.mark.parametrize(
    ("server", "how"),
    [
        ("pinging", "pong"),
        ("plain", "NoSuchMethod"),
        ("versioned", "UnsupportedVersion"),
        ("broken", "KeyError"),
    ],
)
def test_any_answer_of_the_server_proves_the_round_trip(
    pinged: dict[str, dict[str, Any]], server: str, how: str
) -> None:
    result = pinged[server]

    assert (result["answered"], result["how"], result["error"]) == (True, how, None)
    assert result["ms"] > 0


def test_a_server_that_is_not_there_does_not_answer(pinged: dict[str, dict[str, Any]]) -> None:
    result = pinged["nobody"]

    assert (result["answered"], result["how"], result["ms"]) == (False, "", None)
    assert "Timeout" in result["error"]


def test_a_notification_is_read_back_and_leaves_no_queue() -> None:
    answer = ask(notify={"topic": "hybridmsg-probe-1", "url": MEMORY, "publisher": "hybridmsg.ctl1"})

    assert answer["notify"]["error"] is None
    assert (answer["notify"]["delivered"], answer["notify"]["queue_deleted"]) == (True, True)


def test_a_broker_that_is_not_there_ends_the_probe_in_time_and_says_why() -> None:
    with socket.socket() as taken:
        # Bound and not listening: connections are refused for as long as the test lasts.
        taken.bind(("127.0.0.1", 0))
        url = f"rabbit://nova:s3cret@127.0.0.1:{taken.getsockname()[1]}//nova"
        began = time.monotonic()
        answer = ask(
            url=url,
            timeout=9,
            targets=[{"topic": "conductor", "server": "ctl1"}],
            notify={"topic": "hybridmsg-probe-2", "url": url, "publisher": "hybridmsg.ctl1"},
        )
        took = time.monotonic() - began

    assert took < 9
    for result in (answer["targets"][0], answer["notify"]):
        assert "refused" in result["error"]
    assert not answer["targets"][0]["answered"]
    assert not answer["notify"]["delivered"]


@pytest.mark.parametrize(
    "echo",
    [
        "Connection.process() called on destroyed connection!",
        "RPC Call message sent to <Target topic=conductor, server=ctl1> failed: timed out",
    ],
)
def test_what_a_driver_logs_after_the_cause_does_not_hide_it(echo: str) -> None:
    # As oslo.messaging 14.9.3 and pyngus 2.3 log a wrong password of a router.
    cause = "Connection failed: Condition('amqp:unauthorized-access', 'Authentication failed [mech=PLAIN]')"
    last_words = probe.LastWords()
    for text in (cause, echo):
        last_words.handle(logging.makeLogRecord({"msg": text, "levelno": logging.ERROR}))
    assert last_words.text == cause


def test_the_services_own_files_decide(tmp_path: Path) -> None:
    (tmp_path / "nova.conf").write_text(
        "[DEFAULT]\ntransport_url = rabbit://nova:s3cret@a:5672,nova:s3cret@b:5673//nova\nhost = first\n"
        "an_option_of_nova = 1\n"
        "[oslo_messaging_notifications]\ndriver = messagingv2\ndriver = log\n[a_section_of_nova]\nx = 1\n"
    )
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10.conf").write_text("[DEFAULT]\nhost = second\ncontrol_exchange = cell1\n")

    answer = ask(config_files=[str(tmp_path / "nova.conf")], config_dirs=[str(tmp_path / "conf.d")])

    assert answer["effective"] == {
        "rpc_driver": "rabbit",
        "rpc_hosts": ["a:5672", "b:5673"],
        "notify_transport": "rabbit",
        "notify_hosts": ["a:5672", "b:5673"],
        "notify_driver": ["messagingv2", "log"],
        "control_exchange": "cell1",
        "host": "second",
    }


def test_a_host_name_that_refers_to_the_services_own_option_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "nova.conf").write_text("[DEFAULT]\nhost = $my_ip\n")

    assert ask(config_files=[str(tmp_path / "nova.conf")])["effective"]["host"] is None


def test_a_file_that_cannot_be_read_is_the_error_of_every_question(tmp_path: Path) -> None:
    answer = ask(
        config_files=[str(tmp_path / "none.conf")],
        targets=[{"topic": "conductor", "server": "ctl1"}],
        notify={"topic": "t", "url": None, "publisher": "p"},
    )

    assert "none.conf" in answer["targets"][0]["error"]
    assert "none.conf" in answer["notify"]["error"]


def test_no_error_shows_a_password(tmp_path: Path) -> None:
    # oslo.config's error quotes the line: an indented one continues the value before it, and here there is none.
    (tmp_path / "nova.conf").write_text("[DEFAULT]\n  transport_url = rabbit://nova:s3cret@ctl1:5672/\n")
    answer = ask(config_files=[str(tmp_path / "nova.conf")], targets=[{"topic": "conductor", "server": "ctl1"}])

    assert "://***@ctl1" in answer["targets"][0]["error"]
    assert "s3cret" not in json.dumps(answer)


def test_no_error_shows_a_piece_of_a_password_that_kombu_took_for_a_port() -> None:
    url = "rabbit://nova:s3cr%23et%2Fhidden@127.0.0.1:1,nova:s3cr%23et%2Fhidden@127.0.0.1:2//nova"
    answer = ask(url=url, targets=[{"topic": "conductor", "server": "ctl1"}])

    assert "Port could not be cast" in answer["targets"][0]["error"]
    for piece in ("s3cr", "hidden"):
        assert piece not in json.dumps(answer)


def test_the_versions_in_use_are_told() -> None:
    answer = ask()

    assert answer["versions"]["python"].startswith("3.")
    assert answer["versions"]["oslo.messaging"]
