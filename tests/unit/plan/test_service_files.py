from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from deployer.errors import ConfigurationError, FileRefused
from deployer.ini import IniFile
from deployer.model.deployment import Deployment, ProjectDeployment, RouterSettings, ServerTls
from deployer.model.secrets import Secret
from deployer.model.transports import resolve
from deployer.plan.effective import effective_configs
from deployer.plan.listeners import Notifications, Speaker
from deployer.plan.observed import HostFacts
from deployer.plan.service_files import FileEdit, edit_service_files
from deployer.plan.wanted import AMQP, written_options
from tests.unit.plan.cloud import (
    CEILOMETER,
    CTL1,
    FOREIGN,
    GLANCE,
    MSG1,
    NOVA,
    RTR1,
    TEL1,
    deployment,
    host,
    project,
    url,
)

CLOUD = deployment(project("glance", CTL1), project("nova", CTL1), project("ceilometer", TEL1))
GLANCE_URL, NOVA_URL, CEILOMETER_URL = (url(CLOUD, name) for name in ("glance", "nova", "ceilometer"))
HYBRID = deployment(*CLOUD.projects, qdrouterd=(RTR1,))
TLS = replace(HYBRID, router=RouterSettings(tls=ServerTls("/r/cert", "/r/key", "/r/ca.pem")))
LISTEN = (Secret(GLANCE_URL), Secret(NOVA_URL))
OSLO = "oslo_messaging_notifications"


def edit(
    one: ProjectDeployment, before: str | bytes, listen: tuple[Secret, ...] = (), site: Deployment = CLOUD
) -> FileEdit:
    return edit_on(host("ctl1", {one.project.files[0]: before}), one, listen, site)


def edit_on(
    facts: HostFacts, one: ProjectDeployment, listen: tuple[Secret, ...] = (), site: Deployment = CLOUD
) -> FileEdit:
    """The edit of the project's one file, also where nothing changes; `listen` is what all others notify over."""
    brokers = frozenset(broker.address.lower() for broker in site.rabbitmq)
    notifications = Notifications((Speaker("others", frozenset(), listen),), brokers)
    found = edit_service_files(facts, one, resolve(site, one), notifications).edits
    assert len(found) <= 1
    path = one.project.files[0]
    content = facts.files[path].content
    assert content is not None
    return found[0] if found else FileEdit(path, facts.files[path], content)


def text(one: FileEdit) -> str:
    return one.after.reveal().decode()


def listening(
    before: str,
    listen: tuple[Secret, ...] = LISTEN,
    notify: Literal["keep", "rabbitmq"] = "keep",
    site: Deployment = CLOUD,
) -> list[str]:
    one = project("ceilometer", TEL1, notify=notify)
    found = IniFile.parse(edit(one, before, listen, site).after.reveal(), CEILOMETER)
    return found.get_all("notification", "messaging_urls")


def test_a_project_gets_its_bus_for_rpc_and_for_notifications_and_no_other_byte_changes() -> None:
    before = "# nova\n[DEFAULT]\ndebug = true\ntransport_url = rabbit://\n\n[database]\nconnection = x\n"
    assert text(edit(project("nova", CTL1), before)) == (
        f"# nova\n[DEFAULT]\ndebug = true\ntransport_url = {NOVA_URL}\n\n[database]\nconnection = x\n\n"
        f"[{OSLO}]\ndriver = messagingv2\ntransport_url = {NOVA_URL}\n"
    )


def test_with_routers_a_project_calls_over_them_and_notifies_over_rabbitmq_and_no_other_byte_changes() -> None:
    before = "# nova\n[DEFAULT]\ndebug = true\ntransport_url = rabbit://\n"
    assert text(edit(project("nova", CTL1), before, site=HYBRID)) == (
        f"# nova\n[DEFAULT]\ndebug = true\ntransport_url = {url(HYBRID, 'nova')}\n\n"
        f"[{OSLO}]\ndriver = messagingv2\ntransport_url = {NOVA_URL}\n\n"
        f"[{AMQP}]\nidle_timeout = 5\nlink_retry_delay = 1\npre_settled = rpc-reply\n"
        "sasl_default_realm = openstack\n"
    )
    assert url(HYBRID, "nova").startswith("amqp://nova:")


