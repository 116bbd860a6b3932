"""Transport URLs, held against oslo.messaging's own parser."""

from __future__ import annotations

from pathlib import Path

import oslo_messaging
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

from deployer.ini import IniFile
from deployer.model.secrets import Secret
from deployer.model.transport_url import TransportURL

HOSTS = (("mq1", 5671), ("10.0.0.2", 5672), ("fd00::3", 5672))


def url(word: str = "x", user: str = "nova", vhost: str = "nova") -> TransportURL:
    return TransportURL("rabbit", HOSTS, user, Secret(word), vhost)


def oslo_parse(text: str) -> oslo_messaging.TransportURL:
    """Let oslo.messaging read the URL the way a service does: through oslo.config, which expands `$`."""
    conf = cfg.ConfigOpts()
    conf([], project="nova", default_config_files=[], default_config_dirs=[])
    oslo_messaging.TransportURL(conf)  # registers the option
    conf.set_override("transport_url", text)
    return oslo_messaging.TransportURL.parse(conf)


printable = st.text(
    st.sampled_from("/#?,$%@: \\\"'[]{}&=;+~<>|^`!*()") | st.characters(exclude_categories=["Cs", "Cc"]),
    max_size=20,
)


class TestRendering:
    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(password=printable.filter(bool), user=printable.filter(bool), vhost=printable)
    def test_oslo_messaging_reads_back_every_part_of_any_login(self, password: str, user: str, vhost: str) -> None:
        seen = oslo_parse(url(password, user, vhost).render().reveal())
        assert [(host.username, host.password) for host in seen.hosts] == [(user, password)] * len(HOSTS)
        assert tuple((host.hostname, host.port) for host in seen.hosts) == HOSTS
        assert (seen.transport, seen.virtual_host) == ("rabbit", vhost)

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(password=printable.filter(bool), user=printable.filter(bool), vhost=printable)
    def test_parse_reads_back_what_was_rendered(self, password: str, user: str, vhost: str) -> None:
        written = url(password, user, vhost)
        assert TransportURL.parse(written.render().reveal()) == written

    def test_a_service_reads_the_login_from_the_file_we_write(self, tmp_path: Path) -> None:
        password = "/#?,$my_ip%(x)s@: \"'é;=\\$$"
        ini = IniFile.parse(b"[DEFAULT]\n", "nova.conf")
        ini.set("DEFAULT", "transport_url", url(password).render().reveal())
        (tmp_path / "nova.conf").write_bytes(ini.render())
        conf = cfg.ConfigOpts()
        conf(["--config-file", str(tmp_path / "nova.conf")], project="nova", default_config_dirs=[])
        assert {host.password for host in oslo_messaging.TransportURL.parse(conf).hosts} == {password}

    def test_the_url_is_plain_where_it_may_be(self) -> None:
        assert url("aZ9&=-_.+!*()").render().reveal() == (
            "rabbit://nova:aZ9&=-_.+!*()@mq1:5671,nova:aZ9&=-_.+!*()@10.0.0.2:5672,"
            "nova:aZ9&=-_.+!*()@[fd00::3]:5672/nova"
        )

    def test_all_that_is_special_is_encoded(self) -> None:
        written = TransportURL("amqp", (("h", 1),), "n@AMQP", Secret("/#?,$%@: é"), "").render().reveal()
        assert written == "amqp://n%40AMQP:%2F%23%3F%2C%24%25%40%3A%20%C3%A9@h:1/"

    @pytest.mark.parametrize(("vhost", "path"), [("nova", "/nova"), ("/nova", "//nova"), ("/", "//"), ("", "/")])
    def test_a_leading_slash_belongs_to_the_vhost(self, vhost: str, path: str) -> None:
        written = url(vhost=vhost).render().reveal()
        assert written.endswith(f":5672{path}")
        assert oslo_parse(written).virtual_host == vhost

    def test_the_query_is_kept(self) -> None:
        text = "rabbit://u:p@h:5671//nova?ssl=1&ssl_ca_file=/etc/ssl/ca.pem"
        parsed = TransportURL.parse(text)
        assert parsed.query == (("ssl", "1"), ("ssl_ca_file", "/etc/ssl/ca.pem"))
        assert parsed.render().reveal() == text
        assert oslo_parse(text).query == dict(parsed.query)

    def test_no_login_renders_none(self) -> None:
        assert TransportURL("amqp", (("h", 5672),), "", Secret(""), "nova").render() == Secret("amqp://h:5672/nova")


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "hosts"),
        [
            ("rabbit://h", (("h", 5672),)),
            ("amqp://u:p@h/", (("h", 5672),)),
            ("rabbit://u:p@[::1],u:p@[::2]:5673/", (("::1", 5672), ("::2", 5673))),
            ("rabbit://::1/", (("::1", 5672),)),
            ("rabbit://", ()),
            ("rabbit:///nova", ()),
        ],
    )
    def test_hosts_are_those_oslo_messaging_sees(self, text: str, hosts: tuple[tuple[str, int], ...]) -> None:
        assert TransportURL.parse(text).hosts == hosts
        assert tuple((host.hostname, host.port or 5672) for host in oslo_parse(text).hosts) == hosts

    def test_no_login_is_empty(self) -> None:
        parsed = TransportURL.parse("rabbit://h:5672/")
        assert (parsed.user, parsed.password) == ("", Secret(""))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "CANARY",
            "://u:CANARY@h/",
            "rabbit:/u:CANARY@h/",
            "rabbit://u:CAN/ARY@h:5672/",
            "rabbit://u:CAN#ARY@h:5672/",
            "rabbit://u:CANARY?@h:5672/",
            "rabbit://u:a,CANARY@h:5672/",
            "rabbit://u:CANARY@h:port/",
            "rabbit://u:CANARY@/",
            "rabbit://u:CANARY@[::1/",
            "rabbit://u:CANARY@h1,u:CANARY2@h2/",
            "rabbit://u:CANARY@h1,h2/",
            "rabbit://u:p@h/#CANARY",
        ],
    )
    def test_a_url_that_cannot_be_meant_is_refused_without_showing_it(self, text: str) -> None:
        with pytest.raises(ValueError, match="transport URL") as caught:
            TransportURL.parse(text)
        shown = f"{caught.value} {caught.value.__context__!r}"
        assert "CAN" not in shown
        assert "ARY" not in shown


class TestShowing:
    def test_masked_shows_hosts_but_no_password(self) -> None:
        assert url("CANARY,@:/").masked() == (
            "rabbit://nova:***@mq1:5671,nova:***@10.0.0.2:5672,nova:***@[fd00::3]:5672/nova"
        )

    def test_masked_hides_secrets_of_the_query(self) -> None:
        assert "CANARY" not in TransportURL.parse("amqp://h/?ssl_key_password=CANARY").masked()

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(password=printable)
    def test_no_password_survives_masking(self, password: str) -> None:
        assert url(f"{password}CANARY{password}").masked() == url("x").masked()

    def test_repr_shows_neither_password_nor_query(self) -> None:
        parsed = TransportURL.parse("amqp://u:CANARY@h/?ssl_key_password=CANARY")
        assert "CANARY" not in f"{parsed} {parsed!r}"
