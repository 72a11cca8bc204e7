"""OpenAPI 3.1 of each face, generated from its table of operations and their types."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

import casemate
from casemate.api.resource import Operation

_REFERENCE = "#/components/schemas/{name}"
_VARIABLE = re.compile(r"\{([a-z_]+)(?::[a-z]+)?\}")
_FREE = {"type": "object"}


@cache
def document(operations: tuple[Operation, ...], problem: Any, title: str = "Casemate") -> bytes:
    """The description of ``operations``, as JSON; ``problem``: the type of every error."""
    types = [problem]
    for operation in operations:
        types += [t for t in (operation.body, operation.answers) if t is not None]
        types += [query.shape for query in operation.query]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = {repr(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    names = Counter(operation.act.__name__ for operation in operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        at = paths.setdefault(template(operation.path), {})
        described = _described(operation, schema_of, schema_of[repr(problem)])
        if names[operation.act.__name__] > 1:
            module = operation.act.__module__.rsplit(".", 1)[-1]
            described["operationId"] = f"{module}_{operation.act.__name__}"
        at[operation.method.lower()] = described
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": title, "version": casemate.__version__},
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


def _described(
    operation: Operation, schema_of: dict[str, Any], problem: dict[str, Any]
) -> dict[str, Any]:
    description: dict[str, Any] = {
        "operationId": operation.act.__name__,
        "summary": inspect.getdoc(operation.act),
        "parameters": list(_parameters(operation, schema_of)),
        "responses": {
            str(operation.status): _answer(operation, schema_of),
            "default": {
                "description": "What is wrong, and what to do next.",
                "content": {"application/json": {"schema": problem}},
            },
        },
    }
    if operation.method in ("POST", "PUT", "PATCH"):
        schema = schema_of[repr(operation.body)] if operation.body else _BINARY
        description["requestBody"] = {
            "required": True,
            "content": {
                media: {"schema": _in(media, schema, operation.fields)}
                for media in operation.body_media
            },
        }
    return description


_BINARY: dict[str, Any] = {}
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}


def _in(media: str, schema: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    if media != "multipart/form-data":
        return schema
    others = {name: {"type": "string"} for name in fields}
    return {
        "type": "object",
        "properties": {"file": _FILE, **others},
        "required": ["file", *fields],
    }


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
