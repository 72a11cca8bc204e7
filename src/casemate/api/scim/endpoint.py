"""One kind of resource at its address: listed, searched, read, made, replaced, patched, ended.

RFC 7644, section 3. What people and groups are is said in ``users`` and ``groups``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from scim2_models import Context, PatchOp, Resource
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.resource import Face
from casemate.api.scim.exchange import Exchange, selected
from casemate.api.scim.resources import POLICY
from casemate.gate.caller import Caller
from casemate.gate.provisioning import Changed

_TRIES = 5  # of a patch whose client does not say which version it means


class Kept(Protocol):
    """A thing as the gate keeps it."""

    @property
    def id(self) -> str:
        """Its name in addresses."""

    @property
    def version(self) -> int:
        """Grows with each change."""


S = TypeVar("S", bound=Resource[Any])
K = TypeVar("K", bound=Kept)


class Keeper(Protocol[K]):
    """The part of the gate that keeps things of one kind."""

    def list(
        self, actor: Caller, *, name: str | None = None, skip: int = 0, limit: int | None = None
    ) -> tuple[int, list[K]]:
        """How many there are, and those of one page."""

    def get(self, actor: Caller, id: str) -> K:
        """The one with this id."""

    def remove(self, actor: Caller, id: str, *, version: int | None = None) -> None:
        """End one."""


@dataclass(frozen=True)
class Endpoint(Generic[S, K]):
    """What differs between kinds. ``attribute``: the one that is looked up by name.

    keeper: who keeps them. shown: a thing as SCIM has it, given the address of all. add, change:
    what a client sent, done; ``change`` for a version, if it matters which.
    """

    shape: type[S]
    attribute: str
    keeper: Callable[[Exchange], Keeper[K]]
    shown: Callable[[K, str], S]
    add: Callable[[Exchange, S], K]
    change: Callable[[Exchange, S, str, int | None], K]

    async def listed(self, face: Face, request: Request) -> Response:
        """Those that match, a page of them."""
        exchange = await Exchange.begin(face, request)
        return await exchange.work(lambda: self._page(exchange, exchange.search(self.shape)))

    async def searched(self, face: Face, request: Request) -> Response:
        """As ``listed``, with the search in the body."""
        exchange = await Exchange.begin(face, request)
        search = await exchange.search_in_body(self.shape)
        return await exchange.work(lambda: self._page(exchange, search))

    async def one(self, face: Face, request: Request) -> Response:
        """One of them."""
        exchange = await Exchange.begin(face, request)

        def find() -> Response:
            found = self.keeper(exchange).get(exchange.caller, exchange.id)
            return self._told(exchange, found, Context.RESOURCE_QUERY_RESPONSE)

        return await exchange.work(find)

    async def create(self, face: Face, request: Request) -> Response:
        """A new one."""
        exchange = await Exchange.begin(face, request)
        sent: S = await exchange.read(self.shape, Context.RESOURCE_CREATION_REQUEST)

        def make() -> Response:
            made = self.add(exchange, sent)
            return self._told(exchange, made, Context.RESOURCE_CREATION_RESPONSE, 201)

        return await exchange.work(make)

    async def replace(self, face: Face, request: Request) -> Response:
        """All of one anew."""
        exchange = await Exchange.begin(face, request)
        sent: S = await exchange.read(self.shape, Context.RESOURCE_REPLACEMENT_REQUEST)
        version = exchange.expected()

        def put() -> Response:
            before = self.keeper(exchange).get(exchange.caller, exchange.id)
            sent.replace(self.shown(before, exchange.base))
            after = self.change(exchange, sent, before.id, version)
            return self._told(exchange, after, Context.RESOURCE_REPLACEMENT_RESPONSE)

        return await exchange.work(put)

    async def patch(self, face: Face, request: Request) -> Response:
        """Some of one."""
        exchange = await Exchange.begin(face, request)
        wanted: Any = await exchange.read_patch(PatchOp[self.shape])  # type: ignore[name-defined]
        version = exchange.expected()

        def apply() -> Response:
            for attempt in range(_TRIES):
                before = self.keeper(exchange).get(exchange.caller, exchange.id)
                thing = self.shown(before, exchange.base)
                changed = wanted.patch(thing, scim_policy=POLICY)
                if not changed and version in (None, before.version):
                    return self._told(exchange, before, Context.RESOURCE_PATCH_RESPONSE)
                try:
                    expected = before.version if version is None else version
                    after = self.change(exchange, thing, before.id, expected)
                except Changed:
                    if version is not None or attempt + 1 == _TRIES:
                        raise
                    continue  # somebody was faster: on what there is now
                return self._told(exchange, after, Context.RESOURCE_PATCH_RESPONSE)
            raise Changed

        return await exchange.work(apply)

    async def remove(self, face: Face, request: Request) -> Response:
        """End one."""
        exchange = await Exchange.begin(face, request)
        keeper, version = self.keeper(exchange), exchange.expected()
        await exchange.work(lambda: keeper.remove(exchange.caller, exchange.id, version=version))
        return Response(None, 204)

    def _page(self, exchange: Exchange, search: Any) -> Response:
        def listing(name: str | None, skip: int, limit: int | None) -> tuple[int, list[S]]:
            keeper = self.keeper(exchange)
            total, found = keeper.list(exchange.caller, name=name, skip=skip, limit=limit)
            return total, [self.shown(one, exchange.base) for one in found]

        return exchange.page(self.shape, search, *selected(search, self.attribute, listing))

    def _told(self, exchange: Exchange, thing: K, context: Context, status: int = 200) -> Response:
        shown = self.shown(thing, exchange.base)
        return exchange.answer(shown, thing.version, context, status)
