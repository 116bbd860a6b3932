"""Serve a directory over HTTP, run as a program in the lab's network namespace: DIRECTORY ADDRESS:PORT."""

from __future__ import annotations

import functools
import http.server
import sys


def _main() -> None:
    directory, address = sys.argv[1:3]
    host, _, port = address.rpartition(":")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
    http.server.ThreadingHTTPServer((host, int(port)), handler).serve_forever()


if __name__ == "__main__":
    _main()
