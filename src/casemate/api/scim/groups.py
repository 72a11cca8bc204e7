"""``/scim/v2/Groups``: groups of people, as a directory's program sees them."""

from __future__ import annotations

from typing import Any

from scim2_models import Context, PatchOp
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.resource import Face
from casemate.api.scim.exchange import Exchange, selected
from casemate.api.scim.resources import POLICY
from casemate.api.scim.resources import Group as Shape
from casemate.gate.group import Group
from casemate.gate.provisioning import Changed

_TRIES = 5  # of a patch whose client does not say which version it means


async def listed(face: Face, request: Request) -> Response:
    """Those that match, a page of them."""
    exchange = await Exchange.begin(face, request)
    return await exchange.work(lambda: _page(exchange, exchange.search(Shape)))


async def searched(face: Face, request: Request) -> Response:
    """As ``listed``, with the search in the body."""
    exchange = await Exchange.begin(face, request)
    search = await exchange.search_in_body(Shape)
    return await exchange.work(lambda: _page(exchange, search))


async def one(face: Face, request: Request) -> Response:
    """One of them."""
    exchange = await Exchange.begin(face, request)

    def find() -> Response:
        group = exchange.groups.get(exchange.caller, exchange.id)
        return _told(exchange, group, Context.RESOURCE_QUERY_RESPONSE)

    return await exchange.work(find)


async def create(face: Face, request: Request) -> Response:
    """A new group."""
    exchange = await Exchange.begin(face, request)
    wanted: Shape = await exchange.read(Shape, Context.RESOURCE_CREATION_REQUEST)

    def make() -> Response:
        group = exchange.groups.add(
            exchange.caller, wanted.display_name or "", wanted.attributes(), wanted.member_ids()
        )
        return _told(exchange, group, Context.RESOURCE_CREATION_RESPONSE, 201)

    return await exchange.work(make)


async def replace(face: Face, request: Request) -> Response:
    """A group anew."""
    exchange = await Exchange.begin(face, request)
    wanted: Shape = await exchange.read(Shape, Context.RESOURCE_REPLACEMENT_REQUEST)
    version = exchange.expected()

    def put() -> Response:
        before = exchange.groups.get(exchange.caller, exchange.id)
        wanted.replace(Shape.of(before, exchange.base))
        after = _change(exchange, wanted, before, version)
        return _told(exchange, after, Context.RESOURCE_REPLACEMENT_RESPONSE)

    return await exchange.work(put)


async def patch(face: Face, request: Request) -> Response:
    """Some of a group: usually who joins and who leaves."""
    exchange = await Exchange.begin(face, request)
    wanted: Any = await exchange.read_patch(PatchOp[Shape])
    version = exchange.expected()

    def apply() -> Response:
        for attempt in range(_TRIES):
            before = exchange.groups.get(exchange.caller, exchange.id)
            group = Shape.of(before, exchange.base)
            if not wanted.patch(group, scim_policy=POLICY) and version in (None, before.version):
                return _told(exchange, before, Context.RESOURCE_PATCH_RESPONSE)
            try:
                expected = before.version if version is None else version
                after = _change(exchange, group, before, expected)
            except Changed:
                if version is not None or attempt + 1 == _TRIES:
                    raise
                continue  # somebody was faster: on what there is now
            return _told(exchange, after, Context.RESOURCE_PATCH_RESPONSE)
        raise Changed

    return await exchange.work(apply)


async def remove(face: Face, request: Request) -> Response:
    """End a group."""
    exchange = await Exchange.begin(face, request)
    version = exchange.expected()
    await exchange.work(
        lambda: exchange.groups.remove(exchange.caller, exchange.id, version=version)
    )
    return Response(None, 204)


def _page(exchange: Exchange, search: Any) -> Response:
    def listing(name: str | None, skip: int, limit: int | None) -> tuple[int, list[Shape]]:
        total, found = exchange.groups.list(exchange.caller, name=name, skip=skip, limit=limit)
        return total, [Shape.of(group, exchange.base) for group in found]

    return exchange.page(Shape, search, *selected(search, "displayName", listing))


def _change(exchange: Exchange, wanted: Shape, before: Group, version: int | None) -> Group:
    return exchange.groups.change(
        exchange.caller,
        before.id,
        wanted.display_name or "",
        wanted.attributes(),
        wanted.member_ids(),
        version=version,
    )


def _told(exchange: Exchange, group: Group, context: Context, status: int = 200) -> Response:
    return exchange.answer(Shape.of(group, exchange.base), group.version, context, status)
