"""`make demo`: the main job on the lab's hosts, every claim checked; exit 0 only when all of them held."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab import Lab, LabError
from tests.lab.cloud import (
    CONSUMER,
    INVENTORY,
    SERVICE_HOSTS,
    add_routers,
    create_image,
    fingerprints,
    heard,
    hybridmsg,
)

ROUTERS = ("msg1", "msg2")
HELD = 7
TRY_NEXT = """
The lab stays up. What to try next (each is a command on the lab's operator host):
  python3 -m tests.lab run ops1 -- hybridmsg status -i /etc/hybridmsg
  python3 -m tests.lab run ops1 -- hybridmsg plan -i /etc/hybridmsg
  python3 -m tests.lab run ops1 -- hybridmsg migrate -i /etc/hybridmsg
  python3 -m tests.lab run ops1 -- hybridmsg verify -i /etc/hybridmsg --json
  python3 -m tests.lab shell ctl1
  make lab-down
"""


class Demo:
    """The demonstration, act by act; `broken` collects the claims that did not hold."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.broken: list[str] = []
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def act(self, title: str) -> Iterator[None]:
        """Announce one act and take its time."""
        print(f"\n=== {title}", flush=True)
        began = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - began))

    def claim(self, claim: str, *, holds: bool) -> None:
        """Say whether a claim holds."""
        print(f"{'ok  ' if holds else 'FAIL'} {claim}", flush=True)
        if not holds:
            self.broken.append(claim)

    def hybridmsg(self, *words: str) -> int:
        """Run hybridmsg on the operator host, its output shown as it comes, and return the exit code."""
        argv = ["hybridmsg", *words, "-i", INVENTORY]
        print(f"ops1# {' '.join(argv)}", flush=True)
        env = {"FORCE_COLOR": "1", "COLUMNS": "120"} if sys.stdout.isatty() else {"COLUMNS": "120"}
        return self._lab.popen("ops1", argv, env=env, stdin=subprocess.DEVNULL).wait()

    def play(self) -> None:
        """Standard messaging, hybrid messaging, and back."""
        self._standard()
        standard = fingerprints(self._lab)
        self._hybrid()
        self._nothing_twice()
        with self.act("Roll back: RPC returns to RabbitMQ"):
            self.claim("rollback exits 0", holds=self.hybridmsg("rollback") == 0)
            same = fingerprints(self._lab) == standard
            self.claim(
                "every byte, mode and owner, and every unit's state, is as before the hybrid migration", holds=same
            )
        with self.act("Reconcile again: what was rolled back stays so until `hybridmsg release`"):
            self.claim("reconcile reports that it is held (exit 7)", holds=self.hybridmsg("reconcile") == HELD)
            self.claim("and changed nothing", holds=fingerprints(self._lab) == standard)

    def _standard(self) -> None:
        lab = self._lab
        before = fingerprints(lab)
        with self.act("The standard deployment, planned: what would change, passwords masked"):
            self.claim("plan finds changes pending (exit 2)", holds=self.hybridmsg("plan") == 2)
            self.claim("plan changed no byte on any service host", holds=fingerprints(lab) == before)
        with self.act("Migrate to it: one RabbitMQ cluster carries RPC and notifications"):
            self.claim("every check holds after the migration", holds=self.hybridmsg("migrate") == 0)

    def _hybrid(self) -> None:
        with self.act("Two routers join the inventory: RPC is to go over AMQP 1.0. The plan"):
            add_routers(self._lab, *ROUTERS)
            self._show(["grep", "-n", "qdrouterd", f"{INVENTORY}/hosts.yaml"])
            self.claim("plan finds changes pending (exit 2)", holds=self.hybridmsg("plan") == 2)
        with self.act("Migrate: routers, then project by project: drain, switch, answer, go on"):
            self.claim("every check holds after the migration", holds=self.hybridmsg("migrate") == 0)
        with self.act("Verify: every RPC server answers over the routers, fanout arrives exactly once"):
            self.claim("verify exits 0", holds=self.hybridmsg("verify") == 0)
            found = hybridmsg(self._lab, "verify")["checks"]
            over = {check["detail"].rpartition(" ")[2] for check in found if check["kind"] == "rpc"}
            self.claim(f"every answer came over amqp ({', '.join(sorted(over))})", holds=over == {"amqp"})
        with self.act("A real notification: glance-api emits it, ceilometer reads it from RabbitMQ"):
            image = create_image(self._lab, "ctl1")
            self.claim(f"ceilometer on {CONSUMER} read image.create of {image}", holds=heard(self._lab, image))

    def _nothing_twice(self) -> None:
        with self.act("Migrate again: nothing to do, nothing touched"):
            migrated = fingerprints(self._lab, live=True)
            self.claim("the second migrate exits 0", holds=self.hybridmsg("migrate", "-q") == 0)
            same = fingerprints(self._lab, live=True) == migrated
            self.claim("every inode, ctime and main PID is the same", holds=same)
        with self.act("Reconcile, as a timer would: brokers, routers, cells and answers too"):
            self.claim("reconcile --deep finds all in line (exit 0)", holds=self.hybridmsg("reconcile", "--deep") == 0)

    def _show(self, argv: list[str]) -> None:
        print(f"ops1# {' '.join(argv)}\n{self._lab.run('ops1', argv).stdout}", end="", flush=True)


def main() -> int:
    """Play the demonstration and return the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--clean", action="store_true", help="tear the lab down afterwards")
    clean = parser.parse_args().clean
    began = time.monotonic()
    lab = Lab()
    try:
        demo = _staged(lab)
        demo.play()
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        if clean:
            lab.down()
    print()
    for title, took in demo.times:
        print(f"{took:6.1f} s  {title}")
    print(f"{time.monotonic() - began:6.1f} s  in all")
    for claim in demo.broken:
        print(f"NOT HELD: {claim}")
    if not clean:
        print(TRY_NEXT)
    return 1 if demo.broken else 0


def _staged(lab: Lab) -> Demo:
    """Return the demo on a lab that is as its images have it."""
    demo = Demo(lab)
    with demo.act("The lab: real hosts with systemd and sshd"):
        known = set(lab.hosts)
        lab.up()
        used = [name for name in ("msg1", "msg2", "msg3", *SERVICE_HOSTS, "ops1") if name in known]
        if used:
            lab.reset(*used)
        print(json.dumps({host.name: host.address for host in lab.hosts.values()}))
    return demo


if __name__ == "__main__":
    os.environ.setdefault("HYBRIDMSG_LAB", "1")
    sys.exit(main())
