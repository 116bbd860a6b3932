"""Builds the layers of the images: in parallel where independent, each in a scratch place, renamed when whole."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from tests.lab import aptsources, debs, layers, mounts
from tests.lab.cgroups import Cgroup
from tests.lab.errors import LabError
from tests.lab.layout import CACHE, STATE
from tests.lab.locks import held
from tests.lab.nspawn import Kit, build_run, make_kit, update_run
from tests.lab.progress import say, step
from tests.lab.shell import sh, tail

_SCRATCH = CACHE / "build"
_CGROUP = Cgroup("hybridmsg-lab-build")
_LISTS_LOCK = threading.Lock()
_STOPPED = threading.Event()
_NO_SERVICES = "#!/bin/sh\nexit 101\n"


def ensure(images: Iterable[str]) -> None:
    """Make every layer those images need that is not in the cache yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with held(CACHE / "lock", "another command builds the lab's images"):
        _ensure_password()
        missing = [name for name in layers.needed(images) if not layers.directory(name).exists()]
        if not missing:
            return
        say(f"images: to build: {' '.join(missing)}")
        clear_scratch()
        _STOPPED.clear()
        try:
            with step("images: building"):
                _build_all(missing, _kit(missing))
            _prune()
        finally:
            clear_scratch()


def _kit(missing: list[str]) -> Kit:
    kit = make_kit(_SCRATCH / "kit")
    debs.stage(kit.directory)
    shutil.copytree(layers.RELAY, kit.directory / "relay", ignore=shutil.ignore_patterns("__pycache__"))
    if layers.PROTON in missing:
        debs.stage_proton(kit.directory)
    return kit


def clear_scratch() -> None:
    """Kill, unmount and delete whatever a build that was cut short left behind."""
    _CGROUP.kill()
    _CGROUP.remove()
    mounts.unmount_below(_SCRATCH)
    shutil.rmtree(_SCRATCH, ignore_errors=True)


def clear_abandoned() -> None:
    """Do so unless a build runs right now."""
    if CACHE.exists():
        with held(CACHE / "lock", "", wait=False) as got:
            if got:
                clear_scratch()


def _ensure_password() -> None:
    # Made once per machine, not written into the project; both the database and its users are built with it.
    file = layers.PASSWORD_FILE
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = file.with_suffix(".new")
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(12), encoding="ascii")
        partial.rename(file)


