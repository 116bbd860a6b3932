"""The management protocol at $management: the operations that change or show the router."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proton import Message as Encoded
from proton import symbol

from . import forward, view
from .config import ConfigError, Entity, make
from .router import Router
from .schema import ENTITY_TYPES, LONG

_OK, _CREATED, _NO_CONTENT = 200, 201, 204
_BAD_REQUEST, _NOT_FOUND, _NOT_IMPLEMENTED = 400, 404, 501
_TEXT = {_OK: "OK", _CREATED: "Created", _NO_CONTENT: "No Content"}


Operation = Callable[[Mapping[str, object], Mapping[str, object]], tuple[int, object]]


class Refused(Exception):
    """A request that is not carried out: a status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Management:
    """Answers requests; registered as the service of the address `$management`."""

    def __init__(self, router: Router) -> None:
        self._router = router
        address = router.table.find("$management")
        if not isinstance(address, str) and address:
            address.service = self.receive
            router.table.keep(address)
        self._operations: dict[str, Operation] = {
            "QUERY": self._query,
            "READ": self._read,
            "CREATE": self._create,
            "DELETE": self._delete,
            "UPDATE": self._update,
        }

    def receive(self, data: bytes) -> None:
        """Carry a request out and answer to its reply address."""
        request = Encoded()
        request.decode(data)
        if not request.reply_to:
            return
        properties = request.properties or {}
        try:
            operation = self._operation(properties)
            body = request.body if isinstance(request.body, dict) else {}
            status, answer = operation(properties, body)
            self._answer(request, status, _TEXT[status], answer)
        except Refused as refused:
            self._refuse(request, refused.status, str(refused))
        except (ConfigError, OSError) as error:
            self._refuse(request, _BAD_REQUEST, str(error))

    def _operation(self, properties: Mapping[str, object]) -> Operation:
        found = self._operations.get(str(properties.get("operation")))
        if found is None:
            raise Refused(_NOT_IMPLEMENTED, f"No operation {properties.get('operation')!r}")
        return found

    def _refuse(self, request: Encoded, status: int, why: str) -> None:
        self._router.journal.error("AGENT", f"Error performing {(request.properties or {}).get('operation')}: {why}")
        self._answer(request, status, why, {})

    def _answer(self, request: Encoded, status: int, description: str, body: object) -> None:
        properties = {"statusCode": status, "statusDescription": description}
        answer = Encoded(
            address=request.reply_to, correlation_id=request.correlation_id, properties=properties, body=body
        )
        self._router.forwarder.forward(forward.Message(str(request.reply_to), answer.encode()), None)

    def _query(self, properties: Mapping[str, object], body: Mapping[str, object]) -> tuple[int, object]:
        type_ = _long(str(properties.get("entityType") or ""))
        found = self._rows(type_)
        wanted = body.get("attributeNames")
        names = [str(name) for name in wanted] if isinstance(wanted, list) and wanted else _all_names(found)
        unknown = {*names} - view.attributes(type_, found) if type_ else set()
        if unknown:
            raise Refused(_NOT_FOUND, f"Unknown attributes {sorted(unknown)} for type {type_}.")
        start, count = int(str(properties.get("offset") or 0)), properties.get("count")
        chosen = found[start:] if count is None else found[start : start + int(str(count))]
        return _OK, {"attributeNames": names, "results": [[_plain(row.get(name)) for name in names] for row in chosen]}

    def _rows(self, type_: str) -> list[view.Row]:
        if not type_:
            return [row for known in view.TYPES for row in view.rows(self._router, known)]
        try:
            return view.rows(self._router, type_)
        except KeyError:
            raise Refused(_BAD_REQUEST, f"No such entity type '{type_}'") from None

    def _read(self, properties: Mapping[str, object], body: Mapping[str, object]) -> tuple[int, object]:
        del body
        return _OK, {name: _plain(value) for name, value in self._row(properties).items()}

    def _row(self, properties: Mapping[str, object]) -> view.Row:
        for row in self._rows(_long(str(properties.get("type") or ""))):
            if _meant(row, properties):
                return row
        raise Refused(_NOT_FOUND, f"No entity with {_asked(properties)}")

    def _create(self, properties: Mapping[str, object], body: Mapping[str, object]) -> tuple[int, object]:
        asked = _long(str(properties.get("type") or body.get("type") or ""))
        short = _short(asked)
        if short in ("router", "log", ""):
            raise Refused(_NOT_IMPLEMENTED if short else _BAD_REQUEST, f"Operation 'CREATE' not implemented on {asked}")
        attributes = {str(name): value for name, value in body.items() if name != "type" and value is not None}
        if properties.get("name"):
            attributes["name"] = str(properties["name"])
        entity = make(short, attributes, self._router.entities)
        self._router.add(entity)
        self._router.journal.info("AGENT", f"Created {short} {entity.name}")
        return _CREATED, view.told(self._router, entity)

    def _delete(self, properties: Mapping[str, object], body: Mapping[str, object]) -> tuple[int, object]:
        del body
        entity = self._entity(properties)
        self._router.remove(entity)
        self._router.journal.info("AGENT", f"Deleted {entity.type} {entity.name}")
        return _NO_CONTENT, {}

    def _entity(self, properties: Mapping[str, object]) -> Entity:
        type_ = _long(str(properties.get("type") or ""))
        name, identity = (str(properties.get(key) or "") for key in ("name", "identity"))
        entity = view.configured(self._router, type_, name, identity)
        if entity is None:
            raise Refused(_NOT_FOUND, f"No entity with {_asked(properties)}")
        return entity

    def _update(self, properties: Mapping[str, object], body: Mapping[str, object]) -> tuple[int, object]:
        type_ = _long(str(properties.get("type") or ""))
        if type_ == LONG + "connection" and body.get("adminStatus") == "deleted":
            row = self._row(properties)
            peer = next(peer for peer in self._router.peers if str(peer.number) == row["identity"])
            self._router.loop.later(0, lambda: peer.close("amqp:connection:forced", "Connection forced-closed"))
            return _OK, {name: _plain(value) for name, value in row.items()}
        if _short(type_) != "log":
            raise Refused(_NOT_IMPLEMENTED, f"Operation 'UPDATE' not implemented on {type_}")
        entity = self._entity(properties)
        merged = {**entity.attributes, **{str(name): value for name, value in body.items() if name != "type"}}
        others = [one for one in self._router.entities if one is not entity]
        changed = make("log", merged, others)
        self._router.entities.remove(entity)
        self._router.add(changed)
        return _OK, view.told(self._router, changed)


def _long(name: str) -> str:
    return name if not name or name.startswith(LONG) else ENTITY_TYPES.get(name, LONG + name)


def _short(type_: str) -> str:
    return next((short for short, long in ENTITY_TYPES.items() if long == type_), "")


def _meant(row: view.Row, properties: Mapping[str, object]) -> bool:
    wanted = [(key, properties[key]) for key in ("name", "identity") if properties.get(key)]
    return (bool(wanted) and all(str(row.get(key)) == str(value) for key, value in wanted)) or (
        not wanted and row["type"] == LONG + "router"
    )


def _asked(properties: Mapping[str, object]) -> str:
    return ", ".join(f"{key}={properties[key]}" for key in ("type", "name", "identity") if properties.get(key))


def _all_names(rows: list[view.Row]) -> list[str]:
    return sorted({name for row in rows for name in row})


def _plain(value: object) -> object:
    return str(value) if isinstance(value, symbol) else value
