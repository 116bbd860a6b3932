"""The files that a service reads, in oslo.config's own order: a port of oslo_config/cfg.py (9.x and 10.x)."""

from __future__ import annotations

import glob
import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FILE, DIRECTORY = "--config-file", "--config-dir"
ETC, SHARE = "/etc", "/usr/share"
# What a program calls itself behind a WSGI server when it does not leave that to the server's own sys.argv[0]:
# heat/httpd/heat_api*.py, barbican/common/config.py.
_NAMED_UNDER_WSGI = {"heat-api": "heat-api", "heat-api-cfn": "heat-api-cfn", "barbican-api": "barbican"}


@dataclass(frozen=True)
class Program:
    """Who reads: oslo.config's `project` and `prog`, and where it stands.

    `home` is its user's, `directory` its working directory, `server` "uwsgi" or "mod_wsgi" when one of them runs it.
    """

    project: str
    name: str = ""
    home: str = "/"
    directory: str = "/"
    server: str = ""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def prog(self) -> str:
        """The name that oslo.config searches: behind a WSGI server sys.argv[0] is that server's."""
        return _NAMED_UNDER_WSGI.get(self.name, self.server) if self.server else self.name

    def path(self, path: str) -> str:
        """Return the path as this program takes it: `~` is its own home, and it starts in its own directory."""
        head, slash, tail = path.partition("/")
        if head.startswith("~"):
            path = f"{_home(head[1:]) if head[1:] else self.home}{slash}{tail}"
        return os.path.normpath(Path(self.directory, path))


def _home(user: str) -> str:
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        return f"~{user}"


def chosen(words: Sequence[str]) -> bool:
    """Whether a command line says itself which files are read."""
    return any(_option(word) for word in words)


def reading_order(words: Sequence[str], program: Program) -> list[str]:
    """Return absolute paths as oslo.config reads them, later ones win: defaults first, then in the words' order.

    A file that is named twice is read twice.
    """
    entry = _entry_point(program)
    if entry and not entry.takes_words:
        words = ()
    found: list[str] = []
    if not _says(words, FILE):
        found += entry.files(program) if entry else default_files(program)
    if not _says(words, DIRECTORY):
        for directory in find(program, ".conf.d"):
            found += _in_directory(directory)
    for option, value in _options(words):
        found += [program.path(value)] if option == FILE else _in_directory(program.path(value))
    return found


def _says(words: Sequence[str], option: str) -> bool:
    """Whether oslo.config leaves its defaults of this kind out: an abbreviated option is read, but not seen here."""
    return any(word == option or word.startswith(f"{option}=") for word in words)


def _options(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return (FILE or DIRECTORY, value) in the order of occurrence, in both spellings."""
    found: list[tuple[str, str]] = []
    rest = iter(words)
    for word in rest:
        option = _option(word)
        if word == "--":
            break
        if option:
            value = word.partition("=")[2] if "=" in word else next(rest, "")
            found += [(option, value)] if value else []
    return found


def _option(word: str) -> str | None:
    """Return the option that argparse takes a word for: any beginning that is not another's is as good as the whole."""
    name = word.partition("=")[0]
    return next((option for option in (FILE, DIRECTORY) if len(name) > 9 and option.startswith(name)), None)


def _in_directory(directory: str) -> list[str]:
    # As oslo.config does it: Path.glob would take hidden files too.
    return sorted(glob.glob(f"{directory}/*.conf"))  # noqa: PTH207 - see above


def directories(program: Program) -> list[str]:
    """Return where oslo.config searches, in its order (_get_config_dirs)."""
    project = program.project
    snaps = [program.environ.get(name) for name in ("SNAP_COMMON", "SNAP")]
    return [
        program.path(f"~/.{project}"),
        program.path("~"),
        f"{ETC}/{project}",
        ETC,
        *(f"{snap}/etc/{project}" for snap in snaps if snap),
    ]


def find(program: Program, extension: str) -> list[str]:
    """Return what exists of the project's and of the program's name, each in the first directory that has it."""
    names = [name for name in (program.project, program.prog) if name]
    candidates = ([Path(at, name + extension) for at in directories(program)] for name in names)
    found = (next(filter(Path.exists, paths), None) for paths in candidates)
    return [str(path) for path in found if path]


def default_files(program: Program) -> list[str]:
    """Return find_config_files' answer, with what RDO's oslo.config reads before it (oslo-config-distgit, patch 1)."""
    names = [name for name in (program.project, program.prog) if name]
    shipped = (Path(SHARE, program.project, f"{name}-dist.conf") for name in names)
    return [*map(str, filter(Path.exists, shipped)), *find(program, ".conf")]


@dataclass(frozen=True)
class _EntryPoint:
    """A service that brings default_config_files of its own, after the environment.

    `directory` is read from OS_PROJECT_CONFIG_DIR, and the names from OS_PROJECT_CONFIG_FILES where `variable` says so.
    """

    directory: str
    names: tuple[str, ...]
    optional: tuple[str, ...] = ()
    variable: bool = False
    takes_words: bool = True

    def files(self, program: Program) -> list[str]:
        """Return its files; oslo.config's own search where it names none (keystone, placement)."""
        prefix = f"OS_{program.project.upper()}_CONFIG"
        directory = program.environ.get(f"{prefix}_DIR", self.directory).strip()
        told = program.environ.get(f"{prefix}_FILES", "") if self.variable else ""
        names = [name.strip() for name in told.split(";") if name.strip()]
        if not names and not directory:
            return default_files(program)
        paths = {name: program.path(str(Path(directory, name))) for name in names or self.names}
        return [path for name, path in paths.items() if name not in self.optional or Path(path).exists()]


# nova/api/openstack/wsgi_app.py, glance/common/wsgi_app.py, keystone/server/flask/core.py, placement/wsgi.py,
# designate/api/wsgi.py, masakari/cmd/api.py
_WSGI = {
    "nova": _EntryPoint("/etc/nova", ("api-paste.ini", "nova.conf"), variable=True),
    "glance": _EntryPoint(
        "/etc/glance",
        ("glance-api-paste.ini", "glance-image-import.conf", "glance-api.conf"),
        optional=("glance-image-import.conf",),
        takes_words=False,
    ),
    "keystone": _EntryPoint("", ("keystone.conf",), variable=True),
    "placement": _EntryPoint("", ("placement.conf",), takes_words=False),
    "designate": _EntryPoint("/etc/designate", ("api-paste.ini", "designate.conf"), takes_words=False),
    "masakari": _EntryPoint("/etc/masakari", ("api-paste.ini", "masakari.conf"), takes_words=False),
}
# neutron/server/__init__.py: under whatever server these run
_NEUTRON = _EntryPoint("/etc/neutron/", ("neutron.conf", "plugins/ml2/ml2_conf.ini"), variable=True)
_NEUTRON_SERVERS = (
    "neutron-server",
    "neutron-api",
    "neutron-rpc-server",
    "neutron-periodic-workers",
    "neutron-ovn-maintenance-worker",
)


def _entry_point(program: Program) -> _EntryPoint | None:
    if program.name in _NEUTRON_SERVERS:
        return _NEUTRON
    return _WSGI.get(program.project) if program.server else None
