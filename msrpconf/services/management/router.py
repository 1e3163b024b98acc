"""From a request to the function that does what it asks for, with values that are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from attrs import field, frozen
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from msrpconf.conference.operating import CannotBeDone, NotThere
from msrpconf.conference.static import StaticRoomError
from msrpconf.config_values import instead
from msrpconf.services.management.guard import Guard
from msrpconf.services.management.http import JSON, Answer, Call, decode
from msrpconf.services.management.openapi import MERGE_PATCH
from msrpconf.services.management.operations import SERVER, Interface, Operation
from msrpconf.services.management.parts import ReloadError
from msrpconf.services.management.problem import Problem
from msrpconf.services.management.schemas import Schema, ref
from msrpconf.storage.errors import DatabaseError, NoSuchRoom, RoomChanged, RoomExists
from msrpconf.visible import visible

_STATUS: dict[type[Exception], int] = {
    NotThere: 404,
    NoSuchRoom: 404,
    RoomExists: 409,
    RoomChanged: 409,
    ReloadError: 409,
    CannotBeDone: 422,
    StaticRoomError: 422,
    DatabaseError: 503,
}


@frozen
class Asked:
    """What was asked for: the parts of the path and of the query by name, and the body's value."""

    path: Mapping[str, str] = field(factory=dict)
    query: Mapping[str, Any] = field(factory=dict)
    body: Any = None


Function = Callable[[Asked], Any]
"""Does what was asked: gives an `Answer`, or a Deferred of one."""


class Router:
    """Lets in whom `guard` lets in, and has the functions, by their operations' ids, answer."""

    def __init__(
        self, guard: Guard, functions: Mapping[str, Function], interface: Interface = SERVER
    ) -> None:
        operations, components = interface.operations, {"schemas": interface.schemas}
        self._guard = guard
        self._elsewhere = interface.elsewhere
        self._routes = [(each, functions[each.id]) for each in operations]
        self._bodies = {
            name: Draft202012Validator({**ref(name), "components": components})
            for name in {each.body for each in operations if each.body is not None}
        }

    def __call__(self, call: Call) -> Answer | Deferred[Answer]:
        """Answer a request, or raise `Problem`."""
        self._guard.check_source(call.method, call.headers)
        here = [each for each in self._routes if _matches(each[0].segments, call.segments)]
        if not any(operation.open for operation, _ in here):
            self._guard.check_token(call.headers)
        if not here:
            raise Problem(404, self._why_nothing(call.path))
        method = "GET" if call.method == "HEAD" else call.method
        for operation, function in here:
            if operation.method == method:
                asked = self._read(operation, call)
                answer: Deferred[Answer] = maybeDeferred(function, asked)
                return answer.addErrback(_as_problem)
        methods = {operation.method for operation, _ in here}
        allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
        raise Problem(405, f"{call.path} takes {allowed}", (("Allow", allowed),))

    def _why_nothing(self, path: str) -> str:
        for beginning, why in self._elsewhere:
            if f"{path}/".startswith(beginning):
                return why
        return "there is nothing at this path: /openapi.json says what there is"

    def _read(self, operation: Operation, call: Call) -> Asked:
        names = operation.segments
        path = {
            name[1:-1]: value
            for name, value in zip(names, call.segments, strict=True)
            if name.startswith("{")
        }
        query = _read_query(operation, call.query)
        if operation.method in {"POST", "PUT", "PATCH"}:
            _check_type(operation, call)
        body = None
        if operation.body is not None:
            body = decode(call.body)
            _check(body, self._bodies[operation.body], "the body")
        return Asked(path, query, body)


def _matches(names: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    return len(names) == len(segments) and all(
        (name.startswith("{") and segment != "") or name == segment
        for name, segment in zip(names, segments, strict=True)
    )


def _check_type(operation: Operation, call: Call) -> None:
    allowed = (JSON, MERGE_PATCH) if operation.method == "PATCH" else (JSON,)
    values = call.headers.getRawHeaders(b"content-type") or [b""]
    essence, _, parameters = values[-1].decode("utf-8", "replace").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if essence.strip().lower() not in allowed or charset not in {"", "charset=utf-8"}:
        raise Problem(415, f"send it with Content-Type: {allowed[0]}")


def _read_query(operation: Operation, text: str) -> dict[str, Any]:
    known = {each.name: each for each in operation.query}
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=20,
        )
    except ValueError as error:
        raise Problem(400, f"the query cannot be read: {error}") from None
    values: dict[str, Any] = {each.name: each.default for each in operation.query}
    seen: set[str] = set()
    for name, value in pairs:
        if name not in known:
            names = ", ".join(known) or "none"
            raise Problem(400, f"unknown query parameter {name!r}; there are: {names}")
        if name in seen:
            raise Problem(400, f"the query has {name} more than once")
        seen.add(name)
        values[name] = _query_value(known[name].schema, name, value)
    return values


def _query_value(schema: Schema, name: str, text: str) -> object:
    value: object = text
    if schema["type"] == "integer":
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            low, high = schema["minimum"], schema["maximum"]
            raise Problem(400, f"query: {name}: expected a whole number, {low} to {high}")
        value = int(text)
    _check(value, Draft202012Validator(schema), f"query: {name}")
    return value


def _check(value: object, validator: Draft202012Validator, where: str) -> None:
    error = best_match(validator.iter_errors(value))
    if error is None:
        return
    path = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in error.path)
    place = f"{where}, {path.lstrip('.')[:200]}" if path else where
    text = _unknown(error) or error.message
    raise Problem(400, f"{place}: {text if len(text) <= 300 else text[:297] + '...'}")


def _unknown(error: ValidationError) -> str:
    """What to write instead of a name that there is not; empty where that is not what is wrong."""
    schema, instance = error.schema, error.instance
    if error.validator != "additionalProperties" or error.validator_value is not False:
        return ""
    assert isinstance(schema, Mapping)
    assert isinstance(instance, dict)
    known = sorted(schema.get("properties", ()))
    name = next(each for each in instance if each not in known)
    return f"{visible(name[:80])} is unknown{instead(name[:80], known, 'names')}"


def _as_problem(failure: Failure) -> Answer:
    for kind, status in _STATUS.items():
        if failure.check(kind) is not None:
            headers = (("Retry-After", "10"),) if status == 503 else ()
            raise Problem(status, failure.getErrorMessage(), headers)
    failure.raiseException()
    raise AssertionError  # never reached
