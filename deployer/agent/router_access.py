"""One router as the administrator reaches it: logins tried, and the program that asks it or changes it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from deployer.agent import probe, router_users
from deployer.agent.amqp_login import login
from deployer.agent.endpoint import CredentialsError, Endpoint, LoginError, is_loopback
from deployer.agent.errors import RefusedError
from deployer.agent.types import Json

PROGRAM = "router.py"
LOGIN_TIMEOUT = 5.0  # seconds for each wait of a login
LOGINS_AT_ONCE = 8
GRACE = 5.0  # seconds for the program to start and end around its own timeout
_NO_PROTON = "No module named 'proton'"


@dataclass(frozen=True)
class Access:
    """A router's listener and its administrator; `realm` completes each user: nova@openstack."""

    endpoint: Endpoint
    realm: str
    user: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, args: Json) -> Access:
        """Read a request's or step's arguments `host`, `port`, `tls_ca`, `realm`, `user`, `password`."""
        endpoint = Endpoint(str(args["host"]), int(args["port"]), args["tls_ca"])
        return cls(endpoint, args["realm"], args["user"], args["password"])

    def refusals(self, logins: Mapping[str, str]) -> dict[str, str | None]:
        """Return why each user is not let in with its password, None for one who is."""
        with ThreadPoolExecutor(max_workers=LOGINS_AT_ONCE) as pool:
            tried = {user: pool.submit(self.refusal, user, password) for user, password in logins.items()}
        return {user: attempt.result() for user, attempt in tried.items()}

    def refusal(self, user: str, password: str) -> str | None:
        """Return why `user` is not let in, None when it is."""
        full = f"{user}@{self.realm}"
        try:
            login(self.endpoint, full, password, LOGIN_TIMEOUT)
        except CredentialsError as error:
            if not is_loopback(self.endpoint.host):
                return error.problem
            return f"{full} is refused: {router_users.why_refused(full, router_users.SASLDB)}"
        except LoginError as error:
            return error.problem
        return None

    def own_refusal(self) -> str | None:
        """Return why the administrator is not let in, None when it is."""
        return self.refusal(self.user, self.password)

    def ask(self, action: str, timeout: float, **more: Any) -> Json:
        """Return the program's answer; its `problem` is "" when all went well. `timeout` in seconds."""
        # The library would try again and again, and tell neither a refusal nor a closed port by its name.
        refused = self.own_refusal()
        return {"problem": refused} if refused else run_program([self], action, timeout, **more)


def run_program(routers: list[Access], action: str, timeout: float, **more: Any) -> Json:
    """Run deployer/probe/router.py against routers that have realm, user, password and CA in common."""
    first = routers[0]
    request = {
        "action": action,
        "routers": [[router.endpoint.host, router.endpoint.port] for router in routers],
        "tls_ca": first.endpoint.tls_ca,
        "verify_name": not is_loopback(first.endpoint.host),
        "user": f"{first.user}@{first.realm}",
        "password": first.password,
        "timeout": timeout,
        **more,
    }
    try:
        answer = probe.probe(sys.executable, "", request, timeout + GRACE, PROGRAM)
    except RefusedError as error:
        return {"problem": f"{error.problem}: {error.more.get('stderr', '')}".rstrip(": ")}
    if _NO_PROTON in answer["problem"]:
        return {"problem": f"{sys.executable} has no proton: install python3-qpid-proton"}
    return answer
