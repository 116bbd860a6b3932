"""The lab's network: a bridge in a namespace of its own and one namespace per host. Nothing leads out."""

from __future__ import annotations

from pathlib import Path

from tests.lab.shell import sh

BRIDGE = "br0"
GATEWAY = "10.77.0.1"
_PREFIX = 24
_NETNS_DIR = Path("/run/netns")


def path(netns: str) -> Path:
    """Return the file that stands for the namespace."""
    return _NETNS_DIR / netns


def ensure_bridge(netns: str) -> bool:
    """Make the namespace with its bridge unless both are whole; tell whether anything was made."""
    if path(netns).exists():
        # The address comes last but one and "up" last: a bridge that is up was made to the end.
        shown = sh(["ip", "-n", netns, "-o", "-4", "addr", "show", "up", "dev", BRIDGE], check=False)
        if GATEWAY.encode() in shown.stdout:
            return False
        remove(netns)
    sh(["ip", "netns", "add", netns])
    sh(["ip", "-n", netns, "link", "set", "lo", "up"])
    # Left to itself a bridge takes the lowest hardware address of its ports, and another one when that host goes: the
    # others then talk to nobody for half a minute.
    hardware = ["address", hardware_address(GATEWAY)]
    sh(["ip", "-n", netns, "link", "add", BRIDGE, *hardware, "type", "bridge", "forward_delay", "0"])
    sh(["ip", "-n", netns, "addr", "add", f"{GATEWAY}/{_PREFIX}", "dev", BRIDGE])
    sh(["ip", "-n", netns, "link", "set", BRIDGE, "up"])
    return True


def attach(bridge_netns: str, netns: str, host: str, address: str) -> None:
    """Make a host's namespace anew and plug it into the bridge; it gets no route but its own subnet."""
    remove(netns)
    # The host's end vanishes with its namespace, but not at once: a quick reboot would meet its old twin.
    sh(["ip", "-n", bridge_netns, "link", "del", f"v-{host}"], check=False)
    sh(["ip", "netns", "add", netns])
    sh(["ip", "-n", netns, "link", "set", "lo", "up"])
    # By its address, lest a host that gets a removed one's address is looked for at that one's card for eight seconds.
    veth = ["type", "veth", "peer", "name", "host0", "address", hardware_address(address), "netns", netns]
    sh(["ip", "-n", bridge_netns, "link", "add", f"v-{host}", *veth])
    sh(["ip", "-n", bridge_netns, "link", "set", f"v-{host}", "master", BRIDGE, "up"])
    sh(["ip", "-n", netns, "addr", "add", f"{address}/{_PREFIX}", "dev", "host0"])
    sh(["ip", "-n", netns, "link", "set", "host0", "up"])


def hardware_address(address: str) -> str:
    """Return the hardware address that goes with an IPv4 address: locally administered, its four octets last."""
    return ":".join(["02", "00", *(f"{int(octet):02x}" for octet in address.split("."))])


def remove(netns: str) -> None:
    """Remove the namespace if it is there."""
    if path(netns).exists():
        done = sh(["ip", "netns", "del", netns], check=False)
        if done.returncode != 0:
            # A command killed between the two steps of "netns add" leaves a plain file that is not a mount.
            path(netns).unlink(missing_ok=True)


def named(prefix: str) -> list[str]:
    """Return the namespaces of that lab: the bridge's, and its hosts' (prefix.HOST)."""
    if not _NETNS_DIR.is_dir():
        return []
    names = sorted(entry.name for entry in _NETNS_DIR.iterdir())
    return [name for name in names if name == prefix or name.startswith(prefix + ".")]
