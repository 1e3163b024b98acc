"""The OpenAPI 3.1 description, made from the operations and the schemas."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from msrpconf import __version__
from msrpconf.services.management.http import JSON, MAX_BODY
from msrpconf.services.management.operations import SERVER, Interface, Operation
from msrpconf.services.management.problem import TYPE
from msrpconf.services.management.schemas import ref

MERGE_PATCH = "application/merge-patch+json"
TEXT = "text/plain"

_PATHS = {
    "room": "the room's URI, percent-encoded or not; sip: may be left out",
    "who": "a user's URI, or the id of one device",
    "user": "a user's URI, or *@example.com for everybody of a domain",
    "server": "[server] name, or the address that it is wanted at",
}
_EXAMPLES = {
    "room": "sip:lobby@example.com",
    "who": "sip:alice@example.com",
    "user": "sip:alice@example.com",
    "server": "chat-1",
}

_DESCRIPTION = f"""\
A body is JSON, {MAX_BODY} octets at most, with Content-Type: {JSON}. What cannot be had is said
in {TYPE} (RFC 9457), whose `detail` says what is wrong and what would be right. Where a token is
configured, each request has it, but those for health.
"""


def describe(secured: bool = True, interface: Interface = SERVER) -> dict[str, Any]:
    """The description of an interface; `secured` says whether a token is needed."""
    paths: dict[str, dict[str, Any]] = {}
    for each in interface.operations:
        described = _operation(each, interface)
        paths.setdefault(each.path, {})[each.method.lower()] = described
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "msrpconf",
            "version": __version__,
            "description": f"{interface.about}\n\n{_DESCRIPTION}",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {"schemas": interface.schemas},
    }
    if secured:
        schemes = {"token": {"type": "http", "scheme": "bearer"}}
        document["components"] = {**document["components"], "securitySchemes": schemes}
        document["security"] = [{"token": []}]
    return document


def _operation(operation: Operation, interface: Interface) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", operation.path)
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATHS[name],
            "schema": {"type": "string", "minLength": 1},
            "example": _EXAMPLES[name],
        }
        for name in names
    ]
    parameters += [
        {
            "name": each.name,
            "in": "query",
            "description": each.schema.get("description", ""),
            "schema": each.schema,
        }
        for each in operation.query
    ]
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": _responses(operation, interface),
    }
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content = {JSON: {"schema": ref(operation.body)}}
        if operation.method == "PATCH":
            content[MERGE_PATCH] = content[JSON]
        described["requestBody"] = {"required": True, "content": content}
    if operation.open:
        described["security"] = []
    return described


def _responses(operation: Operation, interface: Interface) -> dict[str, Any]:
    success: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer is not None:
        known = operation.answer in interface.schemas
        schema = ref(operation.answer) if known else {"type": "object"}
        success["content"] = {JSON: {"schema": schema}}
    elif operation.status != 204:
        success["content"] = {TEXT: {"schema": {"type": "string"}}}
    responses = {str(operation.status): success}
    errors = {400, 403, 413, *operation.errors}
    if operation.method in {"POST", "PUT", "PATCH"}:
        errors.add(415)
    if not operation.open:
        errors.add(401)
    for status in sorted(errors):
        schema = ref("Problem")
        content = {TYPE: {"schema": schema}}
        if operation.answer == "Health":
            content = {JSON: {"schema": ref("Health")}, TYPE: {"schema": schema}}
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return responses
