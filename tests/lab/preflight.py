"""What the machine must have before anything starts; Debian packages that are missing are installed."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.progress import say, step
from tests.lab.shell import sh

_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "cp": "coreutils",
}
_INOTIFY_INSTANCES = 1024
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def check() -> None:
    """Raise a LabError naming what is missing, after installing what can be installed."""
    if platform.system() != "Linux":
        raise LabError("the lab needs Linux: its hosts are systemd-nspawn containers")
    if os.geteuid() != 0:
        raise LabError("the lab needs root (namespaces, mounts, cgroups); run it again under sudo")
    _install_missing()
    _check_overlay()
    _allow_inotify()


def _missing() -> list[str]:
    packages = {package for program, package in _PROGRAMS.items() if not shutil.which(program)}
    if not _KEYRING.exists():
        packages.add("debian-archive-keyring")
    return sorted(packages)


def _install_missing() -> None:
    packages = _missing()
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise LabError(f"programs of these Debian packages are missing, and so is apt-get: {' '.join(packages)}")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    with step(f"machine: installing {' '.join(packages)}"):
        sh(["apt-get", "update", "-q"], timeout=300, env=env)
        sh(install, timeout=600, env=env)
    if still := _missing():
        raise LabError(f"apt-get installed its packages, yet these are still missing: {' '.join(still)}")


def _allow_inotify() -> None:
    # The kernel's default of 128 is for all hosts together, for they share the machine's root user: each takes
    # five to eight, and one that gets none boots half way and stays silent.
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(limit.read_text(encoding="ascii")) < _INOTIFY_INSTANCES:
        say(f"machine: raising fs.inotify.max_user_instances to {_INOTIFY_INSTANCES} (until it is rebooted)")
        try:
            limit.write_text(str(_INOTIFY_INSTANCES), encoding="ascii")
        except OSError as error:
            remedy = f"run on the machine: sysctl fs.inotify.max_user_instances={_INOTIFY_INSTANCES}"
            raise LabError(
                f"too few inotify instances for the hosts, and not allowed to raise them: {remedy}"
            ) from error


def _check_overlay() -> None:
    if "\toverlay\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        sh(["modprobe", "overlay"], check=False)
    if "\toverlay\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        raise LabError("this kernel has no overlay filesystem; load the module: modprobe overlay")
