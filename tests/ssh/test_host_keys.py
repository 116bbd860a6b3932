"""What known_hosts does not vouch for is refused before any authentication."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deployer.errors import HostKeyRejected
from tests.ssh import sshd
from tests.ssh.conftest import Open, Start
from tests.ssh.sshd import Sshd


def fingerprint(key: Path) -> str:
    """Return what ssh-keygen says of a key."""
    listed = subprocess.run(["ssh-keygen", "-lf", str(key)], check=True, capture_output=True, text=True)
    return listed.stdout.split()[1]


def assert_no_authentication(server: Sshd) -> None:
    """The server's own log shows a connection and no login attempt on it."""
    assert "Connection from 127.0.0.1" in server.log
    assert "userauth-request" not in server.log


def test_a_known_host_is_logged_into_and_its_log_shows_the_attempt(start: Start, connect: Open) -> None:
    server = start()
    connect(server)
    assert "userauth-request" in server.log


def test_an_unknown_host_key_is_refused_before_any_authentication(start: Start, connect: Open, tmp_path: Path) -> None:
    server = start()
    (tmp_path / "empty").write_text("# nobody\n")
    with pytest.raises(HostKeyRejected) as refused:
        connect(server, known_hosts=str(tmp_path / "empty"))
    message = str(refused.value)
    assert "unknown" in message
    assert str(tmp_path / "empty") in message
    assert fingerprint(server.folder / "host_ed25519.pub") in message
    assert f"ssh-keyscan -p {server.port} -t ed25519 127.0.0.1" in message
    assert_no_authentication(server)


def test_the_remedy_for_an_unknown_host_works(start: Start, connect: Open, tmp_path: Path) -> None:
    server, known = start(), tmp_path / "new"
    with pytest.raises(HostKeyRejected) as refused:
        connect(server, known_hosts=str(known))
    assert "does not exist" in str(refused.value)
    command = refused.value.remedy.rpartition("then: ")[2]
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    connect(server, known_hosts=str(known))


def test_a_changed_host_key_is_refused_before_any_authentication(start: Start, connect: Open, tmp_path: Path) -> None:
    server = start()
    other = sshd.keygen(tmp_path / "other")
    known = tmp_path / "known"
    known.write_text(f"# comment\n[127.0.0.1]:{server.port} {other.with_suffix('.pub').read_text()}")
    with pytest.raises(HostKeyRejected) as refused:
        connect(server, known_hosts=str(known))
    message = str(refused.value)
    assert "changed" in message
    assert "line 2" in message
    assert fingerprint(other.with_suffix(".pub")) in message
    assert fingerprint(server.folder / "host_ed25519.pub") in message
    assert_no_authentication(server)


def test_a_revoked_host_key_is_refused_even_when_it_is_also_listed(start: Start, connect: Open, tmp_path: Path) -> None:
    server = start()
    line = server.known_hosts.read_text()
    known = tmp_path / "known"
    known.write_text(line + f"@revoked * {line.split(' ', 1)[1]}")
    with pytest.raises(HostKeyRejected, match="revoked"):
        connect(server, known_hosts=str(known))
    assert_no_authentication(server)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_a_host_with_several_keys_shows_the_one_that_is_known(start: Start, connect: Open, kind: str) -> None:
    server = start(host_key_types=("rsa", "ecdsa", "ed25519"))
    key = (server.folder / f"host_{kind}.pub").read_text()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {key}")
    connect(server)


def test_a_file_hashed_by_ssh_keygen_is_understood(start: Start, connect: Open) -> None:
    server = start()
    subprocess.run(["ssh-keygen", "-H", "-f", str(server.known_hosts)], check=True, capture_output=True)
    assert "|1|" in server.known_hosts.read_text()
    connect(server)
