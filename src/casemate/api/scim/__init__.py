"""SCIM 2.0 at ``/scim/v2``: a directory's program makes, changes and ends people and groups.

RFC 7643 (schemas) and RFC 7644 (protocol). What is asked with the key of a service account that
may provision; it sees and changes what was provisioned in its own tenant, and nothing else. Not
offered, and said so in ``/ServiceProviderConfig``: bulk requests and passwords.
"""

from __future__ import annotations

import asyncio
import importlib

from starlette.requests import Request
from starlette.types import ASGIApp

from casemate.api.resource import Act, Face, Operation

PREFIX = "/scim"
_BASE = f"{PREFIX}/v2"


def _later(module: str, name: str) -> Act:
    """An act of a module that is loaded when somebody asks for it: its parser takes a moment."""

    async def act(face: Face, request: Request) -> ASGIApp:
        loaded = await asyncio.to_thread(importlib.import_module, f"{__name__}.{module}")
        found: Act = getattr(getattr(loaded, "ENDPOINT", loaded), name)
        return await found(face, request)

    return act


def _resource(path: str, module: str) -> tuple[Operation, ...]:
    return (
        Operation("GET", f"{_BASE}/{path}", _later(module, "listed")),
        Operation("POST", f"{_BASE}/{path}", _later(module, "create"), status=201),
        Operation("POST", f"{_BASE}/{path}/.search", _later(module, "searched")),
        Operation("GET", f"{_BASE}/{path}/{{id}}", _later(module, "one")),
        Operation("PUT", f"{_BASE}/{path}/{{id}}", _later(module, "replace")),
        Operation("PATCH", f"{_BASE}/{path}/{{id}}", _later(module, "patch")),
        Operation("DELETE", f"{_BASE}/{path}/{{id}}", _later(module, "remove"), status=204),
    )


OPERATIONS = (
    Operation("GET", f"{_BASE}/ServiceProviderConfig", _later("discovery", "config")),
    Operation("GET", f"{_BASE}/ResourceTypes", _later("discovery", "resource_types")),
    Operation("GET", f"{_BASE}/ResourceTypes/{{id}}", _later("discovery", "resource_type")),
    Operation("GET", f"{_BASE}/Schemas", _later("discovery", "schemas")),
    Operation("GET", f"{_BASE}/Schemas/{{id}}", _later("discovery", "schema")),
    Operation("POST", f"{_BASE}/.search", _later("root", "searched")),
    *_resource("Users", "users"),
    *_resource("Groups", "groups"),
)
