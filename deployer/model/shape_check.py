"""pydantic's findings as mistakes: with file, line, path, what is near, and never the offending value."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from difflib import get_close_matches
from itertools import takewhile
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from deployer.model.yaml_source import KeyPath, YamlFile

Model = TypeVar("Model", bound=BaseModel)
_KINDS: dict[type, str] = {
    str: "text",
    bool: "true/false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return '. Did you mean "x"?', or the known words when nothing is near, or '' when there are none."""
    words = sorted(known)
    near = get_close_matches(word, words, n=1)
    if near:
        return f'. Did you mean "{near[0]}"?'
    return f". Known here: {', '.join(words)}" if words else ""


def check_shape(model: type[Model], file: YamlFile, path: KeyPath, data: object) -> Model:
    """Return `data` as `model`; what is wrong is recorded and left out, so that later checks still run."""
    if not isinstance(data, dict):
        written = " Write {} for nothing" if data is None else ""
        file.refuse(path, f"must be a mapping, not {_kind(data)}.{written}")
        return model()
    try:
        return model.model_validate(data)
    except ValidationError as error:
        refuse_each(model, file, path, error)
        places = [detail["loc"] for detail in error.errors(include_url=False)]
    left = deepcopy(data)
    for place in places:
        _leave_out(left, place)
    try:
        return model.model_validate(left)
    except ValidationError:
        wrong = {place[0] for place in places}
        return model.model_validate({key: value for key, value in data.items() if key not in wrong})


def _leave_out(data: dict[str, Any], place: KeyPath) -> None:
    """Delete what stands at a place: of a list all, of something that lacks a key that thing."""
    names = list(takewhile(lambda part: isinstance(part, str), place))
    around = [data]
    for name in names[:-1]:
        inner = around[-1].get(str(name))
        if not isinstance(inner, dict):
            break
        around.append(inner)
    for mapping, name in reversed(list(zip(around, names, strict=False))):
        if name in mapping:
            del mapping[name]
            return


def refuse_each(model: type[BaseModel], file: YamlFile, path: KeyPath, error: ValidationError) -> None:
    """Record everything that `error` found wrong with a `model` at `path`."""
    details = error.errors(include_url=False)
    for detail in details:
        place = detail["loc"]
        # Entries that are wrong do not count for pydantic, and the list they stand in is then too short besides.
        inside = [other for other in details if len(other["loc"]) > len(place) and other["loc"][: len(place)] == place]
        if detail["type"] != "too_short" or not inside:
            file.refuse((*path, *place), describe(model, detail))


def describe(shape: Any, detail: ErrorDetails) -> str:
    """Return what is wrong by one of pydantic's findings in a value of `shape`: a model, or a list of them."""
    if detail["type"] == "extra_forbidden":
        word = str(detail["loc"][-1])
        if "oslomsg_" in word:
            return "is openstack-ansible's: it goes into data: of defaults.yaml, beside hybridmsg:. Move it there"
        return f"unknown key{did_you_mean(word, _known_keys(shape, detail['loc'][:-1]))}"
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "too_short":
        return "must not be empty"
    if detail["type"] == "model_type":
        return f"must be a mapping, not {_kind(detail['input'])}"
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    text = text.replace("a valid dictionary", "a mapping").replace("a valid tuple", "a list")
    if detail["type"].endswith("_type"):
        text += f", not {_kind(detail['input'])}"
    return text


def _kind(value: object) -> str:
    return "nothing" if value is None else _KINDS.get(type(value), type(value).__name__)


def _known_keys(shape: Any, location: KeyPath) -> list[str]:
    """Return the keys that the shape at `location` allows; [] where any key is."""
    for part in location:
        shape = _inner_shape(shape, part)
    return list(shape.model_fields) if _is_model(shape) else []


def _inner_shape(shape: Any, part: str | int) -> Any:
    if not _is_model(shape):
        return [part for part in get_args(shape) if part is not Ellipsis][-1]  # tuple[X, ...] is a list of X
    field = shape.model_fields.get(part)
    inner = field.annotation if field else get_args(get_type_hints(shape)["__pydantic_extra__"])[-1]
    members = get_args(inner)
    return members[0] if NoneType in members else inner


def _is_model(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, BaseModel)