def test_the_amqp_drivers_options_are_brought_to_what_holds_and_others_stay() -> None:
    before = f"[{AMQP}]\npre_settled = rpc-cast\npre_settled = rpc-reply\nidle_timeout = 0\nrpc_server_credit = 7\n"
    found = IniFile.parse(edit(project("nova", CTL1), before, site=HYBRID).after.reveal(), NOVA)
    assert found.get_all(AMQP, "pre_settled") == ["rpc-reply"]
    assert (found.get(AMQP, "idle_timeout"), found.get(AMQP, "rpc_server_credit")) == ("5", "7")


def test_only_a_project_that_casts_to_absent_servers_sends_casts_that_may_be_lost() -> None:
    settled = {
        name: IniFile.parse(edit(project(name, CTL1), "[DEFAULT]\n", site=HYBRID).after.reveal(), "x").get_all(
            AMQP, "pre_settled"
        )
        for name in ("nova", "cinder")
    }
    assert settled == {"nova": ["rpc-reply"], "cinder": ["rpc-reply", "rpc-cast"]}


def test_routers_with_tls_are_verified_with_their_ca_and_without_tls_no_ca_is_named() -> None:
    one = project("nova", CTL1)
    with_tls = edit(one, "[DEFAULT]\n", site=TLS).after.reveal()
    assert IniFile.parse(with_tls, NOVA).get(AMQP, "ssl_ca_file") == "/r/ca.pem"
    assert IniFile.parse(edit(one, with_tls, site=HYBRID).after.reveal(), NOVA).get(AMQP, "ssl_ca_file") == ""


def test_going_back_to_rabbitmq_only_the_rpc_bus_changes() -> None:
    one = project("nova", CTL1)
    hybrid = edit(one, "[DEFAULT]\n", site=HYBRID).after.reveal()
    assert edit(one, hybrid).after.reveal() == hybrid.replace(url(HYBRID, "nova").encode(), NOVA_URL.encode())


def test_a_project_that_does_not_notify_names_its_notify_bus_once_rpc_is_on_routers() -> None:
    silent = project("nova", CTL1)
    silent = replace(silent, project=silent.project.model_copy(update={"notifies": False}))
    assert OSLO not in text(edit(silent, "[DEFAULT]\n"))
    assert f"[{OSLO}]\ntransport_url = {NOVA_URL}\n" in text(edit(silent, "[DEFAULT]\n", site=HYBRID))


def test_an_edit_says_whether_rpc_moves() -> None:
    one = project("nova", CTL1)
    done = edit(one, "[DEFAULT]\n", site=HYBRID).after.reveal()
    other = done.replace(b"idle_timeout = 5", b"idle_timeout = 9")
    moves = [
        found.rpc_moves for found in (edit(one, done), edit(one, done, site=HYBRID), edit(one, other, site=HYBRID))
    ]
    assert moves == [True, False, False]


@pytest.mark.parametrize("site", [CLOUD, HYBRID, TLS], ids=["rabbit", "routers", "tls"])
@pytest.mark.parametrize("name", ["nova", "ceilometer"])
def test_the_options_that_decide_over_the_buses_are_those_that_the_edit_writes(name: str, site: Deployment) -> None:
    one = project(name, CTL1)
    found = IniFile.parse(edit(one, "[DEFAULT]\n", LISTEN, site).after.reveal(), "x")
    named = set(written_options(one, resolve(site, one)))
    written = {option for option in named if found.get(*option)}
    assert named - written == (set() if site is not HYBRID else {(AMQP, "ssl_ca_file")})
    bare = IniFile.parse(edit(one, "[DEFAULT]\n", LISTEN, site).after.reveal(), "x")
    for option in named:
        bare.unset(*option)
    assert [line for line in bare.render().decode().splitlines() if "=" in line] == ["driver = messagingv2"]


