"""What the lab consists of and where it lives: names, addresses, images, directories."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab.cgroups import Cgroup
from tests.lab.errors import LabError

DEFAULT_NAME = "hmlab"
CACHE = Path("/var/cache/hybridmsg-lab")
STATE = Path("/var/lib/hybridmsg-lab")
PROJECT = Path(__file__).resolve().parents[2]
OPERATOR = "ops1"
DATABASE = "db1"
SERVICES = (
    "nova-conductor",
    "nova-scheduler",
    "cinder-scheduler",
    "heat-engine",
    "glance-api",
    "neutron-rpc-server",
    "neutron-api",
)

_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")
_FIRST_BARE, _LAST_BARE = 101, 250


@dataclass(frozen=True)
class LabHost:
    """One host: its name, its address and the image it boots from."""

    name: str
    address: str
    image: str


@dataclass(frozen=True)
class Sizes:
    """How many hosts of each kind `up` makes."""

    messaging: int = 3
    controllers: int = 2
    bare: int = 0
    light: int = 2
    cloud: bool = True  # database, telemetry and controller hosts too
    operator: bool = True


@dataclass(frozen=True)
class Layout:
    """The names and directories of the lab called `name`; labs of different names share only the cache."""

    name: str = DEFAULT_NAME

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def state(self) -> Path:
        """Everything of this lab while it is up."""
        return STATE / self.name

    @property
    def hosts(self) -> Path:
        """One directory per host."""
        return self.state / "hosts"

    @property
    def keys(self) -> Path:
        """The operator's key, and what makes a host itself: host key and machine-id."""
        return self.state / "keys"

    @property
    def cgroup(self) -> Cgroup:
        """The cgroup above everything this lab runs."""
        return Cgroup(f"hybridmsg-{self.name}")

    @property
    def lock(self) -> Path:
        """Held while a command changes this lab; outside the state, which `down` removes."""
        return Path("/run/lock") / f"hybridmsg-lab-{self.name}.lock"

    def netns(self, host: str | None = None) -> str:
        """Return the name of a host's network namespace, or of the bridge's."""
        return f"{self.name}.{host}" if host else self.name


def check_name(name: str) -> str:
    """Return the name of a host or lab when it fits a hostname and an interface name."""
    if not _NAME.fullmatch(name):
        raise LabError(f"{name!r}: a name is 1 to 12 of a-z 0-9 -, a letter first")
    return name


def default_hosts(sizes: Sizes) -> list[LabHost]:
    """Return the hosts `up` makes, in the order they boot: the database before its users."""
    hosts = [LabHost(DATABASE, "10.77.0.31", "database")] if sizes.cloud else []
    hosts += [LabHost(f"msg{n}", f"10.77.0.{10 + n}", "bare") for n in range(1, sizes.messaging + 1)]
    hosts += [LabHost(f"bare{n}", f"10.77.0.{100 + n}", "bare") for n in range(1, sizes.bare + 1)]
    hosts += [LabHost(f"light{n}", f"10.77.0.{60 + n}", "light") for n in range(1, sizes.light + 1)]
    if sizes.operator:
        hosts.append(LabHost(OPERATOR, "10.77.0.5", "operator"))
    if sizes.cloud:
        hosts.append(LabHost("tel1", "10.77.0.41", "telemetry"))
        hosts += [LabHost(f"ctl{n}", f"10.77.0.{20 + n}", "controller") for n in range(1, sizes.controllers + 1)]
    return hosts


def check_sizes(sizes: Sizes) -> Sizes:
    """Return sizes that fit the address plan."""
    limits = (
        ("messaging", sizes.messaging, 10),
        ("controllers", sizes.controllers, 10),
        ("bare", sizes.bare, 100),
        ("light", sizes.light, 10),
    )
    for option, value, most in limits:
        if not 0 <= value <= most:
            raise LabError(f"--{option} {value}: give 0 to {most}")
    return sizes


def remember_sizes(layout: Layout, given: Sizes | None) -> Sizes:
    """Return the sizes given, or those of the last `up`: one that was killed half way is finished by the next."""
    file = layout.state / "sizes.json"
    if given is None:
        return Sizes(**json.loads(file.read_text(encoding="ascii"))) if file.exists() else Sizes()
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps(asdict(given)), encoding="ascii")
    partial.rename(file)
    return given


def free_bare_address(taken: set[str]) -> str:
    """Return the first address for one more bare host."""
    for last in range(_FIRST_BARE, _LAST_BARE):
        if (address := f"10.77.0.{last}") not in taken:
            return address
    raise LabError("no address left for another bare host; remove one first")
