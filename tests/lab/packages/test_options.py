"""What every service of Debian's makes of the files that a plan leaves: read by its own code, in its own packages."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from deployer.model.catalogue import load_catalogue
from deployer.model.transports import Transport, resolve
from tests.lab.packages.inside.starts import STARTS
from tests.lab.packages.sites import CA, HYBRID, NOOP, PASSWORD, REALM, SITES, STANDARD, TLS, edited, site
from tests.lab.packages.tree import Tree

UNPROVEN = {
    "blazar": "Debian 12 has no package of it",
    "swift": "its file is PasteDeploy's, and never edited",
    "tacker": "Debian 12 has no package of it",
    "zun": "Debian 12 has no package of it",
}
CATALOGUE = load_catalogue()
# magnum/common/rpc.py, init(): its notifier is on the transport of get_rpc_transport(), whatever the notify bus is.
REFUSED_ON_ROUTERS = {"magnum"}
# murano/common/engine.py, server.py: its targets name their exchange, and the option counts for nothing.
EXCHANGE_IN_CODE = {"murano"}
PROVEN = {name: project for name, project in CATALOGUE.items() if name in STARTS}
DRIVERS = {"rabbit": "RabbitDriver", "amqp": "ProtonDriver"}
WRITTEN = {"DEFAULT.transport_url", "oslo_messaging_notifications.driver", "oslo_messaging_notifications.transport_url"}

Answers = Callable[[str], dict[str, dict[str, Any]]]
"""By site, what a project's service read; "shipped" is the file as the package ships it."""


@pytest.fixture(scope="session")
def answers(tree: Tree) -> Answers:
    shipped = {project.files[0]: tree.shipped(project.files[0]) for project in PROVEN.values()}
    files = {"shipped": shipped, **{name: edited(site(name, PROVEN), shipped) for name in SITES}}

    @cache
    def read(project: str) -> dict[str, dict[str, Any]]:
        path = PROVEN[project].files[0]
        found = tree.read(project, [own[path] for own in files.values()])
        return dict(zip(files, found, strict=True))

    return read


every_project = pytest.mark.parametrize("project", PROVEN)
every_site = pytest.mark.parametrize("where", SITES)


def transports(project: str, where: str) -> tuple[Transport, Transport]:
    cloud = site(where, PROVEN)
    both = resolve(cloud, next(one for one in cloud.projects if one.name == project))
    return both.rpc, both.rpc if where == NOOP else both.notify


def matches(read: dict[str, Any], wanted: Transport) -> bool:
    password = PASSWORD.replace("/", "%2F") if wanted.driver == "rabbit" else PASSWORD
    hosts = [[one.lower(), wanted.port, wanted.user, password] for one in wanted.hosts]
    return (read["driver"], read["hosts"], read["vhost"]) == (DRIVERS[wanted.driver], hosts, wanted.vhost)


@pytest.mark.parametrize("project", CATALOGUE)
def test_every_catalogued_project_is_proven_or_says_why_not(project: str) -> None:
    assert project in STARTS or project in UNPROVEN, f"{project}: give it a start, or the reason why it has none"
    if project not in STARTS:
        pytest.skip(UNPROVEN[project])


@every_project
@pytest.mark.parametrize("where", ["shipped", *SITES])
def test_the_service_starts_on_the_file(answers: Answers, project: str, where: str) -> None:
    assert "failed" not in answers(project)[where], answers(project)[where]["failed"]


@every_site
@every_project
def test_the_service_calls_and_notifies_over_the_buses_of_the_plan(answers: Answers, project: str, where: str) -> None:
    read, (rpc, notify) = answers(project)[where], transports(project, where)
    assert matches(read["rpc"], rpc), read["rpc"]
    assert matches(read["notify"], notify), read["notify"]
    wanted = {"RPCTransport": rpc, "NotificationTransport": notify}
    assert all(matches(made, wanted[kind]) for kind, made in read["own"]), read["own"]


@every_site
@every_project
def test_the_service_notifies_by_the_driver_of_the_plan(answers: Answers, project: str, where: str) -> None:
    before = answers(project)["shipped"]["drivers"]
    usual = before or (["messagingv2"] if PROVEN[project].notifies else [])
    assert answers(project)[where]["drivers"] == (["noop"] if where == NOOP else usual)


@every_site
@every_project
def test_no_notification_of_the_service_goes_to_a_router(answers: Answers, project: str, where: str) -> None:
    if where in (HYBRID, TLS) and project in REFUSED_ON_ROUTERS:
        pytest.skip(f"{project} notifies over its RPC bus and is refused on the way to routers (rabbit_only)")
    sent = [one for one in answers(project)[where]["notifiers"] if set(one[1]) & {"messaging", "messagingv2"}]
    assert [driver for driver, _ in sent if driver != "RabbitDriver"] == []


@pytest.mark.parametrize("where", [HYBRID, TLS])
@every_project
def test_the_services_amqp_driver_has_the_options_of_the_plan(answers: Answers, project: str, where: str) -> None:
    settings = answers(project)[where]["rpc"]["settings"]
    settled = ["rpc-reply", "rpc-cast"] if PROVEN[project].casts_to_absent else ["rpc-reply"]
    wanted = {
        "idle_timeout": 5,
        "link_retry_delay": 1,
        "pre_settled": settled,
        "sasl_default_realm": REALM,
        "ssl": where == TLS,
        "ssl_ca_file": CA if where == TLS else "",
    }
    assert {name: settings[name] for name in wanted} == wanted


@pytest.mark.parametrize("where", [STANDARD, TLS])
@every_project
def test_the_services_rabbit_driver_speaks_tls_where_the_plan_does(answers: Answers, project: str, where: str) -> None:
    settings = answers(project)[where]["notify"]["settings"]
    wanted = {
        "ssl": where == TLS,
        "ssl_ca_file": CA if where == TLS else "",
        "ssl_version": "TLSv1_2" if where == TLS else "",
    }
    assert {name: settings[name] for name in wanted} == wanted


@every_site
@every_project
def test_every_other_option_of_the_service_is_what_it_was(answers: Answers, project: str, where: str) -> None:
    before, after = (answers(project)[one]["options"] for one in ("shipped", where))
    listener = PROVEN[project].listener
    heard = {f"{listener.section}.{listener.key}"} if listener else set()
    # Drivers register their options when they load, and not every site has both drivers. The file is another each time.
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert changed - WRITTEN - heard == {"DEFAULT.config_file"}


@pytest.mark.parametrize("project", [name for name in PROVEN if name not in EXCHANGE_IN_CODE])
def test_the_catalogue_knows_the_services_own_exchange(answers: Answers, project: str) -> None:
    assert answers(project)["shipped"]["exchange"] == PROVEN[project].exchange


@every_site
@pytest.mark.parametrize("project", [name for name, one in PROVEN.items() if one.listener and not one.listener.own])
def test_a_listener_hears_every_project_that_notifies(answers: Answers, project: str, where: str) -> None:
    listener, cloud = PROVEN[project].listener, site(where, PROVEN)
    notifying = [] if where == NOOP else [one for one in cloud.projects if one.project.notifies]
    assert listener is not None
    heard = answers(project)[where]["options"][f"{listener.section}.{listener.key}"]
    assert heard == repr([resolve(cloud, one).notify.url().reveal() for one in notifying])
