"""Nornir's connection plugin `hybridmsg_ssh`: one SSH connection a host, on it one agent session."""

from __future__ import annotations

from typing import Any

import paramiko
from nornir.core.configuration import Config

from deployer.errors import Unreachable
from deployer.nornir_plugins.dial import dial
from deployer.nornir_plugins.jump import BASTIONS
from deployer.nornir_plugins.session import AgentSession
from deployer.nornir_plugins.target import Target, from_parameters

CONNECTION_NAME = "hybridmsg_ssh"


class HostConnection:
    """Nornir ConnectionPlugin; `connection` is the AgentSession.

    extras: `key_file` (private key, ~ expanded), `known_hosts` (default ~/.ssh/known_hosts), `become` (none
    or sudo), `jump_host` (user@host:port), `connect_timeout` s (10), `keepalive` s (15), `silence` s (60).
    """

    def __init__(self) -> None:
        self._bastion: Target | None = None
        self._session: AgentSession | None = None

    def open(  # noqa: PLR0913, PLR0917  # the signature is Nornir's
        self,
        hostname: str | None,
        username: str | None,
        password: str | None,  # noqa: ARG002  # logins are by key only
        port: int | None,
        platform: str | None,  # noqa: ARG002  # the agent finds out itself
        extras: dict[str, Any] | None = None,
        configuration: Config | None = None,  # noqa: ARG002  # nothing in it concerns SSH
    ) -> None:
        """Connect, check the host key and log in; raises Unreachable, HostKeyRejected. Starts no agent."""
        extras = extras or {}
        target = from_parameters(hostname, username, port, extras)
        become = str(extras.get("become") or "none")
        if become not in {"none", "sudo"}:
            raise Unreachable(target.address, f"become is {become!r}", "Set it to none or sudo in the inventory")
        jump_host = extras.get("jump_host")
        transport = self._dial_behind(target, str(jump_host)) if jump_host else dial(target)
        self._session = AgentSession(transport, host=target.address, become=become, silence=target.silence)

    @property
    def connection(self) -> AgentSession:
        """The session with the host's agent."""
        if self._session is None:
            raise RuntimeError("the connection is not open")
        return self._session

    def close(self) -> None:
        """End the agent and the connection; a second close does nothing."""
        if self._session is not None:
            self._session.close()
        self._leave_bastion()

    def _dial_behind(self, target: Target, jump_host: str) -> paramiko.Transport:
        bastion = target.bastion(jump_host)
        through = BASTIONS.enter(bastion)
        self._bastion = bastion
        try:
            return dial(target, through)
        except BaseException:
            self._leave_bastion()
            raise

    def _leave_bastion(self) -> None:
        bastion, self._bastion = self._bastion, None
        if bastion is not None:
            BASTIONS.leave(bastion)
