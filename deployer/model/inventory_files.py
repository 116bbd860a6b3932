"""The three files of an inventory directory, read and checked for shape: each on its own, no cross-checks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from deployer.errors import Mistake
from deployer.model.inventory_schema import CONNECTION, Defaults, Element
from deployer.model.shape_check import check_shape
from deployer.model.yaml_source import KeyPath, YamlFile, read_yaml

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass
class InventoryFiles:
    """The parsed files and, in the order of hosts.yaml and groups.yaml, what they hold in the right shape."""

    hosts_file: YamlFile
    groups_file: YamlFile
    defaults_file: YamlFile
    hosts: dict[str, Element]
    groups: dict[str, Element]
    defaults: Defaults

    def mistakes(self) -> list[Mistake]:
        """Return what was found in all three files, in the order of their lines."""
        files = (self.hosts_file, self.groups_file, self.defaults_file)
        return [mistake for file in files for mistake in sorted(file.mistakes, key=lambda m: m.line or 0)]


def read_inventory(directory: Path) -> InventoryFiles:
    """Read hosts.yaml and, where they exist, groups.yaml and defaults.yaml."""
    hosts_file = _read(directory / "hosts.yaml", "hosts")
    groups_file = _read(directory / "groups.yaml", "groups", optional=True)
    defaults_file = _read(directory / "defaults.yaml", "defaults", optional=True)
    hosts = {name: _element(hosts_file, name, entry) for name, entry in hosts_file.data.items()}
    groups = {name: _element(groups_file, name, entry) for name, entry in groups_file.data.items()}
    defaults = check_shape(Defaults, defaults_file, (), defaults_file.data)
    _near_misses(defaults_file, (), defaults_file.data)
    if not hosts and not hosts_file.mistakes:
        hosts_file.refuse((), "names no host. Add one: a name, and hostname: and groups: below it")
    return InventoryFiles(hosts_file, groups_file, defaults_file, hosts, groups, defaults)


def _read(path: Path, label: str, *, optional: bool = False) -> YamlFile:
    if optional and not path.exists():
        return YamlFile(str(path), label=label)
    return read_yaml(path, label)


def _element(file: YamlFile, name: str, entry: Any) -> Element:
    if not _NAME.fullmatch(name):
        file.refuse((name,), "a name may have letters, digits, dot, dash and underscore only")
    element = check_shape(Element, file, (name,), entry)
    if isinstance(entry, dict):
        _near_misses(file, (name,), entry)
    if "hybridmsg" in element.data:
        file.refuse((name, "data", "hybridmsg"), "settings are the deployment's. Move them to defaults.yaml")
    return element


def _near_misses(file: YamlFile, path: KeyPath, entry: dict[str, Any]) -> None:
    """Any key is allowed here, so a misspelt one of ours would be ignored without a word."""
    for section, word in (("data", "hybridmsg"), ("connection_options", CONNECTION)):
        keys = entry.get(section)
        for key in keys if isinstance(keys, dict) else ():
            if key != word and get_close_matches(key.lower(), [word], cutoff=0.8):
                file.refuse((*path, section, key), f'unknown key. Did you mean "{word}"?')
