"""What a list is narrowed to, as Mistral's clients say it in the address."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request

from casemate.api.mistral.paging import InvalidQuery


def wanted_metadata(request: Request) -> Mapping[str, Any]:
    """What the metadata of an entry has to hold, a JSON object. Raises InvalidQuery."""
    text = request.query_params.get("metadata")
    if not text:
        return {}
    try:
        wanted = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidQuery("metadata", "metadata is no JSON object.", "Correct it.") from None
    # Mistral's package sends a string where its caller said nothing.
    return wanted if isinstance(wanted, dict) else {}


def wanted_besides(request: Request, known: Collection[str]) -> Mapping[str, str]:
    """The same, where each name of the metadata is a parameter beside the ``known`` ones."""
    return {name: text for name, text in request.query_params.items() if name not in known}


def holds(metadata: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Whether all that is wanted stands in ``metadata``; text also equals what is written so."""
    found = metadata or {}
    return all(
        name in found and value in (found[name], str(found[name])) for name, value in wanted.items()
    )


def wanted_since(request: Request) -> datetime | None:
    """The moment after which an entry was made. Raises InvalidQuery."""
    text = request.query_params.get("created_after")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidQuery("created_after", "That is no moment.", "Write it as ISO 8601.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def is_wanted(request: Request, name: str, value: str | None) -> bool:
    """Whether the address asks for this value of ``name``, or says nothing of it."""
    return request.query_params.get(name) in (None, "", value)


def refused(request: Request, name: str, next: str) -> None:
    """Raise InvalidQuery if the address asks for ``name``, which nothing here knows."""
    if request.query_params.get(name):
        raise InvalidQuery(name, f"{name} is not supported here.", next, "unsupported_parameter")
