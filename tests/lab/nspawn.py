"""The systemd-nspawn command lines: for building a layer, and for booting a host."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import aptsources, network
from tests.lab.layers import PASSWORD_FILE, RECIPES
from tests.lab.layout import CACHE, Layout

_COMMON = ("systemd-nspawn", "-q", "--register=no", "--keep-unit", "--timezone=off", "--link-journal=no")
_LISTS = CACHE / "lists"
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_APT_CONF = """\
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "/run/lab/sources";
Dir::Etc::netrcparts "/run/lab/auth";
Dir::Etc::trustedparts "/run/lab/keys";
Dir::State::lists "/run/lab-lists";
Dir::Cache::archives "/run/lab-debs";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "root";
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
Acquire::https::CAInfo "/run/lab/ca.crt";
"""


@dataclass(frozen=True)
class Kit:
    """What every build sees read-only at /run/lab: recipes, apt's configuration, the database password."""

    directory: Path
    sources: tuple[Path, ...]


def make_kit(directory: Path) -> Kit:
    """Gather the kit in directory."""
    directory.mkdir(parents=True)
    shutil.copytree(RECIPES, directory / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "secret").mkdir(mode=0o700)
    shutil.copyfile(PASSWORD_FILE, directory / "secret" / "database")
    originals = aptsources.write(directory / "bootstrap-sources")
    aptsources.relocate_keys(aptsources.write(directory / "sources"), directory / "keys", "/run/lab/keys")
    _copy_apt_settings(directory)
    _LISTS.mkdir(parents=True, exist_ok=True)
    return Kit(directory, tuple(originals))


def build_run(name: str, root: Path, script: str, kit: Kit, binds: Iterable[str]) -> list[str]:
    """Return the command that runs a recipe in root, on the machine's network, nothing booted."""
    argv = [*_COMMON, f"--directory={root}", f"--machine=lab-build-{name}", "--resolv-conf=copy-host"]
    argv += ["--pipe", "--as-pid2", f"--bind-ro={kit.directory}:/run/lab", f"--bind={_LISTS}:/run/lab-lists"]
    argv += [f"--bind={bind}" for bind in binds]
    env = {"APT_CONFIG": "/run/lab/apt.conf", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    argv += [f"--setenv={key}={value}" for key, value in env.items()]
    return [*argv, "/bin/sh", f"/run/lab/recipes/{script}"]


def update_run(root: Path, kit: Kit) -> list[str]:
    """Return the command that refreshes the package lists all builds share."""
    return [*build_run("lists", root, "", kit, ())[:-2], "apt-get", "update", "-q"]


def boot_run(layout: Layout, host: str, root: Path) -> list[str]:
    """Return the command that boots a host from root in its own network namespace."""
    argv = [*_COMMON, "--boot", f"--directory={root}", f"--machine={machine(layout, host)}", f"--hostname={host}"]
    argv += [f"--network-namespace-path={network.path(layout.netns(host))}", "--resolv-conf=off"]
    return [*argv, "--kill-signal=SIGRTMIN+3"]


def machine(layout: Layout, host: str) -> str:
    """Return the name systemd-nspawn knows a host by; two labs may have hosts of the same name."""
    return f"{layout.name}.{host}"


def _copy_apt_settings(directory: Path) -> None:
    lines = [_APT_CONF, *(line + "\n" for line in aptsources.transport_options())]
    (directory / "apt.conf").write_text("".join(lines), encoding="utf-8")
    if _CA_BUNDLE.exists():
        shutil.copyfile(_CA_BUNDLE, directory / "ca.crt")
    for source, target in (("auth.conf.d", "auth"), ("trusted.gpg.d", "keys")):
        if (Path("/etc/apt") / source).is_dir():
            shutil.copytree(Path("/etc/apt") / source, directory / target, dirs_exist_ok=True)
    if Path("/etc/apt/auth.conf").exists():
        shutil.copyfile("/etc/apt/auth.conf", directory / "auth" / "machine.conf")
