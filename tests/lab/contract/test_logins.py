"""Who is let in: SASL PLAIN against the sasldb, with and without TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.contract.client import Actor
from tests.lab.contract.routers import DATABASE, Router, Routers, listener

_CERTIFICATE = """
cd /etc/contract
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 -keyout tls.key -out tls.pem 2>/dev/null
chown qdrouterd: tls.key
"""


@pytest.fixture(scope="module")
def secured(ready: Routers) -> Iterator[Router]:
    """A router whose listener requires TLS."""
    ready.lab.run(ready.host, _CERTIFICATE)
    profile = {"name": "tls", "certFile": "/etc/contract/tls.pem", "privateKeyFile": "/etc/contract/tls.key"}
    sections = [
        ("router", {"mode": "standalone", "id": "Secured"}),
        ("sslProfile", profile | {"caCertFile": "/etc/contract/tls.pem"}),
        listener(25000, sslProfile="tls", requireSsl="yes"),
    ]
    yield ready.start("secured", sections)
    ready.stop("secured")


def test_a_user_with_realm_is_let_in(single: Router, actor: Actor) -> None:
    assert actor.refusal(single.url, "nova@openstack") is None


def test_a_plain_user_without_the_realm_is_refused(single: Router, actor: Actor) -> None:
    assert "Authentication failed" in (actor.refusal(single.url, "nova") or "")


def test_a_wrong_password_is_refused(single: Router, actor: Actor) -> None:
    assert "Authentication failed" in (actor.refusal(single.url, password="wrong") or "")


def test_a_wrong_realm_is_refused(single: Router, actor: Actor) -> None:
    assert "Authentication failed" in (actor.refusal(single.url, "nova@elsewhere") or "")


def test_a_new_user_is_let_in_without_a_restart(ready: Routers, single: Router, actor: Actor) -> None:
    assert actor.refusal(single.url, "heat@openstack", "heat-pw") is not None
    ready.add_user("heat", "heat-pw")
    assert actor.refusal(single.url, "heat@openstack", "heat-pw") is None


def test_without_a_sasldb_it_starts_and_refuses_everyone(ready: Routers, actor: Actor) -> None:
    ready.lab.run(ready.host, f"mv {DATABASE} {DATABASE}.away")
    try:
        router = ready.start("blind", [("router", {"mode": "standalone", "id": "Blind"}), listener(25100)])
        assert "Authentication failed" in (actor.refusal(router.url) or "")
    finally:
        ready.lab.run(ready.host, f"mv {DATABASE}.away {DATABASE}")
    ready.stop("blind")


def test_a_tls_client_that_trusts_the_ca_is_let_in(secured: Router, actor: Actor) -> None:
    url = secured.url.replace("amqp:", "amqps:")
    client = actor.connect(url, ca="/etc/contract/tls.pem")
    assert client.rows("connection", "isEncrypted")[-1] == {"isEncrypted": True}
    client.close()


def test_where_tls_is_required_a_plain_client_is_refused(secured: Router, actor: Actor) -> None:
    assert actor.refusal(secured.url) is not None
