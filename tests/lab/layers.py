"""The layers of the images: what each is made from, and the hash under which it is cached."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.lab import debs
from tests.lab.layout import CACHE

RECIPES = Path(__file__).resolve().parent / "recipes"
PASSWORD_FILE = CACHE / "secret" / "database"
BASE_PACKAGES = (
    "systemd,systemd-sysv,dbus,openssh-server,python3,iproute2,iputils-ping,sudo,ca-certificates,procps,passwd,adduser"
)
REPOSITORY = "repository"
PROTON = "proton"
LIGHT = "light"
RELAY = Path(__file__).resolve().parent / "load" / "relay"
_FORMAT = "1"  # raise it when build.py changes what it makes of the same recipes


@dataclass(frozen=True)
class Layer:
    """One layer: a script run on top of its parent; `beside` names a layer the script also sees."""

    name: str
    script: str
    parent: str | None = "base"
    beside: str | None = None
    uses: tuple[str, ...] = ()
    secret: bool = False


LAYERS = {
    layer.name: layer
    for layer in (
        Layer("base", "base.sh", parent=None),
        Layer("openstack", "openstack.sh"),
        Layer("packages", "packages.sh", "openstack"),
        Layer("mariadb", "mariadb.sh"),
        Layer("telemetry", "telemetry.sh", uses=("iniset.py",)),
        Layer("operator", "operator.sh"),
        Layer(LIGHT, "light.sh"),
        Layer(PROTON, "proton.sh"),
        Layer(REPOSITORY, "repository.sh", PROTON, uses=("standin.sh",)),
        Layer("controller", "controller.sh", "openstack", uses=("iniset.py", "fake_placement.py"), secret=True),
        Layer("database", "schema.sh", parent="mariadb", beside="controller", secret=True),
    )
}
IMAGES = {
    "bare": "base",
    "operator": "operator",
    "controller": "controller",
    "database": "database",
    "telemetry": "telemetry",
    "light": LIGHT,
    "packages": "packages",
}


@cache  # once per process: a recipe edited while it is built must not rename the result
def key(name: str) -> str:
    """Return the hash of everything that makes the layer: its recipe, its settings, and the layers below."""
    layer = LAYERS[name]
    parts = [_FORMAT, name]
    parts += [(RECIPES / file).read_text(encoding="utf-8") for file in (layer.script, *layer.uses)]
    parts += [key(below) for below in (layer.parent, layer.beside) if below]
    if layer.parent is None:
        parts.append(BASE_PACKAGES)
    if layer.secret:
        parts.append(PASSWORD_FILE.read_text(encoding="ascii"))
    if name == PROTON:
        parts.append(debs.PROTON)
    if name == LIGHT:
        parts += [f"{file.name}\0{file.read_text(encoding='utf-8')}" for file in sorted(RELAY.glob("*.py"))]
    if name == REPOSITORY:
        parts.append(debs.fingerprint())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def directory(name: str) -> Path:
    """Return where the finished layer is, or will be."""
    return CACHE / "layers" / f"{name}-{key(name)}"


def chain(name: str) -> list[Path]:
    """Return the directories of the layer and all below it, topmost first."""
    found = [directory(name)]
    parent = LAYERS[name].parent
    return found + (chain(parent) if parent else [])


def needed(images: Iterable[str]) -> list[str]:
    """Return the layers those images (and the package repository) consist of, parents first."""
    wanted: list[str] = []

    def add(name: str) -> None:
        layer = LAYERS[name]
        for below in (layer.parent, layer.beside):
            if below:
                add(below)
        if name not in wanted:
            wanted.append(name)

    for image in (*images,):
        add(IMAGES[image])
    add(REPOSITORY)
    return wanted
