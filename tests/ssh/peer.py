"""A small agent for what the real one has no request for: it echoes, counts heartbeats and dies on demand."""

from __future__ import annotations

import io
import zipfile

SERVE = """
import json, os, struct, sys, time

def serve(stdin_fd, stdout_fd, silence):
    reader = os.fdopen(stdin_fd, "rb")
    pings = 0

    def say(message):
        body = json.dumps(message).encode()
        os.write(stdout_fd, struct.pack(">I", len(body)))
        view = memoryview(body)
        while view:
            view = view[os.write(stdout_fd, view):]

    while True:
        head = reader.read(4)
        if len(head) < 4:
            return 0
        request = json.loads(reader.read(struct.unpack(">I", head)[0]))
        number, op, args = request["id"], request["op"], request.get("args")
        if op == "ping":
            pings += 1
            if pings == 3:
                say({"id": waiting, "ok": {"pings": pings}})
        elif op == "echo":
            say({"id": number, "ok": args})
        elif op == "where":
            stdin = os.readlink("/proc/self/fd/0")
            me = {"pid": os.getpid(), "file": __file__, "argv": sys.orig_argv}
            say({"id": number, "ok": {**me, "stdin": stdin, "silence": silence}})
        elif op == "three_pings":
            waiting = number
        elif op == "events":
            print("a stray print of the agent's code", flush=True)
            for count in range(args["count"]):
                say({"id": number, "event": {"count": count}})
            say({"id": number, "ok": {}})
        elif op == "fail":
            say({"id": number, "error": args})
        elif op == "die":
            sys.stderr.write("x" * 100000 + "\\nkilled by the test\\n")
            sys.stderr.flush()
            os._exit(9)
        elif op == "garbage":
            os.write(stdout_fd, b"Traceback (most recent call last)")
        elif op == "late":
            time.sleep(args["seconds"])
            say({"id": number, "ok": args})
"""


def bundle(serve: str = SERVE) -> bytes:
    """Return a zip like the product's, with this agent in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("deployer/__init__.py", "")
        archive.writestr("deployer/agent/__init__.py", "")
        archive.writestr("deployer/agent/main.py", serve)
    return buffer.getvalue()
