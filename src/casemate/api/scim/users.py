"""``/scim/v2/Users``: people, as a directory's program sees them."""

from __future__ import annotations

from typing import Any

from scim2_models import Context, PatchOp
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.resource import Face
from casemate.api.scim.exchange import Exchange, selected
from casemate.api.scim.resources import POLICY, User
from casemate.gate.provisioning import Changed, Person

_TRIES = 5  # of a patch whose client does not say which version it means


async def listed(face: Face, request: Request) -> Response:
    """Those who match, a page of them."""
    exchange = await Exchange.begin(face, request)
    return await exchange.work(lambda: _page(exchange, exchange.search(User)))


async def searched(face: Face, request: Request) -> Response:
    """As ``listed``, with the search in the body."""
    exchange = await Exchange.begin(face, request)
    search = await exchange.search_in_body(User)
    return await exchange.work(lambda: _page(exchange, search))


async def one(face: Face, request: Request) -> Response:
    """One of them."""
    exchange = await Exchange.begin(face, request)

    def find() -> Response:
        person = exchange.people.get(exchange.caller, exchange.id)
        return _told(exchange, person, Context.RESOURCE_QUERY_RESPONSE)

    return await exchange.work(find)


async def create(face: Face, request: Request) -> Response:
    """A new person."""
    exchange = await Exchange.begin(face, request)
    user: User = await exchange.read(User, Context.RESOURCE_CREATION_REQUEST)

    def make() -> Response:
        person = exchange.people.add(
            exchange.caller,
            user.user_name or "",
            user.attributes(),
            active=user.active is not False,
        )
        return _told(exchange, person, Context.RESOURCE_CREATION_RESPONSE, 201)

    return await exchange.work(make)


async def replace(face: Face, request: Request) -> Response:
    """All that is known of one anew."""
    exchange = await Exchange.begin(face, request)
    user: User = await exchange.read(User, Context.RESOURCE_REPLACEMENT_REQUEST)
    version = exchange.expected()

    def put() -> Response:
        before = exchange.people.get(exchange.caller, exchange.id)
        user.replace(User.of(before, exchange.base))
        after = _change(exchange, user, before, version)
        return _told(exchange, after, Context.RESOURCE_REPLACEMENT_RESPONSE)

    return await exchange.work(put)


async def patch(face: Face, request: Request) -> Response:
    """Some of what is known of one."""
    exchange = await Exchange.begin(face, request)
    wanted: Any = await exchange.read_patch(PatchOp[User])
    version = exchange.expected()

    def apply() -> Response:
        for attempt in range(_TRIES):
            before = exchange.people.get(exchange.caller, exchange.id)
            user = User.of(before, exchange.base)
            if not wanted.patch(user, scim_policy=POLICY) and version in (None, before.version):
                return _told(exchange, before, Context.RESOURCE_PATCH_RESPONSE)
            try:
                expected = before.version if version is None else version
                after = _change(exchange, user, before, expected)
            except Changed:
                if version is not None or attempt + 1 == _TRIES:
                    raise
                continue  # somebody was faster: on what there is now
            return _told(exchange, after, Context.RESOURCE_PATCH_RESPONSE)
        raise Changed

    return await exchange.work(apply)


async def remove(face: Face, request: Request) -> Response:
    """Shut one out for good."""
    exchange = await Exchange.begin(face, request)
    version = exchange.expected()
    await exchange.work(
        lambda: exchange.people.remove(exchange.caller, exchange.id, version=version)
    )
    return Response(None, 204)


def _page(exchange: Exchange, search: Any) -> Response:
    def listing(name: str | None, skip: int, limit: int | None) -> tuple[int, list[User]]:
        total, found = exchange.people.list(exchange.caller, name=name, skip=skip, limit=limit)
        return total, [User.of(person, exchange.base) for person in found]

    return exchange.page(User, search, *selected(search, "userName", listing))


def _change(exchange: Exchange, user: User, before: Person, version: int | None) -> Person:
    return exchange.people.change(
        exchange.caller,
        before.id,
        user.user_name or "",
        user.attributes(),
        active=user.active,
        version=version,
    )


def _told(exchange: Exchange, person: Person, context: Context, status: int = 200) -> Response:
    return exchange.answer(User.of(person, exchange.base), person.version, context, status)
