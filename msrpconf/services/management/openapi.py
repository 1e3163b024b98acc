"""The OpenAPI 3.1 description, made from the operations and the schemas."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from msrpconf import __version__
from msrpconf.services.management.http import JSON, MAX_BODY
from msrpconf.services.management.operations import OPERATIONS, Operation
from msrpconf.services.management.problem import TYPE
from msrpconf.services.management.schemas import SCHEMAS, ref

MERGE_PATCH = "application/merge-patch+json"
TEXT = "text/plain"

_PATHS = {
    "room": "the room's URI, percent-encoded or not; sip: may be left out",
    "who": "a user's URI, or the id of one device",
    "user": "a user's URI, or *@example.com for everybody of a domain",
}
_EXAMPLES = {
    "room": "sip:lobby@example.com",
    "who": "sip:alice@example.com",
    "user": "sip:alice@example.com",
}

_DESCRIPTION = f"""\
Rooms, who is in them, and the server that they are on.

A body is JSON, {MAX_BODY} octets at most, with Content-Type: {JSON}. What cannot be had is said
in {TYPE} (RFC 9457), whose `detail` says what is wrong and what would be right. Where a token is
configured, each request has it, but those for health.
"""


def describe(secured: bool = True) -> dict[str, Any]:
    """The description; `secured` says whether a token is needed."""
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "msrpconf",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }
    if secured:
        schemes = {"token": {"type": "http", "scheme": "bearer"}}
        document["components"] = {**document["components"], "securitySchemes": schemes}
        document["security"] = [{"token": []}]
    return document


def _operation(operation: Operation) -> dict[str, Any]:
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
        "responses": _responses(operation),
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


def _responses(operation: Operation) -> dict[str, Any]:
    success: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer is not None:
        schema = ref(operation.answer) if operation.answer in SCHEMAS else {"type": "object"}
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
