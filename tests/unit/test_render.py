from __future__ import annotations

import jinja2
import pytest

from deployer.model.deployment import BrokerSettings, ServerTls
from deployer.plan import render as render_module
from deployer.plan.render import render


def _settings(conf: bytes) -> dict[str, str]:
    lines = [line for line in conf.decode().splitlines() if not line.startswith("#")]
    return dict(line.split(" = ") for line in lines)


def test_a_lone_broker_gets_its_listener_and_nothing_else() -> None:
    assert _settings(render("rabbitmq.conf.j2", broker=BrokerSettings(port=5673), nodes=1)) == {
        "listeners.tcp.default": "5673"
    }


def test_with_tls_the_plain_listener_stays_for_services_that_are_not_switched_yet() -> None:
    tls = ServerTls("/r/cert.pem", "/r/cert.key", "/r/ca.pem")
    assert _settings(render("rabbitmq.conf.j2", broker=BrokerSettings(port=5671, tls=tls), nodes=1)) == {
        "listeners.tcp.default": "5672",
        "listeners.ssl.default": "5671",
        "ssl_options.cacertfile": "/r/ca.pem",
        "ssl_options.certfile": "/r/cert.pem",
        "ssl_options.keyfile": "/r/cert.key",
    }


def test_a_port_that_tls_has_taken_is_not_plain_as_well() -> None:
    tls = ServerTls("/r/cert.pem", "/r/cert.key", "/r/ca.pem")
    conf = _settings(render("rabbitmq.conf.j2", broker=BrokerSettings(port=5672, tls=tls), nodes=1))
    assert (conf["listeners.tcp"], conf["listeners.ssl.default"]) == ("none", "5672")


@pytest.mark.parametrize(("nodes", "handling"), [(2, "autoheal"), (3, "pause_minority"), (5, "pause_minority")])
def test_a_minority_pauses_only_where_there_can_be_a_majority(nodes: int, handling: str) -> None:
    assert (
        _settings(render("rabbitmq.conf.j2", broker=BrokerSettings(), nodes=nodes))["cluster_partition_handling"]
        == handling
    )


def test_the_final_newline_is_kept() -> None:
    assert render_module._environment().from_string("last line\n").render() == "last line\n"


def test_a_missing_value_is_an_error_and_never_an_empty_text() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("rabbitmq.conf.j2", nodes=1)


def test_an_unknown_template_is_an_error() -> None:
    with pytest.raises(jinja2.TemplateNotFound):
        render("nothing.j2")
