"""``/scim/v2/.search``: users and groups in one search (RFC 7644, section 3.4.3)."""

from __future__ import annotations

from typing import Any

from scim2_models import Resource
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.resource import Face
from casemate.api.scim.exchange import Exchange, selected
from casemate.api.scim.resources import Group, User

_BOTH: Any = User | Group


async def searched(face: Face, request: Request) -> Response:
    """Those that match, a page of them: people first."""
    exchange = await Exchange.begin(face, request)
    search = await exchange.search_in_body(_BOTH)
    return await exchange.work(lambda: _page(exchange, search))


def _page(exchange: Exchange, search: Any) -> Response:
    def listing(_: str | None, skip: int, limit: int | None) -> tuple[int, list[Resource[Any]]]:
        people_total, people = exchange.people.list(exchange.caller, skip=skip, limit=limit)
        groups_total, groups = exchange.groups.list(
            exchange.caller,
            skip=max(0, skip - people_total),
            limit=None if limit is None else max(0, limit - len(people)),
        )
        found: list[Resource[Any]] = [User.of(one, exchange.base) for one in people]
        found += [Group.of(one, exchange.base) for one in groups]
        return people_total + groups_total, found

    return exchange.page(_BOTH, search, *selected(search, "", listing))