def test_glance_without_any_bus_gets_ours() -> None:
    found = IniFile.parse(edit(project("glance", CTL1), "[DEFAULT]\n").after.reveal(), GLANCE)
    assert found.get("DEFAULT", "transport_url") == GLANCE_URL
    assert (found.get(OSLO, "transport_url"), found.get(OSLO, "driver")) == (GLANCE_URL, "messagingv2")


def test_a_driver_that_the_operator_chose_stays() -> None:
    found = text(edit(project("nova", CTL1), f"[{OSLO}]\ndriver = noop\n"))
    assert "driver = noop" in found
    assert "messagingv2" not in found


def test_a_foreign_notification_bus_outlives_the_move_of_rpc() -> None:
    found = IniFile.parse(
        edit(
            project("nova", CTL1), f"[DEFAULT]\ntransport_url = {FOREIGN}\n[{OSLO}]\ndriver = messagingv2\n"
        ).after.reveal(),
        NOVA,
    )
    assert found.get("DEFAULT", "transport_url") == NOVA_URL
    assert found.get(OSLO, "transport_url") == FOREIGN


@pytest.mark.parametrize("site", [CLOUD, HYBRID, TLS], ids=["rabbit", "routers", "tls"])
@pytest.mark.parametrize("name", ["glance", "nova", "ceilometer"])
def test_an_edited_file_needs_no_edit(name: str, site: Deployment) -> None:
    one = project(name, CTL1)
    first = edit(one, f"[DEFAULT]\ntransport_url = {FOREIGN}\n", LISTEN, site)
    assert first.changed
    assert not edit(one, first.after.reveal(), LISTEN, site).changed


def test_the_write_is_bound_to_the_bytes_it_was_made_from_and_keeps_mode_and_owner() -> None:
    one = edit(project("nova", CTL1), "[DEFAULT]\n")
    intent = one.intent()
    assert (intent.kind, intent.preimage) == ("file.write", {"sha256": one.fact.sha256})
    assert intent.args == {
        "path": NOVA,
        "content_b64": one.after.base64(),
        "mode": None,
        "user": None,
        "group": None,
    }


def test_the_diff_shows_the_bus_and_no_password() -> None:
    diff = edit(project("nova", CTL1), f"[DEFAULT]\ntransport_url = {FOREIGN}\n").diff()
    assert "-transport_url = rabbit://stack:***@10.9.9.9:5672/\n" in diff
    assert "+transport_url = rabbit://nova:***@10.0.0.11:5672/nova?ssl=0" in diff
    assert "canary" not in diff


def test_a_listener_reads_the_bus_of_every_project_a_line_each() -> None:
    assert listening("[DEFAULT]\n") == [GLANCE_URL, NOVA_URL]


def test_only_a_listener_is_told_what_others_notify_over() -> None:
    assert GLANCE_URL not in text(edit(project("nova", CTL1), "[DEFAULT]\n", LISTEN))


def test_a_listener_keeps_the_buses_that_are_not_ours() -> None:
    neutron = "rabbit://neutron:x@10.9.9.9:5672/neutron"
    before = f"[notification]\nmessaging_urls = {neutron}\nmessaging_urls = not a url\n"
    assert listening(before) == [neutron, "not a url", GLANCE_URL, NOVA_URL]


def test_a_listener_drops_what_is_ours_and_no_longer_right() -> None:
    stale = "rabbit://nova:old@10.0.0.11:5672/nova?ssl=0"
    assert listening(f"[notification]\nmessaging_urls = {stale}\n") == [GLANCE_URL, NOVA_URL]


