"""Runs in a service's own interpreter: tells what it has of the libraries that oslo.messaging's amqp driver needs.

One answer line on stdout behind MARK:

    {"oslo.messaging": version or null, "amqp": whether that one brings the amqp driver (gone since 15.0),
     "pyngus": bool, "proton": bool}

Nothing is imported: oslo.messaging alone takes a second. For Python 3.8 and later.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

MARK = "hybridmsg-probe "
DRIVER = "_drivers/impl_amqp1.py"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _has_driver() -> bool:
    spec = find_spec("oslo_messaging")
    places = (spec.submodule_search_locations if spec else None) or []
    return any(Path(place, DRIVER).is_file() for place in places)


def main() -> None:
    """Answer."""
    answer = {
        "oslo.messaging": _version("oslo.messaging"),
        "amqp": _has_driver(),
        "pyngus": find_spec("pyngus") is not None,
        "proton": find_spec("proton") is not None,
    }
    sys.stdout.write(f"{MARK}{json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
