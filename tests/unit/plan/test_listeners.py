"""Where listeners go: those that list buses, and those that hear the bus that they notify over themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from deployer.errors import ConfigurationError
from deployer.model.deployment import Deployment
from deployer.plan.listeners import Notifications, heard_vhosts, notify_urls
from deployer.plan.observed import HostFacts
from tests.unit.plan import cloud
from tests.unit.plan.cloud import CTL1, CTL2, FOREIGN, GLANCE, NOVA, TEL1

DESIGNATE = "/etc/designate/designate.conf"
CEILOMETER = "/etc/ceilometer/ceilometer.conf"
NOTIFIES = "[oslo_messaging_notifications]\ndriver = messagingv2\ntransport_url = {}\n"
SHARED = "rabbit://stack:canary-old@10.9.9.9:5672/shared"

Notify = Literal["keep", "rabbitmq"]


def site(notify: Notify = "keep") -> Deployment:
    names = ("glance", "nova", "designate", "ceilometer")
    return cloud.deployment(
        *(cloud.project(name, TEL1 if name == "ceilometer" else CTL1, notify=notify) for name in names)
    )


def facts(**urls: str) -> dict[str, HostFacts]:
    """The hosts, where projects notify over these buses and the others over none."""
    files = {"glance": GLANCE, "nova": NOVA, "designate": DESIGNATE}
    texts = {path: NOTIFIES.format(urls[name]) if name in urls else "[DEFAULT]\n" for name, path in files.items()}
    units = [cloud.unit(name) for name in ("glance-api", "nova-api", "designate-central", "designate-sink")]
    return {
        "msg1": cloud.broker(site()),
        "ctl1": cloud.host("ctl1", texts, units),
        "tel1": cloud.host("tel1", {CEILOMETER: "[DEFAULT]\n"}, [cloud.unit("ceilometer-agent-notification")]),
    }


def wanted(deployment: Deployment, **urls: str) -> dict[str, list[str]]:
    return {name: [url.reveal() for url in own] for name, own in notify_urls(deployment, facts(**urls)).items()}


def test_a_listener_of_its_own_bus_goes_where_the_one_goes_that_it_hears() -> None:
    found = wanted(site("rabbitmq"), nova=FOREIGN, designate=FOREIGN)
    assert found["designate"] == found["nova"] == [cloud.url(site(), "nova")]


def test_it_stays_where_they_stay_and_keeps_its_own_login() -> None:
    own = SHARED.replace("stack:", "designate:")
    found = wanted(site(), nova=SHARED, glance=SHARED, designate=own)
    assert (found["nova"], found["designate"]) == ([SHARED], [own])


def test_with_the_login_of_the_one_that_it_hears_it_follows_a_change_of_its_password() -> None:
    ours = cloud.url(site(), "nova")
    assert wanted(site(), nova=ours, designate=ours.replace("canary-nova", "old"))["designate"] == [ours]


def test_it_goes_to_its_own_bus_when_it_hears_nobody() -> None:
    own = [cloud.url(site(), "designate")]
    assert wanted(site("rabbitmq"), nova=FOREIGN, designate=SHARED)["designate"] == own
    assert wanted(site("rabbitmq"), nova=FOREIGN)["designate"] == own


def test_once_it_followed_it_stays() -> None:
    nova = cloud.url(site(), "nova")
    assert wanted(site("rabbitmq"), nova=nova, designate=nova)["designate"] == [nova]


def test_those_that_it_hears_going_apart_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError) as caught:
        wanted(site("rabbitmq"), nova=SHARED, glance=SHARED, designate=SHARED)
    [mistake] = caught.value.mistakes
    assert mistake.file == "designate"
    assert "hears glance, nova" in mistake.problem
    assert "designate_oslomsg_notify_vhost" in mistake.problem


def test_those_that_it_hears_may_go_apart_when_the_inventory_says_whom_it_is_to_hear() -> None:
    apart = site("rabbitmq")
    projects = tuple(replace(one, vhost="nova") if one.name == "designate" else one for one in apart.projects)
    found = wanted(replace(apart, projects=projects), nova=SHARED, glance=SHARED, designate=SHARED)
    [url] = found["designate"]
    assert url.startswith("rabbit://designate:")
    assert url.endswith("/nova?ssl=0")


def test_notifying_over_a_router_nobody_is_heard() -> None:
    router = "amqp://stack:x@10.9.9.9:5672/shared"
    found = wanted(site("rabbitmq"), nova=router, glance=router, designate=router)
    assert found["designate"] == [cloud.url(site(), "designate")]


def test_a_lister_of_buses_must_consume_in_the_vhost_of_everybody_who_notifies_over_ours() -> None:
    cluster = site()
    ceilometer = cluster.projects[-1]
    assert heard_vhosts(cluster, facts(nova=FOREIGN), ceilometer) == {
        name: name for name in ("glance", "designate", "ceilometer")
    }


def test_a_listener_of_its_own_bus_must_consume_there_alone() -> None:
    cluster = site("rabbitmq")
    nova = cloud.url(cluster, "nova")
    designate = next(one for one in cluster.projects if one.name == "designate")
    assert heard_vhosts(cluster, facts(nova=nova, designate=nova), designate) == {"nova": "nova"}
    assert heard_vhosts(cluster, facts(nova=nova, designate=FOREIGN), designate) == {}


def test_a_host_that_is_left_out_of_a_run_may_notify_still_and_is_heard_where_it_was() -> None:
    whole = cloud.deployment(
        cloud.project("glance", CTL2), cloud.project("nova", CTL1), cloud.project("ceilometer", TEL1)
    )
    urls = tuple(cloud.url(whole, name) for name in ("glance", "nova", "ceilometer"))
    listed = cloud.ini("".join(["[notification]\n", *(f"messaging_urls = {url}\n" for url in urls)]))
    gone = replace(whole, projects=whole.projects[1:])
    ceilometer = whole.projects[-1]
    assert Notifications.of(whole.without("ctl2"), facts()).heard(ceilometer, listed) == urls
    assert Notifications.of(gone, facts()).heard(ceilometer, listed) == urls[1:]
