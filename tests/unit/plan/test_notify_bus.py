from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from deployer.model.secrets import Secret
from deployer.model.transports import Transport
from deployer.plan.notify_bus import SECTION, drivers, effective_url, is_amqp, is_on, wanted_url
from tests.unit.plan.cloud import FOREIGN, ini

BUS = Transport("rabbit", ("10.0.0.11", "MSG2.example"), 5672, False, "nova", "nova", Secret("new"))
OURS = BUS.url().reveal()
NOTIFYING = f"[{SECTION}]\ndriver = messagingv2\n"

# oslo.messaging 14.0 (Debian 12), notify/notifier.py, _notifier_opts: later ones know no deprecated names.
OSLO_OPTS = [
    cfg.MultiStrOpt("driver", default=[], deprecated_name="notification_driver", deprecated_group="DEFAULT"),
    cfg.StrOpt("transport_url", deprecated_name="notification_transport_url", deprecated_group="DEFAULT"),
]


def wanted(text: str, *, keep: bool = True) -> str:
    found = wanted_url(ini(text), BUS, keep=keep)
    assert found is not None
    return found.reveal()


def oslo(text: str, directory: Path) -> cfg.ConfigOpts:
    (directory / "x.conf").write_text(text)
    conf = cfg.ConfigOpts()
    conf.register_opts(OSLO_OPTS, group=SECTION)
    conf.register_opts([cfg.StrOpt("transport_url")])
    conf(["--config-file", str(directory / "x.conf")], project="x")
    return conf


def test_a_cloud_that_notifies_over_a_bus_of_its_own_stays_there() -> None:
    assert wanted(f"{NOTIFYING}transport_url = {FOREIGN}\n") == FOREIGN


def test_a_foreign_bus_that_was_only_rpcs_own_is_written_down() -> None:
    assert wanted(f"[DEFAULT]\ntransport_url = {FOREIGN}\n{NOTIFYING}") == FOREIGN


@pytest.mark.parametrize("driver", ["messaging", "messagingv2"])
@pytest.mark.parametrize("place", [f"[{SECTION}]\ndriver", "[DEFAULT]\nnotification_driver"])
def test_both_messaging_drivers_count_under_both_names(driver: str, place: str) -> None:
    assert wanted(f"{place} = {driver}\n[{SECTION}]\ntransport_url = {FOREIGN}\n") == FOREIGN


@pytest.mark.parametrize("driver", ["", "driver = noop\n", "driver = log\n", "driver =\n"])
def test_a_service_that_notifies_nobody_gets_our_bus(driver: str) -> None:
    assert wanted(f"[{SECTION}]\n{driver}transport_url = {FOREIGN}\n") == OURS


def test_a_service_that_has_no_bus_gets_ours() -> None:
    assert wanted(NOTIFYING) == OURS


def test_told_to_use_rabbitmq_a_foreign_bus_is_left() -> None:
    assert wanted(f"{NOTIFYING}transport_url = {FOREIGN}\n", keep=False) == OURS


AMQP = "amqp://nova:new@10.0.0.31:31459/nova?ssl=0"


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    "place",
    [f"[{SECTION}]\ntransport_url", "[DEFAULT]\nnotification_transport_url", "[DEFAULT]\ntransport_url"],
    ids=["its own", "the deprecated one", "RPC's"],
)
@pytest.mark.parametrize("url", [AMQP, "AMQP://10.0.0.31", "amqp://ha%lf read#able"])
def test_nobody_notifies_over_a_router_wherever_it_is_named(place: str, url: str, *, keep: bool) -> None:
    assert wanted(f"{NOTIFYING}{place} = {url}\n", keep=keep) == OURS


@pytest.mark.parametrize("url", ["rabbit://amqp:amqp@amqp/amqp", "amqps://x", "", "kombu+amqp://x"])
def test_other_drivers_are_not_taken_for_the_routers(url: str) -> None:
    assert not is_amqp(Secret(url))


@pytest.mark.parametrize(
    "old",
    [
        "rabbit://nova:new@10.0.0.11:5672/nova?ssl=0",
        "rabbit://nova:old@10.0.0.11:5672,nova:old@msg2.example:5672/nova?ssl=0",
        "rabbit://nova:new@msg2.example:5672,nova:new@10.0.0.99:5672/nova",
        "rabbit://nova:new@msg2.example/nova",
    ],
    ids=["a member fewer", "another password", "a member that is gone", "only the host in capitals"],
)
def test_our_own_url_is_brought_up_to_date(old: str) -> None:
    assert wanted(f"{NOTIFYING}transport_url = {old}\n") == OURS


@pytest.mark.parametrize(
    "other",
    [
        "rabbit://stack:new@10.0.0.11:5672/nova",
        "rabbit://nova:new@10.0.0.11:5672/",
        "rabbit://nova:new@10.9.9.9:5672/nova",
        "not a url",
    ],
    ids=["user", "vhost", "host", "unreadable"],
)
def test_another_user_vhost_or_host_is_another_bus(other: str) -> None:
    assert not is_on(Secret(other), BUS)
    assert wanted(f"{NOTIFYING}transport_url = {other}\n") == other


@pytest.mark.parametrize(
    "text",
    [
        f"[DEFAULT]\nnotification_driver = log\n[{SECTION}]\ndriver = messaging\ndriver = noop\n",
        "[DEFAULT]\nnotification_driver = messagingv2\n",
        f"[{SECTION}]\ndriver = messagingv2\n",
        "[DEFAULT]\ndebug = true\n",
    ],
)
def test_the_drivers_are_those_that_oslo_config_finds(text: str, tmp_path: Path) -> None:
    assert sorted(drivers(ini(text))) == sorted(oslo(text, tmp_path)[SECTION].driver)


@pytest.mark.parametrize(
    "text",
    [
        f"[DEFAULT]\ntransport_url = rpc\nnotification_transport_url = old\n[{SECTION}]\ntransport_url = new\n",
        "[DEFAULT]\ntransport_url = rpc\nnotification_transport_url = old\n",
        "[DEFAULT]\ntransport_url = rpc\n",
        f"[DEFAULT]\ntransport_url = rpc\nnotification_transport_url = old\n[{SECTION}]\ntransport_url =\n",
        "[DEFAULT]\ndebug = true\n",
    ],
    ids=["its own", "the deprecated one", "RPC's", "its own, but empty", "none"],
)
def test_the_url_in_force_is_the_one_that_oslo_messaging_would_take(text: str, tmp_path: Path) -> None:
    conf = oslo(text, tmp_path)
    # oslo_messaging/notify/notifier.py, get_notification_transport, then transport.py: an empty one is RPC's.
    url = conf[SECTION].transport_url or conf.transport_url
    assert effective_url(ini(text)) == (Secret(url) if url else None)
