"""What this service offers, as programs look it up (RFC 7644, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scim2_models import (
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    Context,
    ETag,
    Filter,
    ListResponse,
    Meta,
    Pagination,
    Patch,
    Resource,
    ResourceType,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
)
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.errors import nowhere
from casemate.api.resource import Face
from casemate.api.scim.exchange import MEDIA, MOST_RESULTS, Exchange
from casemate.api.scim.resources import Group, User
from casemate.errors import Refused

_PROVIDER = ScimProvider(models=[User, Group])


async def config(face: Face, request: Request) -> Response:
    """What is supported and what is not."""
    exchange = await Exchange.begin(face, request)
    _refuse_filter(request)
    shown = ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MOST_RESULTS),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=True),
        etag=ETag(supported=True),
        pagination=Pagination(
            cursor=False,
            index=True,
            default_pagination_method=Pagination.DefaultPaginationMethod.index,
            default_page_size=MOST_RESULTS,
            max_page_size=MOST_RESULTS,
        ),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="API key",
                description="The key of a service account with the role provisioner, as a "
                "bearer token (RFC 6750).",
                primary=True,
            )
        ],
        meta=_meta(exchange, "ServiceProviderConfig", "ServiceProviderConfig"),
    )
    return _one(shown)


async def resource_types(face: Face, request: Request) -> Response:
    """What there is to provision."""
    exchange = await Exchange.begin(face, request)
    _refuse_filter(request)
    return _all(ResourceType, _types(exchange))


async def resource_type(face: Face, request: Request) -> Response:
    """One kind of it."""
    exchange = await Exchange.begin(face, request)
    return _one(_of_id(_types(exchange), exchange.id))


async def schemas(face: Face, request: Request) -> Response:
    """What is known of each kind."""
    exchange = await Exchange.begin(face, request)
    _refuse_filter(request)
    from scim2_models import Schema

    return _all(Schema, _schemas(exchange))


async def schema(face: Face, request: Request) -> Response:
    """What is known of one kind."""
    exchange = await Exchange.begin(face, request)
    return _one(_of_id(_schemas(exchange), exchange.id))


def _types(exchange: Exchange) -> list[Resource[Any]]:
    found: list[Resource[Any]] = []
    for one in _PROVIDER.resource_types:
        shown = one.model_copy()
        shown.meta = _meta(exchange, "ResourceType", f"ResourceTypes/{one.id}")
        found.append(shown)
    return found


def _schemas(exchange: Exchange) -> list[Resource[Any]]:
    found: list[Resource[Any]] = []
    for one in _PROVIDER.schemas:
        shown = one.model_copy()
        shown.meta = _meta(exchange, "Schema", f"Schemas/{one.id}")
        found.append(shown)
    return found


def _of_id(found: Sequence[Resource[Any]], id: str) -> Resource[Any]:
    for one in found:
        if one.id == id:
            return one
    raise nowhere()


def _meta(exchange: Exchange, kind: str, place: str) -> Meta:
    return Meta(resource_type=kind, location=f"{exchange.base}/{place}")


def _one(shown: Resource[Any]) -> Response:
    content = shown.model_dump_json(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
    return Response(content, media_type=MEDIA)


def _all(kind: type[Resource[Any]], found: Sequence[Resource[Any]]) -> Response:
    response = ListResponse.__class_getitem__(kind)(
        total_results=len(found),
        start_index=1,
        items_per_page=len(found),
        resources=list(found),
    )
    content = response.model_dump_json(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
    return Response(content, media_type=MEDIA)


def _refuse_filter(request: Request) -> None:
    if "filter" in request.query_params:  # RFC 7644, section 4: answered with 403
        raise Refused("What is offered cannot be filtered.", "Leave the filter out.")
