"""What a preflight read of one host, in one exchange: its facts, its state, and whether its services are let in."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

from deployer.plan.observed import HostFacts
from deployer.plan.router_facts import RouterFacts


@dataclass(frozen=True)
class Service:
    """A service that runs on a host, under whatever name; `paths` are those among the words of its command line."""

    unit: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why a login failed; `reached`: the peer listens and refuses just this user, or the vhost to it."""

    reached: bool
    problem: str


@dataclass(frozen=True)
class Examination:
    """One host. `ahead` is how far its clock is ahead of the controller's (s), `disk` bytes free by path.

    `addresses` are its own, loopback's among them. `logins` maps a login's id to None where it was let in.
    """

    facts: HostFacts
    python: str
    ahead: float
    disk: Mapping[str, int]
    addresses: tuple[str, ...]
    services: tuple[Service, ...]
    logins: Mapping[str, Refusal | None] = field(default_factory=dict)

    @classmethod
    def of(cls, host: str, answer: Mapping[str, Any], now: float, known: MutableMapping[str, bytes]) -> Examination:
        """Read the agent's answer to `preflight`, which came at `now` (s since the epoch); `known` as for HostFacts.of.

        Raises KeyError when the agent broke the protocol.
        """
        facts, state = HostFacts.of(host, answer["facts"], known), answer["host"]
        router = RouterFacts.of(answer["router"]) if answer["router"] else None
        return cls(
            facts=replace(facts, router=router),
            python=answer["facts"]["host"]["python"],
            ahead=state["time"] - now,
            disk=dict(state["disk"]),
            addresses=tuple(state["addresses"]),
            services=tuple(Service(one["unit"], tuple(one["argv"])) for one in state["services"]),
            logins=refusals(answer["logins"]),
        )


def refusals(raw: Mapping[str, Any]) -> dict[str, Refusal | None]:
    """Read the agent's `logins`."""
    return {name: Refusal(one["reached"], one["problem"]) if one else None for name, one in raw.items()}
