"""Stand-in for the placement API: answers any GET with a version document, all nova-scheduler asks at start."""

import http.server
import json
from typing import Any

_VERSION = {"id": "v1.0", "status": "CURRENT", "min_version": "1.0", "max_version": "1.39"}
_BODY = json.dumps({"versions": [{**_VERSION, "links": [{"rel": "self", "href": ""}]}]}).encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_BODY)))
        self.end_headers()
        self.wfile.write(_BODY)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Stay quiet: the journal is for the services under test."""


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", 8778), _Handler).serve_forever()
