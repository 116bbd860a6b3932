"""Every way a connection can fail becomes one line that names cause and remedy."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from deployer.errors import HostKeyRejected, Unreachable
from deployer.nornir_plugins.connection import HostConnection
from tests.ssh import sshd
from tests.ssh.conftest import Open, Start
from tests.ssh.sshd import Sshd


def test_nagle_is_off_on_the_connection(server: Sshd, connect: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets: list[socket.socket] = []
    begin = paramiko.Transport.__init__

    def note(self: paramiko.Transport, sock: socket.socket, *args: object, **options: object) -> None:
        sockets.append(sock)
        begin(self, sock, *args, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(paramiko.Transport, "__init__", note)
    connect(server)
    assert [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets] == [1]


def test_a_key_that_the_server_does_not_know_is_refused_once(start: Start, connect: Open, tmp_path: Path) -> None:
    server, stranger = start(), sshd.keygen(tmp_path / "stranger")
    with pytest.raises(Unreachable, match=f"login refused for user {sshd.USER} with key {stranger}"):
        connect(server, key_file=str(stranger))
    assert server.log.count("Connection from") == 1


def test_an_encrypted_key_is_named_as_such(server: Sshd, connect: Open, tmp_path: Path) -> None:
    key = tmp_path / "encrypted"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True)
    with pytest.raises(Unreachable, match="is encrypted"):
        connect(server, key_file=str(key))


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_every_usual_kind_of_key_logs_in(server: Sshd, connect: Open, tmp_path: Path, kind: str) -> None:
    key = sshd.keygen(tmp_path / "key", "-t", kind)
    with (server.folder / "authorized_keys").open("a") as authorized:
        authorized.write(key.with_suffix(".pub").read_text())
    connect(server, key_file=str(key))


def test_a_missing_key_file_is_named(server: Sshd, connect: Open) -> None:
    with pytest.raises(Unreachable, match="key file /nowhere/id does not exist"):
        connect(server, key_file="/nowhere/id")


def test_a_file_that_is_no_key_is_named(server: Sshd, connect: Open) -> None:
    with pytest.raises(Unreachable, match="is not a private key"):
        connect(server, key_file=str(server.folder / "config"))


def test_a_server_without_key_logins_is_named(start: Start, connect: Open) -> None:
    with pytest.raises(Unreachable, match="takes no key logins, only password"):
        connect(start("PubkeyAuthentication no", "PasswordAuthentication yes"))


def test_a_server_that_asks_for_a_second_proof_is_named(start: Start, connect: Open) -> None:
    server = start("AuthenticationMethods publickey,password", "PasswordAuthentication yes")
    with pytest.raises(Unreachable, match="for more than a key: password"):
        connect(server)


def open_at(host: str, port: int, server: Sshd, **extras: object) -> None:
    HostConnection().open(host, sshd.USER, None, port, None, server.extras(**extras))


def test_a_closed_port_is_named(server: Sshd) -> None:
    port = sshd.free_port()
    with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{port}: connection refused\. Check that sshd runs"):
        open_at("127.0.0.1", port, server)


def test_a_name_that_does_not_resolve_is_named(server: Sshd) -> None:
    with pytest.raises(Unreachable, match=r"the name no-such-host\.invalid does not resolve"):
        open_at("no-such-host.invalid", 22, server)


def test_a_network_without_a_route_is_named(server: Sshd) -> None:
    # TCP to a multicast address: the kernel itself answers ENETUNREACH.
    with pytest.raises(Unreachable, match=r"224\.0\.0\.1:22: no route to the host"):
        open_at("224.0.0.1", 22, server)


def test_an_address_that_drops_packets_is_given_up_in_time(server: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        # With its queue full the kernel drops further SYNs, as a firewall would.
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        with pytest.raises(Unreachable, match="no answer within 1 s"):
            open_at("127.0.0.1", full.getsockname()[1], server, connect_timeout=1)
        for one in waiting:
            one.close()


def test_a_port_that_accepts_and_says_nothing_is_given_up_in_time(server: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no SSH greeting within 1 s"):
            open_at("127.0.0.1", black_hole.getsockname()[1], server, connect_timeout=1)
    assert time.monotonic() - began < 3, "a silent server is not tried again"


def test_a_dropped_connection_is_tried_again(server: Sshd, connect: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as front:
        port = front.getsockname()[1]
        relay = threading.Thread(target=refuse_twice_then_relay, args=(front, server.port), daemon=True)
        relay.start()
        known = server.folder / "known_relay"
        known.write_text(server.known_hosts.read_text().replace(str(server.port), str(port)))
        connection = HostConnection()
        extras = server.extras(known_hosts=str(known))
        connection.open("127.0.0.1", sshd.USER, None, port, None, extras)
        connection.close()


def refuse_twice_then_relay(front: socket.socket, port: int) -> None:
    """Hang up on two callers and pass the third one on."""
    for _ in range(2):
        front.accept()[0].close()
    near, far = front.accept()[0], socket.create_connection(("127.0.0.1", port))
    for source, sink in ((near, far), (far, near)):
        threading.Thread(target=copy, args=(source, sink), daemon=True).start()


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until either side ends."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        return


def test_ten_at_once_get_in_where_only_two_may_log_in_at_a_time(start: Start, connect: Open) -> None:
    server = start("MaxStartups 2")
    known = str(server.known_hosts)
    with ThreadPoolExecutor(10) as pool:
        opened = list(pool.map(lambda _number: connect(server, known_hosts=known), range(10)))
    assert len(opened) == 10
    assert "drop connection" in server.log, "the limit was never met: this test shows nothing"


def test_hosts_behind_a_bastion_share_one_connection_to_it(start: Start, connect: Open) -> None:
    bastion, inner = start(), start()
    both = bastion.known_hosts.read_text() + inner.known_hosts.read_text()
    inner.known_hosts.write_text(both)
    jump = f"{sshd.USER}@127.0.0.1:{bastion.port}"
    with ThreadPoolExecutor(5) as pool:
        opened = list(pool.map(lambda _number: connect(inner, jump_host=jump), range(5)))
    assert bastion.log.count("Accepted publickey") == 1
    assert inner.log.count("Accepted publickey") == 5
    for connection in opened[:4]:
        connection.close()
    assert opened[4].connection.alive


def test_the_last_host_to_leave_closes_the_bastion(start: Start, connect: Open) -> None:
    bastion, inner = start(), start()
    inner.known_hosts.write_text(bastion.known_hosts.read_text() + inner.known_hosts.read_text())
    jump = f"{sshd.USER}@127.0.0.1:{bastion.port}"
    connect(inner, jump_host=jump).close()
    connect(inner, jump_host=jump)
    assert bastion.log.count("Accepted publickey") == 2


def test_an_unknown_bastion_is_refused_and_nothing_behind_it_is_touched(start: Start, connect: Open) -> None:
    bastion, inner = start(), start()
    with pytest.raises(HostKeyRejected, match=str(bastion.port)):
        connect(inner, jump_host=f"{sshd.USER}@127.0.0.1:{bastion.port}")
    assert "userauth-request" not in bastion.log
    assert "Connection from" not in inner.log


def test_a_host_that_its_bastion_cannot_reach_is_named(start: Start) -> None:
    bastion, port = start(), sshd.free_port()
    jump = f"{sshd.USER}@127.0.0.1:{bastion.port}"
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}: the jump host cannot reach it"):
        open_at("127.0.0.1", port, bastion, jump_host=jump)
