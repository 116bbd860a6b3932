"""From an address to an authenticated SSH transport; every failure becomes one line with its remedy."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time

import paramiko
import tenacity
from paramiko.ssh_exception import IncompatiblePeer

from deployer.errors import Unreachable
from deployer.nornir_plugins import fast_socket, host_key, known_hosts, login_key
from deployer.nornir_plugins.target import Target

_AUTH_TIMEOUT = 15.0
_CHANNEL_TIMEOUT = 15.0

# paramiko logs tracebacks of what is reported here in one line; without a handler they would go to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class TransientRefusal(Unreachable):
    """The server hung up before its greeting, as sshd does beyond MaxStartups: worth another try."""


def dial(target: Target, through: paramiko.Transport | None = None) -> paramiko.Transport:
    """Return a transport logged in at `target`, over a channel of the bastion `through` if given.

    Raises Unreachable with cause and remedy; HostKeyRejected before anything was authenticated. Refusals that
    pass by themselves (MaxStartups, resets) are tried again for at most 30 s; host key and login never are.
    """
    key = login_key.load(target)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientRefusal),
        stop=tenacity.stop_after_attempt(12) | tenacity.stop_after_delay(30),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=4),
        reraise=True,
    )
    transport: paramiko.Transport = retrying(_greet, target, through)
    try:
        _authenticate(transport, target, key)
    except BaseException:
        transport.close()
        raise
    transport.set_keepalive(target.keepalive)
    return transport


def _greet(target: Target, through: paramiko.Transport | None) -> paramiko.Transport:
    """Return a transport whose host key was checked and nothing else done."""
    known = _known_hosts(target)
    transport = paramiko.Transport(_channel_to(target, through) if through else _socket_to(target))
    try:
        transport.banner_timeout = transport.handshake_timeout = target.connect_timeout
        transport.auth_timeout, transport.channel_timeout = _AUTH_TIMEOUT, _CHANNEL_TIMEOUT
        host_key.prefer_known(transport, known.keys_for(known_hosts.lookup_name(target.host, target.port)))
        _exchange_keys(transport, target)
        host_key.check(transport.get_remote_server_key(), target, known)
    except BaseException:
        transport.close()
        raise
    return transport


def _known_hosts(target: Target) -> known_hosts.KnownHosts:
    try:
        return known_hosts.load(target.known_hosts)
    except OSError as error:
        raise Unreachable(
            target.address,
            f"{target.known_hosts} cannot be read: {error.strerror}",
            "Give the deployer's user the right to read it",
        ) from None


def _socket_to(target: Target) -> socket.socket:
    try:
        return fast_socket.connect(target.host, target.port, target.connect_timeout, target.silence)
    except socket.gaierror as error:
        problem, remedy = (
            f"the name {target.host} does not resolve ({error.strerror})",
            "Correct hostname in the inventory or the DNS",
        )
    except TimeoutError:
        problem = f"no answer within {target.connect_timeout:g} s"
        remedy = "Check that the host is up and that no firewall drops the port"
    except ConnectionRefusedError:
        problem, remedy = "connection refused", "Check that sshd runs there and that the port is right"
    except ConnectionResetError:
        raise TransientRefusal(target.address, *_CLOSED_EARLY) from None
    except OSError as error:
        no_route = error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}
        problem = "no route to the host" if no_route else f"cannot connect: {error.strerror}"
        remedy = "Check the address and the network between"
    raise Unreachable(target.address, problem, remedy)


def _channel_to(target: Target, bastion: paramiko.Transport) -> paramiko.Channel:
    try:
        return bastion.open_channel(
            "direct-tcpip", (target.host, target.port), ("127.0.0.1", 0), timeout=target.connect_timeout
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Unreachable(
            target.address,
            f"the jump host cannot reach it ({error or 'connection lost'})",
            "Check that the host is up and that the jump host's sshd has AllowTcpForwarding",
        ) from None


_CLOSED_EARLY = (
    "the server closed the connection before its SSH greeting",
    "Raise MaxStartups in its sshd_config, or check that this port is sshd's",
)


def _exchange_keys(transport: paramiko.Transport, target: Target) -> None:
    started = time.monotonic()
    done = threading.Event()
    transport.start_client(event=done)
    done.wait(2 * target.connect_timeout + 1)
    if transport.is_active() and done.is_set():
        return
    error = transport.get_exception()
    if time.monotonic() - started >= target.connect_timeout:
        raise Unreachable(
            target.address,
            f"no SSH greeting within {target.connect_timeout:g} s",
            "Check that sshd answers there: the port is open but silent",
        )
    if isinstance(error, IncompatiblePeer):
        raise Unreachable(target.address, str(error), "Update the SSH server: it offers no algorithm held safe today")
    if isinstance(error, (EOFError, ConnectionError)) or "banner" in str(error):
        raise TransientRefusal(target.address, *_CLOSED_EARLY)
    raise Unreachable(target.address, f"no SSH session: {error or 'negotiation failed'}", "Check the sshd's own log")


def _authenticate(transport: paramiko.Transport, target: Target, key: paramiko.PKey) -> None:
    who = f"user {target.user} with key {target.key_file}"
    try:
        still_asked = transport.auth_publickey(target.user, key)
    except paramiko.BadAuthenticationType as error:
        problem, remedy = (
            f"the server takes no key logins, only {', '.join(error.allowed_types)}",
            "Set PubkeyAuthentication yes there",
        )
    except paramiko.AuthenticationException as error:
        if "timeout" in str(error):
            problem, remedy = (
                f"no answer to the login of {who} within {_AUTH_TIMEOUT:g} s",
                "Check the sshd's own log",
            )
        else:
            problem = f"login refused for {who}"
            remedy = f"Add the key's public half to ~{target.user}/.ssh/authorized_keys there"
    except (paramiko.SSHException, EOFError, OSError) as error:
        problem, remedy = (
            f"the connection ended during the login of {who} ({error or 'end of file'})",
            "Check the sshd's own log",
        )
    else:
        if not still_asked:
            return
        problem = f"the server asks {who} for more than a key: {', '.join(still_asked)}"
        remedy = "Allow that user AuthenticationMethods publickey"
    raise Unreachable(target.address, problem, remedy)
