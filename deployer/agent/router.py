"""The router on this host: its step kinds and the questions about it."""

from __future__ import annotations

from deployer.agent.types import Prepare, Question

KINDS: dict[str, Prepare] = {}

OPS: dict[str, Question] = {}
