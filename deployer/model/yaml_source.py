"""YAML files of the operator's, read with the line of every key, and with every duplicate key found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from deployer.errors import Mistake

KeyPath = tuple[str | int, ...]
_MERGE = "tag:yaml.org,2002:merge"
_VAULT_TAGS = ("!vault", "!vault-encrypted")
_UNUSABLE = object()  # a value that is already named as wrong: left out, so that it is named once


@dataclass(frozen=True)
class Vaulted:
    """A value of a confidential file that ansible-vault encrypted (`!vault`), as it stands there."""

    envelope: str = field(repr=False)


@dataclass
class YamlFile:
    """One file: `data` is its top-level mapping ({} when absent or unusable), `lines` 1-based, by path."""

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    label: str = ""
    confidential: bool = False

    def line(self, path: KeyPath) -> int | None:
        """Return the line of `path`, or of the nearest thing around it that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def refuse(self, path: KeyPath, problem: str, line: int | None = None) -> None:
        """Record a mistake at `path`, on its own line unless told another; one that every project has, once."""
        mistake = Mistake(self.name, _dotted(self.label, path), problem, line or self.line(path))
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)


def _dotted(label: str, path: KeyPath) -> str:
    text = label
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_yaml(path: Path, label: str = "", *, confidential: bool = False) -> YamlFile:
    """Read a file whose top level is a mapping; all that is wrong with it is in `.mistakes`.

    `label` leads the paths of its mistakes; of a `confidential` file no content ever gets into one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        file = YamlFile(str(path), label=label, confidential=confidential)
        file.refuse((), f"cannot be read: {error.strerror}")
        return file
    return parse_yaml(content, str(path), label, confidential=confidential)


def parse_yaml(content: bytes, name: str, label: str = "", *, confidential: bool = False) -> YamlFile:
    """Read the content of what its mistakes call `name`, as `read_yaml` does."""
    file = YamlFile(name, label=label, confidential=confidential)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        file.refuse((), f"is not UTF-8 (byte {error.start}). Save it as UTF-8")
    else:
        _parse(file, text)
    return file


def _parse(file: YamlFile, text: str) -> None:
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except YAMLError as error:
        file.mistakes.append(_syntax_mistake(file, error))
        return
    if root is None:
        return
    if not isinstance(root, MappingNode):
        file.refuse((), "must be a mapping of names to settings (key: value lines)")
        return
    file.data = _Builder(yaml, file).mapping(root, (), (root,))


def _syntax_mistake(file: YamlFile, error: YAMLError) -> Mistake:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    detail = f": {error.problem}" if isinstance(error, MarkedYAMLError) and not file.confidential else ""
    hint = ". Indent with spaces, not tabs" if "\\t" in detail else ""
    return Mistake(file.name, "", f"YAML syntax error{detail}{hint}", mark.line + 1 if mark else None)


@dataclass
class _Builder:
    """Turns nodes into plain values and notes the lines; `inside` are the nodes around the present one."""

    yaml: YAML
    file: YamlFile

    def value(self, node: Node, path: KeyPath, inside: tuple[Node, ...]) -> Any:
        self.file.lines.setdefault(path, node.start_mark.line + 1)
        if node in inside:
            self.file.refuse(path, "an alias that contains itself")
            return _UNUSABLE
        if isinstance(node, MappingNode):
            return self.mapping(node, path, (*inside, node))
        if isinstance(node, SequenceNode):
            items = [self.value(item, (*path, i), (*inside, node)) for i, item in enumerate(node.value)]
            return [item for item in items if item is not _UNUSABLE]
        return self.scalar(node, path)

    def scalar(self, node: Node, path: KeyPath) -> Any:
        if self.file.confidential and node.tag in _VAULT_TAGS:
            return Vaulted(node.value)
        try:
            return self.yaml.constructor.construct_object(node)
        except (YAMLError, ValueError):
            kind = "" if self.file.confidential else f" ({node.tag})"
            self.file.refuse(path, f"a value of a kind not known here{kind}. Put it in quotes if it is text")
            return _UNUSABLE

    def mapping(self, node: MappingNode, path: KeyPath, inside: tuple[Node, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                result = self.merge(value_node, path, inside) | result
        own: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = None if key_node.tag == _MERGE else self.key(key_node, path)
            if key is None:
                continue
            here, line = (*path, key), key_node.start_mark.line + 1
            if key in own:
                self.file.refuse(here, f"is named twice, on lines {own[key]} and {line}. Keep one", line)
                continue
            own[key] = self.file.lines[here] = line
            value = self.value(value_node, here, inside)
            if value is not _UNUSABLE:
                result[key] = value
        return result

    def key(self, node: Node, path: KeyPath) -> str | None:
        if isinstance(node, ScalarNode):
            key = self.scalar(node, path)
            if isinstance(key, str):
                return key
        self.file.refuse(path, "has a key that is not text. Put the key in quotes", node.start_mark.line + 1)
        return None

    def merge(self, node: Node, path: KeyPath, inside: tuple[Node, ...]) -> dict[str, Any]:
        """What `<<:` brings in; of several mappings the first wins."""
        merged: dict[str, Any] = {}
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            if isinstance(source, MappingNode) and source not in inside:
                merged = self.mapping(source, path, (*inside, source)) | merged
            else:
                self.file.refuse(path, "<< must name a mapping", node.start_mark.line + 1)
        return merged
