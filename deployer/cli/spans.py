"""Spans of time on the command line."""

from __future__ import annotations

from typing import Any

import click


class Span(click.ParamType[int]):
    """A span of time such as 30min, in seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds; fails as usage where it is no span."""
        from deployer.schedule.units import seconds

        try:
            return value if isinstance(value, int) else seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
