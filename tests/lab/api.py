"""The lab as tests use it: hosts to run things on, to reset, to switch off and to add."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.lab import build, keys, machine, network, preflight, product, repository, seed, services
from tests.lab.errors import LabError
from tests.lab.layout import (
    DATABASE,
    DEFAULT_NAME,
    OPERATOR,
    LabHost,
    Layout,
    Sizes,
    check_name,
    default_hosts,
    free_bare_address,
    remember_sizes,
)
from tests.lab.locks import held
from tests.lab.machine import Machine
from tests.lab.progress import say, step

_AT_ONCE = 6
_PATIENCE_SECONDS = 10


class Lab:
    """A lab of real hosts on this machine. `Lab.ensure()` gives one that is up."""

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        self.layout = Layout(name)
        self._lock_reason = f"another command works on lab {name}"

    @classmethod
    def ensure(cls, name: str = DEFAULT_NAME) -> Lab:
        """Return the lab, brought up or healed if need be; a LabError names what is missing."""
        lab = cls(name)
        lab.up()
        return lab

    @property
    def hosts(self) -> dict[str, LabHost]:
        """The hosts there are now, by name."""
        return {host.name: host for host in machine.recorded(self.layout)}

    # -- the whole lab -----------------------------------------------------------------------------------

    def up(self, sizes: Sizes | None = None) -> None:
        """Build what is missing, boot what is not there or dead, and wait until all of it answers."""
        preflight.check()
        with self._locked():
            wanted = default_hosts(remember_sizes(self.layout, sizes))
            everyone = [*{host.name: host for host in [*wanted, *self.hosts.values()]}.values()]
            build.ensure({host.image for host in everyone})
            self._network()
            self._boot(self._dead(everyone), everyone)
            self._introduce(everyone)
            self._wait(map(self._machine, everyone))
            self._product_if_changed()
            for one in map(self._machine, everyone):
                if not one.image_is_current():
                    say(f"{one.host.name} runs an older image; renew it: python3 -m tests.lab reset {one.host.name}")
        say(f"lab {self.layout.name}: {len(everyone)} hosts answer")

    def down(self) -> None:
        """Leave nothing of the lab: no process, mount, namespace, cgroup or file (the image cache stays)."""
        preflight.check()
        with self._locked(), step(f"lab {self.layout.name}: down"):
            machine.wipe(self.layout)
            build.clear_abandoned()
            self.layout.lock.unlink(missing_ok=True)

    def status(self) -> list[services.Health]:
        """Return how each host is."""
        return services.health(self.layout, [self._machine(host) for host in self.hosts.values()])

    def install(self) -> None:
        """Build the project's wheel and install it on the operator's host."""
        with self._locked():
            self._install(self.machine(OPERATOR))

    # -- one host ----------------------------------------------------------------------------------------

    def machine(self, name: str) -> Machine:
        """Return the host as the kernel has it."""
        host = self.hosts.get(name)
        if host is None:
            names = " ".join(self.hosts) or "none: `python3 -m tests.lab up` makes them"
            raise LabError(f"lab {self.layout.name} has no host {name!r}; it has {names}")
        return self._machine(host)

    def run(
        self,
        host: str,
        command: str | list[str],
        *,
        input: bytes | None = None,  # noqa: A002 - subprocess.run calls it so
        check: bool = True,
        timeout: float = 60,
        user: str | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, by its namespaces and not by SSH; a str is run by /bin/sh."""
        argv = _argv(command)
        done = self.machine(host).call(argv, data=input, check=check, timeout=timeout, user=user, env=env)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return subprocess.CompletedProcess(argv, done.returncode, out, err)

    def popen(
        self,
        host: str,
        command: str | list[str],
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a command on the host. It leads a process group: os.killpg(p.pid, signal.SIGINT) is Ctrl-C."""
        return self.machine(host).popen(_argv(command), user=user, env=env, **kwargs)

    def read(self, host: str, path: str) -> bytes:
        """Return a file of the host."""
        return self.machine(host).call(["cat", "--", path]).stdout

    def write(self, host: str, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file of the host; one that is there keeps its owner."""
        script = 'umask 077; cat >"$1" && chmod "$2" "$1"'
        self.machine(host).call(["/bin/sh", "-c", script, "write", path, f"{mode:o}"], data=data)

    def reset(self, *names: str) -> None:
        """Give hosts back as their image has them, with the same SSH host keys; wait until they are ready."""
        machines = [self.machine(name) for name in names]
        with self._locked(), step(f"reset {' '.join(names)}"):
            everyone = [*self.hosts.values()]
            build.ensure({one.host.image for one in machines})
            _parallel(Machine.power_off, machines)
            _parallel(Machine.discard, machines)
            self._boot(machines, everyone)
            self._wait(machines)
            if OPERATOR in names:
                self._install(self.machine(OPERATOR))

    def power_off(self, name: str) -> None:
        """Kill the host as a power cut does; what it had written stays."""
        with self._locked():
            self.machine(name).power_off()

    def boot(self, name: str) -> None:
        """Boot a host that is off and wait until it is ready."""
        one = self.machine(name)
        with self._locked():
            if not one.alive():
                self._boot([one], [*self.hosts.values()])
            self._wait([one])

    def add_bare(self, name: str) -> LabHost:
        """Boot one more bare host and tell all others its name."""
        with self._locked():
            hosts = self.hosts
            if check_name(name) in hosts:
                raise LabError(f"lab {self.layout.name} has a host {name!r} already")
            host = LabHost(name, free_bare_address({host.address for host in hosts.values()}), "bare")
            everyone = [*hosts.values(), host]
            self._boot([self._machine(host)], everyone)
            self._introduce(everyone)
            self._wait([self._machine(host)])
        return host

    def remove(self, name: str) -> None:
        """Stop a host and remove everything of it, its keys and its name on the others too."""
        one = self.machine(name)
        with self._locked():
            one.power_off()
            one.discard()
            keys.forget_identity(self.layout, name)
            self._introduce([*self.hosts.values()])

    # -- steps -------------------------------------------------------------------------------------------

    def _machine(self, host: LabHost) -> Machine:
        return Machine(self.layout, host)

    def _locked(self) -> Any:
        return held(self.layout.lock, self._lock_reason)

    def _network(self) -> None:
        self.layout.hosts.mkdir(parents=True, exist_ok=True)
        keys.ensure_operator_key(self.layout)
        if network.ensure_bridge(self.layout.netns()):
            # A new bridge has nobody plugged in: hosts that still run lost theirs and must boot again.
            _parallel(Machine.power_off, [self._machine(host) for host in self.hosts.values()])
        repository.ensure(self.layout)

    def _dead(self, everyone: list[LabHost]) -> list[Machine]:
        """Return the hosts that do not run, and those that run and yet never got as far as answering."""
        machines = [*map(self._machine, everyone)]
        alive = [one for one in machines if one.alive()]
        silent = services.silent(self.layout, alive, _PATIENCE_SECONDS)
        for one in silent:
            say(f"{one.host.name} runs but does not answer SSH: it is booted again")
        return [one for one in machines if one not in alive or one in silent]

    def _boot(self, machines: list[Machine], everyone: list[LabHost]) -> None:
        if not machines:
            return
        # Before any boots, one by one: the operator's known_hosts and the host itself must not each make a key for it.
        for host in everyone:
            keys.ensure_identity(self.layout, host.name)
        with step(f"booting {' '.join(one.host.name for one in machines)}"):
            # The services of a controller look for the database once and then only every ten seconds.
            first = [one for one in machines if one.host.name == DATABASE]
            rest = [one for one in machines if one.host.name != DATABASE]
            for batch in (first, [one for one in rest if one.host.image != "controller"]):
                _parallel(lambda one: one.boot(everyone), batch)
            if first:
                services.wait_reachable(self.layout, first)
            _parallel(lambda one: one.boot(everyone), [one for one in rest if one.host.image == "controller"])
            services.wait_reachable(self.layout, machines)

    def _wait(self, machines: Iterable[Machine]) -> None:
        chosen = list(machines)
        services.wait_reachable(self.layout, chosen)
        services.wait_active(chosen)

    def _introduce(self, everyone: list[LabHost]) -> None:
        """Bring /etc/hosts of every running host, and the operator's known_hosts, up to date."""
        hosts_file = seed.hosts_file(everyone)

        def tell(host: LabHost) -> None:
            if self._machine(host).alive():
                self._update(host.name, "/etc/hosts", hosts_file)
                if host.name == OPERATOR:
                    known = seed.known_hosts_file(self.layout, everyone)
                    self._update(host.name, "/root/.ssh/known_hosts", known)

        _parallel(tell, everyone)

    def _update(self, host: str, path: str, data: bytes) -> None:
        if self.read(host, path) != data:
            self.write(host, path + ".new", data)
            self.run(host, ["mv", path + ".new", path])

    def _product_if_changed(self) -> None:
        if OPERATOR not in self.hosts:
            return
        one = self.machine(OPERATOR)
        mark = one.directory / "product"
        if mark.exists() and mark.read_text(encoding="ascii") == product.source_hash():
            return
        try:
            self._install(one)
        except LabError as error:
            if os.environ.get("CI") == "true":
                raise
            # At a desk the hosts are of use all the same; whoever needs the product there sees why it is not.
            say(f"operator host {OPERATOR} stays WITHOUT the current hybridmsg: {error}")

    def _install(self, one: Machine) -> None:
        source = product.source_hash()
        if product.install(one):
            (one.directory / "product").write_text(source, encoding="ascii")


def _argv(command: str | list[str]) -> list[str]:
    return ["/bin/sh", "-c", command] if isinstance(command, str) else command


def _parallel(do: Callable[[Any], None], items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(do, items))
