"""Lists in pages, as OpenAI's clients ask for them: after or before an id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from starlette.requests import Request

from casemate.api.body import whole_number
from casemate.api.errors import InvalidParameter

T = TypeVar("T")

MOST = 10_000


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list: its entries, the ids at its ends, whether there are more."""

    entries: Sequence[T]
    first: str | None
    last: str | None
    more: bool


def cut(
    request: Request, oldest_first: Sequence[T], id_of: Callable[[T], str], default: int = 20
) -> Page[T]:
    """The page that ``request`` wants: ``limit``, ``order``, ``after`` and ``before``.

    Newest first unless ``order`` is asc. Raises InvalidParameter, also for an id that is not there.
    """
    limit = whole_number(request, "limit", default, MOST)
    order = request.query_params.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidParameter("order", "There is no such order.", "Use asc or desc.")
    entries = list(oldest_first) if order == "asc" else list(reversed(oldest_first))
    ids = [id_of(entry) for entry in entries]
    start, end = 0, len(entries)
    for name in ("after", "before"):
        id = request.query_params.get(name)
        if not id:
            continue
        if id not in ids:
            raise InvalidParameter(name, f"{name} is no id of this list.", "Begin anew.")
        if name == "after":
            start = ids.index(id) + 1
        else:
            end = ids.index(id)
    chosen = entries[start:end]
    page = chosen[-limit:] if "before" in request.query_params and start == 0 else chosen[:limit]
    return Page(
        page,
        id_of(page[0]) if page else None,
        id_of(page[-1]) if page else None,
        len(chosen) > len(page),
    )
