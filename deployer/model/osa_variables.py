"""openstack-ansible's variables of the message buses (oslomsg_rpc_port, nova_oslomsg_notify_vhost): names and values.

They stand in `data:` of defaults.yaml as they do in user_variables.yml (openstack-ansible, inventory/group_vars/all/
oslo-messaging.yml, and defaults/main.yml of each os_ role).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from deployer.model.deployment import Policy, Sourced
from deployer.model.inventory_files import InventoryFiles
from deployer.model.inventory_schema import Address, OsaPolicy, Port, RemotePath, Text
from deployer.model.shape_check import describe, did_you_mean
from deployer.model.yaml_source import KeyPath, YamlFile

Bus = Literal["rpc", "notify"]
BUSES: tuple[Bus, ...] = get_args(Bus)
GENERAL = ("transport", "host_group", "servers", "port", "use_ssl", "ssl_version", "ssl_ca_file", "policies")
OWN = (
    "transport",
    "host_group",
    "setup_host",
    "servers",
    "port",
    "use_ssl",
    "userid",
    "password",
    "vhost",
    "ssl_version",
    "ssl_ca_file",
)
WHERE = ("transport", "host_group", "servers")
"""Those that say which bus it is; the others say how to get in there."""

_WORD = "oslomsg"
_TRANSPORTS: dict[Bus, tuple[str, ...]] = {"rpc": ("rabbit", "amqp"), "notify": ("rabbit", "none")}
_LOSING: dict[tuple[Bus, str], str] = {
    ("rpc", "kafka"): "oslo.messaging's kafka driver has no RPC",
    ("rpc", "none"): "RPC has to go somewhere",
    ("notify", "amqp"): "a router stores nothing, and a notification that nobody takes at once is lost",
    ("notify", "kafka"): "Kafka is neither deployed nor verified here",
}
# What Ansible's filter `bool` takes besides true and false, and YAML 1.1 besides.
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PROTOCOLS = ("TLSv1_2", "TLSv1_1", "TLSv1", "SSLv23", "")


def variable(bus: Bus, field: str, project: str = "") -> str:
    """Return a variable's name: the general one, or that of a project's role."""
    general = f"{_WORD}_{bus}_{field}"
    return f"{project.replace('-', '_')}_{general}" if project else general


def read_variables(files: InventoryFiles, projects: Collection[str]) -> dict[str, Sourced[Any]]:
    """Return the variables that defaults.yaml has; what is wrong with them is recorded, and left out."""
    known = _known(projects)
    _refuse_elsewhere(files)
    found = {}
    data = files.defaults_file.data.get("data")
    for name, written in data.items() if isinstance(data, dict) else ():
        path: KeyPath = ("data", name)
        if name not in known:
            _check_name(files.defaults_file, path, name, known, projects)
            continue
        bus, field = known[name]
        try:
            value = _parse(bus, field, name, written)
        except ValueError as error:
            files.defaults_file.refuse(path, str(error))
        else:
            found[name] = Sourced(value, place(files.defaults_file, path))
    return found


def place(file: YamlFile, path: KeyPath) -> str:
    """Return where something stands, for people: file and line."""
    return f"{Path(file.name).name}:{file.line(path)}"


def _known(projects: Collection[str]) -> dict[str, tuple[Bus, str]]:
    general = {variable(bus, field): (bus, field) for bus in BUSES for field in GENERAL}
    own = {variable(bus, field, name): (bus, field) for name in projects for bus in BUSES for field in OWN}
    return {**general, **own}


def _check_name(
    file: YamlFile, path: KeyPath, name: str, known: Mapping[str, object], projects: Collection[str]
) -> None:
    near = get_close_matches(name, known, n=1, cutoff=0.85)
    project, _, rest = name.partition(f"_{_WORD}_")
    own = {variable(bus, field) for bus in BUSES for field in OWN}
    if name in own:
        file.refuse(path, f"is each project's own, and there is no general one. Write PROJECT_{name}")
    elif f"{_WORD}_{rest}" in own:
        file.refuse(path, f'"{project}" is no project{did_you_mean(project, projects)}')
    elif near:
        file.refuse(path, f'unknown variable. Did you mean "{near[0]}"?')
    elif _WORD in name:
        problem = f"is no variable that is known here: {_WORD}_rpc_ and {_WORD}_notify_{{{','.join(GENERAL)}}}, and "
        file.refuse(path, f"{problem}PROJECT_{_WORD}_rpc_ and _notify_{{{','.join(OWN)}}}. Take it out")


def _refuse_elsewhere(files: InventoryFiles) -> None:
    places = [(files.hosts_file, files.hosts), (files.groups_file, files.groups)]
    for file, elements in places:
        for name, element in elements.items():
            for key in element.data:
                if _WORD in key:
                    problem = "a bus is the same for all hosts. Move the variable to data: of defaults.yaml"
                    file.refuse((name, "data", key), problem)


def _parse(bus: Bus, field: str, name: str, value: object) -> Any:
    """Return the value in the shape of its kind; raises ValueError saying what is wrong with it."""
    if field == "password":
        raise ValueError(f"a password in the clear is refused. Move {name} to the secrets file")
    for text in _texts(value):
        if "{{" in text or "{%" in text:
            raise ValueError("is a template of Ansible's, which is not evaluated here. Write the value itself")
    return _transport(bus, value) if field == "transport" else _PARSERS[field](value)


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _transport(bus: Bus, value: object) -> str:
    allowed = " or ".join(_TRANSPORTS[bus])
    if isinstance(value, str) and (bus, value) in _LOSING:
        raise ValueError(f"{value} is refused: {_LOSING[bus, value]}. Write {allowed}")
    if value not in _TRANSPORTS[bus]:
        raise ValueError(f"is no transport. Write {allowed}")
    return str(value)


def _shaped(shape: Any) -> Callable[[object], Any]:
    """Return a parser that takes what the shape of an inventory's setting takes."""
    adapter = TypeAdapter(shape)

    def parse(value: object) -> Any:
        try:
            return adapter.validate_python(value, strict=True)
        except ValidationError as error:
            details = error.errors(include_url=False)
            # A misspelt key is missing under its right name too: the misspelling is what there is to mend.
            found = next((one for one in details if one["type"] == "extra_forbidden"), details[0])
            where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found["loc"])
            text = describe(shape, found)
            raise ValueError(f"{where}: {text}" if where else text) from None

    return parse


