"""The one Jinja environment: texts for the hosts from the templates in the top-level package `templates`."""

from __future__ import annotations

from functools import cache
from importlib import resources

import jinja2


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        # The package is read as importlib finds it: from the clone and from an installed wheel alike.
        loader=jinja2.FunctionLoader(_source),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML: escaping would corrupt them
    )


def _source(name: str) -> str | None:
    template = resources.files("templates").joinpath(name)
    return template.read_text(encoding="utf-8") if template.is_file() else None


def render(name: str, **values: object) -> bytes:
    """Return the template filled in, as UTF-8.

    Raises jinja2.UndefinedError (a missing value) or jinja2.TemplateNotFound: both are faults of the program.
    """
    return _environment().get_template(name).render(**values).encode()
