"""From an inventory directory to a Deployment: read, check everything, resolve."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nornir.core.inventory import Inventory

from deployer.errors import ConfigurationError
from deployer.model.catalogue import Project, load_catalogue
from deployer.model.cross_checks import check_groups, check_hosts, check_projects, check_reach
from deployer.model.deployment import QDROUTERD, RABBITMQ, Deployment, ProjectDeployment, Sourced
from deployer.model.draft import draft_deployment
from deployer.model.inventory_files import InventoryFiles, read_inventory
from deployer.model.membership import build_inventory, resolve_jump_hosts
from deployer.model.osa_variables import BUSES, read_variables, variable
from deployer.model.passwords import ERLANG_COOKIE, ROUTER_PASSWORD, Passwords, load_or_generate, password_key
from deployer.model.router_rules import check_routers
from deployer.model.secret_sources import SecretSources
from deployer.model.secrets import Secret
from deployer.model.transport_rules import check_transports, one_password_each

OWN_PROJECTS = "projects"  # the operator's part of the catalogue, in the inventory directory


@dataclass(frozen=True)
class _Checked:
    files: InventoryFiles
    inventory: Inventory
    draft: Deployment


def load_deployment(directory: Path) -> Deployment:
    """Return the deployment that hosts.yaml, groups.yaml and defaults.yaml in `directory` describe.

    Missing secrets are generated into the secrets file, only once everything else is right.
    Raises ConfigurationError with every mistake found.
    """
    checked = _checked(directory)
    draft, settings = checked.draft, checked.files.defaults.data.hybridmsg
    wanted = [password_key(project.name) for project in draft.projects] + [ERLANG_COOKIE]
    # Also without routers: those that a deployment once had are asked who is attached before they are left behind.
    optional = [_notify_key(project.name) for project in draft.projects] + [ROUTER_PASSWORD]
    path = directory / Path(settings.secrets_file).expanduser()
    sources = SecretSources.of(settings.secrets, directory, os.environ)
    found = load_or_generate(path, wanted + [ROUTER_PASSWORD] * bool(draft.qdrouterd), optional, sources)
    deployment = replace(
        draft,
        projects=tuple(_with_passwords(project, found) for project in draft.projects),
        erlang_cookie=found.values[ERLANG_COOKIE],
        router_password=found.values.get(ROUTER_PASSWORD, Secret("")),
        generated_secrets=found.generated,
        sources={**draft.sources, **found.origins},
    )
    if mistakes := one_password_each(deployment, str(path)):
        raise ConfigurationError(mistakes)
    return deployment


def load_inventory(directory: Path) -> Inventory:
    """Return the same directory as Nornir's inventory; unlike SimpleInventory it knows the roles unasked,
    and jump hosts by their name in the inventory.

    Raises ConfigurationError with every mistake found.
    """
    inventory = _checked(directory).inventory
    resolve_jump_hosts(inventory)
    return inventory


def _checked(directory: Path) -> _Checked:
    catalogue = load_catalogue(directory / OWN_PROJECTS)
    files = read_inventory(directory)
    variables = read_variables(files, catalogue)
    roles = dict.fromkeys((RABBITMQ, QDROUTERD, *_named_groups(variables, catalogue), *catalogue))
    check_projects(files, catalogue)
    if check_groups(files, roles):
        inventory = build_inventory(files.hosts, files.groups, files.defaults, roles)
        check_hosts(files, inventory, roles)
        draft = draft_deployment(files, inventory, variables, catalogue, directory)
        check_transports(files, draft)
        check_reach(files, draft.hosts.values(), [RABBITMQ, *(cluster.group for cluster in draft.clusters)])
        check_routers(files, draft)
        if not files.mistakes():
            return _Checked(files, inventory, draft)
    raise ConfigurationError(files.mistakes())


def _named_groups(variables: Mapping[str, Sourced[Any]], catalogue: Mapping[str, Project]) -> list[str]:
    """Return the groups that variables name: a host in one of them has something to do."""
    names = [variable(bus, "host_group", project) for bus in BUSES for project in ("", *catalogue)]
    return [variables[name].value for name in names if name in variables]


def _notify_key(project: str) -> str:
    return variable("notify", "password", project)


def _with_passwords(project: ProjectDeployment, found: Passwords) -> ProjectDeployment:
    own = found.values.get(_notify_key(project.name), Secret(""))
    return replace(project, password=found.values[password_key(project.name)], notify_password=own)
