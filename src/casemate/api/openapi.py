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
_UPLOADS = frozenset({"multipart/form-data", "application/octet-stream"})
# What an answer that is not the wanted one says, by its status.
_PROBLEMS = {
    400: "The request makes no sense: it says which part of it, and why.",
    401: "Nobody, or nobody known, is asking.",
    403: "Known who asks; not allowed.",
    404: "Absent, or hidden from the asker: the two are never told apart.",
    409: "Somebody else holds it, it exists already, or it has ended.",
    413: "More than is accepted.",
    415: "A file of a kind that is not read here.",
    422: "A parameter is wrong: it says which, and why.",
    429: "More than a quota allows, or more than can wait.",
    501: "What does this is not part of this installation.",
    503: "Something this depends on does not answer, or the server is being stopped.",
}


@cache
def document(
    operations: tuple[Operation, ...],
    problem: Any,
    title: str = "Casemate",
    more: tuple[int, ...] = (),
) -> bytes:
    """The description of ``operations``, as JSON; ``problem``: the type of every error.

    ``more``: statuses that a dialect has for its errors, beside those that all have.
    """
    types = [problem]
    for operation in operations:
        types += [t for t in (operation.body, operation.answers) if t is not None]
        types += [shape for _, shape in operation.also]
        types += [query.shape for query in operation.query]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = {repr(kind): _plain(one) for kind, one in zip(types, schemas, strict=True)}
    ids = _ids(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        at = paths.setdefault(template(operation.path), {})
        described = _described(operation, schema_of, schema_of[repr(problem)], more)
        described["operationId"] = ids[operation]
        if links := _links(operation, operations, ids):
            for status in (operation.status, *(status for status, _ in operation.also)):
                if status < 400:
                    described["responses"][str(status)]["links"] = links
        at[operation.method.lower()] = described
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": title, "version": casemate.__version__},
            "paths": paths,
            "components": {
                "schemas": _plain(components),
                "responses": {
                    f"Problem{status}": {
                        "description": description,
                        "content": {"application/json": {"schema": schema_of[repr(problem)]}},
                    }
                    for status, description in _PROBLEMS.items()
                },
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


def _ids(operations: tuple[Operation, ...]) -> dict[Operation, str]:
    """A name for each operation: that of its act, with the module's where several are called so."""
    names = Counter(operation.act.__name__ for operation in operations)
    return {
        one: one.act.__name__
        if names[one.act.__name__] == 1
        else f"{one.act.__module__.rsplit('.', 1)[-1]}_{one.act.__name__}"
        for one in operations
    }


def _described(
    operation: Operation, schema_of: dict[str, Any], problem: dict[str, Any], more: tuple[int, ...]
) -> dict[str, Any]:
    responses: dict[str, Any] = {str(operation.status): _answer(operation, schema_of)}
    for status in sorted({*_refusals(operation), *more}):
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    for status, shape in operation.also:
        schema = schema_of[repr(shape)]
        if str(status) in responses:
            schema = {"anyOf": [schema, problem]}
        responses[str(status)] = {
            "description": "Done, or not, in another way.",
            "content": {"application/json": {"schema": schema}},
        }
    description: dict[str, Any] = {
        "summary": inspect.getdoc(operation.act),
        "parameters": list(_parameters(operation, schema_of)),
        "responses": responses,
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


def _refusals(operation: Operation) -> Iterable[int]:
    """The statuses of the errors that an operation may answer with."""
    yield from (400, 401, 403, 429, 503)
    changes = operation.method not in ("GET", "HEAD")
    if changes or operation.query or _VARIABLE.search(operation.path):
        yield 404  # what it names
    if changes:
        yield from (409, 413, 501)
    if _UPLOADS.intersection(operation.body_media):
        yield 415


def _links(
    made: Operation, operations: tuple[Operation, ...], ids: dict[Operation, str]
) -> dict[str, Any]:
    """What can be done next with what an operation made, under the names of these operations."""
    if made.method not in ("POST", "PUT"):
        return {}
    own = {name: f"$request.path.{name}" for name in _VARIABLE.findall(made.path)}
    fields = getattr(made.answers, "__struct_fields__", ())
    links = {}
    for next in operations:
        rest = next.path.removeprefix(made.path)
        names = _VARIABLE.findall(rest)
        if next is made or rest == next.path or rest[:1] not in ("", "/"):
            continue
        values = dict(own)
        if names and rest.startswith("/{"):
            field = names[0] if names[0] in fields else "id"
            if field not in fields:
                continue
            values[names.pop(0)] = f"$response.body#/{field}"
        if not names and values:
            links[ids[next]] = {"operationId": ids[next], "parameters": values}
    return links


def _plain(schema: Any) -> Any:
    """A schema without ``prefixItems`` where all are alike: few readers of OpenAPI know the word.

    msgspec describes a pair of numbers by its places; an array of two numbers is the same.
    """
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    places = schema.get("prefixItems")
    if places and schema.get("items") is False and all(one == places[0] for one in places):
        kept = {name: one for name, one in schema.items() if name != "prefixItems"}
        return kept | {"items": _plain(places[0])}
    return {name: _plain(one) for name, one in schema.items()}


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