def _port(value: object) -> int:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    port: int = _shaped(Port)(number)
    return port


def _servers(value: object) -> tuple[str, ...]:
    """Read openstack-ansible's comma list, or a YAML list."""
    names = re.split(r"\s*,\s*", value.strip()) if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise ValueError("must be addresses with commas between them")
    return tuple(dict.fromkeys(_shaped(list[Address])(names)))


def _boolean(value: object) -> bool:
    found = _BOOLEANS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - a ValueError is what every parser raises
    return found


def _protocol(value: object) -> str:
    if value not in _PROTOCOLS:
        raise ValueError(f"must be one of {', '.join(_PROTOCOLS[:-1])}, or empty for what Python negotiates")
    return str(value)


def _ca_file(value: object) -> str:
    return "" if value == "" else str(_shaped(RemotePath)(value))


def _policies(value: object) -> tuple[Policy, ...]:
    policies: list[OsaPolicy] = _shaped(list[OsaPolicy])(value)
    return tuple(Policy(one.name, one.pattern, one.tags, one.apply_to, one.priority) for one in policies)


_PARSERS: dict[str, Callable[[object], Any]] = {
    "host_group": _shaped(Text),
    "setup_host": _shaped(Text),
    "servers": _servers,
    "port": _port,
    "use_ssl": _boolean,
    "userid": _shaped(Text),
    "vhost": _shaped(Text),
    "ssl_version": _protocol,
    "ssl_ca_file": _ca_file,
    "policies": _policies,
}
