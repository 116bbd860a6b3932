"""One listener of a broker or router: a connection to it, encrypted where it wants that, and why there is none."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deployer.agent.errors import AgentError

CLOSED = "closes the connection during the login: it may want TLS, or none"
TLS_ALERT = b"\x15\x03"


class LoginError(AgentError):
    """Nobody was let in; the text says why and names host and port."""

    type = "refused"


class CredentialsError(LoginError):
    """The peer listens, speaks the protocol and does not let this user in, with this password or to this vhost."""


@dataclass(frozen=True)
class Endpoint:
    """A listener; `tls_ca` is a file of CA certificates: with one there is TLS, and `tls` alone takes the system's."""

    host: str
    port: int
    tls_ca: str | None = None
    tls: bool = False

    @property
    def encrypted(self) -> bool:
        """Whether there is TLS."""
        return self.tls or self.tls_ca is not None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@contextmanager
def connected(endpoint: Endpoint, timeout: float, *, verify_name: bool) -> Iterator[socket.socket]:
    """Give a connection, closed afterwards; all that goes wrong with it becomes a LoginError.

    `timeout` is in seconds for each thing waited for. A certificate must be of the CA, with `verify_name` also for the
    host's name.
    """
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout) as plain:
            if not endpoint.encrypted:
                yield plain
                return
            with _context(endpoint, verify_name=verify_name).wrap_socket(plain, server_hostname=endpoint.host) as safe:
                yield safe
    except ssl.SSLCertVerificationError as error:
        raise LoginError(f"{endpoint}: its certificate is not accepted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise LoginError(f"{endpoint}: no TLS session: {error.reason or error}") from error
    except ConnectionResetError as error:
        raise LoginError(f"{endpoint} {CLOSED}") from error
    except ConnectionRefusedError as error:
        raise LoginError(f"{endpoint} is not listening") from error
    except socket.timeout as error:  # noqa: UP041 - Python 3.9 has it as a class of its own
        raise LoginError(f"{endpoint} does not answer within {timeout:g} s") from error
    except OSError as error:
        raise LoginError(f"{endpoint} cannot be had: {error.strerror or error}") from error


def read_exactly(endpoint: Endpoint, peer: socket.socket, size: int) -> bytes:
    """Return the next `size` bytes; raises LoginError when the peer hangs up before."""
    content = b""
    while len(content) < size:
        chunk = peer.recv(size - len(content))
        if not chunk:
            raise LoginError(f"{endpoint} {CLOSED}")
        content += chunk
    return content


def is_loopback(host: str) -> bool:
    """Whether `host` is an address (or the name) of the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(endpoint: Endpoint, *, verify_name: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.tls_ca)
    except (FileNotFoundError, PermissionError) as error:
        raise LoginError(f"the CA file {endpoint.tls_ca} cannot be read: {error.strerror}") from error
    # A certificate names the host; its loopback, where nobody stands in between, goes without.
    context.check_hostname = verify_name and not is_loopback(endpoint.host)
    return context
