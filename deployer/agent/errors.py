"""The agent's errors: each becomes the error of an answer, `{"type", "problem", "remedy", ...}`."""

from __future__ import annotations

import re
from typing import Any

OUTPUT_TAIL = 4000  # characters of a program's output that travel with an error
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^\s/]*@")


def mask(text: str) -> str:
    """Hide the passwords of all URLs in `text`: `rabbit://nova:***@host`."""
    return _PASSWORD.sub(r"\1***@", text)


class AgentError(Exception):
    """Base: `type` is one of the protocol's, `problem` is what is wrong, `remedy` what to do about it."""

    type = "internal"

    def __init__(self, problem: str, remedy: str = "", **more: Any) -> None:
        self.problem, self.remedy, self.more = mask(problem), remedy, more
        super().__init__(self.problem)

    def frame(self) -> dict[str, Any]:
        """Return the error as it travels."""
        return {"type": self.type, "problem": self.problem, "remedy": self.remedy, **self.more}


class LockedError(AgentError):
    """Another agent holds the host's lock; `holder` is its `{"who", "when", "run"}`."""

    type = "locked"

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__("another run holds this host", "Wait for that run to end", holder=holder)


class StaleError(AgentError):
    """The host no longer is what the controller believes; nothing of the step was done."""

    type = "stale"


class RefusedError(AgentError):
    """A request that cannot be carried out as asked; nothing was done."""

    type = "refused"


class StepError(AgentError):
    """A step that failed while it was carried out; `output` is masked and cut to its end."""

    type = "step"

    def __init__(self, problem: str, remedy: str = "", output: str = "", step: str = "") -> None:
        super().__init__(problem, remedy, step=step, output=mask(output.strip())[-OUTPUT_TAIL:])
