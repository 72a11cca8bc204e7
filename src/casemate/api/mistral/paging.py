"""Lists in pages, as Mistral's clients ask for them: pages count from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec import Struct
from starlette.requests import Request

from casemate.api.errors import InvalidParameter

T = TypeVar("T")

MOST = 1000  # entries of a page
_DEFAULT = 100
_FARTHEST = 10**8


class InvalidQuery(InvalidParameter):
    """A parameter of the address is wrong or cannot be honoured."""

    within = "query"


class Pagination(Struct, frozen=True, kw_only=True):
    """Where a page stands among the others."""

    total_items: int
    total_pages: int
    current_page: int
    page_size: int
    has_more: bool


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list."""

    entries: Sequence[T]
    pagination: Pagination

    @property
    def next(self) -> str | None:
        """The token of the next page, if there is one."""
        return str(self.pagination.current_page + 1) if self.pagination.has_more else None


def page_of(request: Request, entries: Sequence[T]) -> Page[T]:
    """The page that ``request`` wants: ``page_size``, and ``page_token`` or ``page``.

    Raises InvalidQuery.
    """
    size = _number(request, "page_size", _DEFAULT, 1, MOST)
    wanted = "page_token" if request.query_params.get("page_token") else "page"
    number = _number(request, wanted, 0, 0, _FARTHEST)
    start = number * size
    return Page(
        entries[start : start + size],
        Pagination(
            total_items=len(entries),
            total_pages=-(-len(entries) // size),
            current_page=number,
            page_size=size,
            has_more=start + size < len(entries),
        ),
    )


def _number(request: Request, name: str, default: int, lowest: int, highest: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidQuery(name, f"{name} is not a whole number.", "Correct it.")
    if not lowest <= int(text) <= highest:
        raise InvalidQuery(name, f"{name} is not from {lowest} to {highest}.", "Correct it.")
    return int(text)
