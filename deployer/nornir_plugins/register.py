"""Registers the connection and the runner with Nornir where the package's entry points are not installed."""

from __future__ import annotations

from nornir.core.plugins.connections import ConnectionPluginRegister
from nornir.core.plugins.runners import RunnersPluginRegister

from deployer.nornir_plugins.connection import CONNECTION_NAME, HostConnection
from deployer.nornir_plugins.runner import RUNNER_NAME, DeadlineRunner


def register() -> None:
    """Make `hybridmsg_ssh` and `hybridmsg_threads` known; may be called any number of times.

    Nornir keeps the plugins of all kinds in one dict: a name is taken for every kind at once.
    """
    ConnectionPluginRegister.register(CONNECTION_NAME, HostConnection)
    RunnersPluginRegister.register(RUNNER_NAME, DeadlineRunner)
