"""Apache's mod_wsgi: the options of the daemon processes that run a project (WSGIDaemonProcess)."""

from __future__ import annotations

import glob
import re
import shlex

from deployer.agent.processes import text

SITES = ("/etc/apache2/*-enabled/*.conf", "/etc/httpd/conf*.d/*.conf")
_DAEMON = re.compile(r"^[ \t]*WSGIDaemonProcess[ \t]+(.+)$", re.MULTILINE | re.IGNORECASE)
_HOME = re.compile(r"^[ \t]*WSGIPythonHome[ \t]+\"?([^\s\"]+)", re.MULTILINE | re.IGNORECASE)


def daemon_options(project: str) -> dict[str, str]:
    """Return `user`, `python-home` and the like of the first daemon processes that name the project; {} without any."""
    paths = sorted(path for sites in SITES for path in glob.glob(sites))  # noqa: PTH207 - a pattern of an absolute path
    content = "\n".join(map(text, paths))
    home = _HOME.search(content)
    told = next((line for line in _DAEMON.findall(content) if project in line), "")
    words = shlex.split(told, comments=True)
    return {**({"python-home": home.group(1)} if home else {}), **dict(w.split("=", 1) for w in words if "=" in w)}
