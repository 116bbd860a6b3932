"""Reads qdrouterd.conf as qdrouterd does: the same syntax, the same refusals, the same traps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .schema import DEFAULTS, MODULES, REQUIRED, SECTIONS, SINGLETONS

_ENTITY = re.compile(r"([\w-]+)[ \t]*{[ \t]*$")
_MAP = re.compile(r"([\w-]+)[ \t]*:[ \t]*{[ \t]*$")
_ITEM = re.compile(r"([\w-]+)[ \t]*:[ \t]*([^ \t{]+.*)$")
_HASH_ALLOWED = ("pattern", "bindingKey", "hostname")
_BOOLS = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False}


class ConfigError(Exception):
    """The configuration, or a management request, says something that no router takes."""


@dataclass(frozen=True)
class Entity:
    """One section of the file, or one entity that management made, with its defaults filled in."""

    type: str
    name: str
    attributes: Mapping[str, object]

    def text(self, attribute: str) -> str:
        """Return an attribute as text, empty when it is not set."""
        value = self.attributes.get(attribute)
        return "" if value is None else str(value)

    def flag(self, attribute: str) -> bool:
        """Return a yes-or-no attribute."""
        return bool(self.attributes.get(attribute))

    def number(self, attribute: str, default: int = 0) -> int:
        """Return a numeric attribute."""
        value = self.attributes.get(attribute)
        return default if value is None else int(str(value))


def load(path: Path) -> list[Entity]:
    """Return the file's entities, the router first; raises ConfigError for what qdrouterd refuses, and OSError."""
    with path.open(encoding="utf-8") as file:
        sections = _sections(file)
    entities: list[Entity] = []
    for type_, attributes in sections:
        entities.append(make(type_, attributes, entities))
    for singleton in SINGLETONS:
        if not any(entity.type == singleton for entity in entities):
            entities.append(make(singleton, {}, entities))
    told = {entity.text("module") for entity in entities if entity.type == "log"}
    entities += [make("log", {"module": module}, entities) for module in MODULES if module not in told]
    return sorted(entities, key=lambda entity: entity.type != "router")


def make(type_: str, attributes: Mapping[str, object], others: Iterable[Entity]) -> Entity:
    """Return a checked entity that may stand beside the others; raises ConfigError."""
    known = SECTIONS.get(type_)
    if known is None:
        raise ConfigError(f"No such entity type '{type_}'")
    values = dict(DEFAULTS[type_])
    for name, raw in attributes.items():
        if name not in known:
            raise ConfigError(f"{type_} has no attribute '{name}'")
        values[name] = _value(type_, name, raw)
    for name in REQUIRED.get(type_, ()):
        if name not in values:
            raise ConfigError(f"{type_} is missing required attribute '{name}'")
    same = [entity for entity in others if entity.type == type_]
    if type_ in SINGLETONS and same:
        raise ConfigError(f"Singleton entity '{type_}' occurs more than once")
    alone = type_ == "router" and values["mode"] == "standalone"
    if (alone and any(_joins(entity.attributes) for entity in others)) or (_joins(values) and _stands_alone(others)):
        raise ConfigError("role='standalone' not allowed to connect to or accept connections from other routers.")
    if type_ == "router" and values["mode"] != "standalone" and not values.get("id"):
        raise ConfigError(f"router.id is required when router.mode is {values['mode']}")
    name = str(values.get("name") or _default_name(type_, values, len(same)))
    if any(entity.name == name for entity in same):
        raise ConfigError(f"Duplicate value '{name}' for unique attribute 'name'")
    return Entity(type_, name, values | {"name": name})


def _joins(values: Mapping[str, object]) -> bool:
    return values.get("role") in ("inter-router", "edge")


def _stands_alone(others: Iterable[Entity]) -> bool:
    return any(entity.type == "router" and entity.text("mode") == "standalone" for entity in others)


def _default_name(type_: str, values: Mapping[str, object], count: int) -> str:
    if type_ in ("listener", "connector"):
        return f"{type_}/{values['host']}:{values['port']}"
    if type_ == "log":
        return f"log/{values['module']}"
    return f"{type_}/{count}"


def _value(type_: str, name: str, raw: object) -> object:
    kind = SECTIONS[type_][name]
    if isinstance(kind, tuple):
        if raw not in kind:
            raise ConfigError(f"Invalid value for '{name}': '{raw}' is not one of {list(kind)}")
        return raw
    if kind == "bool":
        value = raw if isinstance(raw, bool) else _BOOLS.get(str(raw).lower())
        if value is None:
            raise ConfigError(f"Invalid value for '{name}': '{raw}' is not a boolean")
        return value
    if kind == "int":
        try:
            return int(str(raw))
        except ValueError:
            raise ConfigError(f"Invalid value for '{name}': '{raw}' is not an integer") from None
    return raw if kind == "map" else str(raw)


def _sections(lines: Iterable[str]) -> list[tuple[str, dict[str, object]]]:
    # The way qdrouterd does it: each line is rewritten into JSON, and JSON's parser finds what is wrong. So a value
    # that holds a quotation mark, or begins with a brace, breaks here as it breaks there.
    depth = 0
    out = []
    for line in lines:
        text, depth = _as_json(line.strip(), depth)
        out.append(text)
    joined = re.sub(r",\s*([]}])", r"\1", "[" + "\n".join(out) + "]")
    try:
        sections = json.loads(joined)
        return [(_camel(type_), {_camel(key): value for key, value in body.items()}) for type_, body in sections]
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"invalid syntax: {error}") from error


def _as_json(line: str, depth: int) -> tuple[str, int]:
    if not line or line.startswith("#"):
        return "", depth
    item = _ITEM.match(line)
    if not (item and item[1] in _HASH_ALLOWED):
        line = line.split("#", maxsplit=1)[0].strip()
        item = _ITEM.match(line)
    if match := _ENTITY.match(line):
        return f'["{match[1]}", {{', depth
    if match := _MAP.match(line):
        return f'"{match[1]}": {{', depth + 1
    if item:
        return f'"{item[1]}": "{item[2]}",', depth
    if line == "}":
        return ("},", depth - 1) if depth else ("}],", 0)
    return line, depth


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)
