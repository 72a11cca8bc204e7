"""``/api/openapi.json``: OpenAPI 3.1, generated from the table of operations and their types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

import casemate
from casemate.api.platform.shapes import Problem
from casemate.api.resource import Operation

_REFERENCE = "#/components/schemas/{name}"
_VARIABLE = re.compile(r"\{([a-z_]+)(?::[a-z]+)?\}")
_FREE = {"type": "object"}


@cache
def document(operations: tuple[Operation, ...]) -> bytes:
    """The description of ``operations``, as JSON."""
    types = [Problem]
    for operation in operations:
        types += [t for t in (operation.body, operation.answers) if t is not None]
        types += [query.shape for query in operation.query]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = {repr(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        at = paths.setdefault(template(operation.path), {})
        at[operation.method.lower()] = _described(operation, schema_of)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Casemate", "version": casemate.__version__},
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "key": {"type": "http", "scheme": "bearer"},
                    "session": {"type": "apiKey", "in": "cookie", "name": "casemate_session"},
                },
            },
            "security": [{"key": []}, {"session": []}],
        }
    )


def template(path: str) -> str:
    """A route's path as OpenAPI writes it, without convertors."""
    return _VARIABLE.sub(r"{\1}", path)


def _described(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    description: dict[str, Any] = {
        "operationId": operation.act.__name__,
        "summary": inspect.getdoc(operation.act),
        "parameters": list(_parameters(operation, schema_of)),
        "responses": {
            str(operation.status): _answer(operation, schema_of),
            "default": {
                "description": "What is wrong, and what to do next.",
                "content": {"application/json": {"schema": schema_of[repr(Problem)]}},
            },
        },
    }
    if operation.method in ("POST", "PUT", "PATCH"):
        schema = schema_of[repr(operation.body)] if operation.body else _BINARY
        description["requestBody"] = {
            "required": True,
            "content": {media: {"schema": _in(media, schema)} for media in operation.body_media},
        }
    return description


_BINARY: dict[str, Any] = {}
_FORM = {
    "type": "object",
    "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
    "required": ["file"],
}


def _in(media: str, schema: dict[str, Any]) -> dict[str, Any]:
    return _FORM if media == "multipart/form-data" else schema


def _answer(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done."}
    if operation.status != 204:
        schema = schema_of[repr(operation.answers)] if operation.answers else _FREE
        answer["content"] = {
            media: {"schema": schema} if media == "application/json" else {}
            for media in operation.media
        }
    return answer


def _parameters(operation: Operation, schema_of: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for match in _VARIABLE.finditer(operation.path):
        yield {
            "name": match.group(1),
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
        }
    for query in operation.query:
        yield {
            "name": query.name,
            "in": "query",
            "description": query.description,
            "schema": schema_of[repr(query.shape)],
        }
