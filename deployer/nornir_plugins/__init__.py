"""Nornir plugins: the connection `hybridmsg_ssh`, the runner `hybridmsg_threads`, the processor Progress."""

from __future__ import annotations


def register() -> None:
    """Make connection and runner known to Nornir without installed entry points; may be called repeatedly.

    Nornir keeps the plugins of all kinds in one dict: a name is taken for every kind at once.
    """
    # Imported late: paramiko and Nornir take 0.2 s, and every module of this package imports this one first.
    from nornir.core.plugins.connections import ConnectionPluginRegister  # noqa: PLC0415  # see above
    from nornir.core.plugins.runners import RunnersPluginRegister  # noqa: PLC0415  # see above

    from deployer.nornir_plugins.connection import CONNECTION_NAME, HostConnection  # noqa: PLC0415  # see above
    from deployer.nornir_plugins.runner import RUNNER_NAME, DeadlineRunner  # noqa: PLC0415  # see above

    ConnectionPluginRegister.register(CONNECTION_NAME, HostConnection)
    RunnersPluginRegister.register(RUNNER_NAME, DeadlineRunner)