@pytest.mark.parametrize("site", [CLOUD, HYBRID], ids=["rabbit", "routers"])
def test_a_listener_never_reads_from_a_router_whether_it_named_it_or_not(site: Deployment) -> None:
    router = "amqp://nova:x@10.9.9.9:5672/nova"
    named = f"[notification]\nmessaging_urls = {router}\nmessaging_urls = {FOREIGN}\n"
    assert listening(named, site=site) == [FOREIGN, GLANCE_URL, NOVA_URL]
    assert listening(f"[DEFAULT]\ntransport_url = {router}\n", site=site) == [GLANCE_URL, NOVA_URL]


def test_a_listener_that_reads_the_same_bus_twice_reads_it_once() -> None:
    assert listening(f"[notification]\nmessaging_urls = {FOREIGN}\nmessaging_urls = {FOREIGN}\n", ()) == [FOREIGN]


def test_our_brokers_are_known_in_capitals_too() -> None:
    shouting = deployment(project("ceilometer", TEL1), rabbitmq=(replace(MSG1, address="MSG1.Example"),))
    one = shouting.projects[0]
    facts = host("tel1", {CEILOMETER: "[notification]\nmessaging_urls = rabbit://nova:old@msg1.example:5672/nova\n"})
    assert "old" not in text(edit_on(facts, one, LISTEN, shouting))


@pytest.mark.parametrize("order", [(GLANCE_URL, FOREIGN), (FOREIGN, GLANCE_URL)])
def test_a_listener_needs_no_edit_whatever_the_order_of_buses_of_others_and_ours(order: tuple[str, ...]) -> None:
    listen = tuple(Secret(one) for one in order)
    first = edit(project("ceilometer", TEL1), "[DEFAULT]\n", listen)
    assert not edit(project("ceilometer", TEL1), first.after.reveal(), listen).changed


@pytest.mark.parametrize("named", ["", "[notification]\nmessaging_urls =\n"])
def test_a_foreign_bus_that_a_listener_read_without_naming_it_is_written_down(named: str) -> None:
    # ceilometer/notification.py, opt messaging_urls: "(DEFAULT/transport_url is used if empty)".
    assert listening(f"[DEFAULT]\ntransport_url = {FOREIGN}\n{named}") == [FOREIGN, GLANCE_URL, NOVA_URL]


def test_told_to_use_rabbitmq_a_listener_is_not_bound_to_what_it_never_named() -> None:
    assert listening(f"[DEFAULT]\ntransport_url = {FOREIGN}\n", notify="rabbitmq") == [GLANCE_URL, NOVA_URL]


def test_a_missing_file_names_host_and_file_and_what_to_do() -> None:
    with pytest.raises(ConfigurationError) as caught:
        effective_configs(host("ctl1", {NOVA: None}), project("nova", CTL1))
    assert str(caught.value) == (
        "ctl1: /etc/nova/nova.conf: does not exist. Install nova there, or take the host out of the group nova"
    )


@pytest.mark.parametrize(
    ("content", "line", "word"),
    [
        (b"[DEFAULT]\npassword = canary-\xff\n", 2, "UTF-8"),
        (b"\xef\xbb\xbf[DEFAULT]\n", 1, "byte order mark"),
        ("[DEFAULT]\n".encode("utf-16"), 1, "NUL"),
        (b"[DEFAULT]\npassword = canary\n\nbroken canary-2\n", 4, "neither a section"),
    ],
    ids=["latin-1", "bom", "utf-16", "grammar"],
)
def test_a_file_that_cannot_be_edited_names_host_file_and_line_and_shows_nothing_of_it(
    content: bytes, line: int, word: str
) -> None:
    with pytest.raises(FileRefused) as caught:
        effective_configs(host("ctl1", {NOVA: content}), project("nova", CTL1))
    assert str(caught.value).startswith(f"ctl1: {NOVA}:{line}: ")
    assert word in str(caught.value)
    assert "canary" not in str(caught.value)
