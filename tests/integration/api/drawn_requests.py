"""Requests drawn from an OpenAPI document: what it allows, and what it does not.

A value is drawn for a JSON Schema as msgspec writes it; one request in four has something else in
one place. Names of things that there are stand in for names that were made up, so that requests
get further than the first question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

_VARIABLE = re.compile(r"\{(\w+)\}")
_METHODS = ("get", "put", "post", "patch", "delete")
_SHORT = st.text(max_size=8)
_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_SHORT, inner, max_size=3),
    max_leaves=5,
)


@dataclass(frozen=True)
class Drawn:
    """One request."""

    method: str
    path: str
    content: bytes
    media: str


def operations(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Method and path template of each operation."""
    paths = document["paths"].items()
    return [(method, path) for path, at in paths for method in _METHODS if method in at]


@st.composite
def requests(
    draw: st.DrawFn,
    document: Mapping[str, Any],
    method: str,
    path: str,
    names: Mapping[str, Sequence[str]],
) -> Drawn:
    """A request to one operation. ``names``: of things that there are, by what asks for them."""
    described = document["paths"][path][method]
    query = []
    for parameter in described["parameters"]:
        if parameter["in"] == "query" and draw(st.booleans()):
            value = draw(values(parameter["schema"], document))
            query += [(parameter["name"], str(one)) for one in _listed(value)]
    address = _VARIABLE.sub(lambda found: quote(draw(_name(found[1], names)), safe=""), path)
    if query:
        address += "?" + urlencode(query)
    body = described.get("requestBody", {"content": {}})["content"]
    if not body:
        return Drawn(method, address, b"", "")
    media = draw(st.sampled_from(sorted(body)))
    if media != "application/json":
        content = draw(_form() if media in _FORMS else st.binary())
        return Drawn(method, address, content, _FORMS.get(media, media))
    value = draw(values(body[media]["schema"], document))
    if isinstance(value, dict):
        for name in value.keys() & names.keys():
            if isinstance(value[name], str):
                value[name] = draw(_name(name, names))
        if value and draw(st.integers(0, 3)) == 0:
            value[draw(st.sampled_from(sorted(value)))] = draw(ANYTHING)
    return Drawn(method, address, _encoded(value), media)


def values(schema: Mapping[str, Any], document: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """What ``schema`` allows."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return st.deferred(lambda: values(document["components"]["schemas"][name], document))
    if "anyOf" in schema:
        return st.one_of([values(one, document) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    make = _KINDS.get(schema.get("type", ""))
    return ANYTHING if make is None else make(schema, document)


def _object(schema: Mapping[str, Any], document: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    known = {name: values(one, document) for name, one in schema.get("properties", {}).items()}
    needed = schema.get("required", [])
    fixed = st.fixed_dictionaries(
        {name: known[name] for name in needed if name in known},
        optional={name: one for name, one in known.items() if name not in needed},
    )
    more = schema.get("additionalProperties", False)
    if known or not isinstance(more, dict):
        return fixed
    return st.dictionaries(st.text(max_size=8), values(more, document), max_size=3)


def _array(schema: Mapping[str, Any], document: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*(values(one, document) for one in schema["prefixItems"])).map(list)
    least = schema.get("minItems", 0)
    most = min(schema.get("maxItems", 3), max(3, least))
    return st.lists(values(schema.get("items", {}), document), min_size=least, max_size=most)


def _text(schema: Mapping[str, Any], document: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "pattern" in schema:
        return st.from_regex(schema["pattern"])
    return st.text(min_size=schema.get("minLength", 0), max_size=schema.get("maxLength", 30))


def _number(schema: Mapping[str, Any], document: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    bounds = (schema.get("minimum"), schema.get("maximum"))
    if schema["type"] == "integer":
        return st.integers(*bounds)
    return st.floats(*bounds, allow_nan=False, allow_infinity=False)


_KINDS = {
    "object": _object,
    "array": _array,
    "string": _text,
    "integer": _number,
    "number": _number,
    "boolean": lambda schema, document: st.booleans(),
    "null": lambda schema, document: st.none(),
}

_BOUNDARY = "drawn"
_FORMS = {"multipart/form-data": f"multipart/form-data; boundary={_BOUNDARY}"}


def _form() -> st.SearchStrategy[bytes]:
    def written(name: str, content: bytes, purpose: str) -> bytes:
        head = f'Content-Disposition: form-data; name="file"; filename="{name}"'
        last = f'Content-Disposition: form-data; name="purpose"\r\n\r\n{purpose}'
        mark = f"--{_BOUNDARY}"
        return (
            f"{mark}\r\n{head}\r\n\r\n".encode()
            + content
            + f"\r\n{mark}\r\n{last}\r\n{mark}--\r\n".encode()
        )

    file_names = st.sampled_from(["a.md", "b.txt", "c.pdf", "d.exe", ""])
    purposes = st.sampled_from(["batch", "ocr", "assistants", "user_data", "?"])
    return st.builds(written, file_names, st.binary(max_size=60), purposes)


def _name(of: str, names: Mapping[str, Sequence[str]]) -> st.SearchStrategy[str]:
    there = names.get(of, ())
    # A path's segment: what a router takes for two segments is another address.
    signs = st.characters(exclude_characters="/.", codec="utf-8")
    made_up = st.text(signs, min_size=1, max_size=12)
    return st.one_of(made_up, *[st.just(one) for one in there])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")
