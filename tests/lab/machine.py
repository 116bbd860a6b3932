"""One host as the kernel has it: boot it, tell whether it lives, enter it, cut its power, throw it away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.lab import layers, mounts, network, nspawn, seed
from tests.lab.cgroups import Cgroup
from tests.lab.errors import LabError
from tests.lab.layout import LabHost, Layout
from tests.lab.shell import tail

_NSPAWN = Path("/run/systemd/nspawn")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """A host of one lab, with the directory that remembers it between commands."""

    def __init__(self, layout: Layout, host: LabHost) -> None:
        self.layout = layout
        self.host = host
        self.directory = layout.hosts / host.name
        self.root = self.directory / "root"
        self.cgroup: Cgroup = layout.cgroup.child(host.name)

    @property
    def leader(self) -> int | None:
        """The PID, as the machine sees it, of the host's own PID 1."""
        return next((pid for pid in sorted(self.cgroup.pids()) if _is_init(pid)), None)

    def alive(self) -> bool:
        """Tell whether both systemd-nspawn and the host's PID 1 run."""
        try:
            pid = int((self.directory / "nspawn.pid").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return False
        # A recorded PID may have passed on to another process: only one in our own cgroup counts.
        return pid in self.cgroup.pids() and self.leader is not None

    def boot(self, hosts: list[LabHost]) -> None:
        """Boot it from its image and what it changed since; whatever is left of an earlier life goes first."""
        self.power_off()
        fresh = not (self.directory / "seeded").exists()
        if fresh:
            self.discard()
            self.directory.mkdir(parents=True)
            self._remember()
        lowers = self._lowers()
        mounts.overlay(lowers, self.directory / "up", self.directory / "work", self.root)
        if fresh:
            seed.seed(self.layout, self.host, hosts, self.root)
            (self.directory / "seeded").touch()
        network.attach(self.layout.netns(), self.layout.netns(self.host.name), self.host.name, self.host.address)
        self._start()

    def power_off(self) -> None:
        """Kill everything in it at once, as a power cut does; what it wrote stays."""
        self.cgroup.kill()
        self.cgroup.remove()
        _clear_nspawn_traces(self.layout, self.host.name, self.root)
        mounts.unmount_below(self.root)
        network.remove(self.layout.netns(self.host.name))
        (self.directory / "nspawn.pid").unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what it wrote (it is off); its keys are kept elsewhere."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def entering(
        self, argv: list[str], *, user: str | None = None, env: Mapping[str, str] | None = None
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command that runs argv inside, as root or user, and its whole environment."""
        leader = self.leader
        if leader is None:
            raise LabError(f"{self.host.name}: not running; `python3 -m tests.lab up` boots it")
        enter = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        if user:
            enter += ["runuser", "-u", user, "--"]
        # A cgroup beside the payload's own, below the host's: the end of the host is the end of the program.
        inside = self.cgroup.child("entered")
        inside.create()
        home = "/root" if user in (None, "root") else f"/home/{user}"
        basic = {"PATH": _PATH, "HOME": home, "LC_ALL": "C.UTF-8", "USER": user or "root"}
        return inside.wrap([*enter, *argv]), {**basic, **(env or {})}

    def popen(
        self, argv: list[str], *, user: str | None = None, env: Mapping[str, str] | None = None, **kwargs: Any
    ) -> subprocess.Popen[bytes]:
        """Start a program inside, in a session of its own (signal it with os.killpg)."""
        command, full = self.entering(argv, user=user, env=env)
        return subprocess.Popen(command, env=full, start_new_session=True, **kwargs)

    def call(
        self,
        argv: list[str],
        *,
        data: bytes | None = None,
        check: bool = True,
        timeout: float = 60,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program inside to its end; when the deadline passes, it and all it started are killed."""
        stdin = subprocess.DEVNULL if data is None else subprocess.PIPE
        pipe = subprocess.PIPE
        process = self.popen(argv, user=user, env=env, stdin=stdin, stdout=pipe, stderr=pipe)
        try:
            out, err = process.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.host.name}: {' '.join(argv)[:200]}: no end after {timeout:.0f} s") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if check and process.returncode != 0:
            what = f"{self.host.name}: {' '.join(argv)[:200]}: exit {process.returncode}"
            raise LabError(f"{what}\n{tail(out + err)}")
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def image_is_current(self) -> bool:
        """Tell whether the layers it booted from are those of today's recipes."""
        return [str(path) for path in layers.chain(layers.IMAGES[self.host.image])] == self._record()["lowers"]

    def _start(self) -> None:
        self.cgroup.create()
        log = self.directory / "console.log"
        argv = self.cgroup.wrap(nspawn.boot_run(self.layout, self.host.name, self.root), self.directory / "nspawn.pid")
        with log.open("wb") as output:
            # --fork: the host outlives this command, and is nobody's zombie when it ends.
            command = ["setsid", "--fork", *argv]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        if done.returncode != 0:
            raise LabError(f"{self.host.name}: systemd-nspawn did not start; see {log}")

    def _lowers(self) -> list[Path]:
        found = [Path(path) for path in self._record()["lowers"]]
        for path in found:
            if not path.is_dir():
                raise LabError(f"{self.host.name}: its image {path.name} is gone; renew all: down, then up")
        return found

    def _remember(self) -> None:
        lowers = [str(path) for path in layers.chain(layers.IMAGES[self.host.image])]
        record = {"host": asdict(self.host), "lowers": lowers}
        partial = self.directory / "host.new"
        partial.write_text(json.dumps(record), encoding="utf-8")
        partial.rename(self.directory / "host.json")

    def _record(self) -> dict[str, list[str]]:
        record: dict[str, list[str]] = json.loads((self.directory / "host.json").read_text(encoding="utf-8"))
        return record


def recorded(layout: Layout) -> Iterator[LabHost]:
    """Yield the hosts this lab has made; what a killed command left half made is no host."""
    for file in sorted(layout.hosts.glob("*/host.json")):
        yield LabHost(**json.loads(file.read_text(encoding="utf-8"))["host"])


def wipe(layout: Layout) -> None:
    """Remove every process, mount, namespace, cgroup and file of the lab, recorded or not."""
    layout.cgroup.kill()
    layout.cgroup.remove()
    for directory in layout.hosts.glob("*"):
        _clear_nspawn_traces(layout, directory.name, directory / "root")
    mounts.unmount_below(layout.state)
    for netns in network.named(layout.name):
        network.remove(netns)
    shutil.rmtree(layout.state, ignore_errors=True)
    with contextlib.suppress(OSError):  # another lab may live there
        layout.state.parent.rmdir()


def _clear_nspawn_traces(layout: Layout, host: str, root: Path) -> None:
    # systemd-nspawn removes these when it ends by itself, not when it is killed. The lock is named after the
    # device and inode of the root it guards, so this must come before the root is unmounted.
    shutil.rmtree(_NSPAWN / "propagate" / nspawn.machine(layout, host), ignore_errors=True)
    with contextlib.suppress(OSError):
        found = root.stat()
        (_NSPAWN / "locks" / f"inode-{found.st_dev}:{found.st_ino}").unlink()


def _is_init(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False
    inner = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    return len(inner) > 1 and inner[-1] == "1"
