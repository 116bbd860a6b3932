"""A stand-in rabbitmqctl that prints what the one of RabbitMQ 3.10.8 printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.unit.agent.conftest import Programs

DATA = Path(__file__).parent / "data"
STATUS: dict[str, Any] = json.loads((DATA / "rabbitmq-cluster-status.json").read_text())
EXPORT: dict[str, Any] = json.loads((DATA / "rabbitmq-cluster-export.json").read_text())
EVAL = (DATA / "rabbitmq-cluster-eval.txt").read_text()

ALONE = {**STATUS, "disk_nodes": ["rabbit@bare1"], "running_nodes": ["rabbit@bare1"]}
FRESH: dict[str, Any] = {
    **EXPORT,
    **{kind: [] for kind in ("policies", "queues", "permissions")},
    "vhosts": [{"name": "/"}],
    "users": [{"name": "guest"}],
    # As every cluster has it from RabbitMQ 3.11 on.
    "global_parameters": [{"name": "internal_cluster_id", "value": "rabbitmq-cluster-id-x"}],
}
NO_QUEUES = '{"connections":[],"node":"rabbit@bare1","queues":[]}ok\n'
BODY = """
replies = json.load(open({path!r}))
command = next(word for word in argv if word in replies)
reply = replies[command]
sys.stdout.write(reply["out"]); sys.stderr.write(reply["err"]); sys.exit(reply["code"])
"""


class Broker:
    """The stand-in: what it says to each command, and what it was asked to do."""

    def __init__(self, programs: Programs, replies: Path) -> None:
        self._programs, self._replies = programs, replies
        self.answers: dict[str, dict[str, Any]] = {}
        programs.add("rabbitmqctl", BODY.format(path=str(replies)))
        self.holds(ALONE, FRESH, NO_QUEUES)
        for command in ("stop_app", "join_cluster", "start_app", "await_startup", "import_definitions"):
            self.says(command)
        self.says("version", "3.10.8\n")

    def says(self, command: str, out: str = "", err: str = "", code: int = 0) -> None:
        self.answers[command] = {"out": out, "err": err, "code": code}
        self._replies.write_text(json.dumps(self.answers))

    def holds(self, status: dict[str, Any], export: dict[str, Any], queues: str) -> None:
        self.says("cluster_status", json.dumps(status))
        self.says("export_definitions", json.dumps(export))
        self.says("eval", queues)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self._programs.calls

    @property
    def acts(self) -> list[str]:
        asking = {"cluster_status", "export_definitions", "eval", "version"}
        words = [next(word for word in call["argv"] if word in self.answers) for call in self.calls]
        return [word for word in words if word not in asking]
