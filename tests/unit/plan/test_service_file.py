from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from deployer.errors import ConfigurationError, FileRefused
from deployer.ini import IniFile
from deployer.model.deployment import ProjectDeployment
from deployer.model.secrets import Secret
from deployer.model.transports import resolve
from deployer.plan.service_file import FileEdit, edit_service_file, read_service_file
from tests.unit.plan.cloud import CEILOMETER, CTL1, FOREIGN, GLANCE, MSG1, NOVA, TEL1, deployment, host, project, url

CLOUD = deployment(project("glance", CTL1), project("nova", CTL1), project("ceilometer", TEL1))
GLANCE_URL, NOVA_URL, CEILOMETER_URL = (url(CLOUD, name) for name in ("glance", "nova", "ceilometer"))
LISTEN = (Secret(GLANCE_URL), Secret(NOVA_URL))
OSLO = "oslo_messaging_notifications"


def edit(one: ProjectDeployment, before: str | bytes, listen: tuple[Secret, ...] = ()) -> FileEdit:
    facts = host("ctl1", {one.project.files[0]: before})
    return edit_service_file(facts, one, resolve(CLOUD, one), listen)


def text(one: FileEdit) -> str:
    return one.after.reveal().decode()


def listening(
    before: str, listen: tuple[Secret, ...] = LISTEN, notify: Literal["keep", "rabbitmq"] = "keep"
) -> list[str]:
    found = IniFile.parse(edit(project("ceilometer", TEL1, notify=notify), before, listen).after.reveal(), CEILOMETER)
    return found.get_all("notification", "messaging_urls")


def test_a_project_gets_its_bus_for_rpc_and_for_notifications_and_no_other_byte_changes() -> None:
    before = "# nova\n[DEFAULT]\ndebug = true\ntransport_url = rabbit://\n\n[database]\nconnection = x\n"
    assert text(edit(project("nova", CTL1), before)) == (
        f"# nova\n[DEFAULT]\ndebug = true\ntransport_url = {NOVA_URL}\n\n[database]\nconnection = x\n\n"
        f"[{OSLO}]\ndriver = messagingv2\ntransport_url = {NOVA_URL}\n"
    )


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


@pytest.mark.parametrize("name", ["glance", "nova", "ceilometer"])
def test_an_edited_file_needs_no_edit(name: str) -> None:
    one = project(name, CTL1)
    first = edit(one, f"[DEFAULT]\ntransport_url = {FOREIGN}\n", LISTEN)
    assert first.changed
    assert not edit(one, first.after.reveal(), LISTEN).changed


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


def test_a_listener_that_reads_the_same_bus_twice_reads_it_once() -> None:
    assert listening(f"[notification]\nmessaging_urls = {FOREIGN}\nmessaging_urls = {FOREIGN}\n", ()) == [FOREIGN]


def test_our_brokers_are_known_in_capitals_too() -> None:
    shouting = deployment(project("ceilometer", TEL1), rabbitmq=(replace(MSG1, address="MSG1.Example"),))
    one = shouting.projects[0]
    facts = host("tel1", {CEILOMETER: "[notification]\nmessaging_urls = rabbit://nova:old@msg1.example:5672/nova\n"})
    assert "old" not in text(edit_service_file(facts, one, resolve(shouting, one), LISTEN))


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
        read_service_file(host("ctl1", {NOVA: None}), project("nova", CTL1))
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
        read_service_file(host("ctl1", {NOVA: content}), project("nova", CTL1))
    assert str(caught.value).startswith(f"ctl1: {NOVA}:{line}: ")
    assert word in str(caught.value)
    assert "canary" not in str(caught.value)