def _build_all(missing: list[str], kit: Kit) -> None:
    futures: dict[str, Future[None]] = {}

    def task(name: str) -> None:
        layer = layers.LAYERS[name]
        for below in (layer.parent, layer.beside):
            if below in futures:
                futures[below].result()
        with step(f"layer {name}"):
            if layer.parent:
                _update_lists(kit)
            _build(name, kit)

    with ThreadPoolExecutor(len(missing)) as pool:
        # "missing" lists parents first, so that every task finds its parents' futures already there.
        for name in missing:
            futures[name] = pool.submit(task, name)
        try:
            for future in wait(futures.values(), return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:  # a failed layer, or Ctrl-C: nobody wants to wait for the others
            _STOPPED.set()
            _CGROUP.kill()
            raise


def _update_lists(kit: Kit) -> None:
    # Once per build, by whichever layer comes first; the others wait for it.
    with _LISTS_LOCK:
        if not (kit.directory / "lists-updated").exists():
            with _mounted("lists", layers.chain("base"), _SCRATCH / "lists" / "upper") as root:
                _logged("lists", update_run(root, kit), 300)
            (kit.directory / "lists-updated").touch()


def _build(name: str, kit: Kit) -> None:
    layer = layers.LAYERS[name]
    upper = _SCRATCH / name / "upper"
    upper.parent.mkdir(parents=True)
    if layer.parent is None:
        _bootstrap(upper, kit)
        _script(name, upper, kit)
    elif layer.beside:
        _fill_database(name, upper, kit)
    else:
        with _mounted(name, layers.chain(layer.parent), upper) as root:
            _script(name, root, kit)
    layers.directory(name).parent.mkdir(parents=True, exist_ok=True)
    upper.rename(layers.directory(name))


@contextmanager
def _mounted(name: str, lowers: list[Path], upper: Path) -> Iterator[Path]:
    root = _SCRATCH / name / "root"
    mounts.overlay(lowers, upper, _SCRATCH / name / "work", root)
    try:
        yield root
    finally:
        mounts.unmount_below(root)


def _bootstrap(target: Path, kit: Kit) -> None:
    target.mkdir()
    options = ['Apt::Install-Recommends "false"', 'APT::Sandbox::User "root"', 'Acquire::Languages "none"']
    skipped = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")
    argv = ["mmdebstrap", "-q", "--mode=root", "--variant=apt", f"--include={layers.BASE_PACKAGES}"]
    argv += [f"--aptopt={option}" for option in [*options, *aptsources.transport_options()]]
    argv += ["--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in skipped)]
    argv += [aptsources.RELEASE, str(target), *map(str, kit.sources)]
    _logged("bootstrap", argv, 600)


def _script(name: str, root: Path, kit: Kit, binds: tuple[str, ...] = ()) -> None:
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(_NO_SERVICES, encoding="ascii")  # packages must not start services while built
    policy.chmod(0o755)
    debs = CACHE / "debs" / name
    debs.mkdir(parents=True, exist_ok=True)
    script = layers.LAYERS[name].script
    _logged(name, build_run(name, root, script, kit, [f"{debs}:/run/lab-debs", *binds]), 900)
    for leftover in ("usr/sbin/policy-rc.d", "etc/resolv.conf", "var/cache/apt/pkgcache.bin"):
        (root / leftover).unlink(missing_ok=True)


def _fill_database(name: str, upper: Path, kit: Kit) -> None:
    layer = layers.LAYERS[name]
    if not layer.parent or not layer.beside:
        raise LabError(f"layer {name}: needs a parent and a layer beside it")
    data = upper / "var/lib/mysql"
    data.parent.mkdir(parents=True)
    data.parent.chmod(0o755)
    sh(["cp", "-a", str(layers.directory(layer.parent) / "var/lib/mysql"), str(data)])
    # The merger is thrown away: of all that the script writes only the database's own directory is kept.
    merged = [layers.directory(layer.parent), *layers.chain(layer.beside)]
    with _mounted(name, merged, _SCRATCH / name / "thrown-away") as root:
        _script(name, root, kit, (f"{data}:/var/lib/mysql",))
    # Opaque: files of the empty database below, which the full one no longer has, must not show through.
    os.setxattr(data, "trusted.overlay.opaque", b"y")


def _logged(name: str, argv: list[str], seconds: float) -> None:
    if _STOPPED.is_set():
        raise LabError(f"layer {name}: not built, because another failed")
    cgroup = _CGROUP.child(name)
    cgroup.create()
    done = sh(cgroup.wrap(argv), timeout=seconds, check=False)
    log = CACHE / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(done.stdout + done.stderr)
    if done.returncode != 0:
        what = f"layer {name}: exit {done.returncode}; all of its output is in {log}"
        raise LabError(f"{what}\n{tail(done.stdout + done.stderr)}")


def _prune() -> None:
    current = {layers.directory(name) for name in layers.LAYERS}
    used = mounts.lowers_in_use() | _remembered()
    for entry in (CACHE / "layers").iterdir():
        if entry not in current and str(entry) not in used:
            say(f"images: dropping {entry.name}, which no recipe makes any more")
            shutil.rmtree(entry)


def _remembered() -> set[str]:
    # A host that is switched off has nothing mounted, and yet will boot from its image again.
    found: set[str] = set()
    for record in STATE.glob("*/hosts/*/host.json"):
        found.update(json.loads(record.read_text(encoding="utf-8"))["lowers"])
    # Nor is a repository mounted, and yet another lab may serve it.
    for served in STATE.glob("*/repository.served"):
        found.add(str(Path(served.read_text(encoding="utf-8")).parents[1]))
    return found
