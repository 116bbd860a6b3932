"""The clouds whose plans the services read: every project on one host, with passwords that nobody would choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deployer.errors import ConfigurationError
from deployer.model.catalogue import Project
from deployer.model.deployment import (
    BrokerSettings,
    Deployment,
    Host,
    ProjectDeployment,
    RouterSettings,
    ServerTls,
    Sourced,
)
from deployer.model.secrets import Secret
from deployer.plan.obstacles import edit_projects
from tests.unit.plan.cloud import MSG1, RTR1, RTR2, deployment, host

PASSWORD = "a$b%2F/c,d#e?f@g:h&i=j k\"l'm\\n\N{LATIN SMALL LETTER E WITH ACUTE}\N{SNOWMAN}$$"
REALM = "openstack"
CA = "/etc/ssl/certs/messaging-ca.pem"
STANDARD, HYBRID, TLS, NOOP = "standard", "hybrid", "hybrid-tls", "hybrid-noop"
SITES = (STANDARD, HYBRID, TLS, NOOP)
_ALL = Host("ctl1", "10.0.0.21", 22, "deploy", ())
_BROKERS = (MSG1, replace(MSG1, name="msg2", address="fd00::12"))


def site(name: str, projects: Mapping[str, Project]) -> Deployment:
    """Return one of SITES: RabbitMQ alone, or RPC on routers, with TLS everywhere, or with no notifications."""
    own = [
        ProjectDeployment(one.name, one, (_ALL,), f"/{one.name}", one.user or one.name, Secret(PASSWORD))
        for one in projects.values()
    ]
    cloud = deployment(*own, rabbitmq=_BROKERS, qdrouterd=() if name == STANDARD else (RTR1, RTR2))
    if name == TLS:
        tls = ServerTls("/etc/messaging.pem", "/etc/messaging.key", CA)
        return replace(cloud, broker=BrokerSettings(port=5671, tls=tls), router=RouterSettings(tls=tls))
    none = {"oslomsg_notify_transport": Sourced("none", "defaults.yaml:1")}
    return replace(cloud, variables=none) if name == NOOP else cloud


def edited(cloud: Deployment, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files, by path, as the plan for this cloud leaves them; raises ConfigurationError as a plan does."""
    wanted = {path: files.get(path) for one in cloud.projects for path in one.project.files}
    done, mistakes = edit_projects(cloud, {_ALL.name: host(_ALL.name, wanted)})
    if mistakes:
        raise ConfigurationError(mistakes)
    edits = [edit for hosts in done.values() for own in hosts.values() for edit in own.edits]
    return {**files, **{edit.path: edit.after.reveal() for edit in edits}}
